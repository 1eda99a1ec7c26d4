"""Facts of runs that were recorded in somebody else's training loop: they can be read like any other, and not be run."""

from __future__ import annotations

from entclip.engines.facts import EngineFacts
from entclip.experiments.experiment import Experiment
from entclip.support.foresight import Size

__all__ = ["RECORDED"]


def _size(experiment: Experiment, device: str, dtype: str) -> Size:
    return Size({}, 0.0, "nothing")


RECORDED = EngineFacts(
    name="recorded",
    short="a training loop of your own",
    words="recorded in a training loop outside entclip",
    measures="a model on the probe contexts of its training loop",
    policies=("recorded",),
    devices=("cpu", "cuda"),
    dtypes=("float32", "float64", "bfloat16"),
    shares_parameters=True,
    lists_actions=False,
    has_expectations=False,
    trains_models=True,
    concurrent=False,
    size=_size,
)
