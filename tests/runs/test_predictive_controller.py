"""The predictive controller: what it takes from the books, which way it goes, and that it holds entropy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from entclip.controllers.base import Memory, Observed
from entclip.controllers.predictive import Predictive
from entclip.controllers.response import measured_response
from entclip.runs.result import Ledger
from entclip.runs.runner import run
from tests.runs.controlled import CLIP, RULES, experiment, rows_of, updated


def test_response_of_normal_log_ratios_is_recovered() -> None:
    """Rows made of an exact normal law: the response at another width is that law's, by integration."""
    from scipy.integrate import quad
    from scipy.stats import norm

    noise, true, edge = np.sqrt(np.arange(8)) * 0.05, 1.3, 0.2
    laws = [norm(scale=s * true) for s in noise[1:]]
    beyond = [0.0, *(float(law.sf(edge)) for law in laws)]
    rows = [
        {"log_ratio_sq": s**2, "pi_low": p, "pi_high": 0.0, "clip_low": 0.4 * p, "clip_high": 0.0, "curvature": 0.0}
        for s, p in zip(noise, beyond, strict=True)
    ]
    found = measured_response(rows, "low", edge, 1.0)
    assert found.scale == pytest.approx(true, rel=1e-9)
    assert found.beyond == pytest.approx(math.fsum(beyond), rel=1e-12)
    assert found.effect == pytest.approx(0.4 * math.fsum(beyond), rel=1e-12)
    for other in (0.1, 0.3):
        at = np.asarray(other)
        assert float(found.reach(at)) == pytest.approx(math.fsum(law.sf(other) for law in laws), rel=1e-8)
        moment = math.fsum(quad(lambda x, law=law: x * law.pdf(x), other, np.inf, epsabs=1e-13)[0] for law in laws)
        assert float(found.moment(at)) == pytest.approx(moment, rel=1e-7)
    nothing = measured_response(rows, "high", edge, 1.0)
    assert (nothing.beyond, nothing.effect) == (0.0, 0.0)


@pytest.mark.parametrize("sides", ["low", "high", "both"])
@pytest.mark.parametrize("turned", [1.0, -1.0])
def test_predictive_goes_the_way_that_was_measured(sides: Any, turned: float) -> None:
    """Below the target a side whose clip raises entropy gets tighter and one whose clip lowers it wider; with the signs of both
    turned the other way round."""
    rule = Predictive(sides=sides)
    seen = Observed(0, 9, 1.995, rows_of(clip=0.001 * turned, measured=0.0, curvature=0.0))
    now = rule.settings(rule.update(rule.start(CLIP, 2.0), seen))
    if sides != "high":
        assert (now["low"] < 0.2) is (turned > 0)
    if sides != "low":
        assert (now["high"] > 0.2) is (turned > 0)


def test_predictive_says_where_no_width_holds() -> None:
    rule = Predictive()
    assert updated(rule, CLIP, 1.99)["can_hold"] == 1.0
    lost = updated(rule, CLIP, 0.5)
    assert lost["can_hold"] == 0.0
    assert rule.columns(lost)["can_hold"] == 0.0
    assert rule.settings(lost)["low"] == pytest.approx(-math.expm1(-0.02))  # as tight as it may be
    unclipped = rows_of(pi=0.0, clip=0.0)
    assert updated(rule, CLIP, 1.9, rows=unclipped)["low_edge"] == pytest.approx(0.2)  # looks at the noise of the rollout
    looked = updated(rule, CLIP, 1.9, rows=unclipped)
    assert looked["can_hold"] == 1.0
    again = rule.update(looked, Observed(1, 9, 1.9, unclipped))
    assert again["can_hold"] == 0.0, "nothing is clipped at the noise itself"
    assert updated(rule, CLIP, 1.9, rows=unclipped[:1])["can_hold"] == 0.0, "one update in a rollout: nothing moves before it"


def test_predictive_follows_what_it_missed_on_the_same_side_and_smooths_what_it_missed_to_and_fro() -> None:
    """By hand: half of an error, and all of it where the errors before were of one sign."""
    rule = Predictive()

    def rest(changes: list[float]) -> float:
        memory = rule.start(CLIP, 2.0)
        for k, change in enumerate(changes):  # both sides' causes add up to 0
            rows = rows_of(measured=change / 6, curvature=0.0)
            memory = rule.update(memory, Observed(k, 9, 2.0, rows)) | {"low_edge": -math.log1p(-0.2)}
        return memory["rest"]

    assert rest([0.001]) == pytest.approx(0.001)
    assert rest([0.001, 0.003]) == pytest.approx(0.002), "half of an error"
    assert rest([0.001, 0.003, 0.004]) == pytest.approx(0.003), "of the first error alone nothing follows"
    # Errors .002, .002 and .004: the smoothed error .0015 of sizes .002.
    assert rest([0.001, 0.003, 0.004, 0.007]) == pytest.approx(0.003 + 0.75 * 0.004), "the third on the same side"
    # Errors .002, -.004 and -.001: the smoothed error -.0015 of sizes .003.
    assert rest([0.001, 0.003, -0.002, -0.001]) == pytest.approx(0.0 - 0.5 * 0.001), "to and fro"


