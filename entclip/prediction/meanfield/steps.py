"""One natural minibatch in a population: how the densities of the log-ratios move. Claim T11.

Each density moves by its own samples and by what all samples do to log Z. Where an action has few samples, or gains are 0 or 1,
the own part is the exact law of the counts: one sample of action a moves its logit by rate A g/(batch pi0), and the sum over a
minibatch has the transform (1 + pi0 (E exp(-i k move) - 1))^batch; normalisation takes the share pi of it back. Elsewhere it is
Gaussian with T11's mean and variance at each point. Euclidean steps are in `paths`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from entclip.prediction.meanfield.law import SampleLaw, moved
from entclip.prediction.meanfield.population import Population

__all__ = ["FEW", "local_step", "moments"]

FEW = 4  # an action with fewer expected samples in a minibatch moves by single jumps
MANY = 40  # expected samples from which on a move is Gaussian under gains other than 0 and 1
_NEAR = 24  # lattice points: an action that moves no further is spread over fewer neighbours
_TINY = 1e-13  # mass below this is what transforms leave behind, which e^x would blow up


def _normalised(p: Population, mass: np.ndarray) -> Population:
    mass = np.where(np.abs(mass) < _TINY, 0.0, mass)
    mass /= mass.sum(axis=1, keepdims=True)
    shift = -np.log(np.sum(p.nodes.count[:, None] * mass * p.old_probs * np.exp(p.lattice)))
    return replace(p, mass=mass, shift=float(shift))


def moments(p: Population, law: SampleLaw, rate: float, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance of one natural minibatch's move of log r at every point, up to the common shift. Claim T11."""
    gains = p.binned
    m = gains.plus * law.moment("plus") - gains.minus * law.moment("minus")
    q = gains.plus_sq * law.moment("plus_sq") + gains.minus_sq * law.moment("minus_sq")
    square = q / p.old_probs * (1 - 2 * p.probs) + p.mean(p.ratio * q)
    moving = ~p.still[:, None]
    return moving * rate * m, moving * rate**2 / batch * (square + _pairs(p, law))


def _pairs(p: Population, law: SampleLaw) -> np.ndarray:
    """What T11's bracket holds beside E x^2: (G - 1) E[x_i x_j] - G (E x)^2, by the mean moves u_+- of either sign's weight."""
    u = np.stack([gain - p.mean(gain) for gain in (p.binned.plus, p.binned.minus)])
    out: np.ndarray = np.einsum("st,skn,tkn->kn", law.coupling, u, u)
    return out


def local_step(p: Population, law: SampleLaw, rate: float, batch: int) -> Population:
    """Take one minibatch: by counts where gains are 0 or 1 or an action has few samples, elsewhere by a Gaussian move."""
    mean, variance = moments(p, law, rate, batch)
    h = p.step[:, None]
    centre, width = mean / h, np.maximum(variance, 0.0) / h**2
    reach = np.max(np.where(p.mass != 0, np.abs(centre) + 6 * np.sqrt(width), 0.0), axis=1)
    few = batch * p.nodes.prob < (np.inf if p.objective.hard else MANY)
    out = np.empty_like(p.mass)
    # Few actions, the likely ones, move far: the others need not look at as many bins.
    for rows in (~few & (reach <= _NEAR), ~few & (reach > _NEAR)):
        if np.any(rows):
            out[rows] = _spread(p.mass[rows], centre[rows], width[rows], int(np.ceil(reach[rows].max())) + 1)
    if np.any(few):
        out[few] = _compound(p, law, rate, batch, np.flatnonzero(few))
    return _normalised(p, out)


