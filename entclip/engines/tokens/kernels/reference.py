"""The kernels in eager torch: tile by tile, float64 arithmetic whatever the tables' dtype. The oracle of fused.py.

Rounding: sums are pairwise within a tile and in order over a row's few tiles, in float64, so log Z and H carry a few times
1e-16 (1 + H); with float32 tables they are those of the stored logits, and what storing rounds away is part of the step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch

from entclip.drift.adam import Adam
from entclip.drift.adam import adam_step as adam_parts
from entclip.engines.tokens.facts import BLOCK_ELEMENTS
from entclip.engines.tokens.kernels.passes import Comparison, Norm, Slots, Tensor
from entclip.objectives.base import Change, View
from entclip.policies.softmax import importance_ratio
from entclip.support.progress import followed

__all__ = ["adam_step", "adam_terms", "euclidean_step", "look", "measure", "row_blocks", "sparse_step"]

# The passes here add up over tiles of rows and columns: small ones stay in a processor's cache and off its page tables.
_TILE_ELEMENTS = {"cpu": 2**14, "cuda": 2**22}
_EPS = float(torch.finfo(torch.float64).eps)
_EXTREMA = {"log_ratio_max": torch.maximum, "step_max": torch.maximum, "step_min": torch.minimum}

Terms = dict[str, Tensor]


class Tile(NamedTuple):
    """Rows and columns of a table."""

    rows: slice
    columns: slice


def row_blocks(table: Tensor) -> Iterator[slice]:
    """Yield slices of rows of a table (T, V) that bound the memory of what needs whole rows; results do not depend on them."""
    rows, vocab = table.shape
    size = max(1, BLOCK_ELEMENTS[table.device.type] // vocab)
    return (slice(start, min(start + size, rows)) for start in range(0, rows, size))


def _tiles(table: Tensor) -> Iterator[Tile]:
    rows, vocab = table.shape
    most = _TILE_ELEMENTS[table.device.type]
    height, width = max(1, most // vocab), min(vocab, most)
    for top in range(0, rows, height):
        for left in range(0, vocab, width):
            yield Tile(slice(top, min(top + height, rows)), slice(left, min(left + width, vocab)))


def _add_up(table: Tensor, one: Callable[[Tile], Terms]) -> Terms:
    """Sums (T,) of a table from those of its tiles; the largest and the smallest where a name asks for it."""
    out: Terms = {}
    for tile in followed(_tiles(table), "sums over actions"):
        for name, value in one(tile).items():
            if tile.columns.start == 0:
                if name not in out:
                    out[name] = torch.empty(len(table), dtype=torch.float64, device=table.device)
                out[name][tile.rows] = value
            else:
                known = out[name][tile.rows]
                out[name][tile.rows] = _EXTREMA[name](known, value) if name in _EXTREMA else known + value
    return out


def measure(logits: Tensor) -> Norm:
    """Return log Z and H of each row of (T, V)."""
    top = logits.amax(-1).double()
    zero = torch.zeros_like(top)
    return next_norm(Norm(top, zero, zero), _add_up(logits, lambda tile: _next(logits[tile], top[tile.rows])))


def _state_of(logits: Tensor, norm: Norm, tile: Tile) -> tuple[Tensor, Tensor, Tensor]:
    """theta, x = log pi and k = x + H of a tile in float64."""
    block = logits[tile].double()
    x = block - norm.log_z[tile.rows, None]
    return block, x, x + norm.entropy[tile.rows, None]


def _power_terms(p: Tensor, k: Tensor) -> Terms:
    p2 = p * p
    return {"p2": p2, "p3": p2 * p, "c2": p2 * k, "c3": p2 * p * k, "c2_abs": p2 * k.abs()}


def _view_sums(x: Tensor, k: Tensor, entropy: Tensor, view: Comparison, tile: Tile) -> Terms:
    """RATIO, and with moments EXPECTED, of a tile."""
    x0 = view.old_logits[tile].double() - view.old_log_z[tile.rows, None]
    p, old_entropy = x.exp(), None if view.old_entropy is None else view.old_entropy[tile.rows, None]
    seen = View(importance_ratio(x, x0), x0.exp(), x, entropy, old_entropy)
    p0, change, log_ratio = seen.old_probs, view.objective.change(seen), x - x0
    b = p if view.geometry == "euclidean" else torch.ones_like(p)
    value = -b * k
    low, high = (s.double() for s in (change.low, change.high))
    terms = {"pi_low": p * low, "pi_high": p * high, "value_low": p * value * low, "value_high": p * value * high}
    terms |= {"kl": -p0 * log_ratio, "log_ratio_sq": p0 * log_ratio**2}
    if view.moments is not None:
        terms |= _expected_terms(p, k, b, seen.ratio, change, low, high, view)
    sums = {name: t.sum(-1) for name, t in terms.items()}
    return sums | {"log_ratio_max": log_ratio.amax(-1)}


def _expected_terms(
    p: Tensor, k: Tensor, b: Tensor, ratio: Tensor, change: Change, low: Tensor, high: Tensor, view: Comparison
) -> Terms:
    """Terms of the sums behind expected_* (T5, T8); h = g - 1, e = b h, w the change of weight that each side makes.

    gain_X = sum p w 1_X, gain_value_X = sum p w value 1_X;  trace and its parts: tr(Hess S) before the row's own sums enter;
    h = E[h], e = E[e], el = E[e k], q = E[e e'], ql = E[e e' k], x = E[e p], xl = E[e p k], for g of either sign.
    """
    assert view.moments is not None
    plus, minus, plus_sq, minus_sq = view.moments
    gains = change.gains
    hp, hm = gains.plus - 1, gains.minus - 1
    up, down = plus * hp, -minus * hm
    by_low, by_high = (down * low, up * high) if change.gated else ((up + down) * low, (up + down) * high)
    terms = {"gain_low": p * by_low, "gain_high": p * by_high}
    terms |= {"gain_value_low": -p * b * k * by_low, "gain_value_high": -p * b * k * by_high}
    square = plus_sq * gains.plus_sq + minus_sq * gains.minus_sq
    ep, em = b * hp, b * hm
    terms |= {"h_plus": p * hp, "h_minus": p * hm, "e_plus": p * ep, "e_minus": p * em}
    terms |= {"el_plus": p * ep * k, "el_minus": p * em * k}
    terms |= {"q_pp": p * ep * ep, "q_pm": p * ep * em, "q_mm": p * em * em}
    terms |= {"ql_pp": p * ep * ep * k, "ql_pm": p * ep * em * k, "ql_mm": p * em * em * k}
    diagonal = k + 1 - p * (2 * k + 1)
    if view.geometry == "natural":
        zero = torch.zeros_like(p)
        names = ("trace_b", "trace_c", "trace_d", "x_plus", "x_minus", "xl_plus", "xl_minus")
        return terms | {"trace": -ratio * diagonal * square} | dict.fromkeys(names, zero)
    omega = p * ratio * square
    terms |= {"trace": omega * (2 * p * p * (k + 1) - p * diagonal), "trace_b": omega * p * (k + 1)}
    terms |= {"trace_c": omega * p, "trace_d": omega}
    return terms | {"x_plus": p * p * ep, "x_minus": p * p * em, "xl_plus": p * p * ep * k, "xl_minus": p * p * em * k}


def _next(stored: Tensor, log_z: Tensor) -> Terms:
    """sum e^x' and sum e^x' x' of the logits written, x' against the log Z of the policy read."""
    x = stored.double() - log_z[:, None]
    q = x.exp()
    return {"s0": q.sum(-1), "s1": (q * x).sum(-1)}


def next_norm(norm: Norm, sums: Terms, rounding: float = 0.0) -> Norm:
    """Return the norm of the logits that a pass wrote, from its sums s0 and s1 (removed); rounding: of its arithmetic, relative
    to 1 + H."""
    s0, s1 = sums.pop("s0"), sums.pop("s1")
    entropy = s0.log() - s1 / s0
    return Norm(norm.log_z + s0.log(), entropy, rounding * (1 + entropy))


def look(logits: Tensor, norm: Norm, view: Comparison) -> Terms:
    """Return POWERS and the sums of a view."""

    def one(tile: Tile) -> Terms:
        _, x, k = _state_of(logits, norm, tile)
        sums = {n: t.sum(-1) for n, t in _power_terms(x.exp(), k).items()}
        return sums | _view_sums(x, k, norm.entropy[tile.rows, None], view, tile)

    return _add_up(logits, one)


def euclidean_step(logits: Tensor, norm: Norm, slots: Slots, pull: Tensor, view: Comparison | None = None) -> tuple[Norm, Terms]:
    """Add pull pi_a + push_a to theta_a in place, pull (T,): the policy-gradient step with pull = -eta sum_b r_b W_b.

    Returns: the Norm of the new policy, and POWERS and the view's sums of the old one.
    """

    def one(tile: Tile) -> Terms:
        block, x, k = _state_of(logits, norm, tile)
        p = x.exp()
        sums = {n: t.sum(-1) for n, t in _power_terms(p, k).items()}
        if view is not None:
            sums |= _view_sums(x, k, norm.entropy[tile.rows, None], view, tile)
        logits[tile] = (block + pull[tile.rows, None] * p).to(logits.dtype)
        return sums | _next(logits[tile], norm.log_z[tile.rows])

    sums = _add_up(logits, one)
    return sparse_step(logits, next_norm(norm, sums), slots), sums


def sparse_step(logits: Tensor, norm: Norm, slots: Slots) -> Norm:
    """Add push_a to theta_a for the slots' actions in place, O(slots) a row; log Z and H follow from the change of their terms.

    With delta the change as stored, S0 = 1 + sum p expm1(delta) and S1 = -H + sum p [expm1(delta) (x + delta) + delta].
    Rounding: `error` bounds what all sparse steps since the last full pass have added to S0 and S1; removing most of the mass
    (S0 << 1) magnifies it. A caller resets it by `measure` when it is no longer small.
    """
    before = logits.gather(1, slots.actions).double()
    logits.scatter_(1, slots.actions, (before + slots.push).to(logits.dtype))
    delta = (logits.gather(1, slots.actions).double() - before) * slots.used
    x = before - norm.log_z[:, None]
    p = x.exp()
    grown = p * torch.expm1(delta)
    added = grown * (x + delta) + p * delta
    change, first = grown.sum(-1), added.sum(-1) - norm.entropy
    rounding = 8 * _EPS * (1 + norm.entropy + grown.abs().sum(-1) + added.abs().sum(-1))
    log_s0 = torch.log1p(change)
    error = (norm.error + rounding) / (1 + change).clamp(max=1)
    return Norm(norm.log_z + log_s0, log_s0 - first / (1 + change), error)


def adam_terms(
    theta: Tensor, m: Tensor, v: Tensor, log_z: Tensor, entropy: Tensor, gradient: Tensor, adam: Adam
) -> tuple[Tensor, Tensor, Tensor, Terms, Tensor]:
    """Make one Adam update of actions (T, N) in float64: theta', m', v', their terms of the ADAM sums, and the step's price.

    gradient: the policy gradient (ascent). With k = log pi + H, grad = -pi k and d the step the terms are d1, d2 = pi d, pi d^2;
    l1, l2 = the same times k; inner_abs = |grad d|; and by cause (T13, drift/adam.py): price of one unit of gradient, its
    product with pi as pull_price, momentum, weight_decay; and c2.
    """
    x = theta - log_z[:, None]
    p, k = x.exp(), x + entropy[:, None]
    made = adam_parts(adam._replace(learning_rate=adam.learning_rate[:, None]), gradient, theta, m, v)
    d, slope = made.step, -p * k
    price = made.scale * slope
    shrink = torch.zeros_like(slope) if made.decay is None else made.decay
    terms = {"d1": p * d, "d2": p * d * d, "l1": p * k * d, "l2": p * k * d * d, "inner_abs": (slope * d).abs()}
    terms |= {"pull_price": price * p, "momentum": made.momentum * slope, "weight_decay": slope * shrink, "c2": p * p * k}
    return theta + d, made.first, made.second, terms | {"step": d}, price


def adam_step(
    logits: Tensor, m: Tensor, v: Tensor, norm: Norm, slots: Slots, pull: Tensor, adam: Adam, view: Comparison | None = None
) -> tuple[Norm, Terms, Tensor]:
    """Make one update of Adam or AdamW on the gradient push_a + pull pi_a (ascent), in place on logits, m and v.

    Returns: the new Norm; ADAM, step_max, step_min and the view's sums; the slots' prices (T, B) of `adam_terms`.
    """
    prices = torch.zeros_like(slots.push)

    def one(tile: Tile) -> Terms:
        rows, (left, right) = tile.rows, (tile.columns.start, tile.columns.stop)
        block, x, k = _state_of(logits, norm, tile)
        sums = {} if view is None else _view_sums(x, k, norm.entropy[tile.rows, None], view, tile)
        actions = slots.actions[rows]
        inside = (actions >= left) & (actions < right)
        at = torch.where(inside, actions - left, 0)
        gradient = pull[rows, None] * x.exp()
        gradient.scatter_add_(1, at, slots.push[rows] * (inside & slots.used[rows]))
        cut = adam._replace(learning_rate=adam.learning_rate[rows])
        tables = (block, m[tile].double(), v[tile].double())
        theta, new_m, new_v, terms, price = adam_terms(*tables, norm.log_z[rows], norm.entropy[rows], gradient, cut)
        prices[rows] += price.gather(1, at) * inside
        for table, new in ((logits, theta), (m, new_m), (v, new_v)):
            table[tile] = new.to(table.dtype)
        step = terms.pop("step")
        sums |= {name: t.sum(-1) for name, t in terms.items()}
        sums |= {"step_max": step.amax(-1), "step_min": step.amin(-1)}
        return sums | _next(logits[tile], norm.log_z[rows])

    sums = _add_up(logits, one)
    return next_norm(norm, sums), sums, prices
