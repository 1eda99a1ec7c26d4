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


def test_several_batches_leave_the_count_open():
    found = _read("--multirun", mini="64,128")
    assert (found.liveness.alive, found.config.updates.count) == ("unknown", None)
    assert "64 or 128 (hydra's sweep has a run for each)" in found.config.updates.formula


@pytest.mark.parametrize("value", ["[a,b]", "0.3"])
def test_a_list_is_one_value(value):
    assert "sweep" not in _read(f"--multirun {A}clip_ratio_high=0.3 trainer.logger={value}").to_text(everything=True)


def test_without_a_sweep_several_values_are_refused():
    with pytest.raises(ValueError, match="must be a number"):
        _read(f"{A}clip_ratio_high=0.2,0.28")


@pytest.mark.parametrize("key", ["my_note", "ppo_notes", "tag"])
def test_a_key_beside_those_that_decide_is_no_slip_for_one(key):
    assert _read(f"+{A}{key}=test").config.doubtful == ()
