"""Defaults of the keys that decide what a clip does: TRL's, which axolotl passes none to where a key is unset."""

from __future__ import annotations

from typing import Any

from entclip.integrations.lint.libraries.trl.defaults import DEFAULTS as TRL

__all__ = ["DEFAULTS"]

DEFAULTS: dict[str, Any] = TRL | {"rl": None, "scale_rewards": True}
