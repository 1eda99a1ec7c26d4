"""A clip in axolotl's notation."""

from __future__ import annotations

from entclip.integrations.lint.libraries.trl.write import write as write_trl
from entclip.integrations.lint.setting import Setting, Text

__all__ = ["write"]


def write(setting: Setting) -> Text:
    """Return the lines that set this clip in axolotl, TRL's under the group trl, and notes on what is lost."""
    lines, notes = write_trl(setting)
    return ["rl: grpo", "trl:", *(f"  {line}" for line in lines)] if lines else [], notes
