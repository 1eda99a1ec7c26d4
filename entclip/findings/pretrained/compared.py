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


def compared(found: Mapping[str, Any] | None, head: Mapping[str, Any], accounted: Sequence[Mapping[str, Any]]) -> str:
    """Write what `beside` found next to the headline's differences and next to the terms of accounted pairs, of several sets."""
    if found is None:
        return (
            "Not measured: `python -m entclip.findings.pretrained.beside --law docs/data/pretrained.json` runs the simulators "
            "from this model's contexts."
        )
    names = [name for name in _NAMES if name in found]
    arms = [arm for arm in head["arms"] if arm != "none" and arm in found[names[0]]["arms"]]
    sampled = [name for name in names if "measured" in found[name]["arms"]["none"]]
    whole = [
        (
            f"`{arm}`",
            number(head["arms"][arm]["minus_none"]),
            *(_written(*_minus_none(found[n], arm)) for n in sampled),
            *(_written(*_sum(found[n]["arms"][arm])) for n in names),
        )
        for arm in arms
    ]
    parts = [
        "*Changes minus none, of the model and of the simulators that have one, and the simulators' clip terms, low and high:*"
    ]
    columns = ("model, minus none", *(f"{_NAMES[n]}, minus none" for n in sampled), *(f"{_NAMES[n]}, clip terms" for n in names))
    parts.append(markdown_table(("arm", *columns), whole))
    parts.append(_agreement(found, head, arms, names))
    base = ", ".join(f"{_NAMES[n]} {_written(*_own(found[n]['arms']['none']))}" for n in sampled)
    parts.append(f"Without a clip the change itself is: model {number(head['arms']['none']['measured'])}; {base}.")
    rows = [
        (f"`{arm}`", side, _accounted(accounted, arm, side), *(_term(found[n]["arms"][arm], side) for n in names))
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
            one = found[name]
            value, half = _minus_none(one, arm) if "measured" in one["arms"][arm] else _sum(one["arms"][arm])
            own = head["arms"][arm]["minus_none"]
            if own["half_99"] is not None and abs(value - own["mean"]) > half + own["half_99"]:
                apart.append(f"`{arm}`")
        said.append(f"{_NAMES[name]}: {', '.join(apart) or 'none'}")
    return (
        "Arms whose change minus none (of the noise as given: clip terms) does not meet the model's interval: "
        f"{'; '.join(said)}. A wide interval meets nearly anything."
    )


def _sum(arm: Mapping[str, Any]) -> tuple[float, float]:
    """Return the sum of both terms and half of its interval; the errors of its parts add up, however they are correlated."""
    value = arm["clip_low"] + arm["clip_high"]
    if "units" not in arm:  # a prediction, which is not sampled
        return value, 0.0
    return value, quantile(arm["units"]) * sum(arm[f"clip_{side}_se"] for side in _SIDES)


def _own(arm: Mapping[str, Any]) -> tuple[float, float]:
    return arm["measured"], quantile(arm["units"]) * arm["measured_se"]


def _minus_none(simulator: Mapping[str, Any], arm: str) -> tuple[float, float]:
    """Return the change minus none and half of its interval; both errors add up, as if they went against each other."""
    (value, half), (none, other) = (_own(simulator["arms"][name]) for name in (arm, "none"))
    return value - none, half + other


def _written(value: float, half: float) -> str:
    return f"{value:+.4f}" + (f" ± {half:.4f}" if half else "")


def _term(arm: Mapping[str, Any], side: str) -> str:
    return f"{arm[f'clip_{side}']:+.4f} ({100 * arm[f'clip_fraction_{side}']:.2f} %)"


def _accounted(sets: Sequence[Mapping[str, Any]], arm: str, side: str) -> str:
    """Write the mean of a term over the accounted pairs of all sets, the share clipped in them, and the term of every pair."""
    own = [found["arms"][arm] for found in sets if arm in found["arms"]]
    if not own:
        return ""
    values = [value for one in own for value in one["parts_by_pair"][f"clip_{side}"]]
    share = sum(one[f"clip_fraction_{side}"] * len(one["parts_by_pair"][f"clip_{side}"]) for one in own) / len(values)
    pairs = ", ".join(f"{value:+.4f}" for value in values)
    return f"{sum(values) / len(values):+.4f} ({100 * share:.2f} %; by pair {pairs})"
