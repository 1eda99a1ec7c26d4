"""The figure of a run over its rollouts: in each the causes, stacked, beside the entropy change that was measured."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from entclip.ledger.columns import COLUMNS
from entclip.report.grid import arms_of
from entclip.report.numbers import plain, value_of, with_error
from entclip.report.panel import draw, limits
from entclip.report.stacks import Stack, stacks
from entclip.report.style import CAUSES, WIDE, new_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

__all__ = ["rollouts_caption", "rollouts_figure"]

_PANELS = 12
_VISIBLE = 0.005  # of the tallest stack: a remainder below it would be a hair line
_ROUNDING = 1e-9  # of the same: parts that are 0 in an exact engine
# The clips first and what only noise moves last, so that theory and measurement line up side by side.
_ORDER = (
    *(c.name for c in COLUMNS if c.kind == "cause" and not c.noise),
    "curvature",
    *(c.name for c in reversed(COLUMNS) if c.noise),
    "remainder",
    "unaccounted",
)
# Inches.
_LEFT, _RIGHT, _GAP, _RUN = 0.78, 0.5, 0.16, 0.5
_PER_LINE = 3  # entries of the legend


def rollouts_figure(
    frame: pd.DataFrame, arms: Sequence[str] | None = None, *, summary: Mapping[str, Any] | None = None
) -> Figure:
    """Draw where entropy went, rollout by rollout: a panel per arm, in nats, all panels on one scale (one for each case).

    In each group, from left to right: theory along the path of every cause (pale; only where the engine has it), the causes as
    they were measured, stacked up where they raised entropy and down where they lowered it, and in black the measured change
    with its 95 % interval. A line from the stack to the black bar marks the sum of the stack, which is the measured change: the
    ledger's books balance. A diamond on the black bar is theory's total. Beside n rollouts stands the whole run, on a scale n
    times as long. `rollouts_caption` says how to read it.

    Args:
        frame: one row per arm and rollout, `Ledger.to_frame("rollouts")` or `read_frame(run, "rollouts")`.
        arms: which ones to draw, by their names in the JSON object of the run; by default all, of which the first 12 are shown.
        summary: that JSON object: gives the run's own standard errors and the number of updates that were not accounted.
    Raises: ValueError for a frame that has no rollouts, and for an arm that it does not have.
    """
    known, (shown, _) = summary or {}, _panels(frame, arms, summary)
    every = [stack for groups in shown.values() for stack in groups]
    parts, theory = _shown(every), any(stack.expected for stack in every)
    cases = [name.rpartition("/")[0] for name in shown]
    most = max(len(groups) for groups in shown.values())
    whole = most > 1
    side = _LEFT if len(set(cases)) > 1 else _GAP  # room for a scale of its own beside every panel
    least = min(max(2.0, 0.28 * most + 0.5), WIDE - _LEFT - _RIGHT)
    columns = max(1, min(len(shown), int((WIDE - _LEFT - _RIGHT + side) / (least + side))))
    panel = (WIDE - _LEFT - _RIGHT + side) / columns - side
    lines = math.ceil(len(shown) / columns)
    handles = _handles(parts, theory)
    head, high = 0.45 + 0.19 * math.ceil(len(handles) / _PER_LINE), 2.0 if lines < 3 else 1.6
    tall = head + lines * (high + 0.72) + 0.05
    fig = new_figure(WIDE, tall)
    for i, (name, groups) in enumerate(shown.items()):
        row, column = divmod(i, columns)
        alone = column == 0 or cases[i - 1] != cases[i]
        last = column == columns - 1 or i + 1 == len(shown) or cases[i + 1] != cases[i]
        low, top = limits([g for n, gs in shown.items() if n.rpartition("/")[0] == cases[i] for g in gs if g.label != "run"])
        left, bottom = _LEFT + column * (panel + side), tall - head - 0.3 - row * (high + 0.72) - high
        own = [g for g in groups if g.label != "run"]
        room = panel - (_RUN if whole else 0.0)
        axes = fig.add_axes((left / WIDE, bottom / tall, (room - 0.06 * whole) / WIDE, high / tall))
        draw(axes, own, parts, theory)
        axes.set_ylim(low, top)
        axes.set_xlabel("rollout", fontsize=9, labelpad=1)
        axes.tick_params(axis="y", labelleft=alone)
        arm = arms_of(known).get(name, {})
        total = with_error(groups[-1].measured, value_of(arm, "measured_se"))
        axes.set_title(f"{name}  {total}".replace("$", r"\$"), fontsize=9.5, loc="left")
        if whole:
            axes = fig.add_axes(((left + room) / WIDE, bottom / tall, _RUN / WIDE, high / tall), facecolor="0.94")
            draw(axes, groups[-1:], parts, theory)
            axes.set_ylim((most - 1) * low, (most - 1) * top)
            axes.yaxis.tick_right()
            axes.tick_params(axis="y", labelright=last)
            axes.spines["left"].set_visible(False)
            axes.spines["right"].set_visible(True)
    title = "Entropy change by rollout and cause" + (f": {known['experiment']}" if "experiment" in known else "")
    fig.text(0.1 / WIDE, 1 - 0.22 / tall, title.replace("$", r"\$"), fontsize=11, fontweight="bold")
    fig.text(0.06 / WIDE, (tall - head) / 2 / tall, "entropy change (nats)", rotation=90, va="center", fontsize=9.5)
    fig.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0.005, 1 - 0.26 / tall),
        ncols=_PER_LINE,
        fontsize=9,
        frameon=False,
        columnspacing=1.1,
        handletextpad=0.5,
        labelspacing=0.25,
    )
    return fig


def _shown(every: Sequence[Stack]) -> tuple[str, ...]:
    """The parts that anything is seen of, in the order of the stack."""
    tallest = max((sum(abs(v) for v in s.parts.values()) for s in every), default=0.0)

    def seen(part: str) -> bool:
        largest = max((abs(x) for s in every for x in (s.parts.get(part, 0.0), s.expected.get(part, 0.0))), default=0.0)
        return largest > tallest * (_VISIBLE if part == "remainder" else _ROUNDING)

    return tuple(part for part in _ORDER if seen(part))


def _handles(parts: Iterable[str], theory: bool) -> list[Patch | Line2D]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Patch | Line2D] = [
        Patch(facecolor=colour, hatch=hatch, edgecolor="black", linewidth=0.6, label=label)
        for label, colour, hatch in (CAUSES[part] for part in parts)
    ]
    handles.append(Patch(facecolor=CAUSES["measured"][1], label="measured change"))
    if theory:
        handles.append(Patch(facecolor="0.92", edgecolor="0.45", linewidth=0.6, label="theory, by cause (pale)"))
        diamond = {"marker": "D", "linestyle": "none", "markerfacecolor": "white", "markeredgecolor": "black", "markersize": 4.5}
        handles.append(Line2D([], [], label="theory, total", **diamond))  # type: ignore[arg-type]
    return handles


def _panels(
    frame: pd.DataFrame, arms: Sequence[str] | None, summary: Mapping[str, Any] | None
) -> tuple[dict[str, Sequence[Stack]], list[str]]:
    """The arms that are drawn, and the names of those that are left out."""
    data = stacks(frame, arms, summary)
    return dict(list(data.items())[:_PANELS]), list(data)[_PANELS:]


def rollouts_caption(frame: pd.DataFrame, arms: Sequence[str] | None = None, *, summary: Mapping[str, Any] | None = None) -> str:
    """Say what `rollouts_figure` shows of the same arguments and how to read it."""
    shown, left_out = _panels(frame, arms, summary)
    every = [stack for groups in shown.values() for stack in groups]
    parts, summary = _shown(every), summary or {}
    cases = len({name.rpartition("/")[0] for name in shown}) > 1
    groups = max(len(stacked) for stacked in shown.values()) - 1
    said = [
        "Measured: the black bar (entropy change, with its 95 % interval where there is a standard error) and the stack beside "
        "it (its causes: up where they raised entropy, down where they lowered it). The line across is the sum of the stack; it "
        "meets the end of the black bar, for the parts add up to the measured change."
    ]
    if any(stack.expected for stack in every):
        said.append(
            "Theory along the path (the expectation given the policies that the run visited, not a forecast): the pale stack, "
            "and the diamond for its sum."
        )
        if "unclipped" in parts and not any(stack.expected.get("unclipped") for stack in every):
            said.append("The unclipped part is sampling noise: its expectation is 0.")
    else:
        said.append("Causes are first-order parts of the steps taken; here theory has no expectation to set beside them.")
    if "remainder" not in parts:
        largest = max((abs(s.parts.get("remainder", 0.0)) for s in every), default=0.0)
        said.append(f"Remainder (not drawn): at most {plain(largest, False)}.")
    if cases:
        said.append("Each case has its own scale.")
    if groups:
        said.append(f"Grey: the whole run, on a scale {groups} times as long, so that it looks like the mean of its rollouts.")
        if not summary and any(stack.half is not None for stack in every):
            said.append("Its interval is the sum of those of the rollouts, the widest possible.")
    if any("-" in stack.label for stack in every):
        said.append("Neighbouring rollouts are put together, their intervals added, the widest possible.")
    skipped = {name: int(arm.get("skipped") or 0) for name, arm in arms_of(summary).items()}
    if any(skipped.values()):
        name = max(skipped, key=lambda n: skipped[n])
        updates = int(summary["arms"][name]["updates"])
        said.append(
            f"Accounted: {updates} of {updates + skipped[name]} updates; the rest of the change is drawn as not accounted."
        )
    if left_out:
        said.append(f"Not drawn: {len(left_out)} more arms ({', '.join(left_out[:4])}{', ...' if len(left_out) > 4 else ''}).")
    return " ".join(said)
