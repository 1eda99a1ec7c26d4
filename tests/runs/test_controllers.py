"""Controllers: what they set, that the books say it, and that a resumed run is the same."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from entclip.controllers.adaptive_bonus import AdaptiveBonus, Doubling
from entclip.controllers.base import Observed
from entclip.controllers.bounds import Adapo, Bapo
from entclip.controllers.entropic import EntropicControl
from entclip.controllers.proportional import Proportional
from entclip.controllers.schedules import FlexibleSchedule
from entclip.controllers.thermostat import Thermostat
from entclip.experiments.experiment import Experiment, parse_experiment
from entclip.ledger.folder import read_frame
from entclip.objectives.catalogue import objective
from entclip.prediction.meanfield import predict
from entclip.runs.runner import run
from entclip.support.errors import SpecError
from tests.runs.controlled import CLIP, RULES, experiment, rows_of, updated

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
    memory = rule.start(objective("flexible"), 2.0)
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
    memory = rule.start(objective("flexible"), 2.0)
    found = []
    for k, entropy in enumerate((1.0, 0.4, 0.6, 1.9, 0.6)):
        found.append(memory["high"])
        memory = rule.update(memory, Observed(k, 10, entropy, []))
    assert found == pytest.approx([0.2, 0.2, 0.5, 0.5, 0.2])


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
