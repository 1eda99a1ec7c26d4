"""Updates per rollout of each library, whether the clip is alive, its bias and its bounds, by hand."""

from __future__ import annotations

import pytest

from entclip.integrations.lint.config import read_config
from entclip.integrations.lint.report import lint
from tests.integrations.lint.answers import A, report


@pytest.mark.parametrize(
    ("text", "count", "alive"),
    [
        ("epsilon: 0.2\ngradient_accumulation_steps: 8", 1, "no"),
        ("epsilon: 0.2\ngradient_accumulation_steps: 8\nsteps_per_generation: 4", 1, "no"),
        ("epsilon: 0.2\ngradient_accumulation_steps: 4\nsteps_per_generation: 6", 1.5, "yes"),
        ("epsilon: 0.2\ngradient_accumulation_steps: 4\nsteps_per_generation: 64", 16, "yes"),
        ("epsilon: 0.2\nnum_iterations: 3", 3, "yes"),
        ("epsilon: 0.2\ngeneration_batch_size: 512", None, "unknown"),
        (f"data.train_batch_size=8192 {A}ppo_mini_batch_size=512", 16, "yes"),
        (f"data.train_batch_size=512 {A}ppo_mini_batch_size=512", 1, "no"),
        (f"data.train_batch_size=512 {A}ppo_mini_batch_size=512 {A}ppo_epochs=2", 2, "yes"),
        (f"data.train_batch_size=512 {A}ppo_mini_batch_size=$M", None, "unknown"),
        ("--rollout.batch_size 64 --rollout.n_samples_per_prompt 16 --train.batch_size 256", 4, "yes"),
        ("--rollout.batch_size 16 --rollout.n_samples_per_prompt 16 --train.batch_size 256", 1, "no"),
        ("--rollout.batch_size 16 --rollout.n_samples_per_prompt 16 --train.batch_size 256 --train.max_epochs 3", 3, "yes"),
    ],
)
def test_updates_per_rollout(text, count, alive):
    got = lint(read_config(text))
    assert got.config.updates.count == count
    assert got.liveness.alive == alive
    if count is None:
        assert "$M" in got.liveness.reason or "processes" in got.liveness.reason


_STOP = "early_stopping: true\nbatch_size: 64\nmini_batch_size: 16\nppo_epochs: 2\ncliprange: 0.2\ntarget_kl: 0.1"


@pytest.mark.parametrize(
    ("text", "least", "most", "at"),
    [
        ("clip_range: 0.2\nn_epochs: 4\nn_steps: 64\nbatch_size: 24\nn_envs: 1\ntarget_kl: 0.02", 1, 12, 0.03),
        ("clip_coef: 0.2\nupdate_epochs: 4\nnum_minibatches: 8\ntarget_kl: 0.02\nexp_name: ppo", 8, 32, 0.02),
        ("clip_coef: 0.2\nupdate_epochs: 4\nnum_minibatches: 8\ntarget_kl: ${T}\nexp_name: ppo", 8, 32, None),
        (_STOP, 1, 8, 0.1 * 1.5),
    ],
)
def test_a_stop_by_kl_leaves_no_count(text, least, most, at):
    got = lint(read_config(text))
    updates = got.config.updates
    assert (updates.count, updates.least, updates.most) == (None, least, most)
    assert updates.stop_at == (at if at is None else pytest.approx(at))
    assert got.liveness.alive == "yes"
    assert f"at the latest after {most} " in got.liveness.reason
    assert got.to_json()["updates_at_most"] == most
    found = {f.id for f in got.findings}
    assert "kl-stop" in found
    assert "sawtooth" not in found  # the count that it would state is not known


def test_a_stop_that_is_off_or_cannot_come_is_none():
    for text in (
        _STOP.replace("true", "false"),
        "clip_range: 0.2\nn_epochs: 1\nn_steps: 64\nbatch_size: 64\nn_envs: 1\ntarget_kl: 1",
    ):
        assert lint(read_config(text)).config.updates.stop == ""


def test_a_pass_ends_with_a_smaller_minibatch():
    """8 steps of one environment in batches of 256: one update a pass, and no thirtieth of one."""
    for steps, batch, count in ((8, 256, 10), (100, 64, 20), (128, 64, 20), (130, 64, 30)):
        text = f"clip_range: 0.2\nn_epochs: 10\nn_steps: {steps}\nbatch_size: {batch}\nn_envs: 1"
        assert lint(read_config(text)).config.updates.count == count


