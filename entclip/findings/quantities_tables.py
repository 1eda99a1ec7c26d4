"""The tables of docs/quantities.md, as markdown, from its data file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["quantity_tables"]


def quantity_tables(data: Mapping[str, Any]) -> dict[str, str]:
    """Return every table of the page by the name of its quantity."""
    return {
        "gradient": _gradient(data["gradient"]),
        "signs": _stages(data["signs"], ("from_plus", "from_minus", "rest")),
        "positions": _stages(data["positions"], tuple(f"change_{k}" for k in (1, 2, 3, 4))),
        "support": _support(data["support"]),
        "law": _law(data["law"]),
    }


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (columns, ["---"] * len(columns), *rows))


def _number(value: float, digits: int = 4, sign: bool = True) -> str:
    text = f"{value:{'+' if sign else ''}.{digits}f}"
    return text.replace("+0.", "+.").replace("-0.", "-.").removeprefix("0") if text.lstrip("+-").startswith("0.") else text


def _gradient(rows: Sequence[Mapping[str, float]]) -> str:
    """Signal and its ratio to the variance, by success rate."""
    out = []
    for row in rows:
        pairs = [(row[f"{law}_signal"], row[f"{law}_signal"] / row[f"{law}_variance"]) for law in _LAWS]
        own = [f"{_number(signal, 5, False)} / {_number(ratio, 3, False)}" for signal, ratio in pairs]
        out.append([_number(row["success"], 3, False), *own])
    return _table(("success rate p", *(f"{name}: signal / ratio" for name in _LAWS.values())), out)


_LAWS = {"independent": "A = r - p", "group": "group of 8", "std": "group of 8 over its std"}


def _stages(runs: Mapping[str, Sequence[Mapping[str, float]]], parts: Sequence[str]) -> str:
    rows = [
        [name, f"{stage['first'] + 1}-{stage['last'] + 1}", *(_number(stage[part]) for part in ("measured", *parts))]
        for name, stages in runs.items()
        for stage in stages
    ]
    return _table(("run", "rollouts", "measured", *(part.replace("_", " ") for part in parts)), rows)


def _support(runs: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    rows = []
    for name, run in runs.items():
        paths = [" to ".join(_number(x, 3, False) for x in run[key]) for key in ("entropy", "answer_entropy")]
        counts = " / ".join(str(count) for count in run["counts"])
        rows.append([name, counts, *(_number(rate, 3, False) for rate in run["rates"]), *paths])
    return _table(("run", "P / E / S / O", "SRR", "NDR", "SDS", "NSCR", "entropy of actions", "of answers"), rows)


def _law(runs: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    for name, run in runs.items():
        reward = " to ".join(_number(x, 3, False) for x in run["reward"])
        fitted = [f"{_number(run[key], 4, False)} ± {_number(run[f'{key}_half'], 4, False)}" for key in ("a", "b")]
        rest = [_number(run[key], 3, False) for key in ("ceiling", "rmse", "ahead")]
        rows.append([name, reward, *fitted, *rest])
    return _table(("run", "reward", "a", "b", "ceiling b - a", "rms distance", "ahead"), rows)
