"""The published objectives as their papers and code write them: a surrogate each, from which weights follow by differentiation.

Nothing here calls a formula of entclip. A surrogate is a function of the ratio r that is analytic where it is smooth; which
branch is taken, and whatever a stop-gradient holds, depends on the real ratio r0 beside it. A complex step differentiates it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from entclip.objectives.base import Objective

_STEP = 1e-10  # of the complex step, whose error is its square; smaller, and the smallest ratios of the tests would underflow
Law = list[tuple[float, np.ndarray]]  # values of the advantage, each with P(value | action)
Sample = tuple[np.ndarray, np.ndarray, np.ndarray]  # r0, A, pi_old


def gated(o: Objective) -> bool:
    """Whether LOW acts on A < 0 alone and HIGH on A > 0 alone."""
    return o.kind not in ("cispo", "cispo_trl", "cispo_torchrl", "truncated_weights")


def published_surrogate(
    o: Objective, r: np.ndarray, r0: np.ndarray, a: np.ndarray, old: np.ndarray, law: Law | None = None
) -> np.ndarray:
    """The published surrogate of each sample, to be maximised, at a (complex) ratio r near r0.

    law: of the samples of the whole update, for members that take statistics of them: pairs of advantages, one of each action,
        and the chances of the actions to have them. The samples are then the actions of one context.
    """
    if o.kind in _OF_BATCHES:
        assert law is not None
        return _OF_BATCHES[o.kind](o, r, (r0, a, old), law)
    return _SURROGATES[o.kind](o, r, (r0, a, old))


def published_weight(o: Objective, r: np.ndarray, a: np.ndarray, old: np.ndarray) -> np.ndarray:
    """c(r, A) of each paper: the slope of its surrogate in log r, by a complex step."""
    value = published_surrogate(o, r * (1 + 1j * _STEP), r, a, old)
    return np.where(a == 0, 0.0, value.imag / _STEP)


def clip_sets(o: Objective, r: np.ndarray, old: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """LOW and HIGH."""
    never = np.zeros(r.shape, bool)
    if o.kind in ("none", "sapo", "sapo_trinity", "reinforce"):
        return never, never
    if o.kind in ("truncated_weights", "cispo_trl"):
        return never, r > (o.cap if o.kind == "truncated_weights" else o.high)
    if o.kind == "dppo_tv":
        return old * (r - 1) < -o.delta, old * (r - 1) > o.delta
    if o.kind == "dppo_kl":
        beyond = _binary_kl(r, old) > o.delta
        return beyond & (r < 1), beyond & (r > 1)
    if o.kind == "flexible":
        pi = r * old
        return r < 1 - (o.low + o.low_slope * pi), r > 1 + (o.high + o.high_slope * pi)
    if o.kind == "ripo":
        return r < 1 - np.sqrt(o.delta / old), r > 1 + np.sqrt(o.delta / old)
    if o.kind == "abc_grpo":
        return r < 1 - o.low_neg, r > 1 + o.high_pos
    low, high = r < 1 - o.low, r > 1 + o.high
    return (low & (1 + o.zeta * np.log(old) >= 0), high) if o.kind == "repo_r" else (low, high)


def _binary_kl(r: np.ndarray, old: np.ndarray) -> np.ndarray:
    """KL of two coins, with the floor 1e-8 of the code."""
    rest_old, rest = np.maximum(1 - old, 0) + 1e-8, np.maximum(1 - r * old, 0) + 1e-8
    return old * -np.log(r) + (1 - old) * np.log(rest_old / rest)


def _clipped(low: float, high: float) -> Callable[[np.ndarray, Sample], np.ndarray]:
    """min(r A, clip(r) A): r A where that is the smaller."""

    def value(r: np.ndarray, s: Sample) -> np.ndarray:
        r0, a, _ = s
        drop = ((a > 0) & (r0 > 1 + high)) | ((a < 0) & (r0 < 1 - low))
        return np.where(drop, 0, r * a)

    return value


def _masked(o: Objective, r: np.ndarray, s: Sample) -> np.ndarray:
    """r A, without a gradient for A > 0 on HIGH and for A < 0 on LOW."""
    r0, a, old = s
    low, high = clip_sets(o, r0, old)
    return np.where(((a > 0) & high) | ((a < 0) & low), 0, r * a)


def _dual_clip(o, r, s):
    return np.where((s[1] < 0) & (s[0] > o.cap), 0, _clipped(o.low, o.high)(r, s))


def _cispo(o, r, s):
    return np.clip(s[0], 1 - o.low, 1 + o.high) * s[1] * np.log(r)  # the weight is detached


def _truncated(cap):
    return lambda o, r, s: np.minimum(s[0], cap(o)) * s[1] * np.log(r)


def _cispo_torchrl(o, r, s):
    inside = (s[0] >= 1 - o.low) & (s[0] <= 1 + o.high)
    return np.where(inside, r * s[1], 0)  # clip(r) A, not detached: flat beyond the bounds


def _sapo(o, r, s):
    tau = np.where(s[1] > 0, o.tau_pos, o.tau_neg)
    return 4 / tau / (1 + np.exp(-np.minimum(tau * (s[0] - 1), 700) - tau * (r - s[0]))) * s[1]  # e^-700 is 0 beside anything


def _sapo_trinity(o, r, s):
    tau = np.where(s[1] > 0, o.tau_pos, o.tau_neg)
    return 4 / tau / (1 + np.exp(-np.clip(tau * (s[0] - 1), -700, 700))) * s[1] * np.log(r)


def _held(beta_low, beta_high):
    def value(o, r, s):
        r0, a, _ = s
        low, high = (a < 0) & (r0 < 1 - o.low), (a > 0) & (r0 > 1 + o.high)
        bound = beta_high(o) * (1 + o.high) if o.high < math.inf else 0.0  # an infinite bound is never passed
        kept = np.where(low, beta_low(o) * (1 - o.low) * a * np.log(r), r * a)
        return np.where(high, bound * a * np.log(r), kept)

    return value


def _abc_grpo(o, r, s):
    r0, a, _ = s
    inside = np.where(a > 0, (r0 >= 1 - o.low_pos) & (r0 <= 1 + o.high_pos), (r0 >= 1 - o.low_neg) & (r0 <= 1 + o.high_neg))
    return np.where(inside, r * a, 0)  # clip(r) A by sign, without a min


def _factors(plus, minus):
    return lambda o, r, s: np.where(s[1] > 0, plus(o), minus(o)) * _clipped(o.low, o.high)(r, s)


def _entropic(o, r, s):
    likely = s[0] * s[2] > o.threshold
    return _clipped(o.low, o.high)(r, s) + np.where(likely, o.alpha * np.abs(s[1]) * r, 0)


def _repo_r(o, r, s):
    r0, a, old = s
    return _clipped(o.low, o.high)(r, (r0, a - o.zeta * np.abs(a) * np.log(old), old))


def _calibrl(o, r, s):
    r0, a, old = s
    sign, gap = np.sign(a), np.log(r0) + np.log(old) - np.log(o.expert)
    slope = np.where(-sign * gap > 0, 1.0, o.slope)
    leaky = slope * -sign * (np.log(r) + np.log(old) - np.log(o.expert))
    return _clipped(o.low, o.high)(r, s) - o.coefficient * np.abs(a) * leaky


def _entropy(p):
    return -np.sum(p * np.log(p))


def _erc(o, r, s):
    """Samples are the actions of one context, each once."""
    moved = (_entropy(s[0] * s[2]) + 1e-8) / (_entropy(s[2]) + 1e-8)
    return _clipped(o.low, o.high)(r, s) if o.entropy_low < moved < o.entropy_high else 0 * r


def _clip_b(o, r, s):
    """Likewise; mean and deviation of the discriminator over samples of pi_old."""
    _, a, old = s
    value = old * (_entropy(old) + np.log(old))
    mean = np.sum(old * value)
    least = mean - o.mu * np.sqrt(np.sum(old * (value - mean) ** 2))
    return np.where((a < 0) & (value < least), 0, _clipped(o.low, o.high)(r, s))


def _repo(o, r, s):
    """Likewise: r (A - beta (log pi less its mean)), the new advantage detached."""
    pi = s[0] * s[2]
    return r * (s[1] - o.coefficient * (np.log(pi) + _entropy(pi)))


_SURROGATES: dict[str, Callable[[Objective, np.ndarray, Sample], np.ndarray]] = {
    "none": lambda o, r, s: r * s[1],
    "clip": lambda o, r, s: _clipped(o.low, o.high)(r, s),
    "dual_clip": _dual_clip,
    "cispo": _cispo,
    "cispo_trl": _truncated(lambda o: o.high),
    "truncated_weights": _truncated(lambda o: o.cap),
    "cispo_torchrl": _cispo_torchrl,
    "reinforce": lambda o, r, s: s[1] * np.log(r),
    "sapo": _sapo,
    "sapo_trinity": _sapo_trinity,
    "ce_gppo": _held(lambda o: o.beta_low, lambda o: o.beta_high),
    "gppo": _held(lambda o: 1.0, lambda o: 1.0),
    "dppo_tv": _masked,
    "dppo_kl": _masked,
    "flexible": _masked,
    "ripo": _masked,
    "abc_grpo": _abc_grpo,
    "positive_weight": _factors(lambda o: o.lambda_pos, lambda o: 1.0),
    "w_reinforce": _factors(lambda o: o.lambda_pos, lambda o: o.lambda_neg),
    "entropic": _entropic,
    "repo_r": _repo_r,
    "calibrl": _calibrl,
    "erc": _erc,
    "clip_b": _clip_b,
    "repo": _repo,
    **dict.fromkeys(("entropy_bonus", "aer", "aepo"), lambda o, r, s: _clipped(o.low, o.high)(r, s)),  # a bonus is no sample's
    "random_drop": lambda o, r, s: np.where(s[1] > 0, 1 - o.drop_pos, 1 - o.drop_neg) * r * s[1],  # the mean over coins
}


# ---- Members that take statistics of all samples of an update ---------------------------------------------------------------


def _mean(old: np.ndarray, law: Law, f: Callable[[float], np.ndarray | float]) -> float:
    """The mean over samples of a function of the advantage, an array over actions."""
    return float(sum(np.sum(old * chance * f(a)) for a, chance in law))


def _steer(o, r, s, law):
    r0, a, old = s
    pi = r0 * old

    def omega(x):
        return x / old * pi * (1 - pi) * (np.log(pi) + _entropy(pi))

    largest = max(np.max(np.abs(omega(x)) * (c > 0)) for x, c in law)
    factor = np.exp(np.log(o.lambda_min) * np.abs(omega(a)) / max(largest, 0.02))
    return np.maximum(factor, o.lambda_min) * _dual_clip(o, r, s)


def _cov(s, law):
    r0, _, old = s
    log_pi = np.log(r0 * old)
    mean_a, mean_log = _mean(old, law, lambda x: x), _mean(old, law, lambda x: log_pi)
    return lambda x: (x - mean_a) * (log_pi - mean_log)


def _clip_cov(o, r, s, law):
    """The mean over the coins."""
    r0, a, old = s
    cov = _cov(s, law)

    def candidate(x):
        clipped = ((x > 0) & (r0 > 1 + o.high)) | ((x < 0) & (r0 < 1 - o.low))
        return (cov(x) > o.lower) & (cov(x) < o.upper) & ~clipped

    number = _mean(old, law, lambda x: candidate(x).astype(float))
    dropped = 0.0 if number == 0 else min(o.ratio / number, 1.0)
    return np.where(candidate(a), 1 - dropped, 1.0) * _clipped(o.low, o.high)(r, s)


def _kl_cov(o, r, s, law):
    r0, a, old = s
    cov, held = _cov(s, law), 0.0
    for value, chance in sorted(((v, p) for x, c in law for v, p in zip(cov(x), old * c, strict=True) if p > 0), reverse=True):
        threshold, held = value, held + chance
        if held >= o.ratio:
            break
    chosen = cov(a) >= threshold - 1e-12
    return r * a - np.where(chosen, o.coefficient * np.sign(np.log(r0)) * np.log(r), 0)  # |log r|


def _clip_v(o, r, s, law):
    _, a, old = s
    push = old * (_entropy(old) + np.log(old))
    d = np.sum(old * push) - push
    least = o.mu * np.sqrt(np.sum(old * d**2) - np.sum(old * d) ** 2)
    bad = sum((c for x, c in law if x < 0), np.zeros_like(old)) * old
    if np.sum(bad * (d > least)) > o.max_fraction:
        taken = 0.0
        for k in np.argsort(-d):
            taken, least = taken + bad[k], d[k] - 1e-12
            if taken >= o.max_fraction:
                break
    return np.where((a < 0) & (d > least), 0, _clipped(o.low, o.high)(r, s))


def _bapo(o, r, s, law):
    r0, _, old = s
    low, high = o.low, o.high
    while True:
        up = _mean(old, law, lambda x: old * r0 * max(x, 0) * (r0 <= 1 + high))  # noqa: B023
        down = _mean(old, law, lambda x: old * r0 * max(-x, 0) * (r0 >= 1 - low))  # noqa: B023
        if up >= o.target * (up + down) or (high >= o.high_end and low <= o.low_end):
            return _clipped(low, high)(r, s)
        if high < o.high_end:
            high = min(high + o.high_step, o.high_end)
        else:
            low = max(low - o.low_step, o.low_end)


def _adapo(o, r, s, law):
    target = _entropy(s[2]) if o.target is None else o.target
    high = min(max(o.high + o.gain * (target - _entropy(s[0] * s[2])), o.least), o.most)
    return _clipped(o.low, high)(r, s)


def _cde(o, r, s, law):
    """The reward is the advantage and a number: `law` has rewards here."""
    r0, a, old = s

    def shaped(x):
        return x + o.omega * np.minimum(abs(x) / o.kappa, -o.alpha * np.log(old))

    return _clipped(o.low, o.high)(r, (r0, shaped(a + _mean(old, law, lambda x: x)) - _mean(old, law, shaped), old))


_OF_BATCHES: dict[str, Callable[[Objective, np.ndarray, Sample, Law], np.ndarray]] = {
    "steer": _steer,
    "clip_cov": _clip_cov,
    "kl_cov": _kl_cov,
    "clip_v": _clip_v,
    "bapo": _bapo,
    "adapo": _adapo,
    "cde": _cde,
}