@pytest.mark.parametrize(
    ("text", "alive"),
    [
        (f"{A}clip_ratio_low=1 {A}clip_ratio_high=1e9", "no"),
        (f"{A}policy_loss.loss_mode=gpg {A}clip_ratio_low=.2", "no"),
        (f"{A}policy_loss.loss_mode=mine {A}clip_ratio_low=.2", "unknown"),
        ("loss_type: sapo\nnum_iterations: 2", "yes"),
        ("loss_type: sapo\nepsilon: 0.2", "no"),
        ("loss_type: cispo\nepsilon_high: 0.28", "yes"),
        ("loss_type: cispo\nepsilon_high: 5.0", "no"),
        ("epsilon: ${EPS}\nnum_iterations: 2", "yes"),
    ],
)
def test_liveness_follows_the_objective(text, alive):
    assert lint(read_config(text)).liveness.alive == alive


@pytest.mark.parametrize(("low", "high", "net"), [(0.2, 0.2, "down"), (0.2, 0.28, "either"), (0.15, 1e9, "up"), (1, 0.2, "down")])
def test_bias_states_both_readings(low, high, net):
    bias = lint(read_config(f"{A}clip_ratio_low={low} {A}clip_ratio_high={high}")).bias
    assert bias.net == net
    assert bias.low == ("none" if low == 1 else "raises")
    assert bias.high == ("none" if high == 1e9 else "lowers")
    assert "*clipping at* the high bound lowers" in bias.text
    assert "*raising* eps_high (less such clipping) raises" in bias.text
    assert "gap_low > 0" in bias.text


def test_bounds_name_both_notations():
    got = lint(read_config(f"{A}policy_loss.loss_mode=geo_mean {A}clip_ratio_low=0.4 {A}clip_ratio_high=0.4")).to_json()["bounds"]
    assert got["low"]["key"] == A + "clip_ratio_low"
    assert got["low"]["ratio"] == pytest.approx(0.670320046)
    assert got["high"]["ratio"] == pytest.approx(1.491824698)
    plain = lint(read_config("epsilon: 0.2\nepsilon_high: 0.28"))
    assert "eps_high = 0.28: no gradient where A > 0 and ratio > 1.28; from epsilon_high" in plain.to_text(everything=True)
    assert "eps_low = 0.2: no gradient where A < 0 and ratio < 0.8; from epsilon" in plain.to_text(everything=True)


def test_defaults_are_marked_as_such():
    got = lint(read_config("epsilon: 0.2\nnum_generations: 4")).to_json()["facts"]
    assert got["group size"] == {"value": 4, "key": "num_generations", "explicit": True}
    assert got["temperature"] == {"value": 1.0, "key": "temperature", "explicit": False}


@pytest.mark.parametrize(("pos", "neg", "net"), [(1.0, 1.0, "none"), (1.0, 1.05, "either")])
def test_sapo_sign_depends_on_its_temperatures(pos, neg, net):
    text = f"loss_type: sapo\nsapo_temperature_pos: {pos}\nsapo_temperature_neg: {neg}\nnum_iterations: 2"
    assert lint(read_config(text)).bias.net == net


def test_reasons_carry_the_numbers():
    trl = read_config("epsilon: 0.2\nsteps_per_generation: 6\ngradient_accumulation_steps: 4\nnum_iterations: 2").updates
    assert trl.formula == "steps_per_generation x num_iterations / gradient_accumulation_steps = 6 x 2 / 4"
    rlhf = read_config("--rollout.batch_size 64 --rollout.n_samples_per_prompt 16 --train.batch_size 256").updates
    assert rlhf.formula.endswith("/ train.batch_size x train.max_epochs = 64 x 16 / 256 x 1")
    assert "is expected to raise it" in report("verl/kl_cov.yaml").bias.text
    assert "reward's covariance" in report("verl/on_policy.txt").bias.text


def test_json_says_which_side_is_off():
    low = lint(read_config(f"{A}clip_ratio_low=1 {A}clip_ratio_high=0.2")).to_json()["bounds"]
    assert (low["low"]["off"], low["high"]["off"]) == (True, False)
    high = lint(read_config(f"{A}clip_ratio_low=0.2 {A}clip_ratio_high=1e9")).to_json()["bounds"]
    assert (high["low"]["off"], high["high"]["off"], high["high"]["key"]) == (False, True, A + "clip_ratio_high")


def test_max_rl_divides_by_the_mean():
    assert read_config('[orchestrator.algo]\ntype = "max_rl"', "prime-rl").advantage.value == "mean"
    assert read_config('[orchestrator.algo]\ntype = "grpo"', "prime-rl").advantage.value == "none"
