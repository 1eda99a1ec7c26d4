"""Each cause's first-order part of every context's entropy change, and its expectation. Claims T5, T13.

Plain steps are priced by their adjoint: with g_t = dH/dlogits_t and K_ts = h_t' h_s a cause with sample weights u contributes

    eta sum_s K_ts [ sum_i u_si g_t(a_si) - C_s <g_t, pi_s> ],

so no cause needs a step of its own; in expectation u is replaced by pi_s w, w = E[c|a]/r. Under Adam the preconditioner couples
rows and features: every cause's step is formed block by block and priced by <g_t, step h_t>.
"""

from __future__ import annotations

import torch
from torch import Tensor

from entclip.drift.first_order import expected_weights
from entclip.engines.head.gradient import Gradient, logit_gradient
from entclip.engines.head.optimizer import RowStep
from entclip.engines.head.state import HeadState
from entclip.objectives.base import CAUSES, Change, Keep
from entclip.rewards.advantage import AdvantageMoments

__all__ = ["Adjoint", "Expectation", "Explicit"]


class Adjoint:
    """Realised causes of a plain step."""

    def __init__(self, state: HeadState, gradient: Gradient, rate: float) -> None:
        self.state, self.gradient, self.rate = state, gradient, rate
        self.overlap: Tensor | float = 0.0  # <g_t, pi_s>, (R, T, n)

    def add(self, rows: slice, entropy_gradient: Tensor, probs: Tensor, step: RowStep) -> None:
        """Add one block; probs: pi of the minibatch's contexts, (R, n, v)."""
        self.overlap = self.overlap + entropy_gradient @ probs.mT

    def columns(self) -> dict[str, Tensor]:
        """Return (R, T) of every cause."""
        state, gradient = self.state, self.gradient
        at_samples = self._gradient_at_samples()  # (R, T, n B)
        kernel = state.products(state.hidden, state.hidden[gradient.contexts].mT)
        pull = kernel * self.overlap
        batch = gradient.actions.shape[-1]
        push = kernel.repeat_interleave(batch, -1) * at_samples
        out = {}
        for cause in CAUSES:
            u = gradient.causes[cause]
            out[cause] = self.rate * (push @ u.flatten(1)[..., None] - pull @ u.sum(-1)[..., None])[..., 0].double()
        return out

    def _gradient_at_samples(self) -> Tensor:
        """g_t at the minibatch's actions, for all contexts t."""
        state, actions = self.state, self.gradient.actions.flatten(1)
        replica = torch.arange(len(actions), device=actions.device)[:, None]
        head = state.head[replica if len(state.head) > 1 else torch.zeros_like(replica), actions]
        logits = state.products(state.hidden, head.mT) + state.base[actions][:, None]
        moved = state.products(state.hidden, state.moved[replica, actions].mT)
        log_probs = logits + moved - state.log_z[..., None].to(moved.dtype)
        return -log_probs.exp() * (log_probs + state.entropy[..., None].to(moved.dtype))


class Explicit:
    """Realised causes of a preconditioned step."""

    def __init__(self, state: HeadState, gradient: Gradient) -> None:
        self.state, self.gradient = state, gradient
        # A cause that moved nothing costs nothing: clips before the second minibatch, `other` for most objectives.
        self.active = [c for c in CAUSES if bool(torch.any(gradient.causes[c] != 0))]
        self.sums: dict[str, Tensor] = {}

    def add(self, rows: slice, entropy_gradient: Tensor, probs: Tensor, step: RowStep) -> None:
        """Add one block of <g_t, step_c h_t>: sum_a g_t(a) step_c(a, :) first, which is (R, T, d)."""
        state, hidden = self.state, self.state.hidden[self.gradient.contexts]
        steps = {
            c: step.scale * state.products(logit_gradient(self.gradient, self.gradient.causes[c], probs, rows).mT, hidden)
            for c in self.active
        }
        for cause, part in (steps | step.own).items():
            self.sums[cause] = self.sums.get(cause, 0.0) + state.products(entropy_gradient, part)

    def columns(self) -> dict[str, Tensor]:
        """Return (R, T) of every cause, momentum and weight decay included."""
        out = dict.fromkeys(CAUSES, torch.zeros_like(self.state.log_z))
        return out | {c: torch.linalg.vecdot(total, self.state.hidden).double() for c, total in self.sums.items()}


class Expectation:
    """Expected first-order parts of a plain step, given the path before it and the contexts of the minibatch."""

    def __init__(self, realised: Adjoint, moments: AdvantageMoments, keep: Keep | None) -> None:
        self.state, self.realised, self.moments, self.keep = realised.state, realised, moments, keep
        self.sums: dict[str, tuple[Tensor, Tensor]] = {}  # <g_t, pi_s w_s> (R, T, n) and E_pi_s[w_s] (R, n)

    def add(self, change: Change, entropy_gradient: Tensor, probs: Tensor) -> None:
        """Add one block; the change and pi in the minibatch's contexts, (R, n, v)."""
        for cause, w in expected_weights(change, self.moments, self.keep).items():
            # Without an action in the reward the unclipped weight is the same for all actions, and such a weight moves nothing.
            if cause == "unclipped" or not bool(torch.any(w != 0)):
                continue
            pw = probs * w
            dot, mean = self.sums.get(cause, (0.0, 0.0))
            self.sums[cause] = (dot + entropy_gradient @ pw.mT, mean + pw.sum(-1))

    def columns(self) -> dict[str, Tensor]:
        """Return (R, T) of every cause."""
        state, contexts = self.state, self.realised.gradient.contexts
        kernel = state.products(state.hidden, state.hidden[contexts].mT)
        d = torch.as_tensor(state.context_weight[: len(state.hidden)], dtype=kernel.dtype, device=kernel.device)[contexts]
        out = {f"expected_{c}": torch.zeros_like(state.log_z) for c in CAUSES}
        for cause, (dot, mean) in self.sums.items():
            part = dot - mean[:, None, :] * self.realised.overlap
            out[f"expected_{cause}"] = self.realised.rate * torch.sum(kernel * d * part, -1).double()
        return out
