"""A clip in axolotl's notation."""

from __future__ import annotations

from entclip.integrations.lint.libraries.trl.write import write as write_trl
from entclip.integrations.lint.setting import Setting, Text

__all__ = ["write"]

_UNPASSED = ("delta", "sapo_temperature_pos", "sapo_temperature_neg")  # keys of TRL that its group trl does not have


def write(setting: Setting) -> Text:
    """Return the lines that set this clip in axolotl, TRL's under the group trl, and notes on what is lost."""
    lines, notes = write_trl(setting)
    left = [line for line in lines if line.partition(":")[0] in _UNPASSED]
    if any(line.startswith("sapo") for line in left):
        return [], ["it does not pass on SAPO's temperatures."]
    kept = [f"  {line}" for line in lines if line not in left]
    lost = ["it does not pass on delta: it has no dual clip."] if left else []
    return ["rl: grpo", "trl:", *kept] if kept else [], [*(note for note in notes if not left or "delta" not in note), *lost]
