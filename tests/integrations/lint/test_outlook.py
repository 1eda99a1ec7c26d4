"""What a configuration's clip does at a measured noise: against predictions of that clip, and refused where it would guess."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from entclip.cli.app import app
from entclip.experiments.experiment import parse_experiment
from entclip.experiments.start import start_of
from entclip.integrations.diagnose import diagnose
from entclip.integrations.diagnose.law import POWERS, neutral_lows
from entclip.integrations.diagnose.logged import logged
from entclip.integrations.lint.config import read_config
from entclip.integrations.lint.outlook import Outlook, outlook
from entclip.integrations.lint.outlook_words import left_out
from entclip.integrations.lint.report import convert_command
from entclip.prediction.meanfield import predict_noise
from entclip.prediction.meanfield.forecast import BIN_WIDTH
from entclip.prediction.meanfield.nodes import populations
from entclip.prediction.noise_words import Shares
from entclip.prediction.sequence_noise import sequence_shares, sequence_terms
from entclip.report.forecast import outlook_lines
from entclip.report.numbers import rounded
from entclip.support.errors import SpecError
from tests.integrations.lint.answers import A

POLICY = {"kind": "zipf", "vocab": 64, "exponent": 1.0, "contexts": 1}
CONFIG = "epsilon: 0.2\nepsilon_high: 0.28\nnum_iterations: 4\nnum_generations: 8\nbeta: 0.04"


def seen(text: str, rms: float = 0.2, **more: Any) -> Outlook:
    return outlook(read_config(text), "flat", rms, policy=POLICY | more)


def test_the_sides_are_those_of_the_same_clip() -> None:
    """Shares and terms over eta M are predict_noise's, whatever eta is there; at the neutral width the sides cancel."""
    found = seen(CONFIG)
    eta = 0.05
    for geometry in ("natural", "euclidean"):
        neutral = found.neutral[geometry]
        assert neutral is not None
        spec = parse_experiment(
            {
                "name": "x",
                "policy": POLICY,
                "reward": {"kind": "bernoulli", "p": 0.5},
                "advantage": {"kind": "group", "size": 8, "scale": "std"},
                "update": {"geometry": geometry, "learning_rate": eta, "batch": 2048, "minibatches": 4, "rollouts": 1},
                "arm": [{"name": "now", "low": 0.2, "high": 0.28}, {"name": "neutral", "low": neutral, "high": 0.28}],
            }
        )
        arms = predict_noise(spec, "flat", 0.2).summary()["arms"]
        unit = eta * 0.43395  # M of groups of 8 at p = .5, by T7
        for side in ("low", "high"):
            assert math.isclose(getattr(found.now[geometry], side), arms["now"][f"expected_clip_{side}"] / unit, rel_tol=2e-5)
            assert math.isclose(getattr(found.now[geometry], f"share_{side}"), arms["now"][f"clip_fraction_{side}"], rel_tol=1e-9)
        rest = arms["neutral"]["expected_clip_low"] + arms["neutral"]["expected_clip_high"]
        # Second differences of the logarithm of a term are .2 a step: linear between two points it is off by an eighth of that.
        assert abs(rest) < 0.2 / 8 * 1.2 * arms["neutral"]["expected_clip_low"]
    assert found.other_high == 0.2
    assert found.wider["natural"].share_high > found.now["natural"].share_high
    assert found.wider["natural"].low == found.now["natural"].low


