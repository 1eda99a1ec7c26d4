"""A clip that acts in a part of the run: found where it goes on and off, and nowhere else; rows without a number."""

from __future__ import annotations

import math

import numpy as np
import pytest

from entclip.integrations.diagnose import diagnose
from entclip.integrations.diagnose.regimes import stretches


def _shares(rows=96, seed=5):
    return 0.004 * (1 + 0.1 * np.random.default_rng(seed).standard_normal(rows))


def _saw(rows=96):
    return _shares(rows) * np.array([0.0, 0.5, 0.8, 1.0])[np.arange(rows) % 4]


@pytest.mark.parametrize("base", [_shares(), _saw()], ids=["even", "sawtooth"])
@pytest.mark.parametrize("level", [0.0, 0.004])
@pytest.mark.parametrize(
    ("off", "found"),
    [
        (slice(0, 60), [(0, False), (60, True)]),
        (slice(32, None), [(0, True), (32, False)]),
        (slice(28, 64), [(0, True), (28, False), (64, True)]),
        (slice(16, 96), [(0, True), (16, False)]),
    ],
)
def test_where_the_clip_goes_on_and_off(base, off, found, level):
    """To the row where rows have events; a sawtooth's border is at its first update, which never has any."""
    x = base.copy()
    x[off] *= level
    got = stretches(x, 4 if base[0] == 0 else 1)
    assert [part.acts for part in got] == [acts for _, acts in found]
    assert all(abs(part.first - first) <= 1 for part, (first, _) in zip(got, found, strict=True))
    assert got[-1].last == 95


def test_rows_without_a_number_are_no_stretch():
    x = _shares()
    x[:48] = 0
    x[::5] = np.nan
    assert [(part.first, part.acts) for part in stretches(x)] == [(1, False), (48, True)]
    x = _shares()
    x[:40] = np.nan
    assert stretches(x) == ()


@pytest.mark.parametrize(
    "x",
    [
        _shares(),
        _saw(),
        np.zeros(96),
        1e-5 * np.exp(np.arange(96) / 12),  # grows a thousandfold
        4e-3 * np.exp(-np.arange(96) / 12),
        _shares() * (np.arange(96) // 12 % 2),  # on and off
        np.concatenate([_shares(92), np.zeros(4)]),  # shorter than two blocks
        np.round(np.linspace(1e-4, 1.2e-3, 96), 3),  # a console's three decimals
        np.where(np.arange(240) % 3 == 0, 1e-3, 0.0) * (np.arange(240) > 20),  # twenty rows of a kind that two in three are
    ],
    ids=["even", "sawtooth", "dead", "grows", "fades", "blinks", "short", "rounded", "rare"],
)
def test_what_is_no_other_regime(x):
    assert stretches(x) == ()


def test_a_share_of_several_last_decimals_is_no_rounding():
    x = np.round(_shares(), 3) * (np.arange(96) >= 48)
    assert [(part.first, part.acts) for part in stretches(x)] == [(0, False), (48, True)]


def _log(low, high=None, **more):
    high = low if high is None else high
    return [
        {"clip_ratio/low_mean": low[i], "clip_ratio/high_mean": high[i], "entropy": 0.5 - 0.002 * i}
        | {name: column[i] for name, column in more.items()}
        for i in range(len(low))
    ]


def test_numbers_of_the_clip_are_of_the_rows_where_it_acts():
    """The share where it acts, not half of it; the noise and the bound are those of these rows by themselves."""
    x = _saw()
    late = np.concatenate([np.zeros(96), x])
    found, alone = diagnose(_log(late)), diagnose(_log(x, entropy=[0.5 - 0.002 * i for i in range(96, 192)]))
    assert found["clip"].labels == ("both", "part-time")
    assert found["clip"].level == "warn"
    assert "acts in records 98 to 192 (95 rows) and does nothing in 1 to 97 (97 rows)" in found["clip"].answer
    assert found["inner-steps"].answer == alone["inner-steps"].answer
    assert found["noise"].answer == alone["noise"].answer
    assert found["clip"].evidence[0].value == pytest.approx(alone["clip"].evidence[0].value * 96 / 95)
    bounds = [each["cause"].evidence[0].value for each in (found, alone)]
    # One row of 96, the first update of a rollout, counts in the one and not in the other: in the share and in the rollouts.
    assert bounds[0] == pytest.approx(bounds[1], rel=2 / 96)


def test_a_row_without_a_number_hides_no_sawtooth():
    x = _saw()
    low = x.copy()
    low[30] = math.nan
    found = diagnose(_log(low, x))
    assert found["inner-steps"].labels == ("sawtooth", "4")
    assert found["gaps"].level == "info"
    assert "clip_ratio/low_mean in 1 of 96 (record 31)" in found["gaps"].answer
    assert found["clip"].labels == ("both",)
    # No row has half of its events taken for all of them.
    assert found["inner-steps"].evidence[2].value == pytest.approx(2 * np.mean(np.delete(x[2::4], 7)))


def test_rows_without_numbers_are_worth_a_warning_where_an_update_made_none_or_they_are_many():
    x = _saw()
    made = [0.5] * 96
    made[10] = math.inf
    assert diagnose(_log(x, entropy=made))["gaps"].level == "warn"
    assert diagnose(_log(x, kl=[math.nan if i % 5 == 0 else 0.1 for i in range(96)]))["gaps"].level == "warn"
    assert "gaps" not in diagnose(_log(x, kl=[math.nan] * 96))


def test_unknown_updates_per_rollout_are_a_range():
    """Neither log nor configuration tells: the bound is of every number from 2 to 64, and with it known it is inside."""
    rows = [{"clip_ratio/region_mean": 0.0035, "entropy": 0.5 - 0.008 * i + 1e-3 * (i % 3), "step": i + 1} for i in range(40)]
    open_ = diagnose(rows)
    assert open_["cause"].labels == ("clip-could", "open", "side-unknown")
    assert "of 2 to 64 updates" in open_["noise"].answer
    for updates in (2, 16, 64):
        config = f"num_generations: 8\nnum_iterations: {updates}\nepsilon: 0.2"
        known = diagnose(rows, config=config)
        assert abs(known["cause"].evidence[1].value) <= abs(open_["cause"].evidence[1].value)
        assert "updates:" not in known["noise"].answer


def test_no_width_is_advised_where_the_noise_rejects_the_assumed_ones():
    rows = [
        {"clip_ratio/low_mean": 0.09 * (i % 4), "clip_ratio/high_mean": 0.05 * (i % 4), "entropy": 0.4 - 0.002 * i}
        for i in range(40)
    ]
    found = diagnose(rows)
    assert found["change"].labels == ("not-settled",)
    assert "Give --config" in found["change"].answer


def test_episodes_are_no_rollouts():
    rows = [{"policy/clipfrac_avg": 0.03, "policy/entropy_avg": 0.6 - 0.01 * i, "episode": 64 * (i + 1)} for i in range(20)]
    assert diagnose(rows).rollouts == 20
