"""THE table of columns: what every quantity of a ledger is, who fills it, how it is pooled, and how it looks.

A new column is one line of `COLUMNS` and the engine that fills it. Every list of columns in the package is derived from this
table; a name that is not in it is an error wherever it turns up. An engine that knows the expectation of a column marked
`expected` fills `expected_NAME` beside it. Of every summed column the ledger adds NAME_se, and of those with an expectation
residual_NAME_se, residual_NAME_skewness, z_NAME and verdict_NAME.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple

__all__ = [
    "BY_NAME",
    "COLUMNS",
    "EXPECTED",
    "MEANS",
    "OPTIONAL_CAUSES",
    "OPTIONAL_MEANS",
    "PARTS",
    "SCHEMA_VERSION",
    "SUMMED",
    "UNSPLIT",
    "Column",
    "Look",
    "causes_in",
    "check_entry",
    "column_named",
]

SCHEMA_VERSION = 1
Kind = Literal["cause", "part", "diagnostic", "check"]


class Look(NamedTuple):
    """How a part is drawn: bars by colour and hatch, lines by colour, dash and marker; each is told apart in grey, too."""

    colour: str
    hatch: str = ""
    dash: Any = "-"
    marker: str = ""
    line: str = ""  # the colour of lines where that of bars vanishes on white


@dataclass(frozen=True)
class Column:
    """One quantity of the ledger.

    Attributes:
        name: of the column; a last part K stands for any number.
        unit: nats, samples, 1 (a share or a ratio), ...
        kind: cause (a first-order part; all causes add up to <grad H, step>), part (of the measured change), diagnostic, or check
            (what the identities are checked with; a name that begins with _ is kept nowhere).
        description: what it is, in one sentence.
        label: its word in tables and text. legend: in figures, where that is another.
        prefixes: how an autoregressive engine pools it over prefixes: mean with weights d(s)/length, sum, max, or variance (of
            such a mean: the weights are squared).
        units: how a row of the ledger pools it over units: mean with the units' weights, or max.
        expected: an engine may know its expectation given the path before the update.
        optional: not every engine, optimiser or experiment has it.
        quiet: shown in tables only where some arm has any.
        noise: a cause that mostly averages to zero, from sampling alone.
        filled: engine (a column of an Entry), rollout (what an engine observes between rollouts), or ledger (made from others).
        detail: kept only in the rows of contexts.
        look: in figures; None for what is not drawn.
    """

    name: str
    unit: str
    kind: Kind
    description: str
    label: str = ""
    legend: str = ""
    prefixes: Literal["mean", "sum", "max", "variance"] = "mean"
    units: Literal["mean", "max"] = "mean"
    expected: bool = False
    optional: bool = False
    quiet: bool = False
    noise: bool = False
    filled: Literal["engine", "rollout", "ledger"] = "engine"
    detail: bool = False
    look: Look | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", self.label or self.name.replace("_", " "))
        object.__setattr__(self, "legend", self.legend or self.label)


# fmt: off
# Colours are those of Okabe and Ito, and wine and olive of Tol's muted set for what the optimiser adds.
COLUMNS: tuple[Column, ...] = (
    Column("measured", "nats", "part", "entropy after minus entropy before, summed over the updates.", legend="total, raw mean",
           look=Look("#000000")),
    Column("measured_cv", "nats", "part",
           "the measured change with its sampling noise removed: parts that were sampled are replaced by theory.",
           label="control variate", legend="total, control variate", filled="ledger", look=Look("#FFFFFF", "////")),
    Column("unclipped", "nats", "cause", "first-order effect of the update as if no sample were clipped.", expected=True,
           noise=True, look=Look("#F0E442", dash="--", line="#B59F00")),
    Column("clip_low", "nats", "cause", "what dropping gradients at the low bound changed, to first order.", expected=True,
           look=Look("#56B4E9", "\\\\\\\\", marker="v")),
    Column("clip_high", "nats", "cause", "what dropping gradients at the high bound changed, to first order.", expected=True,
           look=Look("#D55E00", marker="^")),
    Column("other", "nats", "cause", "what further pieces of the objective changed (a dual clip, soft gates).", expected=True,
           quiet=True, look=Look("#CC79A7", "xxxx", (0, (5, 1, 1, 1, 1, 1)))),
    Column("momentum", "nats", "cause", "what gradients of earlier minibatches added through the optimiser's memory.",
           optional=True, quiet=True, noise=True, look=Look("#882255", dash="-.")),
    Column("weight_decay", "nats", "cause", "what decay of the weights added.", optional=True, quiet=True,
           look=Look("#999933", "----", (0, (8, 2)))),
    Column("bonus", "nats", "cause", "what further terms of the loss added: an entropy bonus, a KL penalty without its own line.",
           optional=True, quiet=True, look=Look("#6A3D9A", "++++", "--", "P")),
    Column("kl_term", "nats", "cause", "what a penalty on the distance from a reference policy added.",
           label="KL term", optional=True, quiet=True, look=Look("#C0392B", "||", (0, (6, 1, 1, 1)))),
    Column("norm_clip", "nats", "cause", "what limiting the norm of the gradient changed.", label="norm clip", optional=True,
           quiet=True, look=Look("#777777", "**", "-", "D")),
    Column("whole_step", "nats", "cause", "first-order part of steps that are not split: of an optimiser whose step is no "
           "known function of the gradient, and the rounding of weights.", label="step", optional=True, quiet=True,
           look=Look("#4D4D4D", "OO", "-", "s")),
    Column("curvature", "nats", "part",
           "second-order effect of the whole step: sampling noise changes entropy even when it averages to zero.", expected=True,
           look=Look("#009E73", "....", ":")),
    Column("remainder", "nats", "part", "what is left of the measured change beyond second order.", look=Look("#FFFFFF", "ooo")),
    Column("unaccounted", "nats", "part", "what updates without a row in the ledger changed (ledger.every above 1).",
           label="not accounted", optional=True, quiet=True, filled="ledger", look=Look("#BBBBBB", "||||")),
    Column("entropy_before", "nats", "check", "mean entropy before the update."),
    Column("entropy", "nats", "check", "mean entropy after the update."),
    Column("_inner", "nats", "check", "<grad H, step>, which the causes add up to: identity (b)."),
    Column("_scale", "nats", "check", "sum of the absolute terms that identity (b) adds up: what rounding is relative to."),
    Column("_bound", "nats", "check", "bound on the remainder: identity (c); absent where steps are not steps of logits.",
           optional=True),
    Column("_rare_variance", "nats^2", "check", "variance of the curvature that single rare samples make: natural steps only.",
           prefixes="variance", optional=True),
    Column("pi_low", "1", "diagnostic", "probability of the actions beyond the low bound."),
    Column("pi_high", "1", "diagnostic", "probability of the actions beyond the high bound."),
    Column("mass_low", "kappa", "diagnostic", "pi_low times gap_low."),
    Column("mass_high", "kappa", "diagnostic", "pi_high times gap_high."),
    Column("surprise_low", "nats", "diagnostic", "mass_low with the natural step's entropy value, the surprisal.",
           optional=True, detail=True),
    Column("surprise_high", "nats", "diagnostic", "mass_high with the natural step's entropy value, the surprisal.",
           optional=True, detail=True),
    Column("clip_count_low", "samples", "diagnostic", "samples on which the low bound acted, per unit.", prefixes="sum"),
    Column("clip_count_high", "samples", "diagnostic", "samples on which the high bound acted, per unit.", prefixes="sum"),
    Column("kl", "nats", "diagnostic", "KL(pi_old, pi) before the update, on the contexts whose entropy it is."),
    Column("log_ratio_sq", "1", "diagnostic", "mean squared log-ratio under pi_old, on the contexts whose entropy it is."),
    Column("step_variance", "1", "diagnostic", "Var_pi of the logit step: twice the update's KL step to leading order."),
    Column("count_plus", "samples", "diagnostic", "samples with A > 0, per unit.", prefixes="sum"),
    Column("count_minus", "samples", "diagnostic", "samples with A < 0, per unit.", prefixes="sum"),
    Column("removed_plus", "samples", "diagnostic", "samples with A > 0 whose gradient was removed whole, per unit.",
           prefixes="sum", optional=True),
    Column("removed_minus", "samples", "diagnostic", "samples with A < 0 whose gradient was removed whole, per unit.",
           prefixes="sum", optional=True),
    Column("from_plus", "nats", "diagnostic", "first-order effect of the samples with A > 0 alone (sampled, exact).",
           optional=True),
    Column("from_minus", "nats", "diagnostic", "first-order effect of the samples with A < 0 alone (sampled, exact).",
           optional=True),
    Column("log_ratio_mean", "1", "diagnostic", "mean log-ratio of the minibatch's tokens: minus it estimates the KL on them.",
           optional=True),
    Column("token_log_ratio_sq", "1", "diagnostic", "mean squared log-ratio of the minibatch's tokens.", optional=True),
    Column("position_se", "nats", "diagnostic",
           "standard error of the measured change over its contexts, as of a random sample of more.", optional=True),
    Column("cancelling", "1", "diagnostic",
           "1 where a cause is larger than anything a gradient could do to entropy through Adam: causes cancel there, and only "
           "their sum means something; of rollouts and runs the share of such updates.", optional=True),
    Column("ratio_max", "1", "diagnostic", "largest ratio of any action.", prefixes="max", units="max"),
    Column("sequence_entropy", "nats", "diagnostic", "entropy of whole sequences.", filled="rollout"),
    Column("reward", "1", "diagnostic", "mean reward of the rollout.", filled="rollout", optional=True),
    Column("policy_reward", "1", "diagnostic", "expected reward, where it depends on the action.",
           filled="rollout", optional=True),
    Column("entropy_at_K", "nats", "diagnostic", "mean entropy of the K-th token of a sequence, the first being 1.",
           filled="rollout", optional=True),
    Column("pass_at_K", "1", "diagnostic", "share of prompts that one of K responses solves.", filled="rollout", optional=True),
    Column("response_tokens", "tokens", "diagnostic", "mean length of a response.", filled="rollout", optional=True),
    Column("flat_groups", "1", "diagnostic", "share of groups whose rewards are all equal.", filled="rollout", optional=True),
    Column("eps_low", "1", "diagnostic", "the low width that a controller set for the rollout.", filled="rollout", optional=True),
    Column("eps_high", "1", "diagnostic", "the high width that a controller set; null where it is off.", filled="rollout",
           optional=True),
    Column("slope_low", "1", "diagnostic", "the slope of the low width in the probability that a controller set.",
           filled="rollout", optional=True),
    Column("slope_high", "1", "diagnostic", "the slope of the high width in the probability that a controller set.",
           filled="rollout", optional=True),
    Column("strength", "1", "diagnostic", "the coefficient that a controller set for the rollout.", filled="rollout",
           optional=True),
    Column("target_entropy", "nats", "diagnostic", "the entropy that a controller is to hold.", filled="rollout", optional=True),
    Column("can_hold", "1", "diagnostic", "1 where the controller knew widths with the drift it wanted, 0 where there are none.",
           filled="rollout", optional=True),
    Column("samples", "samples", "diagnostic", "samples of an update per unit; of sequences, their tokens.", filled="ledger"),
    Column("measured_median", "nats", "diagnostic", "median over units of the measured change.", filled="ledger"),
    Column("curvature_rare_se", "nats", "diagnostic",
           "standard error that rare samples alone give the curvature of a run, from theory along the path: natural steps only.",
           filled="ledger", optional=True),
    Column("log_ratio_rms", "1", "diagnostic", "root mean square log-ratio under pi_old, on the contexts whose entropy it is.",
           filled="ledger"),
    Column("token_log_ratio_rms", "1", "diagnostic", "root mean square log-ratio of the minibatch's tokens.", filled="ledger",
           optional=True),
    Column("gap_low", "kappa", "diagnostic",
           "entropy value of the actions beyond the low bound, minus the policy's mean.", filled="ledger"),
    Column("gap_high", "kappa", "diagnostic",
           "entropy value of the actions beyond the high bound, minus the policy's mean.", filled="ledger"),
    Column("clip_fraction_low", "1", "diagnostic", "share of samples on which the low bound acted.", filled="ledger"),
    Column("clip_fraction_high", "1", "diagnostic", "share of samples on which the high bound acted.", filled="ledger"),
    Column("updates", "updates", "diagnostic", "updates that the ledger accounted for.", filled="ledger"),
    Column("skipped", "updates", "diagnostic", "updates that have no row.", filled="ledger"),
    Column("collapses", "units", "diagnostic", "units that lost over 1 nat and half their entropy within a rollout.",
           filled="ledger"),
    Column("visitation", "nats", "diagnostic", "sequence entropy's change from visiting other prefixes.", filled="ledger",
           optional=True),
)
# fmt: on
BY_NAME = {c.name: c for c in COLUMNS}
OPTIONAL_CAUSES = tuple(c.name for c in COLUMNS if c.kind == "cause" and c.optional)
PARTS = tuple(c.name for c in COLUMNS if c.expected)
SUMMED = (*PARTS, "remainder", "measured")  # of every run
UNSPLIT = tuple(c.name for c in COLUMNS if c.kind == "cause" and not c.optional)  # unknown where `whole_step` holds the step
EXPECTED = tuple(f"expected_{name}" for name in PARTS)
_MEANS = tuple(c for c in COLUMNS if c.kind == "diagnostic" and c.filled == "engine" and c.units == "mean" and not c.detail)
MEANS = tuple(c.name for c in _MEANS if not c.optional)
OPTIONAL_MEANS = tuple(c.name for c in _MEANS if c.optional)
_CAUSES = tuple(c.name for c in COLUMNS if c.kind == "cause")


@lru_cache(maxsize=1024)  # every update asks for the same names
def column_named(name: str) -> Column:
    """Return the column of that name, or the one whose expectation it is.

    Raises: ValueError for a name that the table does not have.
    """
    found = BY_NAME.get(re.sub(r"\d+$", "K", name)) or BY_NAME.get(name.removeprefix("expected_"))
    if found is None or (name.startswith("expected_") and not found.expected):
        raise ValueError(f"unknown column {name!r}: the ledger has no such quantity. Add a line for it to ledger/columns.py.")
    return found


def check_entry(names: Iterable[str]) -> None:
    """Raise ValueError for a column of an update that the table does not have or that no engine fills, and for one that is
    missing.

    The causes of the objective may all be missing where `whole_step` holds a step that is not split: they are not known then.
    """
    _check_names(frozenset(names))


@lru_cache(maxsize=1024)  # the updates of an arm all have the same
def _check_names(given: frozenset[str]) -> None:
    for name in sorted(given):
        if (found := column_named(name)).filled != "engine":
            raise ValueError(f"column {name!r} is filled by the {found.filled}: an engine leaves it out.")
    there = given.union(UNSPLIT) if "whole_step" in given and not given & set(UNSPLIT) else given
    missing = [c.name for c in COLUMNS if c.filled == "engine" and not c.optional and c.name not in there]
    if missing:
        raise ValueError(f"column {missing[0]!r} is missing: every engine fills it.")


def causes_in(names: Iterable[str]) -> list[str]:
    """Return the causes among some names, in the order of the table."""
    given = set(names)
    return [name for name in _CAUSES if name in given]
