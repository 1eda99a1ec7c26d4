"""A clip in NeMo-RL's notation."""

from __future__ import annotations

from entclip.integrations.lint.setting import Setting, Text, number, off_note

__all__ = ["write"]


def write(setting: Setting) -> Text:
    """Return the lines that set this clip in NeMo-RL, and notes on what is lost."""
    if setting.kind != "clip":
        return [], [f"its clipped loss has no {setting.kind}."]
    lines = ["loss_fn:", f"  ratio_clip_min: {number(setting.low)}", f"  ratio_clip_max: {number(setting.high)}"]
    lines.append(f"  ratio_clip_c: {'null' if setting.cap is None else number(setting.cap)}")
    if setting.sequence:
        lines.append("  sequence_level_importance_ratios: true")
    return lines, off_note(setting)
