"""Facts of the head engine."""

from __future__ import annotations

from entclip.engines.facts import EngineFacts, updates_of
from entclip.experiments.experiment import Experiment
from entclip.experiments.shape import shape_of
from entclip.support.foresight import Size

__all__ = ["BLOCK", "HEAD"]

BLOCK = {"cpu": 2**21, "cuda": 2**25}  # elements of a block over replicas x contexts x actions
_TEMPORARIES = 16  # arrays of the size of a block that live at the same time
_ELEMENT = {"cpu": 5e-7, "cuda": 5e-9}  # seconds for an action of a context of a replica in an update
_PRODUCT = {"cpu": 1e-10, "cuda": 1e-13}  # seconds for one multiplication of a matrix product
_SAMPLE = {"cpu": 1e-7, "cuda": 1e-8}


def _size(experiment: Experiment, device: str, dtype: str) -> Size:
    shape, u, updates = shape_of(experiment), experiment.update, updates_of(experiment)
    replicas, adam, bytes_each = experiment.replicas, u.optimizer != "sgd", 4 if dtype == "float32" else 8
    # Heads, displacements and Adam's averages before and after an update.
    tables = 2 * replicas + 1 + (4 * replicas if adam else 0) + (replicas if u.rollouts > 1 else 0)
    held = {
        f"{tables:,} heads of {shape.vocab:,} x {shape.dim:,} {dtype}": float(bytes_each * tables * shape.vocab * shape.dim),
        f"{_TEMPORARIES} arrays of a block": float(bytes_each * _TEMPORARIES * max(BLOCK[device], replicas * shape.contexts)),
        f"{replicas:,} replicas x {shape.contexts:,} contexts x {u.batch:,} samples": 8.0
        * 5
        * replicas
        * shape.contexts
        * u.batch,
    }
    entries = replicas * shape.contexts * shape.vocab
    part = -(-shape.contexts // u.minibatches)
    products = entries * (shape.dim * (3 + 2 * adam) + 14 * part * (not adam))
    seconds = updates * (_ELEMENT[device] * entries + _PRODUCT[device] * products + _SAMPLE[device] * replicas * part * u.batch)
    work = f"{updates:,} updates of {replicas:,} replicas x {shape.contexts:,} contexts x {shape.vocab:,} actions"
    return Size(held, seconds, f"{work}, {u.batch:,} samples each")


HEAD = EngineFacts(
    name="head",
    short="shared parameters",
    beginning="making the head",
    words="simulated with shared parameters, as in the last layer of a model",
    policies=("hidden",),
    serves=frozenset({"entropy", "advantage"}),
    optimizers=("sgd", "adam", "adamw"),
    devices=("cpu", "cuda"),
    dtypes=("float64", "float32"),
    extra="torch",
    modules=("torch",),
    packages=("torch",),
    shares_parameters=True,
    lists_actions=False,
    concurrent=False,  # an update fills the machine's memory bandwidth by itself
    size=_size,
)
