"""Cards of objectives as tables for a terminal and as markdown for the site."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from entclip.report.card import FIELDS, LEVELS, PLACES, Card
from entclip.report.grid import Grid, text_grid

__all__ = ["card_grid", "cards_grid", "cards_markdown", "places_grid"]

_NOTE = "source: how far the formula is verified. " + "; ".join(f"{k} {text}" for k, text in LEVELS.items()) + "; - derived here."


def cards_grid(cards: Sequence[Card]) -> Grid:
    """Tabulate the cards: a line for each, the built ones first."""
    rows = ((c.name if c.built else f"({c.name})", c.levels, _first(c.fields["Random reward"]), c.summary) for c in cards)
    notes = (
        "random reward: the first-order entropy change that the mechanism itself adds under rewards that do not depend on the "
        "action; most hold for most policies, not for all. In brackets: no objective of its own; the card says why, and names "
        "the functions that report the paper's quantities.",
        _NOTE,
        "entclip objectives NAME prints a card, entclip compare EXPERIMENT --objectives NAME,NAME sets some side by side.",
    )
    columns = ("objective", "source", "random reward", "what it does")
    return text_grid("Published objectives", columns, rows, prose=("random reward", "what it does"), notes=notes)


def places_grid(cards: Sequence[Card]) -> Grid:
    """Tabulate where objectives can be used: those that can be in the same places share a line."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for c in cards:
        if c.built:
            groups.setdefault(c.runs_on, []).append(c.name)
    rows = ((", ".join(names), ", ".join(places)) for places, names in sorted(groups.items(), key=lambda item: -len(item[0])))
    notes = (
        "sequences: policy.kind = 'autoregressive'. trl: entclip llm --backend trl. ledgers of loops: ledger_from_arrays, "
        "ledger_from_samples and EntropyLedger. Everything else refuses in one sentence, before anything is run; an objective "
        "may need certain rewards or advantages, too (needs).",
    )
    return text_grid("Where they can be used", ("objectives", "runs on"), rows, prose=("objectives", "runs on"), notes=notes)


def card_grid(card: Card) -> Grid:
    """Tabulate one card: its fields and the parameters with their defaults."""
    given = ", ".join(f"{name} = {_plain(value)}" for name, value in card.parameters.items())
    rows = [("parameters", given)] if given else []
    rows += [(name.lower(), card.fields[name]) for name in FIELDS if name in card.fields]
    return text_grid(f"{card.name}: {card.summary}", ("", "card"), rows, prose=("card",), notes=(_NOTE,))


def cards_markdown(cards: Sequence[Card]) -> str:
    """Write the page of all cards."""
    table = ["| objective | source | random reward | what it does |", "| --- | --- | --- | --- |"]
    for c in cards:
        first = _first(c.fields["Random reward"])
        table.append(f"| [{c.name}](#{_anchor(c.name)}) | {c.levels} | {_escaped(first)} | {_escaped(c.summary)} |")
    levels = "\n".join(f"- **[{letter}]** {text}" for letter, text in LEVELS.items())
    built, others = ([c for c in cards if c.built is state] for state in (True, False))
    return (
        "\n\n".join(
            [
                "# Objectives",
                "Every published mechanism that entclip knows, with its formula, where that comes from, and what it does to "
                "entropy at first order. This page is made from the docstrings by `python -m entclip.report.cards`; `entclip "
                "objectives` prints the same cards. r = pi/pi_old is the importance ratio, A the advantage, c(r, A) the "
                "weight of a sample, g+ and g- its gains c/(r A) for A > 0 and A < 0 ([T10](theory.md#t10)). Under random "
                "reward the entropy moves by the *difference* of the two gains, where that varies with the action. Signs are "
                "those of most policies; the theory says when they turn.",
                "How far a formula is verified:",
                levels,
                "\n".join(table),
                "## Where they can be used",
                "Worked out from what each objective needs and what each engine serves, as the refusals are; where there is no "
                "mark the objective is refused in one sentence before anything is run. An objective may need certain rewards or "
                "advantages, too: its card says so.",
                _places(cards),
                "## Built",
                *(_section(c) for c in built),
                "## Not built",
                "These are no objectives, or need what no engine serves or constants that were not seen. Each card says what is "
                "reported instead, and by which functions; [Quantities](quantities.md) has numbers of some.",
                *(_section(c) for c in others),
            ]
        )
        + "\n"
    )


def _places(cards: Sequence[Card]) -> str:
    """The table of places, a column for each."""
    lines = [f"| objective | {' | '.join(PLACES)} |", "| --- |" + " :-: |" * len(PLACES)]
    for c in cards:
        if c.built:
            marks = " | ".join("yes" if place in c.runs_on else "" for place in PLACES)
            lines.append(f"| [{c.name}](#{_anchor(c.name)}) | {marks} |")
    lines += ["", *(f"- **{name}:** {words}" for name, (_, words) in PLACES.items())]
    return "\n".join(lines)


def _section(card: Card) -> str:
    given = ", ".join(f"`{name} = {_plain(value)}`" for name, value in card.parameters.items())
    lines = [f"({_anchor(card.name)})=", f"### {card.name}", "", _escaped(card.summary), ""]
    lines += [f"- **parameters:** {given}"] if given else []
    lines += [f"- **{name.lower()}:** {_escaped(card.fields[name])}" for name in FIELDS if name in card.fields]
    return "\n".join(lines)


def _anchor(name: str) -> str:
    return f"objective-{name.replace('_', '-')}"


def _first(text: str) -> str:
    """The clause that a text opens with, and that of its second sentence if it says what happens then."""
    first, _, then = text.partition(". ")
    clauses = [re.split(r"[:;.](?=\s|$)", part)[0] for part in (first, then)]
    return f"{clauses[0]}; {clauses[1][0].lower()}{clauses[1][1:]}" if clauses[1].startswith("Then ") else clauses[0]


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _escaped(text: str) -> str:
    """Markdown of plain text: what would be markup is not, but `code` and *emphasis* stay."""
    parts = re.split(r"(`[^`]+`)", text)
    return "".join(p if p.startswith("`") else re.sub(r"([|<_\[\]]|\*(?![a-z]+\*))", r"\\\1", p) for p in parts)


if __name__ == "__main__":
    from pathlib import Path

    from entclip.report.card import cards
    from entclip.support.files import write_atomic

    write_atomic(Path("docs/objectives.md"), cards_markdown(cards()).encode())
