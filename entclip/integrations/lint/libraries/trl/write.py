"""A clip in TRL's notation."""

from __future__ import annotations

from entclip.integrations.lint.setting import Setting, Text, number, off_note

__all__ = ["write"]


def write(setting: Setting) -> Text:
    """Return the lines that set this clip in TRL, and notes on what is lost."""
    if setting.kind == "sapo":
        lines = [
            "loss_type: sapo",
            f"sapo_temperature_pos: {number(setting.low)}",
            f"sapo_temperature_neg: {number(setting.high)}",
        ]
        return lines, []
    if setting.kind == "cispo":
        notes = ["TRL's CISPO has no lower bound."] if setting.low < 1 else []
        return ["loss_type: cispo", f"epsilon_high: {number(1 + setting.high)}"], [
            *notes,
            "epsilon_high is absolute here: 1 + the width.",
        ]
    if setting.kind != "clip":
        return [], [f"it has no {setting.kind} loss."]
    lines = [f"epsilon: {number(setting.low)}", f"epsilon_high: {number(setting.high)}"]
    notes = off_note(setting)
    if setting.sequence:
        lines = ["loss_type: grpo", "importance_sampling_level: sequence", *lines]
    if setting.cap is not None:
        lines.append(f"delta: {number(setting.cap)}")
        if setting.cap <= 1 + setting.high:
            notes.append("delta caps the ratio for both signs of A: at or below 1 + epsilon_high it is tighter than a dual clip.")
    return lines, notes
