"""No error rests on a default that something which is not read, or not known, could set; nor does what is converted."""

from __future__ import annotations

import pytest

from entclip.integrations.lint import lint, read_config
from entclip.integrations.lint.notation import convert
from tests.integrations.lint.answers import A

SLIME = "python3 train.py --rollout-temperature 1 --colocate --num-rollout 9 --advantage-estimator grpo --eps-clip 0.2"
VERL = "python3 -m verl.trainer.main_ppo algorithm.adv_estimator=grpo"
DATA = "data.train_batch_size=64 actor_rollout_ref.actor.ppo_mini_batch_size=32 actor_rollout_ref.rollout.n=8"
TRL = "from trl import GRPOConfig\nGRPOConfig(num_iterations=2, "


@pytest.mark.parametrize(
    ("text", "rule", "rest"),
    [
        (f"{SLIME} REST", "singleton-group", "$EXTRA"),
        (f"{SLIME} REST", "singleton-group", '"$@"'),
        (f"{SLIME} REST", "singleton-group", "${MORE[@]}"),
        (f"{VERL} REST", "singleton-group", "$OPTS"),
        (f"{VERL} {DATA} {A}clip_ratio=0.3 {A}clip_ratio_high=0.28 REST", "verl-clip-ratio-dead", "$(options)"),
        (f"{VERL} {DATA} {A}clip_ratio_low=0.8 {A}clip_ratio_high=1.28 REST", "absolute-widths", "$EXTRA"),
        ("trl grpo --num_iterations 2 --loss_type cispo REST", "trl-cispo-bound", "$EXTRA"),
        (f"{TRL}loss_type='cispo', REST)", "trl-cispo-bound", "**options"),
        ("loss_type: cispo\nnum_generations: 8\nnum_iterations: 2\nREST\n", "trl-cispo-bound", "clip_schedule: cosine"),
        ("epsilon: 0.8\nepsilon_high: 1.28\nnum_iterations: 2\nREST\n", "absolute-widths", "config: base.yaml"),
    ],
)
def test_an_error_that_rests_on_a_default_is_said_under_its_condition(text, rule, rest):
    alone = lint(read_config(text.replace(" REST", "").replace("REST", "")))
    assert {f.id: f.severity for f in alone.findings}[rule] == "error"
    assert alone.amiss
    got = lint(read_config(text.replace("REST", rest)))
    finding = next(f for f in got.findings if f.id == rule)
    assert finding.severity == "warn"
    assert finding.message.startswith('If nothing is given for "$@": ' if "@" in rest and "MORE" not in rest else "Unless ")
    assert not any(f.severity == "error" for f in got.findings)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (f"{SLIME} --n-samples-per-prompt 1 $EXTRA", ""),
        ("trl grpo --num_iterations 2 --epsilon 0.8 --epsilon_high 1.28 --loss_type grpo $EXTRA", "absolute-widths"),
        ("trl grpo --num_iterations 2 --loss_type cispo --epsilon_high 0.28 $EXTRA", "trl-cispo-bound"),
        ("trl grpo --num_generations 1 $EXTRA", "singleton-group"),
        ("trl grpo --loss_type grop $EXTRA", "unknown-loss"),
    ],
)
def test_an_error_of_what_is_set_stays_one(text, rule):
    """A switch that could take it back, here slime's disable_rewards_normalization, makes it conditional, too."""
    got = {f.id: f.severity for f in lint(read_config(text)).findings}
    assert got[rule or "singleton-group"] == ("error" if rule else "warn")


