"""PPO as Stable-Baselines3 and CleanRL have it: one width for both sides of a token's ratio, advantages scaled by minibatch."""

from __future__ import annotations

from dataclasses import replace

from entclip.integrations.lint.facts import Fact, Reader, TrainerConfig, Updates

__all__ = ["one_width"]


def one_width(read: Reader, evidence: str, width: Fact, normalised: Fact, updates: Updates) -> TrainerConfig:
    """Return the facts of a PPO whose only bound is `width`; normalised: whether advantages are divided by their deviation."""
    scale = "batch" if normalised.value is True else "none" if normalised.value is False else normalised.value
    return TrainerConfig(
        library=read.library,
        evidence=evidence,
        objective=Fact("ppo", width.key, width.explicit),
        kind="clip",
        space="ratio",
        level=Fact("token", width.key),
        low=width,
        high=width,
        updates=updates,
        advantage=replace(normalised, value=scale),
        entropy_coef=read.number("ent_coef"),
    )
