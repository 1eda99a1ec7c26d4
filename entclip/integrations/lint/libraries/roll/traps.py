"""Traps that only ROLL has, or that it has in its own way."""

from __future__ import annotations

from entclip.integrations.lint.facts import Fact, TrainerConfig, stated
from entclip.integrations.lint.rules import rule

__all__: list[str] = []


def _unread_widths(config: TrainerConfig) -> list[Fact]:
    """The widths of the sides where they are set and pg_clip is read in their place."""
    if config.get("use_pg_clip_range").value is not False or config.space != "ratio" or config.kind == "cispo":
        return []
    return [config.get(key) for key in ("pg_clip_low", "pg_clip_high") if key in config.values]


@rule("width-unused", "info", "roll")
def _unused(config: TrainerConfig) -> str | None:
    given, off = _unread_widths(config), config.get("use_pg_clip_range")
    if not given or not off.explicit:
        return None
    return f"{stated(*given)}: not used, as use_pg_clip_range = False is set: both widths are {stated(config.get('pg_clip'))}."


@rule("roll-clip-range-off", "error", "roll")
def _range(config: TrainerConfig) -> str | None:
    given = _unread_widths(config)
    if not given or config.get("use_pg_clip_range").explicit:
        return None
    return (
        f"{stated(*given)}: not read, since use_pg_clip_range is False, so both widths are {stated(config.get('pg_clip'))}. "
        "Set use_pg_clip_range: true."
    )


@rule("ungated-side-metrics", "info", "roll")
def _ungated(config: TrainerConfig) -> str | None:
    if config.space != "ratio" or config.kind == "cispo":
        return None
    return (
        "actor/ppo_ratio_low_clipfrac and _high_clipfrac count ratios beyond a bound whatever the sign of A: about half of them "
        "lose no gradient. actor/clipfrac is gated by the sign, with both sides in one number."
    )


@rule("entropy-not-logged", "warn", "roll")
def _not_logged(config: TrainerConfig) -> str | None:
    if config.entropy_logged:
        return None
    return (
        "entropy_loss_coef is 0, so the actor's entropy is not computed: a coefficient of 1e-9 has it logged, and adds nothing."
    )
