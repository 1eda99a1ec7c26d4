"""Named initial policies: uniform, Zipf, peaked, Dirichlet, and snapshots of language models."""

from __future__ import annotations

import numpy as np

from entclip.policies.softmax import SoftmaxPolicy

__all__ = ["dirichlet", "peaked", "snapshot", "uniform", "zipf"]


def _checked_vocab(vocab: int) -> int:
    if isinstance(vocab, bool) or int(vocab) != vocab or vocab < 2:
        raise ValueError(f"vocab must be a whole number of at least 2, got {vocab!r}.")
    return int(vocab)


def uniform(vocab: int) -> SoftmaxPolicy:
    """Return the uniform policy, pi_a = 1/V, which has the largest entropy, log V nats."""
    return SoftmaxPolicy(np.zeros(_checked_vocab(vocab)))


def zipf(vocab: int, exponent: float = 1.0) -> SoftmaxPolicy:
    """Return the policy with pi_a proportional to a^-exponent, a = 1..V: the heavy tail of natural language."""
    if not np.isfinite(exponent):
        raise ValueError(f"zipf exponent must be finite, got {exponent}: 1 is the law of word frequencies.")
    return SoftmaxPolicy(-float(exponent) * np.log(np.arange(1, _checked_vocab(vocab) + 1)))


def peaked(vocab: int, logit: float) -> SoftmaxPolicy:
    """Return the policy that gives its first action the logit `logit` and all others 0."""
    logits = np.zeros(_checked_vocab(vocab))
    logits[0] = logit
    return SoftmaxPolicy(logits)


def dirichlet(vocab: int, alpha: float = 1.0, seed: int = 0, *, contexts: int | None = None, floor: float = 0.0) -> SoftmaxPolicy:
    """Draw pi = (1 - floor) Dirichlet(alpha) + floor / V, shape (V,), or (contexts, V) with independent draws.

    A floor keeps natural steps valid: without one a rare action can take the policy over in a single step (docs/theory.md).
    """
    if not alpha > 0 or not np.isfinite(alpha):
        raise ValueError(f"dirichlet alpha must be positive and finite, got {alpha}: 1 is uniform on the simplex.")
    if not 0 <= floor < 1:
        raise ValueError(f"dirichlet floor must be in [0, 1), got {floor}: it is the weight of the uniform law mixed in.")
    shape = (_checked_vocab(vocab),) if contexts is None else (contexts, _checked_vocab(vocab))
    gamma = np.random.default_rng(seed).standard_gamma(alpha, size=shape)
    # A tiny alpha underflows gamma draws to 0; the smallest normal number keeps the logarithm finite.
    gamma = np.maximum(gamma, np.finfo(float).tiny)
    probs = (1 - floor) * gamma / gamma.sum(axis=-1, keepdims=True) + floor / vocab
    return SoftmaxPolicy(np.log(probs))


def snapshot(path_or_name: str, contexts: int | None = None) -> SoftmaxPolicy:
    """Read next-token distributions of a real language model, logits (contexts, V): a shipped name or a file.

    `entclip snapshot` makes such files; "smollm2-135m" ships with the package.
    """
    from entclip.policies.snapshot import read

    return SoftmaxPolicy(read(path_or_name).log_probs(contexts))
