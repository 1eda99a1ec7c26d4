"""A clip in ms-swift's notation."""

from __future__ import annotations

from entclip.integrations.lint.libraries.trl.write import write as write_trl
from entclip.integrations.lint.setting import Setting, Text

__all__ = ["write"]

_NAMES = {"sapo_temperature_pos": "tau_pos", "sapo_temperature_neg": "tau_neg"}


def write(setting: Setting) -> Text:
    """Return the flags that set this clip in ms-swift, TRL's under its names, and notes on what is lost."""
    lines, notes = write_trl(setting)
    pairs = [line.split(": ") for line in lines]
    flags = [f"--{_NAMES.get(name, name)} {value}" for name, value in pairs]
    return ["--rlhf_type grpo", *flags] if flags else [], [note.replace("TRL", "ms-swift") for note in notes]
