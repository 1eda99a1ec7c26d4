"""Several values for a key in one command of hydra are a sweep: what holds for all runs is said, and no value is refused."""

from __future__ import annotations

import pytest

from entclip.integrations.lint import lint, read_config
from tests.integrations.lint.answers import A


def _read(options, mini=64):
    return lint(
        read_config(f"python3 -m verl.trainer.main_ppo data.train_batch_size=256 {A}ppo_mini_batch_size={mini} {options}")
    )


@pytest.mark.parametrize("flag", ["--multirun", "-m", "hydra.mode=MULTIRUN"])
def test_several_widths_are_named_and_the_rest_is_answered(flag):
    found = _read(f"{flag} {A}clip_ratio_low=0.2 {A}clip_ratio_high=0.2,0.28,0.4")
    assert found.config.low.value == 0.2
    assert str(found.config.high.value) == "0.2 or 0.28 or 0.4 (hydra's sweep has a run for each)"
    assert (found.liveness.alive, found.config.updates.count) == ("yes", 4)
    assert "A width differs between runs of a sweep" in found.bias.text


def test_one_update_is_none_too_many_in_any_run():
    assert _read(f"--multirun {A}clip_ratio_high=0.2,0.28", mini=256).liveness.alive == "no"


@pytest.mark.parametrize(("mini", "counts", "alive"), [("64,128", "2 or 4", "yes"), ("64,256", "1 or 4", "unknown")])
def test_several_batches_have_a_count_each(mini, counts, alive):
    found = _read("--multirun", mini=mini)
    assert (found.liveness.alive, found.config.updates.count) == (alive, None)
    formula = f"= {counts} with data.train_batch_size = 256, {A}ppo_mini_batch_size = {mini.replace(',', ' or ')} (hydra's sweep"
    assert formula in found.config.updates.formula


@pytest.mark.parametrize(
    ("script", "counts"),
    [
        ("if h100; then M=128; elif a100; then M=64; else exit 1; fi", "2 or 4"),
        ("if h100; then M=128; else M=64; fi", "2 or 4"),
        ("M=64\nif h100; then M=128; fi", "2 or 4"),
        ("M=64\nif h100; then M=128; elif a100; then M=32; fi", "2 or 4 or 8"),
        ("if h100; then M=128; if small; then M=32; fi; else M=64; fi", "2 or 4 or 8"),
        ("M=64\ncase $(hostname) in h*) M=128 ;; esac", "2 or 4"),
        ("if h100; then M=128; else M=$OTHER; fi", None),
        ("if h100; then M=128; fi", None),
        ("M=64\nif h100; then M=128; fi\nwiden() { M=32; }\nwiden\nwiden", None),
    ],
)
def test_a_batch_that_a_condition_sets_has_a_count_each(script, counts):
    found = lint(read_config(f"{script}\npython3 -m verl.trainer.main_ppo data.train_batch_size=256 {A}ppo_mini_batch_size=$M\n"))
    assert found.config.updates.count is None
    assert found.liveness.alive == ("unknown" if counts is None else "yes")
    assert counts is None or f" = {counts} with " in found.config.updates.formula


@pytest.mark.parametrize("value", ["[a,b]", "0.3"])
def test_a_list_is_one_value(value):
    assert "sweep" not in _read(f"--multirun {A}clip_ratio_high=0.3 trainer.logger={value}").to_text(everything=True)


def test_without_a_sweep_several_values_are_refused():
    with pytest.raises(ValueError, match="must be a number"):
        _read(f"{A}clip_ratio_high=0.2,0.28")


@pytest.mark.parametrize("key", ["my_note", "ppo_notes", "tag"])
def test_a_key_beside_those_that_decide_is_no_slip_for_one(key):
    assert _read(f"+{A}{key}=test").config.doubtful == ()
