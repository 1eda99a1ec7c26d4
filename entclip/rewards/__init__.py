"""Reward laws, and the exact moments of the advantages they give (T7); reward functions of completions, for trainers."""

from entclip.rewards.completions import coin_flip, format, gaussian, rademacher

__all__ = ["coin_flip", "format", "gaussian", "rademacher"]