def _compound(p: Population, law: SampleLaw, rate: float, batch: int, rows: np.ndarray) -> np.ndarray:
    """The mass of some nodes after a minibatch: each sample moves its action's logit by rate A g/(batch pi0), g the gain where
    the action stands, so that every lattice bin has a compound law of its own."""
    n = p.mass.shape[1]
    h, old = p.step[rows, None], p.old_probs[rows]
    angle = 2 * np.pi * np.fft.rfftfreq(n)
    # Where a minibatch has few samples of an action, single jumps are lattice steps: the share that normalisation takes back is
    # that of the start, and its mean move, at most a share 4/batch of a jump, is left out.
    rare = batch * old < FEW
    own = np.where(rare, old, np.sum(p.mass * p.probs, axis=1, keepdims=True)[rows])
    moving = ~p.still[rows, None]
    jump, drift = moving * rate * (1 - own) / (batch * old) / h, moving * ~rare * rate * own / h

    def kernel(k: np.ndarray, one: np.ndarray, plus: np.ndarray | float, minus: np.ndarray | float) -> np.ndarray:
        """The logarithm of the transform of a minibatch's own move of nodes k, in bins, from that of one of its samples."""
        back = drift[k] * (plus * law.moment("plus") - minus * law.moment("minus"))
        out: np.ndarray = batch * np.log1p(old[k] * (one - 1)) - 1j * angle * back
        return out

    c, every = p.binned, np.arange(len(rows))
    halves = law.halves(jump, by=angle, few=rare)
    spectrum: np.ndarray = np.zeros((len(rows), len(angle)), dtype=complex)
    for whole, plus, minus, share in _switched(*(x[rows] for x in (c.plus, c.minus, c.plus_sq, c.minus_sq, c.both))):
        part = p.mass[rows] * share
        hard = (plus == whole[0]) & (minus == whole[1])  # gains 0 or 1: one law for all these bins
        if np.any(part[hard]):
            here = np.fft.rfft(np.where(hard, part, 0.0), axis=1)
            still = whole == (0, 0)
            spectrum += here if still else here * np.exp(kernel(every, law.transform(halves, *map(bool, whole)), *whole))
        k, j = np.nonzero((np.abs(part) > _TINY) & ~hard)
        if len(k):
            up, down = plus[k, j, None], minus[k, j, None]
            one = np.full((len(k), len(angle)), 1 - sum(q for _, q in law.atoms), dtype=complex)
            for value, chance in law.atoms:
                one += chance * moved(value * (up if value > 0 else down) * jump[k], angle)
            place = np.exp(kernel(k, one, up, down) - 1j * angle * j[:, None])
            first = np.flatnonzero(np.diff(k, prepend=-1))
            spectrum[k[first]] += np.add.reduceat(part[k, j, None] * place, first, axis=0)
    square = c.plus_sq * law.moment("plus_sq") + c.minus_sq * law.moment("minus_sq")
    mine = own**2 / old * np.sum(p.mass * square, axis=1, keepdims=True)[rows]
    spread = moving * np.maximum(rate**2 / batch * (p.mean(p.ratio * square) - mine), 0.0) / h**2
    return np.fft.irfft(spectrum * _exchange(spread, angle), n, axis=1)


def _switched(
    plus: np.ndarray, minus: np.ndarray, plus_sq: np.ndarray, minus_sq: np.ndarray, both: np.ndarray
) -> list[tuple[tuple[int, int], np.ndarray, np.ndarray, np.ndarray]]:
    """Return which gains are on, their values for A > 0 and A < 0, and the share of a bin that has them.

    A bin that a bound cuts holds two laws, not one of the mean gain: on, at E g^2/E g, in the share (E g)^2/E g^2, or 0."""
    sizes, shares = [], []
    for gain, square in ((plus, plus_sq), (minus, minus_sq)):
        size = np.divide(square, gain, out=np.zeros_like(gain), where=np.abs(gain) > _TINY)
        sizes.append(np.where(np.abs(size - 1) < 1e-9, 1.0, size))
        shares.append(np.divide(gain**2, square, out=np.zeros_like(gain), where=np.abs(square) > _TINY))
    product = sizes[0] * sizes[1]
    on = np.divide(both, product, out=np.zeros_like(both), where=np.abs(product) > _TINY)
    zero = np.zeros_like(plus)
    return [
        ((1, 1), sizes[0], sizes[1], on),
        ((1, 0), sizes[0], zero, shares[0] - on),
        ((0, 1), zero, sizes[1], shares[1] - on),
        ((0, 0), zero, zero, 1 - shares[0] - shares[1] + on),
    ]


def _exchange(spread: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """The transform of a Gaussian of variance `spread`, in bins, as repeated exchange with the two neighbours: one narrower than
    a bin would leave alternating tails everywhere."""
    times = np.maximum(1.0, np.ceil(4 * spread))
    out: np.ndarray = (1 - spread / times * (1 - np.cos(angle))) ** times
    return out


def _spread(mass: np.ndarray, centre: np.ndarray, width: np.ndarray, reach: int) -> np.ndarray:
    """Each bin's mass moved by a Gaussian of given centre and variance, in bins; what leaves the lattice stays at its ends."""
    n = mass.shape[1]
    reach = min(reach, n // 2)
    offsets = range(-reach, reach + 1)
    # Weights exp(-(m - centre)^2 / 2 width) are normalised over m; below a width of .5 bins they would lose variance: then three
    # points that have the right mean and variance take their place.
    narrow = width < 0.5
    safe = np.where(narrow, 1.0, width)
    total = np.zeros(mass.shape)
    for m in offsets:
        total += np.exp(-((m - centre) ** 2) / (2 * safe))
    scaled = np.where(narrow, 0.0, mass) / np.where(total > 0, total, 1.0)
    out = np.zeros((len(mass), n + 2 * reach))
    for m in offsets:
        out[:, reach + m : reach + m + n] += scaled * np.exp(-((m - centre) ** 2) / (2 * safe))
    if np.any(narrow & (mass != 0)):
        base = np.clip(np.round(centre), -reach + 1, reach - 1).astype(np.int64)
        d = centre - base
        rows = np.arange(len(mass))[:, None]
        for k, share in ((-1, (width + d**2 - d) / 2), (0, 1 - width - d**2), (1, (width + d**2 + d) / 2)):
            np.add.at(out, (rows, np.arange(n) + reach + base + k), np.where(narrow, mass, 0.0) * share)
    inner = out[:, reach : reach + n].copy()
    inner[:, 0] += out[:, :reach].sum(axis=1)
    inner[:, -1] += out[:, reach + n :].sum(axis=1)
    return inner
