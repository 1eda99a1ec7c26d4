"""Expected curvature of one plain update of shared parameters, given the path before it and the contexts of the minibatch. T8.

With K_ts = h_t' h_s, context weights d_s and X_s the mean of context s's B samples' steps, context t moves by the logit step
eta sum_s K_ts d_s X_s. Contexts draw independently, so with H_t the Hessian of its entropy (T1)

    E d' H_t d / eta^2 = sum_s (K_ts d_s)^2 tr(H_t Cov X_s) + m_t' H_t m_t,     m_t = sum_s K_ts d_s g_s,
    Cov X_s = S_s/B + (1 - 1/B) [ c C_s + (1 - c) g_s g_s' ] - g_s g_s',

S_s, C_s and g_s as in drift/second_order.py. All are sums over actions that arrive block by block: products (T, V) x (V, n).
"""

from __future__ import annotations

import torch
from torch import Tensor

from entclip.engines.head.gradient import Gradient
from entclip.engines.head.state import HeadState
from entclip.objectives.base import SignedGains
from entclip.rewards.advantage import AdvantageMoments

__all__ = ["ExpectedCurvature", "MeanGains"]


class MeanGains:
    """E_pi_s[gain] of both signs in the minibatch's contexts, (R, n): summed over blocks before the mean steps are needed."""

    def __init__(self) -> None:
        self.plus, self.minus = torch.zeros(()), torch.zeros(())
        self.acts = False  # whether any gain differs from that of another action: else the mean steps are 0
        self._first: tuple[Tensor, Tensor] | None = None

    def add(self, gains: SignedGains, probs: Tensor) -> None:
        """Add one block of gains and pi, (R, n, v)."""
        self.plus = self.plus + torch.linalg.vecdot(probs, gains.plus)
        self.minus = self.minus + torch.linalg.vecdot(probs, gains.minus)
        if self._first is None:
            self._first = (gains.plus[..., :1], gains.minus[..., :1])
        of_plus, of_minus = self._first
        self.acts = self.acts or bool(torch.any(gains.plus != of_plus) | torch.any(gains.minus != of_minus))


class ExpectedCurvature:
    """Sums over blocks, then `columns`. shared_group: c, the probability that two samples of a context are of one group."""

    def __init__(
        self, state: HeadState, gradient: Gradient, rate: float, moments: AdvantageMoments, means: MeanGains, shared_group: float
    ) -> None:
        self.state, self.rate, self.means, self.shared_group = state, rate, means, shared_group
        self.batch = gradient.actions.shape[-1]
        contexts = gradient.contexts
        kernel = state.products(state.hidden, state.hidden[contexts].mT)
        d = torch.as_tensor(state.context_weight[: len(state.hidden)], dtype=kernel.dtype, device=kernel.device)
        self.kernel = kernel * d[contexts]  # (T, n)
        # The reward ignores the action: every moment is one number.
        self.plus, self.minus, self.plus_sq, self.minus_sq = (
            float(moments.by_action(name).reshape(())) for name in ("plus", "minus", "plus_sq", "minus_sq")
        )
        pair = moments.pair
        names = ("plus_plus", "minus_minus", "plus_minus")
        self.pair = [0.0 if pair is None else float(getattr(pair, name).reshape(())) for name in names]
        self.sums: dict[str, Tensor] = {}

    def _add(self, name: str, value: Tensor) -> None:
        self.sums[name] = self.sums.get(name, 0.0) + value.double()

    def _form(self, name: str, probs: Tensor, slope: Tensor, u: Tensor) -> None:
        """<pi_t, u_s> and <y_t, u_s> with y = pi (l + H), for the rank-one part of the Hessian; u (R, n, v)."""
        self._add(f"p {name}", probs @ u.mT)
        self._add(f"y {name}", -(slope @ u.mT))

    def add(self, gains: SignedGains, ratio: Tensor, probs: Tensor, slope: Tensor, own: Tensor) -> None:
        """Add one block: pi and dH/dlogits of all contexts, (R, T, v); gains, ratio and pi of the minibatch's, (R, n, v)."""
        q = probs - slope  # the Hessian is -diag(q) + y p' + p y' + p p'
        square = gains.plus_sq * self.plus_sq + gains.minus_sq * self.minus_sq
        weight = own * ratio * square  # of action a in tr(H_t S_s) = sum_a weight_a (e_a - pi_s)' H_t (e_a - pi_s)
        self._add("weight", weight.sum(-1))
        self._add("diagonal", (probs * (probs - 2 * slope) - q) @ weight.mT)
        self._add("q cross", q @ (weight * own).mT)
        self._add("q own", q @ (own * own).mT)
        self._form("weight", probs, slope, weight)
        self._form("own", probs, slope, own)
        if not self.means.acts:
            return
        up, down = (own * (g - m[..., None]) for g, m in ((gains.plus, self.means.plus), (gains.minus, self.means.minus)))
        for name, product in (("q up up", up * up), ("q down down", down * down), ("q up down", up * down)):
            self._add(name, q @ product.mT)
        self._form("up", probs, slope, up)
        self._form("down", probs, slope, down)
        mean = self.kernel @ (self.plus * up - self.minus * down)  # (R, T, v)
        self._add("q mean", torch.linalg.vecdot(q * mean, mean))
        self._add("p mean", torch.linalg.vecdot(probs, mean))
        self._add("y mean", -torch.linalg.vecdot(slope, mean))

    def _hessian(self, u: str, v: str) -> Tensor:
        """u_s' H_t v_s, (R, T, n)."""
        s = self.sums
        p_u, y_u, p_v, y_v = s[f"p {u}"], s[f"y {u}"], s[f"p {v}"], s[f"y {v}"]
        return -s[f"q {u} {v}"] + p_u * y_v + y_u * p_v + p_u * p_v

    def column(self) -> Tensor:
        """Return eta^2/2 E d' H_t d, (R, T), nats."""
        s, batch, c = self.sums, self.batch, self.shared_group
        p, y = s["p own"], s["y own"]
        # sum_a weight_a (H pi_s)_a, and pi_s' H pi_s.
        through = -s["q cross"] + y * s["p weight"] + p * s["y weight"] + p * s["p weight"]
        whole = -s["q own"] + 2 * p * y + p * p
        scatter = (s["diagonal"] - 2 * through + s["weight"][:, None] * whole) / batch
        of_mean: Tensor | float = 0.0
        if self.means.acts:
            up, down, cross = self._hessian("up", "up"), self._hessian("down", "down"), self._hessian("up", "down")
            pp, mm, pm = self.pair
            grouped = pp * up + mm * down - 2 * pm * cross
            mean = self.plus**2 * up + self.minus**2 * down - 2 * self.plus * self.minus * cross
            scatter = scatter + (1 - 1 / batch) * (c * grouped + (1 - c) * mean) - mean
            of_mean = -s["q mean"] + 2 * s["p mean"] * s["y mean"] + s["p mean"] ** 2
        return self.rate**2 / 2 * (torch.sum(self.kernel.double() ** 2 * scatter, -1) + of_mean)
