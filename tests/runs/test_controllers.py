"""Controllers: what they set, that the books say it, that a resumed run is the same, and that the predictive one holds."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from entclip.controllers.adaptive_bonus import AdaptiveBonus, Doubling
from entclip.controllers.base import Controller, Memory, Observed
from entclip.controllers.bounds import Adapo, Bapo
from entclip.controllers.entropic import EntropicControl
from entclip.controllers.predictive import Predictive
from entclip.controllers.proportional import Proportional
from entclip.controllers.response import measured_response
from entclip.controllers.schedules import FlexibleSchedule
from entclip.controllers.thermostat import Thermostat
from entclip.experiments.experiment import Experiment, parse_experiment
from entclip.ledger.folder import read_frame
from entclip.objectives.base import Objective
from entclip.objectives.catalogue import objective
from entclip.prediction.meanfield import predict
from entclip.runs.result import Ledger
from entclip.runs.runner import run
from entclip.support.errors import SpecError

CLIP = objective("clip", low=0.2, high=0.2)
FLEXIBLE = objective("flexible")
RULES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "predictive": ({"kind": "predictive"}, {}),
    "predictive_both": ({"kind": "predictive", "sides": "both"}, {}),
    "pi": ({"kind": "pi"}, {}),
    "thermostat": ({"kind": "thermostat", "band": 0.0}, {}),
    "adaptive_bonus": ({"kind": "adaptive_bonus", "target": 9.0}, {"objective": "entropy_bonus"}),
    "repo": ({"kind": "repo"}, {"objective": "repo_r"}),
    "adapo": ({"kind": "adapo"}, {}),
    "bapo": ({"kind": "bapo", "rho": 0.6}, {}),
    "entropic": ({"kind": "entropic", "target": 9.0}, {"objective": {"kind": "entropic", "threshold": 0.05}, "low": None}),
    "flexible": ({"kind": "flexible", "schedule": "did"}, {"objective": {"kind": "flexible"}, "low": None}),
}


def experiment(arms: dict[str, tuple[dict[str, Any], dict[str, Any]]], **changes: Any) -> Experiment:
    """A small run with these arms; the natural step and widths at which both sides clip."""
    rows = []
    for name, (rule, own) in arms.items():
        arm = {"name": name, "low": 0.2, "high": 0.2} | own | {"controller": rule}
        if arm["low"] is None:
            del arm["low"], arm["high"]
        rows.append(arm if rule else {k: v for k, v in arm.items() if k != "controller"})
    update = {"learning_rate": 0.3, "batch": 256, "minibatches": 6, "rollouts": 3}
    data: dict[str, Any] = {"policy": {"kind": "dirichlet", "vocab": 16, "contexts": 6}, "update": update, "arm": rows}
    for key, value in changes.items():
        data[key] = data.get(key, {}) | value if isinstance(value, dict) else value
    return parse_experiment(data)


def rows_of(
    pi: float = 0.02, clip: float = 0.001, noise: float = 0.2, measured: float = -0.002, **more: float
) -> list[dict[str, Any]]:
    row = {"pi_low": pi, "pi_high": pi, "clip_low": clip, "clip_high": -clip, "measured": measured, "curvature": -1e-4}
    row |= {"log_ratio_sq": noise**2, "count_plus": 10.0, "count_minus": 10.0, "removed_plus": 2.0, "removed_minus": 1.0} | more
    return [row | {"log_ratio_sq": 0.0, "pi_low": 0.0, "pi_high": 0.0}, *([row] * 5)]


def updated(rule: Controller, base: Objective, entropy: float, start: float = 2.0, rollout: int = 0, rows: Any = None) -> Memory:
    seen = Observed(rollout, 10, entropy, rows_of() if rows is None else rows)
    return rule.update(rule.start(base, start), seen)


# ---- the rules, against their formulas --------------------------------------------------------------------------------------


def test_thermostat_has_hysteresis() -> None:
    rule = Thermostat(target=2.0, band=0.1, tight=0.05, wide=0.4)
    memory = rule.start(CLIP, 5.0)
    found = []
    for entropy in (2.05, 1.89, 1.95, 2.05, 2.11, 1.95, 1.8):
        memory = rule.update(memory, Observed(0, 9, entropy, []))
        found.append(rule.settings(memory)["low"])
    assert found == [0.2, 0.05, 0.05, 0.05, 0.4, 0.4, 0.05]


def test_pi_adds_both_parts_and_does_not_wind_up() -> None:
    rule = Proportional(target=2.0, k_p=0.5, k_i=0.1, least=0.1)
    memory = rule.update(rule.start(CLIP, 5.0), Observed(0, 9, 2.1, []))
    assert rule.settings(memory)["low"] == pytest.approx(0.2 + 0.5 * 0.1 + 0.1 * 0.1)
    memory = rule.update(memory, Observed(1, 9, 2.0, []))
    assert rule.settings(memory)["low"] == pytest.approx(0.2 + 0.1 * 0.1)
    for _ in range(50):  # far below: at its end, where the sum stands still
        memory = rule.update(memory, Observed(1, 9, 1.0, []))
    assert rule.settings(memory)["low"] == 0.1
    assert memory["sum"] == pytest.approx(0.1)


def test_entropic_is_the_papers_rule() -> None:
    base = objective("entropic")
    rule = EntropicControl(target=1.0, k_p=0.5, k_i=0.1)
    memory = updated(rule, base, 1.2)
    assert rule.settings(memory)["alpha"] == pytest.approx(0.5 * 0.2 + 0.1 * 0.2)
    assert updated(rule, base, 9.0)["alpha"] == 1.0
    assert updated(rule, base, 0.0)["alpha"] == pytest.approx(-0.6)


def test_adaptive_bonus_acts_only_below_its_target() -> None:
    rule, base = AdaptiveBonus(target=1.0, delta=0.1, most=0.25), objective("entropy_bonus", coefficient=0.1)
    memory = rule.start(base, 2.0)
    found = []
    for entropy in (0.9, 1.0, 0.8, 1.1, 0.9):
        memory = rule.update(memory, Observed(0, 9, entropy, []))
        found.append(rule.settings(memory)["coefficient"])
    assert found == pytest.approx([0.2, 0.25, 0.25, 0.0, 0.25])


def test_repo_doubles_and_halves_and_adapo_steps() -> None:
    assert updated(Doubling(), objective("repo_r", zeta=0.02), 1.9)["zeta"] == pytest.approx(0.04)
    assert updated(Doubling(), objective("repo_r", zeta=0.02), 2.1)["zeta"] == pytest.approx(0.01)
    assert updated(Adapo(delta=0.03), CLIP, 1.9)["high"] == pytest.approx(0.23)
    assert updated(Adapo(delta=0.03, least=0.18), CLIP, 2.1)["high"] == pytest.approx(0.18)


def test_bapo_widens_high_before_low() -> None:
    rule = Bapo(rho=0.5, high_end=0.3)  # of the samples of `rows_of` 8 of 17 that are kept have A > 0
    memory = rule.start(CLIP, 2.0)
    found = []
    for _ in range(4):
        memory = rule.update(memory, Observed(0, 9, 2.0, rows_of()))
        found.append((memory["low"], memory["high"]))
    np.testing.assert_allclose(found, [(0.4, 0.25), (0.4, 0.3), (0.38, 0.3), (0.36, 0.3)])
    reached = rule.update(memory, Observed(0, 9, 2.0, rows_of(removed_minus=4.0)))
    assert (reached["low"], reached["high"]) == (0.4, 0.2)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("id", [(0.2, 0.5), (0.2, 0.35), (0.3, 0.2), (0.25, 0.2)]),
        ("did", [(0.2, 0.2), (0.2, 0.35), (0.3, 0.5), (0.25, 0.5)]),
    ],
)
def test_flexible_schedules_are_those_of_the_paper(schedule: Any, expected: list[tuple[float, float]]) -> None:
    """Of 4 rollouts: U = .5, L = .3 at pi = 0, plain width .2, lambda = 1, .5, 0, -.5."""
    rule = FlexibleSchedule(schedule)
    memory = rule.start(FLEXIBLE, 2.0)
    found = []
    for k in range(4):
        now = rule.settings(memory)
        found.append((now["low"], now["high"]))
        assert now["high_slope"] == pytest.approx(-0.25 * (now["high"] - 0.2) / 0.3)
        assert now["low_slope"] == pytest.approx(-0.13 * (now["low"] - 0.2) / 0.1)
        memory = rule.update(memory, Observed(k, 4, 2.0, []))
    np.testing.assert_allclose(found, expected)


def test_flexible_oscillates_with_hysteresis() -> None:
    rule = FlexibleSchedule("od")
    memory = rule.start(FLEXIBLE, 2.0)
    found = []
    for k, entropy in enumerate((1.0, 0.4, 0.6, 1.9, 0.6)):
        found.append(memory["high"])
        memory = rule.update(memory, Observed(k, 10, entropy, []))
    assert found == pytest.approx([0.2, 0.2, 0.5, 0.5, 0.2])


# ---- the predictive rule ----------------------------------------------------------------------------------------------------


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
    assert both.settings(lost) == pytest.approx({"low": 1e-3, "high": 1e-3}, rel=1e-3)
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


# ---- in runs ----------------------------------------------------------------------------------------------------------------


def test_values_in_force_are_columns() -> None:
    ledger = run(experiment(RULES), jobs=1)
    for name, (rule, _) in RULES.items():
        rows = ledger.arms[name].summaries
        expected = {"predictive": {"eps_low", "eps_high", "can_hold"}, "pi": {"eps_low"}, "thermostat": {"eps_low"}}
        expected |= {"adapo": {"eps_high"}, "bapo": {"eps_low", "eps_high"}}
        expected |= {"flexible": {"eps_low", "eps_high", "slope_low", "slope_high"}}
        for row in rows:
            assert expected.get(rule["kind"], {"strength"}) <= row.keys()
            assert ("target_entropy" in row) is (rule["kind"] not in ("bapo", "flexible"))
    assert [r["strength"] for r in ledger.arms["adaptive_bonus"].summaries] == pytest.approx([0.01, 0.015, 0.02])
    assert ledger.arms["repo"].summaries[0]["strength"] == 0.01
    assert {r["strength"] for r in ledger.arms["entropic"].summaries} == {0.0, -1.0}
    low = [r["eps_low"] for r in ledger.arms["predictive"].summaries]
    assert low[0] == pytest.approx(0.2)
    assert len(set(low)) == 3


def test_a_controller_changes_what_is_clipped_and_nothing_before_its_second_rollout() -> None:
    ledger = run(experiment({"fixed": ({}, {}), "pi": RULES["pi"]}), jobs=1)
    rows = {name: ledger.arms[name].rows for name in ("fixed", "pi")}
    assert [r["measured"] for r in rows["fixed"][:6]] == [r["measured"] for r in rows["pi"][:6]]
    assert [r["clip_low"] for r in rows["fixed"][8:]] != [r["clip_low"] for r in rows["pi"][8:]]


@pytest.mark.parametrize("engine", ["sampled", "reduced", "tokens", "head"])
def test_a_resumed_run_is_the_same_bit_for_bit(tmp_path: Path, engine: str) -> None:
    arms = {name: RULES[name] for name in ("pi", "predictive_both")}
    chosen = experiment(arms) if engine != "head" else _hidden(arms)
    whole = run(chosen, engine, out=tmp_path / "whole", jobs=1)

    def stop(arm: str, done: int, total: int) -> None:
        if done == 9:  # in the second rollout
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(chosen, engine, out=tmp_path / "part", jobs=1, progress=stop)
    resumed = run(chosen, engine, out=tmp_path / "part", jobs=1)
    assert json.dumps(resumed.summary()) == json.dumps(whole.summary())
    for kind in ("updates", "rollouts"):
        assert resumed.to_frame(kind).equals(whole.to_frame(kind))
    frames = [read_frame(tmp_path / name, "rollouts") for name in ("whole", "part")]
    assert frames[0].equals(frames[1])
    assert frames[0]["eps_low"].nunique() > 1


def test_a_width_that_is_off_is_null_in_the_books(tmp_path: Path) -> None:
    run(experiment({"a": ({"kind": "predictive"}, {"high": math.inf})}), out=tmp_path, jobs=1)
    frame = read_frame(tmp_path, "rollouts")
    assert "eps_high" not in frame or frame["eps_high"].isna().all()
    assert frame["eps_low"].notna().all()


def _hidden(arms: dict[str, Any]) -> Experiment:
    data = experiment(arms, replicas=2).model_dump(exclude_none=True)
    data["policy"] = {"kind": "hidden", "vocab": 16, "contexts": 6, "dim": 4}
    data["update"] |= {"geometry": "euclidean", "learning_rate": 3.0}
    return parse_experiment(data)


def test_an_experiment_without_controllers_has_the_digest_it_had() -> None:
    plain = experiment({"fixed": ({}, {})})
    assert "controller" not in plain.model_dump()["arm"][0]
    steered = experiment({"fixed": ({"kind": "pi"}, {})})
    assert steered.digest != plain.digest
    assert parse_experiment(steered.model_dump(exclude_none=True)) == steered


@pytest.mark.parametrize(
    ("rule", "own", "message"),
    [
        ({"kind": "pi"}, {"objective": "none"}, "controller 'pi' sets low, but the objective 'none' has no low"),
        ({"kind": "repo"}, {}, "sets zeta, but the objective 'clip' has no zeta"),
        ({"kind": "predictive", "sides": "both"}, {"high": math.inf}, "needs widths inside their limits"),
        ({"kind": "thermostat", "tight": 0.3, "wide": 0.2}, {}, "thermostat.tight = 0.3 must be below"),
        ({"kind": "bapo", "low_end": 0.5}, {}, "wrong side"),
        ({"kind": "pi", "k_p": math.nan}, {}, "k_p"),
        ({"kind": "pid"}, {}, "kind"),
    ],
)
def test_what_cannot_be_steered_is_refused(rule: dict[str, Any], own: dict[str, Any], message: str) -> None:
    if own.get("objective") == "none":
        own = own | {"low": None}
    with pytest.raises(SpecError, match=message):
        experiment({"arm": (rule, own)})


def test_engines_and_forecasts_that_have_no_run_refuse() -> None:
    chosen = experiment(
        {"pi": RULES["pi"]}, policy={"vocab": 3, "contexts": 1}, update={"batch": 2, "minibatches": 1, "rollouts": 1}
    )
    with pytest.raises(SpecError, match="arm pi has a controller, which goes by the entropy of a run"):
        run(chosen, "exact")
    with pytest.raises(SpecError, match="predict: arm pi has a controller"):
        predict(chosen)