@pytest.mark.parametrize("rest", ["$EXTRA", "${MORE[@]}", "$(options)"])
def test_a_width_that_may_be_set_elsewhere_is_no_fact(rest):
    """One width stands for both sides only as long as the other is not set."""
    read = read_config(f"{SLIME} {rest}")
    assert read.resting == {"high": "eps_clip_high"}
    assert "eps_low = 0.2, eps_high = 0.2 * (* default, if nothing else sets it)" in " ".join(lint(read).to_text().split())
    with pytest.raises(ValueError, match=r"may hold settings .* and eps_clip_high would be the library's default"):
        convert(read, "trl")
    both = read_config(f"{SLIME} --eps-clip-high 0.28 {rest}")
    assert both.resting == {}
    assert "epsilon_high: 0.28" in convert(both, "trl")
    pair = read_config(f"python3 -m openrlhf.cli.train_ppo_ray --actor.eps_clip_low_high 0.2 0.3 {rest}")
    assert pair.resting == {}


@pytest.mark.parametrize(
    ("flags", "loose"),
    [
        ("--colocate $EXTRA", True),
        ("--colocate ${EXTRA_ARGS}", True),
        ('--colocate "${more[@]}"', True),
        ("--eps-clip $EPS", False),
        ("--colocate ${MODEL_ARGS[@]}", False),
        ("--lr 1e-6 ${MODEL_ARGS[@]} $REST", True),
    ],
)
def test_what_stands_for_several_words_is_no_value_of_a_flag(flags, loose):
    assert bool(read_config(f"{SLIME} {flags}").elsewhere) is loose


def test_json_has_no_default_as_a_fact():
    for rest, count in (("$EXTRA", None), ("--num-steps-per-rollout 4 $EXTRA", 4), ("", 1)):
        text = f"{SLIME} --rollout-batch-size 32 --global-batch-size 32 {rest}"
        got = lint(read_config(text)).to_json()
        assert got["updates_per_rollout"] == count
        assert got["bounds"]["low"]["explicit"] is True
        assert got["bounds"]["high"]["explicit"] is (rest == "")
    set_all = "trl grpo --num_iterations 2 --steps_per_generation 4 --gradient_accumulation_steps 4 --epsilon 0.2 $EXTRA"
    assert lint(read_config(set_all)).to_json()["updates_per_rollout"] == 2


def test_a_cap_by_default_is_not_converted_beside_what_is_not_read():
    text = f"{VERL} {DATA} {A}clip_ratio_low=0.2 {A}clip_ratio_high=0.28 $EXTRA"
    with pytest.raises(ValueError, match=r"clip_ratio_c would be the library's default"):
        convert(read_config(text), "trl")
    assert "delta: 5" in convert(read_config(f"{text} {A}clip_ratio_c=5"), "trl")


@pytest.mark.parametrize(
    ("key", "unread"),
    [
        ("grpo_math_1B.yaml", False),
        ("../../examples/configs/grpo_math_1B.yaml", False),
        ("grpo_math_8B.yaml", True),
        ("my_grpo_math_1B.yaml", True),
    ],
)
def test_the_file_that_has_the_librarys_defaults_holds_nothing_else(key, unread):
    found = lint(read_config(f"defaults: {key}\nloss_fn:\n  ratio_clip_min: 0.1\n  ratio_clip_max: 0.3\n"))
    assert bool(found.config.elsewhere) is unread
    assert ("settings-elsewhere" in {f.id for f in found.findings}) is unread


@pytest.mark.parametrize(
    ("masks", "bounds", "alive"),
    [
        ("dppo_mask_low = 0.15\ndppo_mask_high = 0.3", (0.15, 0.3), "yes"),
        ("dppo_mask_high = 0.3", (0.2, 0.3), "yes"),
        ("kl_tau = 0.0", (None, None), "unknown"),
    ],
)
def test_a_mask_that_an_older_version_is_given_is_its_bound(masks, bounds, alive):
    found = lint(read_config(f"[trainer.loss]\n{masks}\n[orchestrator]\nrollouts_per_example = 16\n"))
    assert (found.config.low.value, found.config.high.value) == bounds
    assert found.liveness.alive == alive
    assert "older-version" in {f.id for f in found.findings}
