"""A clip in verl's notation."""

from __future__ import annotations

from entclip.integrations.lint.setting import BELOW_ONE, OFF, Setting, Text, number, off_note

__all__ = ["write"]
_A = "actor_rollout_ref.actor."


def write(setting: Setting) -> Text:
    """Return the lines that set this clip in verl, and notes on what is lost."""
    widths = [f"{_A}clip_ratio_low={number(setting.low)}", f"{_A}clip_ratio_high={number(setting.high)}"]
    mode = f"{_A}policy_loss.loss_mode="
    if setting.kind == "sapo":
        return [f"{mode}sapo", f"{_A}tau_pos={number(setting.low)}", f"{_A}tau_neg={number(setting.high)}"], []
    if setting.high < 0:
        return [], [BELOW_ONE]
    if setting.kind in ("cispo", "geo_mean"):
        return [f"{mode}{setting.kind}", *widths], off_note(setting)
    if setting.kind == "dppo_tv":
        return [f"{mode}dppo_tv", *widths, f"{_A}clip_ratio_c=1.0e+9"], [
            "verl truncates the ratio at clip_ratio_c: 1.0e+9 is off."
        ]
    if setting.sequence:
        notes = ["verl's gspo has no dual clip."] if setting.cap is not None else []
        return [f"{mode}gspo", f"{_A}loss_agg_mode=seq-mean-token-mean", *widths], [*notes, *off_note(setting)]
    cap = OFF if setting.cap is None else setting.cap
    notes = ["verl's dual clip cannot be switched off: 1.0e+9 is beyond any ratio."] if setting.cap is None else []
    return [f"{mode}vanilla", *widths, f"{_A}clip_ratio_c={number(cap)}"], [*notes, *off_note(setting)]
