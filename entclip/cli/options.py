"""Options that commands share, and short spellings on the command line as sections of an experiment."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import typer

from entclip.support.errors import SpecError

__all__ = [
    "AsJson",
    "Csv",
    "Device",
    "Dtype",
    "EngineName",
    "Experiment",
    "Library",
    "Out",
    "Quiet",
    "Set",
    "choose_arms",
    "number",
    "policy_section",
    "reward_section",
    "usual",
]


@cache
def _shipped(experiment: str) -> dict[str, Any]:
    """A shipped experiment as written: not validated, so that --help is quick."""
    return tomllib.loads(resources.files("entclip.experiments").joinpath(f"{experiment}.toml").read_text("utf-8"))


def usual(experiment: str, key: str, otherwise: str = "") -> str:
    """Look up the value of a key in a shipped experiment, for --help to show as a default."""
    value: Any = _shipped(experiment)
    for part in key.split("."):
        value = value.get(part, {})
    return otherwise if value == {} else f"{value:g}" if isinstance(value, float) else str(value)


def _complete_experiment(incomplete: str) -> list[str]:
    names = (p.name for p in resources.files("entclip.experiments").iterdir())
    return sorted(name[:-5] for name in names if name.endswith(".toml") and name.startswith(incomplete))


def _complete_engine(incomplete: str) -> list[str]:
    from entclip.engines.registry import ENGINES

    return [name for name, facts in ENGINES.items() if name.startswith(incomplete) and not facts.trains_models]


def policy_section(text: str, vocab: int | None, contexts: int | None) -> dict[str, Any]:
    """Return "zipf:1.2", "dirichlet:2", "peaked:5", "uniform", "snapshot:NAME" or a .npy file as a [policy] section."""
    kind, _, parameter = text.partition(":")
    if text.endswith(".npy"):
        section: dict[str, Any] = {"kind": "file", "path": text}
    elif kind == "snapshot":
        section = {"kind": "snapshot", **({"name": parameter} if parameter else {})}
    else:
        names = {"zipf": "exponent", "dirichlet": "alpha", "peaked": "logit", "uniform": None}
        if kind not in names:
            raise SpecError(f"--policy {text!r}: the kind must be one of {', '.join(names)}, snapshot, or a .npy file.")
        section = {"kind": kind, "vocab": vocab or 64}
        if parameter:
            if names[kind] is None:
                raise SpecError(f"--policy {text!r}: uniform takes no parameter.")
            section[str(names[kind])] = number("--policy", parameter)
    if contexts is not None:
        section["contexts"] = contexts
    elif "vocab" in section:
        section["contexts"] = 256
    return section


def number(option: str, text: str) -> float:
    """Return a number given as text; SpecError that names the option."""
    try:
        return float(text)
    except ValueError:
        raise SpecError(f"{option}: {text!r} is not a number.") from None


def reward_section(text: str) -> dict[str, Any]:
    """Return "bernoulli:.5", "gaussian:1" or "rademacher" as a [reward] section."""
    kind, _, parameter = text.partition(":")
    names = {"bernoulli": "p", "gaussian": "std", "rademacher": None}
    if kind not in names:
        raise SpecError(
            f"--reward {text!r}: the kind must be one of bernoulli:P, gaussian:STD, rademacher (tables: use a TOML file)."
        )
    if parameter and names[kind] is None:
        raise SpecError(f"--reward {text!r}: {kind} takes no parameter.")
    return {"kind": kind, **({str(names[kind]): number("--reward", parameter)} if parameter else {})}


def choose_arms(data: dict[str, Any], eps_low: float | None, eps_high: float | None, names: Sequence[str] | None) -> None:
    """Return one arm `custom` if a width is given, else the named arms; SpecError for a name that the experiment does not
    have."""
    if eps_low is not None or eps_high is not None:
        widths = {k: v for k, v in (("low", eps_low), ("high", eps_high)) if v is not None}
        data["arm"] = [{"name": "custom", "objective": "clip", **widths}]
    if not names:
        return
    known = [a["name"] for a in data["arm"]]
    missing = [name for name in names if name not in known]
    if missing:
        raise SpecError(f"--arm {missing[0]!r}: the arms are {', '.join(known)}.")
    data["arm"] = [a for a in data["arm"] if a["name"] in names]


Experiment = Annotated[str, typer.Argument(help="A shipped experiment or a TOML file.", autocompletion=_complete_experiment)]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override any key of the experiment.", show_default="none")
]
Out = Annotated[
    Path | None, typer.Option("--out", help="Folder for the ledger (Parquet), summary and figure.", show_default="none written")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
Csv = Annotated[
    str | None,
    typer.Option(
        "--csv",
        metavar="FILE",
        show_default="none written",
        help="Write the table's numbers, unrounded, as CSV; - prints them instead of tables.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Results and errors only: no progress, no explanations.")]
EngineName = Annotated[
    str,
    typer.Option(
        "--engine",
        autocompletion=_complete_engine,
        help="sampled, exact (every outcome), reduced (any vocabulary), tokens (torch), head (shared).",
    ),
]
Device = Annotated[str, typer.Option("--device", help="cpu or cuda, for the torch engines.")]
Dtype = Annotated[str, typer.Option("--dtype", help="float64 or float32, for the torch engines.")]
Library = Annotated[
    str | None,
    typer.Option(
        "--library",
        help="The trainer's name as lint says it, such as trl or verl; a wrong one lists all.",
        show_default="detected from the keys",
    ),
]
