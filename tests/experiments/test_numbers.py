"""Every number of an experiment has a range, and a message that names the key, the value and the range."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np
import pytest

from entclip.engines.accounting import RunawayError
from entclip.experiments.experiment import Experiment, parse_experiment
from entclip.runs.runner import run
from entclip.support.errors import SpecError

UPDATE = {"batch": 8, "minibatches": 2, "rollouts": 1}


def experiment(**sections: Any) -> dict[str, Any]:
    return {
        "policy": {"kind": "dirichlet", "vocab": 4, "contexts": 3},
        "replicas": 2,
        "update": UPDATE,
    } | sections


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"seed": -1}, "seed = -1 is out of range: it must be at least 0."),
        ({"seed": 2**63}, "seed = 9223372036854775808 is out of range: it must be at most 9223372036854775807."),
        ({"seed": 10**400}, "seed = an integer of 1329 bits is out of range: it must be at most 9223372036854775807."),
        ({"seed": "9" * 5000}, "is not valid: it must be a whole number."),
        ({"replicas": 10**18}, "replicas = 1000000000000000000 is out of range: it must be at most 1000000000000."),
        ({"update": {"minibatches": 10**18}}, "update.minibatches = 1000000000000000000 is out of range"),
        ({"update": {"learning_rate": 1e308}}, "update.learning_rate = 1e+308 is out of range: it must be at most 1000000."),
        ({"update": {"learning_rate": -1}}, "update.learning_rate = -1 is out of range: it must be above 0."),
        ({"update": {"learning_rate": 1e-300}}, "update.learning_rate = 1e-300 is out of range: it must be at least 1e-30."),
        ({"update": {"learning_rate": math.nan}}, "update.learning_rate = nan is not finite: give a finite number."),
        ({"update": {"betas": [1.0, 0.9]}}, "update.betas.0 = 1.0 is out of range: it must be below 1."),
        ({"update": {"weight_decay": math.inf}}, "update.weight_decay = inf is not finite"),
        ({"reward": {"kind": "gaussian", "std": 1e300}}, "reward.std = 1e+300 is out of range: it must be at most 1e+20."),
        ({"reward": {"kind": "gaussian", "mean": math.nan}}, "reward.mean = nan is not finite"),
        ({"reward": {"kind": "gaussian", "mean": 1e9, "std": 1e-3}}, "float64 rounds such rewards to steps of 2e-07"),
        ({"reward": {"kind": "table", "values": [1e300, 0, 0, 0]}}, "reward.values.0 = 1e+300 is out of range"),
        ({"advantage": {"kind": "group", "scale": "std", "eps": 1e300}}, "advantage.eps = 1e+300 is out of range"),
        ({"weights": [1e308, 1e308, 1, 1]}, "weights.0 = 1e+308 is out of range: it must be at most 1e+20."),
        ({"policy": {"kind": "peaked", "logit": 1e4}}, "policy.logit = 10000.0 is out of range: it must be at most 700."),
        ({"policy": {"kind": "normal_logits", "sd": 1e4}}, "policy.sd = 10000.0 is out of range: it must be at most 700."),
        ({"policy": {"kind": "zipf", "exponent": 300.0}}, "vocab^-|exponent|, must be above exp(-700)"),
        ({"perturbation": {"rms": 1e4}}, "perturbation.rms = 10000.0 is out of range: it must be at most 700."),
        ({"rollout": {"temperature": 1e-9}}, "rollout.temperature = 1e-09 is out of range: it must be at least 0.001."),
        ({"arm": [{"name": "both", "low": math.nan}]}, "arm.both: clip.low must be in [0, 1], got nan"),
        ({"arm": [{"name": "x" * 65}]}, "is too long: at most 64 characters."),
        ({"name": "x" * 300}, "is too long: at most 64 characters."),
    ],
)
def test_out_of_range(sections: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_experiment(experiment(**sections))
    assert message in str(caught.value)
    assert "pydantic" not in str(caught.value)


@pytest.mark.parametrize("engine", ["sampled", "reduced"])
@pytest.mark.parametrize(
    "sections",
    [
        {"seed": 2**63 - 1},
        {"update": UPDATE | {"learning_rate": 1e6}, "reward": {"kind": "gaussian", "std": 1e20}},
        {"update": UPDATE | {"learning_rate": 1e-30, "geometry": "euclidean"}},
        {"weights": [1e20, 1e-20, 1.0]},
    ],
)
def test_the_ends_of_the_ranges_are_finite_or_refused(engine: str, sections: dict[str, Any]) -> None:
    """No NaN, no infinity and no broken identity at the ends: a run is whole, or says that its policy ran away."""
    with contextlib.suppress(RunawayError):
        summary = run(parse_experiment(experiment(**sections)), engine, jobs=1).summary()
        for arm in summary["arms"].values():
            assert all(np.isfinite(x) for x in arm.values() if isinstance(x, float))


def test_sections_report_in_our_words_however_they_are_built() -> None:
    for build in (lambda: Experiment(seed=-1), lambda: parse_experiment({"seed": -1})):
        with pytest.raises(SpecError, match=r"^seed = -1 is out of range: it must be at least 0\.$"):
            build()


@pytest.mark.parametrize(
    ("section", "value", "message"),
    [
        (
            "policy",
            {"kind": "snapshot", "vocab": 3},
            "unknown key policy.vocab = 3: known keys here of kind 'snapshot': contexts, ",
        ),
        ("policy", {"kind": "zipf", "vocb": 3}, "unknown key policy.vocb = 3: did you mean policy.vocab?"),
        ("polcy", {"vocab": 3}, "unknown key polcy = a table of 1 entry: did you mean policy?"),
        ("policy", {"kind": "snap"}, "policy.kind = 'snap': did you mean snapshot?"),
        ("policy", {"kind": "gauss"}, "policy.kind = 'gauss': choose one of 'uniform', 'zipf'"),
        ("policy", {"vocab": 3}, "policy.kind is missing: choose one of 'autoregressive', 'dirichlet'"),
        ("policy", 3, "policy = 3 is not valid: it must be a table of keys."),
        ("name", {}, "name = an empty table is not valid: it must be text in quotes."),
        (
            "policy",
            {"kind": "file", "path": {"a": 1}},
            "policy.path = a table of 1 entry is not valid: it must be text in quotes.",
        ),
        ("arm", [{"name": {}}], "arm.0.name = an empty table is not valid: it must be text in quotes."),
        ("arm", {"name": "a"}, "arm = a table of 1 entry is not valid: it must be a list."),
        ("arm", [{"low": 0.1}], "arm.0.name is missing: give it."),
        ("arm", [{"name": "a", "lo": 2}], "unknown key arm.a.lo = 2: did you mean arm.a.low?"),
        (
            "arm",
            [{"name": "a", "objective": {"kind": "sapo", "tau": 3}}],
            "unknown key arm.a.objective.tau = 3: did you mean arm.a.objective.tau_neg or arm.a.objective.tau_pos?",
        ),
        (
            "arm",
            [{"name": "a", "objective": {"kind": "sapo", "tau_pos": "x"}}],
            "arm.a.objective.tau_pos = 'x' is not valid: it must be a number.",
        ),
        (
            "arm",
            [{"name": "a", "objective": "sapo", "low": 0.2}],
            "arm.a: Sapo: unknown key low = 0.2: known keys here of kind 'sapo': kind, tau_neg, tau_pos.",
        ),
    ],
)
def test_wrong_keys_and_kinds(section: str, value: Any, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_experiment({section: value})
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_thousands_of_unknown_keys_are_counted() -> None:
    with pytest.raises(SpecError) as caught:
        parse_experiment({f"k{i}": 1 for i in range(20_000)})
    assert len(str(caught.value).splitlines()) == 11
    assert str(caught.value).endswith("and 19990 more of 20000 findings.")
    assert str(caught.value).count("known keys here") == 1
