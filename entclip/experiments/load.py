"""Experiments by name or from a TOML file."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from pathlib import Path

from entclip.experiments.experiment import Experiment, parse_experiment
from entclip.experiments.overrides import apply_overrides
from entclip.support.bounded import MAX_TOML, exists, parse_toml, read_bounded
from entclip.support.errors import SpecError
from entclip.support.rewording import shown, suggestion

__all__ = ["experiment_names", "load"]


def experiment_names() -> list[str]:
    """Return names of the experiments that ship with the package."""
    return sorted(p.name[:-5] for p in resources.files("entclip.experiments").iterdir() if p.name.endswith(".toml"))


def load(name_or_path: str | Path, overrides: Iterable[str] = ()) -> Experiment:
    """Load a shipped experiment by name, or a TOML file by path, with optional "key=value" overrides.

    Raises: SpecError for an unknown name, unreadable file, TOML syntax error, unknown key or value out of range.
    """
    name = str(name_or_path)
    if name in experiment_names():
        text = resources.files("entclip.experiments").joinpath(f"{name}.toml").read_text("utf-8")
    elif exists(Path(name_or_path)):
        try:
            text = read_bounded(Path(name_or_path), MAX_TOML, "the experiment").decode("utf-8")
        except UnicodeDecodeError as error:
            raise SpecError(f"the experiment {name!r} cannot be read: it is not UTF-8 text ({error.reason}).") from None
    else:
        names = experiment_names()
        hint = suggestion(name, names, f"the shipped ones are {', '.join(names)}.")
        raise SpecError(f"no experiment named {shown(name)} and no such file: {hint}")
    data = parse_toml(text, name if len(name) <= 200 else shown(name))
    apply_overrides(data, overrides)
    return parse_experiment(data)
