"""PARL's entropy-rate term: the clip, less the entropy rate of the sequences that a policy draws."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Literal

from entclip.objectives.base import Change, View
from entclip.objectives.limits import check_not_negative
from entclip.objectives.widths import Bounded, outside
from entclip.policies.softmax import Array, entropy
from entclip.support.namespace import namespace
from entclip.support.rewording import dataclass

__all__ = ["Parl"]


@dataclass()
class Parl(Bounded):
    """PARL takes `coefficient` times the entropy rate of sequences off the reward, whose gradient every update takes exactly.

    :Formula: the clip, and a bonus with weights -coefficient (s + H_after)/length of each token at each prefix, s = -log pi and
        H_after the entropy of the rest of the sequence: the gradient of the sequences' entropy per token, prefixes as often as
        pi_old visits them.
    :Source: [C] tud-amr/parl; arXiv:2311.18703. There the rate is that of a Markov decision process, c_t = -sum |model error|
        with a learned model; with sequences as states the transitions are known, and the rate is the policies' own entropy.
    :Defaults: coefficient .03, one of the paper's values (another is .5); low and high .2.
    :Needs: all prefixes of a sequence, and all their tokens for a step beside that of the samples.
    :Random reward: down from r = 1 on, for sequences; the entropy of a prefix may rise where what follows it is more certain.
    :True reward: the same beside the reward's drift.
    :Traps: on single tokens it is an entropy bonus with the sign turned. The paper's configurations keep a positive bonus on the
        policy's entropy, .09 or .13, beside it.
    """

    coefficient: float = 0.03
    kind: Literal["parl"] = "parl"
    needs = frozenset({"bonus", "prefixes"})
    hard = True
    by_ratio = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_negative(self.kind, "it multiplies the rate", coefficient=self.coefficient)

    def change(self, view: View) -> Change:
        clipped = Change.dropped(view, *outside(view, self.low, self.high))
        after, length = _entropy_after(view.log_probs)
        return replace(clipped, bonus={"bonus": self.coefficient / length * (view.log_probs - after)})


def _entropy_after(log_probs: Array) -> tuple[Array, int]:
    """Entropy of the rest of a sequence after each token of each prefix, (..., N, V), and the length of sequences."""
    xp, vocab = namespace(log_probs), log_probs.shape[-1]
    starts = [0]
    while starts[-1] < log_probs.shape[-2]:
        starts.append(starts[-1] + vocab ** (len(starts) - 1))
    rows = [log_probs[..., a:b, :] for a, b in pairwise(starts)]
    after, out = xp.zeros_like(rows[-1]), []
    for level in reversed(rows):
        out.append(after)
        whole = entropy(level) + xp.sum(xp.exp(level) * after, axis=-1)  # of all that follows each prefix
        after = xp.reshape(whole, (*whole.shape[:-1], -1, vocab)) if level is not rows[0] else after
    return xp.concat(out[::-1], axis=-2), len(rows)
