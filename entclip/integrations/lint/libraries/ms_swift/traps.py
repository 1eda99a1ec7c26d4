"""Traps that ms-swift has from TRL's loss."""

from __future__ import annotations

from entclip.integrations.lint.libraries.trl.traps import cispo_bound, delta_below_high
from entclip.integrations.lint.rules import rule

__all__: list[str] = []

rule("trl-cispo-bound", "error", "ms-swift")(cispo_bound)
rule("trl-delta-below-high", "error", "ms-swift")(delta_below_high)
