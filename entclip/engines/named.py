"""Engines by name; a module loads when its engine is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from entclip.engines.base import Engine
from entclip.engines.facts import EngineFacts
from entclip.engines.registry import BACKENDS, ENGINES, facts_of
from entclip.support.errors import SpecError
from entclip.support.extras import not_installed

__all__ = ["engine_named"]
_CLASSES = {
    "sampled": ("entclip.engines.tabular.sampled", "SampledEngine"),
    "exact": ("entclip.engines.tabular.exact", "ExactEngine"),
    "reduced": ("entclip.engines.reduced.engine", "ReducedEngine"),
    "tokens": ("entclip.engines.tokens.engine", "TokensEngine"),
    "head": ("entclip.engines.head.engine", "HeadEngine"),
    "llm": ("entclip.engines.llm.engine", "LlmEngine"),
}


def engine_named(name: str, device: str = "cpu", dtype: str | None = None) -> Engine[Any, Any]:
    """Return the engine of that name; modules load when asked for. dtype: None for the engine's usual one.

    Raises: SpecError for an unknown name, or a device or dtype that this engine does not have.
    """
    facts = facts_of(name)
    if name in BACKENDS:
        raise SpecError(f"{name!r} is no engine: it trains in a loop of its own. Use entclip llm --backend {name}.")
    _check_machine(facts, device, facts.dtypes[0] if dtype is None else dtype)
    facts.refuse_unloadable()
    module, attribute = _CLASSES[name]
    try:
        kind = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        if not facts.extra or error.name is None or error.name.startswith("entclip"):
            raise
        raise SpecError(not_installed(f"the {name} engine", error.name, facts.extra)) from None
    chosen = {"device": device, "dtype": dtype or facts.dtypes[0]} if len(facts.devices) > 1 else {}
    engine: Engine[Any, Any] = kind(**chosen)
    return engine


def _check_machine(facts: EngineFacts, device: str, dtype: str) -> None:
    """Raise SpecError for a device or dtype that the engine does not have."""
    for key, value, own in (("device", device.split(":")[0], facts.devices), ("dtype", dtype, facts.dtypes)):
        if value not in own:
            others = [f.name for f in ENGINES.values() if value in (f.devices if key == "device" else f.dtypes)]
            instead = f"or an engine that has it: {', '.join(others)}" if others else "no engine has it"
            raise SpecError(f"{key} = {value!r}: the {facts.name} engine has {' or '.join(own)} only; use that, {instead}.")
