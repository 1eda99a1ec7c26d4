"""Facts of the tokens engine."""

from __future__ import annotations

from entclip.engines.facts import TABLES, EngineFacts, updates_of
from entclip.experiments.experiment import Experiment
from entclip.experiments.sections import PeakedSpec, UniformSpec, ZipfSpec
from entclip.experiments.shape import shape_of
from entclip.support.foresight import Size

__all__ = ["BLOCK_ELEMENTS", "TEMPORARIES", "TOKENS", "one_for_all"]

# A pass of accounting.py holds up to TEMPORARIES float64 arrays of a block of whole rows.
BLOCK_ELEMENTS = {"cpu": 2**16, "cuda": 2**22}
TEMPORARIES = 50
_ELEMENT = {"cpu": 1e-6, "cuda": 5e-9}  # seconds for an action of a unit in an update
_SAMPLE = {"cpu": 1e-7, "cuda": 1e-8}


def one_for_all(experiment: Experiment) -> bool:
    """Say whether every context has the same policy: one row is then drawn and repeated."""
    return isinstance(experiment.policy, UniformSpec | ZipfSpec | PeakedSpec) and (
        experiment.perturbation is None or experiment.perturbation.law == "array"
    )


def _size(experiment: Experiment, device: str, dtype: str) -> Size:
    shape, u, updates = shape_of(experiment), experiment.update, updates_of(experiment)
    units = experiment.replicas * shape.contexts
    tables, bytes_each = 2 + 2 * (u.optimizer != "sgd"), 4 if dtype == "float32" else 8
    samples = u.batch * (u.minibatches if u.minibatch == "shuffled" else 1)
    held = {
        f"{tables} tables of {units:,} x {shape.vocab:,} {dtype}": float(bytes_each * tables * units * shape.vocab),
        f"{TEMPORARIES} arrays of a block": 8.0 * TEMPORARIES * max(BLOCK_ELEMENTS[device], shape.vocab),
        f"{units:,} units x {samples:,} samples": 8.0 * 4 * units * samples,
    }
    if device == "cpu":
        rows = 1 if one_for_all(experiment) else shape.contexts
        held |= {f"the policies of {rows:,} contexts x {shape.vocab:,} actions": 8.0 * 4 * rows * shape.vocab}
    seconds = updates * units * (_ELEMENT[device] * shape.vocab + _SAMPLE[device] * u.batch)
    return Size(held, seconds, f"{updates:,} updates of {units:,} units x {shape.vocab:,} actions, {u.batch:,} samples each")


TOKENS = EngineFacts(
    name="tokens",
    short="dense, torch",
    beginning="filling the tables",
    words="simulated by drawing samples (torch)",
    policies=TABLES,
    serves=frozenset({"entropy", "advantage"}),
    optimizers=("sgd", "adam", "adamw"),
    devices=("cpu", "cuda"),
    dtypes=("float64", "float32"),
    extra="torch",
    modules=("torch",),
    packages=("torch", "triton"),
    concurrent=False,  # two arms at a time would hold two sets of tables
    size=_size,
)
