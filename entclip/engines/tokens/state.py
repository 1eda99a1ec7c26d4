"""What the tokens engine carries from update to update, and what a rollout fixes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from entclip.engines.base import Rollout, State
from entclip.engines.tokens.draws import Draws
from entclip.engines.tokens.kernels import reference
from entclip.engines.tokens.kernels.passes import Norm, Tensor
from entclip.rewards.advantage import AdvantageMoments

__all__ = ["TokensRollout", "TokensState", "log_probs_of"]


@dataclass(kw_only=True)
class TokensState(State):
    """Logits (U, V) of every unit and log Z, H of their policies; pi_old from the first rollout on; Adam's averages."""

    logits: Tensor
    norm: Norm
    old_logits: Tensor | None = None
    old_log_z: Tensor | None = None
    old_entropy: Tensor | None = None
    averages: tuple[Tensor, Tensor] | None = None
    updates: int = 0
    kernel: Any = reference  # the module of passes that knows the objective


@dataclass(frozen=True, kw_only=True)
class TokensRollout(Rollout):
    """The samples of a rollout, drawn when used, and the exact moments of their advantages under pi_old."""

    draws: Draws
    moments: AdvantageMoments
    rare_variance: Tensor | None = None  # of the curvature of a natural step from rare samples, at its start, (U,)


def log_probs_of(state: TokensState, rows: slice) -> tuple[Tensor, Tensor]:
    """Return log pi and log pi_old of a block of rows, float64."""
    assert state.old_logits is not None
    assert state.old_log_z is not None
    tables = ((state.logits, state.norm.log_z), (state.old_logits, state.old_log_z))
    new, old = (table[rows].double() - log_z[rows, None] for table, log_z in tables)
    return new, old
