"""A clip in OpenRLHF's notation."""

from __future__ import annotations

from entclip.integrations.lint.setting import Setting, Text, number, off_note

__all__ = ["write"]


def write(setting: Setting) -> Text:
    """Return the lines that set this clip in OpenRLHF, and notes on what is lost."""
    if setting.kind != "clip":
        return [], [f"it has no {setting.kind} loss, only ppo and gspo."]
    lines = [
        f"--actor.policy_loss_type {'gspo' if setting.sequence else 'ppo'}",
        f"--actor.eps_clip_low_high {number(setting.low)} {number(setting.high)}",
    ]
    if setting.cap is not None:
        lines.append(f"--actor.dual_clip {number(setting.cap)}")
    return lines, off_note(setting)
