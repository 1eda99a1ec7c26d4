"""Dense passes over tables of logits (T, V): the same functions in eager torch (reference.py) and triton (fused.py).

A pass reads each logit once and writes it once. It knows log Z and H of the policy it reads, from the pass before, so that it can
move the logits and, on the way, add up log Z and H of the policy that it writes and what the ledger asks of the policy it reads.

    measure(logits)                                     log Z and H of a table that no pass has written
    euclidean_step(logits, norm, slots, pull, view)     theta_a += pull pi_a for every action, then the sampled actions' own push
    adam_step(logits, m, v, norm, slots, pull, adam, view)
    sparse_step(logits, norm, slots)                    sampled actions alone: the natural step, O(samples) a row
    look(logits, norm, view)                            the sums of a view, nothing written

Tables are changed in place. Everything per row is float64: log Z, H and every sum. Sums (T,) by name, with x = log pi,
p = e^x, k = x + H, r = pi/pi_old, h = gain - 1 (objective.py), b = p (euclidean) or 1 (natural), value = -b k:

    POWERS    p2, p3 = sum p^2, p^3;  c2, c3 = sum p^2 k, p^3 k;  c2_abs = sum p^2 |k|
    RATIO     pi_low, pi_high, value_low, value_high = sum p 1_X, p value 1_X;  kl, log_ratio_sq under pi_old;  log_ratio_max
    EXPECTED  what T5 and T8 need of the gains when the advantage ignores the action (see reference.py)
    ADAM      see reference.py
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from entclip.objectives.base import Objective
from entclip.policies.softmax import Geometry

__all__ = ["ADAM", "EXPECTED", "POWERS", "RATIO", "Comparison", "Norm", "Slots", "distinct"]

Tensor = Any  # torch.Tensor, untyped as in the formula files that it is passed to

POWERS = ("p2", "p3", "c2", "c3", "c2_abs")
RATIO = ("pi_low", "pi_high", "value_low", "value_high", "kl", "log_ratio_sq")
EXPECTED = (
    "gain_low",
    "gain_value_low",
    "gain_high",
    "gain_value_high",
    "trace",
    "trace_b",
    "trace_c",
    "trace_d",
    "h_plus",
    "h_minus",
    "e_plus",
    "e_minus",
    "el_plus",
    "el_minus",
    "q_pp",
    "q_pm",
    "q_mm",
    "ql_pp",
    "ql_pm",
    "ql_mm",
    "x_plus",
    "x_minus",
    "xl_plus",
    "xl_minus",
)
ADAM = ("d1", "d2", "l1", "l2", "inner_abs", "pull_price", "momentum", "weight_decay", "c2")


class Norm(NamedTuple):
    """log Z and H of each row's policy, (T,) float64, and a bound on what rounding in sparse steps has done to them.

    A euclidean step ends with a sparse one: where the pull on all actions has moved most of the mass and the slots' push moves
    it back, little is left of large sums. The bound grows with the inverse of what is left; a caller measures such rows again.
    """

    log_z: Tensor
    entropy: Tensor
    error: Tensor


class Slots(NamedTuple):
    """Distinct sampled actions of each row, (T, B) int64, and their pushes (T, B) float64; the first `count` (T,) are in use.

    The others repeat the first one, so that writing them all writes the same value twice. `of_sample` (T, B) is the slot of each
    sample that they were made of.
    """

    actions: Tensor
    push: Tensor
    count: Tensor
    of_sample: Tensor

    @property
    def used(self) -> Tensor:
        """Return (T, B) boolean."""
        return torch.arange(self.actions.shape[1], device=self.actions.device) < self.count[:, None]


@dataclass(frozen=True)
class Comparison:
    """What a pass looks at besides the policy itself.

    Attributes:
        old_logits, old_log_z: pi_old, (T, V) in the dtype of the logits and (T,) float64.
        moments: E[A+], E[A-], E[A+^2], E[A-^2] for the EXPECTED sums of an advantage that ignores the action; None: RATIO only.
        old_entropy: H of pi_old, (T,) float64, for objectives that look at it.
    """

    old_logits: Tensor
    old_log_z: Tensor
    objective: Objective
    geometry: Geometry
    moments: tuple[float, float, float, float] | None = None
    old_entropy: Tensor | None = None


def distinct(actions: Tensor, push: Tensor) -> Slots:
    """Make slots of samples: actions (T, B) with repetitions, pushes (T, B) added up per action."""
    order = torch.argsort(actions, dim=1, stable=True)
    ranked, amount = actions.gather(1, order), push.gather(1, order)
    new = torch.ones_like(ranked, dtype=torch.bool)
    new[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
    segment = torch.cumsum(new, dim=1) - 1
    count = segment[:, -1] + 1
    total = torch.zeros_like(amount).scatter_add_(1, segment, amount)
    own = torch.zeros_like(ranked).scatter_(1, segment, ranked)
    used = torch.arange(actions.shape[1], device=actions.device) < count[:, None]
    of_sample = torch.empty_like(order).scatter_(1, order, segment)
    return Slots(torch.where(used, own, own[:, :1]), torch.where(used, total, total[:, :1]), count, of_sample)