def test_a_rough_look_first_finds_the_same_neutral_widths(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every eighth width and then those about the turn, bit for bit what all of them give."""
    rough = [seen(CONFIG, rms).neutral for rms in (0.2, 0.3)]
    monkeypatch.setattr("entclip.integrations.lint.outlook._FEW", 99)
    assert [seen(CONFIG, rms).neutral for rms in (0.2, 0.3)] == rough
    assert None not in rough[0].values()


def test_it_says_what_it_took_and_what_it_left() -> None:
    found = seen(CONFIG)
    said = {name: "\n".join(getattr(found, name)) for name in ("carried", "by_default", "assumed", "left_out")}
    for words in (
        "eps_low = 0.2 (epsilon)",
        "eps_high = 0.28 (epsilon_high)",
        "4 updates per rollout",
    ):
        assert words in said["carried"]
    assert said["by_default"] == "advantages divided by = group (scale_rewards)"
    assert "default" not in said["carried"]
    assert "probability .5" in said["assumed"]
    assert "the learning rate" in said["left_out"]
    assert "the KL term (beta = 0.04)" in said["left_out"]
    assert "not in nats" in said["left_out"]
    assert ("raises" in found.answer()) == (found.now["natural"].net > 0) or not found.decided


GSPO = "importance_sampling_level: sequence\nepsilon: 3e-4\nepsilon_high: 4e-4\nnum_iterations: 4\nnum_generations: 8"


def test_ratios_of_sequences_take_their_length() -> None:
    """Shares and terms are those of T16; with a longer sequence the low side, whose mean stays, has nearly all of them."""
    read = read_config(GSPO)
    found = outlook(read, "flat", 0.05, policy=POLICY, length=800)
    share = sequence_shares(0.05, 800, 3e-4, 4e-4, 4)
    now = found.now["natural"]
    assert (now.share_low, now.share_high) == (share.low, share.high)
    spec = parse_experiment({"name": "x", "policy": POLICY})
    kinds = populations(start_of(spec).old_log_probs[:, 0, :], BIN_WIDTH)
    assert (now.low, now.high) == sequence_terms(kinds, "natural", 0.05, 800, [(3e-4, 4e-4)], 4)[0]
    assert now.net > 0
    assert found.other_high == 5.6e-4
    assert found.wider["natural"].share_high < now.share_high
    longer = outlook(read, "flat", 0.05, policy=POLICY, length=20_000).now["natural"]
    assert longer.share_high < now.share_high < now.share_low < longer.share_low
    assert "every sequence has 800 tokens" in "\n".join(found.assumed)
    for law, size, length, message in (
        ("flat", 0.05, 1, "at least 2 tokens"),
        ("sqrt", 0.05, 800, "the noise of a token as one size"),
        ("flat", Shares(0.1, 0.02), 800, "the noise of a token as one size"),
    ):
        with pytest.raises(SpecError, match=message):
            outlook(read, law, size, policy=POLICY, length=length)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="clips a token's"):
        outlook(read_config(CONFIG), "flat", 0.2, policy=POLICY, length=800)


def test_where_the_geometry_decides_it_says_so() -> None:
    """Zipf(1) at .2/.2: common actions cross the bounds with natural and euclidean values of opposite order."""
    found = seen("epsilon: 0.2\nnum_iterations: 4\nnum_generations: 8", exponent=2.0)
    assert not found.decided
    assert "there is no one answer" in found.answer()


REFUSED = {
    "dead": ("epsilon: 0.2\nnum_generations: 8", "the clip does nothing"),
    "sequence": ("epsilon: 3e-4\nnum_iterations: 2\nimportance_sampling_level: sequence", "no configuration holds it"),
    "unknown_key": ("epsilon: 0.2\nnum_iterations: 2\nmy_clip_mode: 3", "no answer without a guess"),
    "updates": ("epsilon: 0.2\ngeneration_batch_size: 512", "no answer without a guess"),
    "width": ("epsilon: ${EPS}\nnum_iterations: 2", "is not in the configuration"),
    "half": ("epsilon: 0.2\nsteps_per_generation: 6\ngradient_accumulation_steps: 4", "must be a whole number"),
    "stop": ("clip_coef: 0.2\nupdate_epochs: 4\nnum_minibatches: 4\ntarget_kl: 0.02\nexp_name: ppo", "target_kl = 0.02 ends"),
    "cispo": ("loss_type: cispo\nepsilon_high: 5.0\nnum_iterations: 2", "is no clip of the ratio"),
    "cap": ("epsilon: 0.2\nepsilon_high: 0.25\ndelta: 1.05\nnum_iterations: 4", "caps the ratio of both signs"),
    "dual_cap": ("actor.eps_clip: 0.2\nactor.dual_clip: 1.1\ntrain.max_epochs: 2", "dual_clip = 1.1 is not above"),
    "percent": ("epsilon: 20\nepsilon_high: 28\nnum_iterations: 2", "probably percent"),
    "engine": (
        "algorithm.rollout_correction.bypass_mode=True actor_rollout_ref.actor.clip_ratio_low=0.2",
        "the ratio is to the sampling engine",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_guess_is_refused(name: str) -> None:
    text, message = REFUSED[name]
    with pytest.raises(SpecError, match=message):
        seen(text)


def test_the_command(tmp_path: Any) -> None:
    (tmp_path / "run.yaml").write_text(CONFIG)
    np.save(tmp_path / "logits.npy", np.log(np.arange(1, 33))[None, :])
    call = ["predict", "--from", str(tmp_path / "run.yaml"), "--policy", str(tmp_path / "logits.npy")]
    table = CliRunner().invoke(app, [*call, "--noise", "kl:.02"])
    assert table.exit_code == 0
    assert "Carried over: eps_low = 0.2 (epsilon)" in table.output
    assert "Not expressed: the learning rate" in table.output
    as_json = json.loads(CliRunner().invoke(app, [*call, "--noise", "flat:.2", "--json"]).stdout)
    assert as_json["now"]["natural"]["share_low"] == pytest.approx(seen_from(tmp_path)["share_low"])
    (tmp_path / "gspo.yaml").write_text(GSPO)
    whole = [*call[:2], str(tmp_path / "gspo.yaml"), *call[3:], "--noise", "kl:.0005", "--length", "1500"]
    assert "sequences" in CliRunner().invoke(app, whole).output
    for more, message in (([], "--noise kl:NATS"), (["--noise", "flat:0"], "positive and finite")):
        done = CliRunner().invoke(app, [*call, *more])
        assert done.exit_code != 0
        assert message in str(done.exception)


def test_the_log_says_how_large_the_noise_is(tmp_path: Any) -> None:
    """The shares of a log are put back into the forecast: it clips as much; the change in nats is a bound with its sign."""
    (tmp_path / "run.yaml").write_text("epsilon: 0.2\nnum_iterations: 4\nnum_generations: 8")
    np.save(tmp_path / "logits.npy", -np.log(np.arange(1, 65))[None, :])
    rng = np.random.default_rng(3)
    rows = []
    for row in range(40):
        shares = np.abs(rng.normal((0.02, 0.024), 0.001)) * (row % 4) / 1.5
        rows.append({"clip_ratio/low_mean": shares[0], "clip_ratio/high_mean": shares[1], "entropy": 0.6 + 0.01 * rng.normal()})
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, rows)))
    low, high = (float(np.mean([row[f"clip_ratio/{side}_mean"] for row in rows])) for side in ("low", "high"))
    call = ["predict", "--from", str(tmp_path / "run.yaml"), "--policy", str(tmp_path / "logits.npy")]
    found = json.loads(CliRunner().invoke(app, [*call, "--log", str(tmp_path / "log.jsonl"), "--json"]).stdout)
    assert found["shares"] == pytest.approx({"low": low, "high": high})
    now = found["now"]["natural"]
    assert now["share_low"] + now["share_high"] == pytest.approx(low + high, rel=1e-4)
    given = json.loads(CliRunner().invoke(app, [*call, "--noise", f"shares:{low}:{high}", "--json"]).stdout)
    assert given["neutral"] == pytest.approx(found["neutral"])
    # A wider high side clips less of what lowers entropy.
    assert found["most_change"] > 0
    around = [each["natural"] for each in found["neutral_around"]]
    assert min(around) <= found["neutral"]["natural"] <= max(around)
    said = CliRunner().invoke(app, [*call, "--log", str(tmp_path / "log.jsonl")]).output
    words = " ".join(said.split())
    half = f"{found['most_change'] / 2:+.2g} +- {found['most_change'] / 2:.2g} nats"
    assert f"At your noise eps_high = 0.28 instead of 0.2 changes entropy per rollout by {half}" in words
    # What is assumed is in the interval that is said: both geometries, both noise laws, two standard errors.
    values = found["neutral_values"]
    logs = np.log(1 / np.arange(1, 65) / np.sum(1 / np.arange(1, 65)))[None, :]
    alone = [neutral_lows(logs, low + high, 0.2, 0.2, 4, power) for power in POWERS]
    for value in (*found["neutral"].values(), *(each for pair in alone for each in pair if each is not None)):
        assert min(values) <= value <= max(values)
    # The short formula and the forecast, which follows each update by itself, differ by less than the two noise laws do.
    for formula, other, forecast in zip(*alone, found["neutral"].values(), strict=True):
        assert abs(formula - forecast) < 0.5 * abs(formula - other)
    said_range = f"the neutral eps_low from {rounded(min(values))} to {rounded(max(values))}"
    assert said_range in words
    assert "SmolLM2's policy as it is" not in words


NO_NOISE = {
    "dead": ({"clip_ratio/low_mean": 0.0, "clip_ratio/high_mean": 0.0}, "no token is clipped"),
    "full": ({"clip_ratio/low_mean": 0.2, "clip_ratio/high_mean": 0.15}, "93 % of the most that can be"),
    "none": ({"entropy": 0.5}, "no share of clipped tokens"),
    "percent": ({"clip_ratio/low_mean": 2.0, "clip_ratio/high_mean": 1.5}, "probably percent. .* divide by 100"),
    "unknown": ({"entropy": 0.5, "clip_fraction_low_pct": 0.3}, "no name of a clip share is known here .clip_fraction_low_pct"),
    "engine": ({"is_masked_low/mean": 0.1, "is_masked_high/mean": 0.1, "entropy/all/mean": 0.3}, "--log"),
}


@pytest.mark.parametrize("name", NO_NOISE)
def test_a_log_without_a_measure_is_refused(name: str, tmp_path: Any) -> None:
    row, message = NO_NOISE[name]
    (tmp_path / "log.jsonl").write_text("\n".join([json.dumps(row)] * 12))
    with pytest.raises(SpecError, match=message):
        logged(read_config("epsilon: 0.2\nnum_iterations: 4"), tmp_path / "log.jsonl")


TRL_ROWS = [{"clip_ratio/low_mean": 0.01 * (i % 4), "clip_ratio/high_mean": 0.012 * (i % 4), "entropy": 0.6} for i in range(40)]
SB3_ROWS = [
    {
        "train/clip_fraction": 0.1,
        "train/clip_range": 0.2,
        "train/entropy_loss": -0.6,
        "train/approx_kl": 0.01,
        "train/n_updates": 10 * i,
    }
    for i in range(20)
]
SB3 = "from stable_baselines3 import PPO\nPPO('MlpPolicy', 'E', n_steps=256, batch_size=64, n_epochs=%d, clip_range=%s, n_envs=1)"
CONTRADICTED = {
    "updates": (TRL_ROWS, "epsilon: 0.2\nnum_iterations: 16", "a rollout has 4 updates, by the configuration 16"),
    "trainer": (
        TRL_ROWS,
        f"{A}clip_ratio_low=0.2 data.train_batch_size=1024 {A}ppo_mini_batch_size=256",
        "TRL's and the configuration verl",
    ),
    "side off": (
        TRL_ROWS,
        "epsilon: 0.2\nepsilon_high: 1.0e+9\nnum_iterations: 4",
        "high_mean is up to 3.6 %, and that side is off",
    ),
    "width": (SB3_ROWS, SB3 % (10, 0.1), "train/clip_range is 0.2, and clip_range = 0.1"),
    "epochs": (SB3_ROWS, SB3 % (2, 0.2), "a rollout has 10 epochs, and by the configuration 8 updates"),
    "too many": (
        [r | {"clip_ratio/low_mean": 0.2, "clip_ratio/high_mean": 0.2} for r in TRL_ROWS],
        "num_iterations: 2",
        "more than the most",
    ),
}


@pytest.mark.parametrize("name", CONTRADICTED)
def test_a_log_that_contradicts_the_configuration_is_refused_and_diagnosed_first(name: str, tmp_path: Any) -> None:
    rows, text, message = CONTRADICTED[name]
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "sb3.py").write_text(text)
    config = read_config(tmp_path / "sb3.py") if "import" in text else read_config(text)
    with pytest.raises(SpecError, match=re.escape(message)) as refused:
        logged(config, path)
    assert str(refused.value).startswith(f"--log {path}")
    if name in ("trainer", "too many"):
        return
    first = diagnose(path, config=config).findings[0]
    assert (first.claim, first.level) == ("config", "error")
    assert message in first.answer
    assert "config" not in diagnose(path)


def test_a_split_that_noise_does_not_have_comes_first_and_is_refused_where_it_decides(tmp_path: Any) -> None:
    """One side six times the other: noise on this policy raises entropy at .2/.2, and shares that are mostly high lower it."""
    read = read_config("epsilon: 0.2\nnum_iterations: 4\nnum_generations: 8")
    with pytest.raises(SpecError, match=r"split otherwise than noise does .* That decides: .* raises entropy"):
        outlook(read, "flat", Shares(0.005, 0.03), policy=POLICY)
    merged = outlook(read, "flat", Shares(0.005, 0.03), policy=POLICY, split=False, widths=np.array([0.1, 0.2, 0.3]))
    assert merged.contradiction == ""
    found = outlook(read, "flat", Shares(0.03, 0.005), policy=POLICY, widths=np.array([0.1, 0.2, 0.3]))
    assert "split otherwise" in found.contradiction
    assert not any("split" in reason for reason in found.outside)
    (tmp_path / "run.yaml").write_text("epsilon: 0.2\nnum_iterations: 4\nnum_generations: 8")
    np.save(tmp_path / "logits.npy", -np.log(np.arange(1, 33))[None, :])
    call = ["predict", "--from", str(tmp_path / "run.yaml"), "--policy", str(tmp_path / "logits.npy"), "--noise"]
    assert CliRunner().invoke(app, [*call, "shares:.03:.005"]).stdout.startswith("Contradicted: the shares")


def test_a_trainer_with_one_width_is_told_of_no_other() -> None:
    found = outlook(read_config(SB3_ONE), "flat", 0.2, policy=POLICY)
    assert found.one_width == "clip_coef"
    assert set(found.neutral.values()) == {None}
    assert "cannot be balanced, as clip_coef is the width of both sides" in found.answer()
    assert "eps_" not in found.answer()
    assert "clip_coef = 0.28 instead" in found.answer()
    # Both sides are at the other width: fewer are clipped low, too.
    assert found.wider["natural"].share_low < found.now["natural"].share_low
    assert not any("eps_" in line for line in outlook_lines(found))


SB3_ONE = "clip_coef: 0.2\nupdate_epochs: 4\nnum_minibatches: 1\nexp_name: ppo"


def seen_from(folder: Any) -> dict[str, float]:
    found = outlook(read_config(CONFIG), "flat", 0.2, policy={"kind": "file", "path": str(folder / "logits.npy")})
    return {"share_low": found.now["natural"].share_low}


def test_a_converted_clip_is_no_forecast_of_its_run(tmp_path: Any) -> None:
    (tmp_path / "run.yaml").write_text(CONFIG)
    text = convert_command(tmp_path / "run.yaml", "entclip", None, None, None, None)
    assert "takes the shipped toy's" in text
    assert "takes the shipped toy's" not in convert_command(tmp_path / "run.yaml", "verl", None, None, None, None)


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        (f"{A}clip_ratio=0.1 {A}clip_ratio_c=3 actor_rollout_ref.rollout.n=8", "clip_ratio = 0.1 is not read"),
        (f"{A}clip_ratio=0.3 {A}clip_ratio_low=0.2 actor_rollout_ref.rollout.n=8", "clip_ratio = 0.3 is not read"),
        ("algorithm.adv_estimator=grpo actor_rollout_ref.rollout.n=1", "rollout.n = 1 with adv_estimator = grpo"),
        (f"{A}clip_ratio_low=0.2 {A}clip_ratio_high=0.3 actor_rollout_ref.rollout.n=8", ""),
    ],
)
def test_what_is_wrong_with_the_configuration_is_said_beside_the_forecast(settings, wrong):
    batches = f"data.train_batch_size=512 {A}ppo_mini_batch_size=128"
    said = left_out(read_config(f"python3 -m verl.trainer.main_ppo {batches} {settings}"), 0.1)
    assert any(line.startswith(f"what lint calls an error: {wrong}") for line in said) is bool(wrong)
