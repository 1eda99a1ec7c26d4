"""EasyR1 at commit b44b311: verl's loggers with losses of its own, which estimate the entropy from the sampled tokens."""

from __future__ import annotations

from dataclasses import replace

from entclip.integrations.logs.libraries.verl import VERL
from entclip.integrations.logs.names import Alias

__all__ = ["EASYR1"]

_OWN = (
    Alias("actor/pg_clipfrac_higher", "clip_merged", ("merged-sides", "means-of-means")),
    Alias("actor/entropy_loss", "entropy", ("sampled-surprisal",)),
)

EASYR1 = replace(
    VERL,
    name="easyr1",
    title="EasyR1",
    version="0.3.3.dev0",
    marks=("actor/pg_clipfrac_higher", "actor/pg_clipfrac_lower", "actor/ppo_kl", "actor/pg_loss", "critic/score/mean"),
    aliases=(*_OWN, *(alias for alias in VERL.aliases if alias.name not in {own.name for own in _OWN})),
    configs=("easyr1",),
)
