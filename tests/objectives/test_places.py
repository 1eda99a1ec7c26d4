"""Where a card says that an objective can be used it can, and everywhere else it is refused in one sentence before any work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from entclip.drift.expected import expected_entropy_drift
from entclip.engines.base import Directive
from entclip.engines.named import engine_named
from entclip.engines.registry import ENGINES
from entclip.experiments.experiment import Experiment, parse_experiment
from entclip.integrations.torch import EntropyLedger
from entclip.integrations.trl_backend.settings import AS_TRL, settings
from entclip.ledger.from_arrays import ledger_from_arrays
from entclip.ledger.from_samples import ledger_from_samples
from entclip.objectives.base import Objective
from entclip.objectives.catalogue import PUBLISHED, objective
from entclip.objectives.clip import Clip
from entclip.policies.softmax import SoftmaxPolicy
from entclip.prediction.meanfield import predict
from entclip.report.card import PLACES, card
from entclip.runs.comparison import compare
from entclip.runs.runner import run
from entclip.support.errors import SpecError

MODEL: dict[str, Any] = {
    "policy": {"kind": "language_model", "model": "untrained"},
    "rollout": {"task": "digits", "probes": 1, "max_new_tokens": 2},
}
SEQUENCES = {"policy": {"kind": "autoregressive", "vocab": 2, "length": 2}}
POLICIES: dict[str, dict[str, Any]] = {
    "head": {"policy": {"kind": "hidden", "vocab": 4, "contexts": 2, "dim": 2, "sd": 1.0}},
    "llm": MODEL,
    "trl": MODEL | {"ledger": {"momentum": "line"}},
    "trl by sequence": MODEL | {"ledger": {"momentum": "line"}, "rollout": MODEL["rollout"] | {"aggregation": "sequence"}},
    "sampled on sequences": SEQUENCES,
    "exact on sequences": SEQUENCES,
}
ONE = engine_named("llm")  # its model is read once


def tiny(place: str, member: Objective) -> Experiment:
    """One update of two samples, one group where the objective does not go without."""
    update: dict[str, Any] = {"learning_rate": 0.01, "batch": 2, "minibatches": 1, "rollouts": 1}
    update |= {"geometry": "euclidean" if place in POLICIES and "sequences" not in place else "natural"}
    update |= {"minibatch": AS_TRL["update.minibatch"]} if place.startswith("trl") else {}
    update |= {"optimizer": "adamw"} if place.startswith(("llm", "trl")) else {}
    advantage = {"kind": "independent"} if member.kind == "cde" else {"kind": "group", "size": 2}
    spec = {"policy": {"kind": "zipf", "vocab": 2}, "reward": {"kind": "bernoulli", "p": 0.5}, "advantage": advantage}
    return parse_experiment(spec | {"update": update, "arm": [{"name": "a", "objective": member}]} | POLICIES.get(place, {}))


def on_engine(place: str, member: Objective) -> None:
    """Make one update, and see that the books have an entropy."""
    experiment, name = tiny(place, member), place.split()[0]
    engine = ONE if name == "llm" else engine_named(name)
    state, rollout = engine.roll_out(engine.start(experiment, member))
    for minibatch in rollout:
        _, entry = engine.step(state, rollout, minibatch, Directive())
        assert entry is not None
        assert np.all(np.isfinite(entry.columns["measured"]))


def trl(place: str, member: Objective) -> None:
    """Put it in the words of GRPOConfig, with the mean over tokens or sequences that TRL has it with."""
    experiment = tiny("trl by sequence" if member.kind in ("gspo", "sapo") else place, member)
    assert settings(experiment, experiment.arm[0])["loss_type"]


def drift(place: str, member: Objective) -> None:
    experiment, policy = tiny(place, member), SoftmaxPolicy.from_probs([[0.6, 0.4]])
    given: dict[str, Any] = {"old_policy": policy, "learning_rate": 0.01, "advantage": experiment.advantage}
    given |= {"reference": policy} if "reference" in member.needs else {}
    expected_entropy_drift(policy, Clip(), experiment.reward, objective=member, **given)


def ledgers(place: str, member: Objective) -> None:
    """Refuse in all three, or serve in all three."""
    model = torch.nn.Embedding(3, 2)
    calls = (
        lambda: ledger_from_samples([[-1.0]], [[-1.0]], [1.0], [[1]], member),
        lambda: ledger_from_arrays([[[0.0, 2.0]]], [[[0.0, 2.0]]], [[-1.0]], [[0]], [1.0], None, member),
        lambda: EntropyLedger(model, torch.optim.SGD(model.parameters(), 0.1), clip=member, logits=lambda m, c: m(c)),
    )
    refused: list[SpecError] = []
    for call in calls:
        try:
            call()
        except SpecError as error:
            refused.append(error)
    assert len(refused) in (0, 3)
    if refused:
        raise refused[0]


USES: dict[str, Callable[[str, Objective], Any]] = {
    **dict.fromkeys(PLACES, on_engine),
    "trl": trl,
    "expected_entropy_drift": drift,
    "predict": lambda place, member: predict(tiny(place, member)),
    "ledgers of loops": ledgers,
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_card_says_where_an_objective_can_be_used(name: str, place: str) -> None:
    member = objective(name, **({"group": 2} if name == "gapo" else {}))
    if place in card(name).runs_on:
        USES[place](place, member)
        return
    with pytest.raises(SpecError) as caught:
        USES[place](place, member)
    assert repr(name) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("engine", [e for e in ENGINES if e not in ("sampled", "exact", "llm")])
def test_no_arm_is_run_where_one_of_them_cannot_be(engine: str) -> None:
    """The first arm could run for hours before the second is refused."""
    updates: list[str] = []
    arms = [{"name": "fits", "objective": "clip"}, {"name": "unfit", "objective": "steer"}]
    both = parse_experiment(tiny(engine, objective("clip")).model_dump(exclude_none=True) | {"arm": arms})
    with pytest.raises(SpecError, match=r"'steer' looks at .*: use the engine sampled or exact, or another objective\.$"):
        run(both, engine, jobs=1, progress=lambda *done: updates.append(done[0]))
    with pytest.raises(SpecError, match="'steer' looks at"):
        compare(
            both, {arm["name"]: objective(arm["objective"]) for arm in arms}, engine, progress=lambda *d: updates.append(d[0])
        )
    assert updates == []
