"""PPO with one width for both sides of a token's ratio, as Stable-Baselines3, CleanRL and TRL's PPO trainer have it."""

from __future__ import annotations

from dataclasses import replace

from entclip.integrations.lint.facts import Fact, Reader, TrainerConfig, Updates

__all__ = ["one_width", "scaled_by_batch"]


def scaled_by_batch(normalised: Fact) -> Fact:
    """Return by what advantages are divided; normalised: whether it is the deviation of their minibatch."""
    scale = "batch" if normalised.value is True else "none" if normalised.value is False else normalised.value
    return replace(normalised, value=scale)


def one_width(read: Reader, evidence: str, width: Fact, advantage: Fact, updates: Updates) -> TrainerConfig:
    """Return the facts of a PPO whose only bound is `width`; advantage: by what advantages are divided."""
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
        advantage=advantage,
    )
