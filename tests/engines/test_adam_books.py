"""Adam where causes cancel before its preconditioner sees them: the books close to rounding, and a defect is still seen.

With two actions the push on one is nearly the pull on the other; what is left has a preconditioner near eta/eps, and each cause
is thousands of nats that cancel. Rounding is relative to those terms, not to the step.
"""

import dataclasses

import numpy as np
import pytest

from entclip import run
from entclip.engines.base import Directive
from entclip.engines.head.engine import HeadEngine
from entclip.engines.reduced.engine import ReducedEngine
from entclip.engines.tokens.engine import TokensEngine
from entclip.experiments.experiment import parse_experiment
from entclip.ledger.arm import ArmLedger, IdentityError
from entclip.objectives.base import Keep

ENGINES = {
    "reduced": lambda: ReducedEngine(kernels="numpy"),
    "reduced_numba": lambda: ReducedEngine(kernels="numba"),
    "tokens": lambda: TokensEngine(),
    "tokens_float32": lambda: TokensEngine(dtype="float32"),
    "head": lambda: HeadEngine(),
    "head_float32": lambda: HeadEngine(dtype="float32"),
}
CONTEXTS = 16


def experiment_of(engine, folder, vocab=2, batch=8):
    """Sixteen equal contexts; for the head as one hidden unit each."""
    policy = {"kind": "zipf", "vocab": vocab, "contexts": CONTEXTS}
    minibatches = 4
    if engine.startswith("head"):
        path = folder / f"one_hot_{vocab}.npz"
        head = np.repeat(-np.log(np.arange(1, vocab + 1))[:, None], CONTEXTS, axis=1)
        np.savez(path, hidden=np.eye(CONTEXTS), head=head)
        policy = {"kind": "hidden", "path": str(path)}
    return parse_experiment(
        {
            "replicas": 8,
            "policy": policy,
            "reward": {"kind": "rademacher"},
            "advantage": {"kind": "group", "size": 8},
            "update": {
                "geometry": "euclidean",
                "optimizer": "adamw",
                "learning_rate": 0.5,
                "batch": batch,
                "minibatches": minibatches,
                "rollouts": 3,
            },
            "arm": [{"name": "both", "low": 0.02, "high": 0.02}],
        }
    )


def entries(engine, experiment, keep=None):
    """Every update's entry, and the state before it."""
    state = engine.start(experiment, experiment.arm[0].build())
    for _ in range(experiment.update.rollouts):
        state, rollout = engine.roll_out(state)
        for minibatch in rollout:
            state, entry = engine.step(state, rollout, minibatch, Directive(keep=keep))
            yield entry, state
        state.rollout += 1


@pytest.mark.parametrize("keep", [None, Keep(0.3, 0.8)])
@pytest.mark.parametrize("name", ENGINES)
def test_the_books_close_where_causes_cancel(name, keep, tmp_path):
    experiment = experiment_of(name, tmp_path)
    books, largest = ArmLedger("", "both", experiment), 0.0
    for entry, state in entries(ENGINES[name](), experiment, keep):
        books.append(entry, state)
        terms = np.max(entry.columns["_scale"] / (1e-300 + np.abs(entry.columns["_inner"])))
        largest = max(largest, float(terms))
    assert keep is None or largest > 100, "some cause must be far larger than the step, or this tests nothing"


@pytest.mark.parametrize("name", ENGINES)
def test_a_cause_that_is_off_by_a_hundredth_is_still_seen(name, tmp_path):
    experiment = experiment_of(name, tmp_path, vocab=64, batch=32)
    for entry, state in entries(ENGINES[name](), experiment):
        columns = entry.columns | {"unclipped": entry.columns["unclipped"] * 1.01}
        with pytest.raises(IdentityError, match="do not add up"):
            ArmLedger("", "both", experiment).append(dataclasses.replace(entry, columns=columns), state)
        break


def test_adamw_of_two_actions_runs():
    """The run of the report: forty of forty stopped with an IdentityError."""
    update = {"geometry": "euclidean", "optimizer": "adamw", "learning_rate": 0.5, "batch": 24, "minibatches": 3, "rollouts": 2}
    policy, arm = {"kind": "zipf", "vocab": 2, "contexts": 16}, [{"name": "both", "low": 0.2, "high": 0.2}]
    for seed in range(4):
        run(parse_experiment({"seed": seed, "replicas": 8, "policy": policy, "update": update, "arm": arm}), "reduced")
