"""Scores: Student's t, skewness and antithetic pairs allowed for; a run that leaves float64 says why."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from entclip.engines.accounting import RunawayError
from entclip.experiments.experiment import parse_experiment
from entclip.ledger.arm import IdentityError, _skewness, standard_error
from entclip.ledger.verdict import judge, normal_score
from entclip.runs.runner import run

SMALL = {
    "name": "small",
    "policy": {"kind": "zipf", "vocab": 16, "contexts": 4},
    "reward": {"kind": "rademacher"},
    "advantage": {"kind": "independent"},
    "update": {"geometry": "natural", "learning_rate": 0.1, "batch": 256, "minibatches": 4, "rollouts": 1},
    "arm": [{"name": "both", "objective": "clip"}],
}


def test_a_score_has_the_tail_of_a_normal_one() -> None:
    """The same tail probability under Student's t and under the normal, whatever the number of units."""
    for units in (2, 5, 29, 30, 512):
        for t in (-5.0, 0.3, 4.0):
            score = normal_score(t, units, None)
            assert math.isclose(stats.norm.sf(score), stats.t.sf(t, units - 1), rel_tol=1e-9)
    assert normal_score(5.0, None, None) == 5.0
    assert normal_score(-200.0, 10**6, None) == -200.0  # no float64 tail: stays beyond every limit


def test_skewed_units_are_given_their_tail() -> None:
    """Means of 64 exponential units: without the correction one tail holds 3 to 8 times what it should."""
    rng = np.random.default_rng(0)
    unit = rng.standard_exponential((40_000, 64)) - 1
    t = unit.mean(1) / (unit.std(1, ddof=1) / 8)
    skewness = np.array([_skewness(u, False) for u in unit])
    scores = np.array([normal_score(x, 64, g) for x, g in zip(t, skewness, strict=True)])
    expected = len(t) * stats.norm.sf(2.5)
    se = math.sqrt(expected)

    def beyond(values: np.ndarray) -> tuple[int, int]:
        return int(np.sum(values < -2.5)), int(np.sum(values > 2.5))

    raw, corrected = beyond(t), beyond(scores)
    assert raw[0] > expected + 5 * se  # the check has power: the uncorrected score fails it
    assert raw[1] < expected - 5 * se
    # The expansion is of order 1/n: at 64 exponential units it leaves less than half of the excess.
    assert abs(corrected[0] - expected) < (raw[0] - expected) / 2
    assert abs(corrected[1] - expected) < (expected - raw[1]) / 2


def test_skewness_by_hand_and_in_pairs() -> None:
    values = np.array([0.0, 0.0, 0.0, 4.0])
    assert math.isclose(_skewness(values, False) or 0, (3 * -1 + 27) / 4 / 3**1.5)
    assert math.isclose(_skewness(1e-200 * values, False) or 0, (3 * -1 + 27) / 4 / 3**1.5)
    assert _skewness(np.array([1.0, 2.0]), False) is None
    assert _skewness(np.ones(5), False) is None
    paired = np.array([1.0, 2.0, 9.0, 5.0, 4.0, 1.0])  # pairs (1, 5), (2, 4), (9, 1): means 3, 3, 5
    assert math.isclose(_skewness(paired, True) or 0, _skewness(np.array([3.0, 3.0, 5.0]), False) or 1)


def test_mirrored_partners_are_one_unit() -> None:
    update = {"replicas": 6, "antithetic": True}
    ledger = run(parse_experiment(SMALL | update))
    arm = ledger.summary()["arms"]["both"]
    assert arm["units"] == 4 * 3
    measured = ledger.arms["both"].totals["measured"]
    assert len(measured) == 24
    assert arm["measured_se"] == standard_error(measured, True)


def test_a_runaway_says_what_ran_away() -> None:
    """CISPO keeps c = (1 - eps_low) A while a natural step divides by pi: a falling action falls ever faster."""
    wild = SMALL | {
        "policy": {"kind": "dirichlet", "alpha": 1.0, "vocab": 16, "contexts": 512},
        "update": {"geometry": "natural", "learning_rate": 0.3, "batch": 256, "minibatches": 12, "rollouts": 1},
        "arm": [{"name": "cispo", "objective": "cispo", "low": 0.2, "high": 0.2}],
    }
    with pytest.raises(RunawayError, match=r"Cispo keeps a bounded weight.*learning_rate") as caught:
        run(parse_experiment(wild))
    assert not isinstance(caught.value, IdentityError)


@pytest.mark.parametrize(("events", "verdict"), [(0, "inconclusive"), (9, "inconclusive"), (10, "reject"), (1000, "reject")])
def test_a_clip_that_hardly_acted_is_not_judged(events: int, verdict: str) -> None:
    """Without a clipped sample the realised term is 0 and its error is that of the expectation alone."""
    arm: dict[str, object] = {"measured_se": 0.1, "units": 100, "clip_events_high": events, "clip_events_low": 0}
    for part in ("unclipped", "clip_low", "clip_high", "other", "curvature"):
        arm |= {part: 0.0, f"expected_{part}": 0.0, f"residual_{part}_se": 0.0}
    arm |= {"expected_clip_high": -1e-4, "residual_clip_high_se": 5e-6}
    judged = judge(arm)
    assert judged["verdict_clip_high"] == verdict
    assert judged["verdict"] == verdict
    curvature = arm | {"expected_clip_high": 0.0, "expected_curvature": -1e-4, "residual_curvature_se": 5e-6}
    assert judge(curvature)["verdict"] == "reject"  # curvature needs no clip


@pytest.mark.parametrize(("rare", "verdict"), [(0.0, "reject"), (1e-8, "inconclusive"), (5e-14, "reject")])
def test_theory_s_error_judges_where_nothing_scattered(rare: float, verdict: str) -> None:
    """Rewards of probability 1e-9: none was drawn, and the squares of what is left are rounding."""
    arm: dict[str, object] = {"measured_se": 0.1, "units": 6, "clip_events_low": 0, "clip_events_high": 0}
    for part in ("unclipped", "clip_low", "clip_high", "other", "curvature"):
        arm |= {part: 0.0, f"expected_{part}": 0.0, f"residual_{part}_se": 0.0}
    arm |= {"curvature": -3e-21, "expected_curvature": -3e-12, "residual_curvature_se": 7e-22, "curvature_rare_se": rare}
    judged = judge(arm)
    assert judged["verdict_curvature"] == verdict
    assert ("why_curvature" in judged) == (verdict == "inconclusive")


def test_clip_events_are_counted_over_all_units() -> None:
    ledger = run(parse_experiment(SMALL | {"replicas": 3}))
    arm = ledger.summary()["arms"]["both"]
    rows = ledger.to_frame()
    assert math.isclose(arm["clip_events_high"], rows["clip_count_high"].sum() * 12)
    assert arm["clip_events_high"] == round(arm["clip_events_high"]) > 0
