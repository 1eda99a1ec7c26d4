"""Engines by name; a module loads when its engine is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from entclip.engines.base import Engine
from entclip.support.errors import SpecError
from entclip.support.extras import check_docstrings, not_installed

__all__ = ["engine_named"]
_ENGINES = {
    "sampled": ("entclip.engines.tabular.sampled", "SampledEngine"),
    "exact": ("entclip.engines.tabular.exact", "ExactEngine"),
    "reduced": ("entclip.engines.reduced.engine", "ReducedEngine"),
    "tokens": ("entclip.engines.tokens.engine", "TokensEngine"),
    "head": ("entclip.engines.head.engine", "HeadEngine"),
    "llm": ("entclip.engines.llm.engine", "LlmEngine"),
}


_TORCH = {"tokens", "head", "llm"}
_EXTRA = {"tokens": "torch", "head": "torch", "llm": "llm"}  # brings all that the engine imports, whichever package lacks first
DTYPES = ("float64", "float32", "bfloat16")


def engine_named(name: str, device: str = "cpu", dtype: str = "float64") -> Engine[Any, Any]:
    """Return the engine of that name; modules load when asked for.

    Raises: SpecError for an unknown name, or a device or dtype that this engine does not have.
    """
    if name not in _ENGINES:
        raise SpecError(f"unknown engine {name!r}: choose one of {', '.join(sorted(_ENGINES))}.")
    if dtype not in DTYPES:
        raise SpecError(f"dtype = {dtype!r}: choose one of {', '.join(DTYPES)}.")
    if name not in _TORCH and (device, dtype) != ("cpu", "float64"):
        raise SpecError(
            f"the {name} engine runs on the CPU in float64, not on device {device!r} in {dtype}: leave both out, or use one of "
            f"the engines {', '.join(sorted(_TORCH))}."
        )
    if name == "llm":
        check_docstrings("the llm engine")
    module, attribute = _ENGINES[name]
    try:
        kind = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        if name not in _EXTRA or error.name is None or error.name.startswith("entclip"):
            raise
        raise SpecError(not_installed(f"the {name} engine", error.name, _EXTRA[name])) from None
    engine: Engine[Any, Any] = kind(device=device, dtype=dtype) if name in _TORCH else kind()
    return engine