def test_predictive_learns_a_worth_from_rollouts_by_how_much_they_clipped() -> None:
    """A rollout that clipped little counts little, whatever its cause was; one that clipped nothing leaves the worth as it is. A
    side of little worth is hardly moved."""
    rule = Predictive(sides="both")

    def worth(memory: Memory) -> float:
        return memory["low_effect"] / memory["low_moment"]

    full = rows_of(measured=0.0, curvature=0.0)
    start = rule.start(CLIP, 2.0)
    memory = rule.update(start, Observed(0, 9, 1.995, full))
    first = measured_response(full, "low", start["low_edge"], 1.0)
    moment = float(first.moment(np.asarray(start["low_edge"])))
    assert worth(memory) == pytest.approx(6 * 0.001 / moment)
    scant = rows_of(pi=2e-5, clip=-1e-4, measured=0.0, curvature=0.0)
    second = measured_response(scant, "low", memory["low_edge"], memory["low_scale"])
    little = float(second.moment(np.asarray(memory["low_edge"])))
    assert little < moment / 100
    after = rule.update(memory, Observed(1, 9, 1.995, scant))
    assert worth(after) == pytest.approx((0.25 * 6 * 0.001 - 0.5 * 6 * 1e-4) / (0.25 * moment + 0.5 * little))
    none = rule.update(memory, Observed(1, 9, 1.995, rows_of(pi=0.0, clip=0.0, measured=0.0, curvature=0.0)))
    assert worth(none) == pytest.approx(worth(memory))
    lame = [row | {"clip_high": 0.01 * row["clip_high"]} for row in full]
    moved = rule.update(start, Observed(0, 9, 1.995, lame))
    steps = {side: abs(math.log(moved[f"{side}_edge"] / start[f"{side}_edge"])) for side in ("low", "high")}
    ratio = float(first.moment(np.asarray(start["low_edge"]))) / float(
        measured_response(full, "high", start["high_edge"], 1.0).moment(np.asarray(start["high_edge"]))
    )
    assert steps["high"] == pytest.approx(0.01 * steps["low"] * ratio, rel=1e-6)


def test_predictive_stands_still_where_that_is_nearer_than_any_width() -> None:
    """A trend that no width can meet, and a target near where the entropy stands; of six updates the first alone would act."""
    rows = rows_of(measured=-0.5, curvature=0.0)
    trend = math.fsum(row["measured"] for row in rows)
    both = Predictive(sides="both")
    lost = both.update(both.start(CLIP, 2.0), Observed(0, 9, 1.9, rows))
    assert (lost["can_hold"], lost["still"]) == (0.0, 1.0)
    assert abs(trend / 6 - 0.1) < lost["miss"]
    assert both.settings(lost) == pytest.approx({"low": -math.expm1(-1e-3), "high": math.expm1(1e-3)}, rel=1e-12)
    above = both.update(both.start(CLIP, 2.0), Observed(0, 9, 12.0, rows))  # far above: to fall is what is wanted
    assert (above["can_hold"], above["still"]) == (0.0, 0.0)
    one = Predictive()
    assert one.update(one.start(CLIP, 2.0), Observed(0, 9, 1.9, rows))["still"] == 0.0


@pytest.fixture(scope="module")
def held() -> Ledger:
    """One run with common random numbers: no controller, and three rules."""
    arms: dict[str, Any] = {name: RULES[name] for name in ("predictive", "predictive_both", "pi")}
    arms |= {"fixed": ({}, {}), "thermostat": ({"kind": "thermostat"}, {})}
    update = {"learning_rate": 0.1, "batch": 2048, "minibatches": 32, "rollouts": 14}
    return run(experiment(arms, policy={"vocab": 64, "contexts": 12}, update=update), jobs=1)


def errors(ledger: Ledger, arm: str) -> np.ndarray:
    """|H - target| after each rollout."""
    rows = ledger.arms[arm].summaries
    return np.abs([row["entropy"] - rows[0]["entropy_before"] for row in rows])


@pytest.mark.parametrize("arm", ["predictive", "predictive_both"])
def test_predictive_holds_entropy_better_than_rules_of_thumb(held: Ledger, arm: str) -> None:
    settled = slice(6, None)
    mine = errors(held, arm)[settled]
    target = held.arms[arm].summaries[0]["entropy_before"]
    assert np.max(mine) < 0.02 * target
    for other in ("thermostat", "pi", "fixed"):
        assert np.mean(mine) <= np.mean(errors(held, other)[settled]) / 2, other
