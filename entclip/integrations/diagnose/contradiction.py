"""Where a log and a configuration that are given as those of one run cannot be: then neither answer would be about the run."""

from __future__ import annotations

import math

import numpy as np

from entclip.integrations.diagnose.evidence import Evidence
from entclip.integrations.diagnose.finding import Finding, claim
from entclip.integrations.diagnose.run import Run, Widths
from entclip.integrations.lint.liveness import NEVER
from entclip.integrations.lint.values import is_number
from entclip.support.errors import SpecError

__all__ = ["contradictions", "refuse_other_trainer"]


def refuse_other_trainer(run: Run, said: str = "") -> None:
    """Raise SpecError where the log is not of the configuration's trainer; said: how the message begins."""
    facts, known = run.config, run.library.configs
    if facts is not None and known and facts.library.name not in known:
        raise SpecError(
            f"{said}the log is {run.library.title}'s and the configuration {facts.library.title}'s: give the two files of one "
            "run."
        )


def contradictions(run: Run) -> list[str]:
    """Return what the log says otherwise than the configuration, one sentence each; empty without a configuration."""
    config = run.config
    if config is None:
        return []
    return [text for text in (_updates(run), _epochs(run), _width(run), *_sides(run)) if text]


def _updates(run: Run) -> str:
    assert run.config is not None
    count, logged = run.config.updates.count, run.logged_updates
    if count is None or logged is None or logged == round(count):
        return ""
    return f"by its rows a rollout has {logged} updates, by the configuration {count:g} ({run.config.updates.formula})"


def _epochs(run: Run) -> str:
    assert run.config is not None
    most = run.config.updates.count if run.config.updates.count is not None else run.config.updates.most
    if most is None or run.epochs <= most:
        return ""
    return f"by {run.name('epochs_done')} a rollout has {run.epochs} epochs, and by the configuration {most:g} updates at most"


def _width(run: Run) -> str:
    assert run.config is not None
    fact, logged = run.config.low, run.get("clip_width")
    if not run.other_width:
        return ""
    return f"{run.name('clip_width')} is {float(np.nanmedian(logged)):.4g}, and {fact.key} = {fact.value:g} in the configuration"


def _sides(run: Run) -> list[str]:
    """A side that is off drops nothing."""
    assert run.config is not None
    low, high = run.config.low.value, run.config.high.value
    if run.config.space != "ratio" or run.ratio_to != "old" or not run.counts_bounds or not (is_number(low) and is_number(high)):
        return []
    told = Widths(min(low, 1.0), math.inf if high >= NEVER else high, "", False)
    return [
        f"{run.name(side)} is up to {100 * np.nanmax(run.get(side)):.2g} %, and that side is off"
        for side in run.acting_though_off(told)
    ]


@claim("config")
def _config(run: Run) -> Finding | None:
    """A contradiction comes before everything that takes the configuration's word."""
    found = contradictions(run)
    if not found:
        return None
    return Finding(
        "config",
        ("contradicted",),
        "error",
        f"The log contradicts the configuration: {'; '.join(found)}. What follows goes by the log.",
        (Evidence("rows", float(run.log.rows), rows=run.log.rows),),
        reason="both cannot be of one run as it was configured",
        change="Give the configuration that the run was started with, as its trainer printed or saved it, or leave it out.",
    )
