"""The simulators beside the pretrained model, as the page shows them: which of them has its signs and sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from entclip.findings.pretrained.decide import quantile
from entclip.findings.tables import markdown_table

__all__ = ["compared", "number"]

_NAMES = {"head": "last layer", "table": "tables", "law": "noise as given"}
_SIDES = ("low", "high")


def number(found: Mapping[str, Any] | None) -> str:
    """Write the mean of a contrast with half of its 99 % interval, where there is one; nothing for no contrast."""
    if found is None:
        return ""
    return f"{found['mean']:+.4f}" + ("" if found["half_99"] is None else f" ± {found['half_99']:.4f}")


def compared(found: Mapping[str, Any] | None, head: Mapping[str, Any], ledger: Mapping[str, Any] | None) -> str:
    """Write what `beside` found next to the headline's differences and, where there are accounted pairs, next to their terms."""
    if found is None:
        return (
            "Not measured: `python -m entclip.findings.pretrained.beside --law docs/data/pretrained.json` runs the simulators "
            "from this model's contexts."
        )
    names = [name for name in _NAMES if name in found]
    arms = [arm for arm in head["arms"] if arm != "none" and arm in found[names[0]]["arms"]]
    whole = [
        (f"`{arm}`", number(head["arms"][arm]["minus_none"]), *(_clips(found[n]["arms"][arm]) for n in names)) for arm in arms
    ]
    parts = ["*Clip terms of the simulators, low and high side together, beside the model's change minus none:*"]
    parts.append(markdown_table(("arm", "model, minus none", *(_NAMES[n] for n in names)), whole))
    parts.append(_agreement(found, head, arms, names))
    rows = [
        (f"`{arm}`", side, _accounted(ledger, arm, side), *(_term(found[n]["arms"][arm], side) for n in names))
        for arm in arms
        for side in _SIDES
        if found[names[0]]["arms"][arm][f"clip_fraction_{side}"] > 0
    ]
    parts.append("*Side by side: the term in nats, and the share of tokens clipped:*")
    parts.append(markdown_table(("arm", "side", "model, accounted pairs", *(_NAMES[n] for n in names)), rows))
    return "\n\n".join(parts)


def _agreement(found: Mapping[str, Any], head: Mapping[str, Any], arms: Sequence[str], names: Sequence[str]) -> str:
    """Say where a simulator's interval and the model's do not meet."""
    said = []
    for name in names:
        apart = []
        for arm in arms:
            value, half = _sum(found[name]["arms"][arm])
            own = head["arms"][arm]["minus_none"]
            if own["half_99"] is not None and abs(value - own["mean"]) > half + own["half_99"]:
                apart.append(f"`{arm}`")
        said.append(f"{_NAMES[name]}: {', '.join(apart) or 'none'}")
    return f"Arms whose interval does not meet the model's: {'; '.join(said)}. A wide interval meets nearly anything."


def _sum(arm: Mapping[str, Any]) -> tuple[float, float]:
    """Return the sum of both terms and half of its interval; the errors of its parts add up, however they are correlated."""
    value = arm["clip_low"] + arm["clip_high"]
    if "units" not in arm:  # a prediction, which is not sampled
        return value, 0.0
    return value, quantile(arm["units"]) * sum(arm[f"clip_{side}_se"] for side in _SIDES)


def _clips(arm: Mapping[str, Any]) -> str:
    value, half = _sum(arm)
    return f"{value:+.4f}" + (f" ± {half:.4f}" if "units" in arm else "")


def _term(arm: Mapping[str, Any], side: str) -> str:
    return f"{arm[f'clip_{side}']:+.4f} ({100 * arm[f'clip_fraction_{side}']:.2f} %)"


def _accounted(ledger: Mapping[str, Any] | None, arm: str, side: str) -> str:
    if not ledger or arm not in ledger["arms"]:
        return ""
    own = ledger["arms"][arm]
    values = own["parts_by_pair"][f"clip_{side}"]
    pairs = ", ".join(f"{value:+.4f}" for value in values)
    return f"{own['parts'][f'clip_{side}']:+.4f} ({100 * own[f'clip_fraction_{side}']:.2f} %; by pair {pairs})"
