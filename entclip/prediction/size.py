"""What a prediction will take, before it begins."""

from __future__ import annotations

from entclip.engines.facts import updates_of
from entclip.experiments.experiment import Experiment
from entclip.experiments.shape import shape_of
from entclip.support.foresight import Size, refuse_oversize
from entclip.support.memory import available_bytes

__all__ = ["forecast_size", "refuse_large_forecast"]

_ROW = 6_000.0  # bytes of one predicted row, some sixty numbers by name
_NODES = 50  # of a typical population of actions
_KINDS = {"snapshot": 12, "file": 12}  # populations of contexts whose entropies differ; those of one law make one
_ENTRIES = 80  # actions that a euclidean path follows, one by one and pooled
_BLOCK = 2.0**14  # numbers of a block of paths
_NODE_SECONDS, _ENTRY_SECONDS = 1e-4, 1.5e-7  # of an update of one arm: for each node, for each entry of a path
_FIX = "use fewer cases, contexts, arms, minibatches or rollouts, or simulate"


def forecast_size(experiment: Experiment, paths: int, times: float = 1.0) -> Size:
    """Estimate what predicting all arms of an experiment takes.

    paths: of euclidean steps' noise, all contexts together; 0 where the noise is given and nothing is followed.
    times: how often it is predicted, one after the other.
    """
    held: dict[str, float] = {}
    seconds, updates = 0.0, 0
    for _, case in experiment.cases():
        shape, u = shape_of(case), case.update
        entries = shape.contexts * shape.prefixes * shape.vocab
        words = f"the policies of {shape.contexts:,} contexts x {shape.prefixes * shape.vocab:,} actions"
        held[words] = max(held.get(words, 0.0), 8.0 * 10 * entries)
        updates += updates_of(case)
        if u.geometry == "euclidean" and paths:
            words = f"the noise of {u.minibatches:,} minibatches"
            held[words] = max(held.get(words, 0.0), 8.0 * 4 * _BLOCK * u.minibatches)
            seconds += updates_of(case) * paths * _ENTRIES * _ENTRY_SECONDS
        else:
            seconds += updates_of(case) * min(shape.contexts, _KINDS.get(case.policy.kind, 1)) * _NODES * _NODE_SECONDS
    held[f"{updates:,} rows"] = _ROW * updates
    often = f", {times:,.0f} times" if times > 1 else ""
    return Size(held, times * seconds, f"{updates:,} updates{often}")


def refuse_large_forecast(experiment: Experiment, paths: int, times: float = 1.0) -> None:
    """Raise SpecError for a prediction that the memory cannot hold, or that would take over a month."""
    refuse_oversize(forecast_size(experiment, paths, times), available_bytes(), f"predicting {experiment.name}", _FIX)
