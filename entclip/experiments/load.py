"""Experiments by name or from a TOML file."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable
from importlib import resources
from pathlib import Path

from entclip.experiments.experiment import Experiment, parse_experiment
from entclip.experiments.overrides import apply_overrides
from entclip.support.errors import SpecError

__all__ = ["experiment_names", "load"]


def experiment_names() -> list[str]:
    """Names of the experiments that ship with the package."""
    return sorted(p.name[:-5] for p in resources.files("entclip.experiments").iterdir() if p.name.endswith(".toml"))


def load(name_or_path: str | Path, overrides: Iterable[str] = ()) -> Experiment:
    """A shipped experiment by name, or a TOML file by path, with optional "key=value" overrides.

    Raises: SpecError for an unknown name, unreadable file, TOML syntax error, unknown key or value out of range.
    """
    name = str(name_or_path)
    path = Path(name_or_path)
    if name in experiment_names():
        text = resources.files("entclip.experiments").joinpath(f"{name}.toml").read_text()
    elif path.is_file():
        try:
            text = path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise SpecError(f"cannot read the experiment {path}: {error}.") from None
    else:
        close = difflib.get_close_matches(name, experiment_names(), n=1)
        hint = f"did you mean {close[0]}?" if close else f"the shipped ones are {', '.join(experiment_names())}."
        raise SpecError(f"no experiment named {name!r} and no such file: {hint}")
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{name} is not valid TOML: {error}.") from None
    apply_overrides(data, overrides)
    return parse_experiment(data)
