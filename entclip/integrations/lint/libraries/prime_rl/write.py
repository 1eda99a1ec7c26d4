"""A clip in prime-rl's notation."""

from __future__ import annotations

from math import inf

from entclip.integrations.lint.setting import Setting, Text, number

__all__ = ["write"]


def write(setting: Setting) -> Text:
    """Return the lines that set this clip in prime-rl, and notes on what is lost."""
    if setting.kind != "dppo_tv":
        near = (
            f" A ratio bound 1 + {setting.high:g} moves a token of probability p by {setting.high:g} p, so no threshold fits "
            "all p."
            if setting.kind == "clip" and setting.high < inf
            else ""
        )
        return [], [f'its mask bounds changes of probability, not ratios.{near} Use [trainer.loss] type = "custom".']
    lines = [
        "[trainer.loss]",
        'type = "default"',
        f"dppo_mask_low = {number(setting.low)}",
        f"dppo_mask_high = {number(setting.high)}",
    ]
    return lines, ["kl_tau is 1e-3 by default: set it to 0 for the mask alone."]
