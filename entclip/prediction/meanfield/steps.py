"""One minibatch in a population: how the densities of the log-ratios move. Claim T11.

Each density moves by its own samples and by what all samples do to log Z. In `CountedStep` (natural geometry, gains 0 or 1) the
own part is the exact law of the counts: where an action has few samples the lattice is aligned with the jump of one. In
`local_step` (any gain) it is Gaussian with T11's mean and variance at each point. Natural steps only: `paths` has the others.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from entclip.prediction.meanfield.law import SampleLaw
from entclip.prediction.meanfield.population import Population

__all__ = ["FEW", "CountedStep", "local_step", "moments"]

FEW = 4  # an action with fewer expected samples in a minibatch moves by single jumps
_NEAR = 24  # lattice points: an action that moves no further is spread over fewer neighbours
_TINY = 1e-13  # mass below this is what transforms leave behind, which e^x would blow up


def _normalised(p: Population, mass: np.ndarray) -> Population:
    mass = np.where(np.abs(mass) < _TINY, 0.0, mass)
    mass /= mass.sum(axis=1, keepdims=True)
    shift = -np.log(np.sum(p.nodes.count[:, None] * mass * p.old_probs * np.exp(p.lattice)))
    return replace(p, mass=mass, shift=float(shift))


class CountedStep:
    """Natural step under gains of 0 or 1, by the exact law of counts.

    One sample of action a moves its logit by rate A/(batch pi0): the law of the sum over a minibatch has the transform
    (1 + pi0 (E exp(-i k jump A) - 1))^batch. Normalisation takes the share pi of it back. Transforms are made anew every few
    updates only: they depend on the path through that share alone.
    """

    REFRESH = 8

    def __init__(self, law: SampleLaw, rate: float, batch: int) -> None:
        self.law, self.rate, self.batch = law, rate, batch
        self._kernels: dict[tuple[bool, bool], np.ndarray] = {}
        self._age = 0

    def __call__(self, p: Population) -> Population:
        n = p.mass.shape[1]
        frequency = 2 * np.pi * np.fft.rfftfreq(n) / p.step[:, None]
        if self._age % self.REFRESH == 0:
            self._kernels.clear()
            # Where a minibatch has few samples of an action, single jumps are lattice steps: the share that normalisation takes
            # back is that of the start, and its mean move, at most a share 4/batch of a jump, is left out.
            self._few = self.batch * p.old_probs < FEW
            self._own = np.where(self._few, p.old_probs, np.sum(p.mass * p.probs, axis=1, keepdims=True))
        self._age += 1
        c = p.cells
        spectrum: np.ndarray = np.zeros(frequency.shape, dtype=complex)
        for keep, share in (
            ((True, True), c.both),
            ((True, False), c.plus - c.both),
            ((False, True), c.minus - c.both),
            ((False, False), 1 - c.plus - c.minus + c.both),
        ):
            part = p.mass * share
            if np.any(part):
                spectrum += np.fft.rfft(part, axis=1) * self._kernel(p, frequency, *keep)
        square = c.plus * self.law.moment("plus_sq") + c.minus * self.law.moment("minus_sq")
        others = p.mean(p.ratio * square) - self._own**2 / p.old_probs * np.sum(p.mass * square, axis=1, keepdims=True)
        spread = ~p.still[:, None] * np.maximum(self.rate**2 / self.batch * others, 0.0) / p.step[:, None] ** 2
        # Repeated exchange with the two neighbours: a Gaussian narrower than a cell would leave alternating tails everywhere.
        times = np.maximum(1.0, np.ceil(4 * spread))
        spectrum *= (1 - spread / times * (1 - np.cos(frequency * p.step[:, None]))) ** times
        return _normalised(p, np.fft.irfft(spectrum, n, axis=1))

    def _kernel(self, p: Population, frequency: np.ndarray, plus: bool, minus: bool) -> np.ndarray:
        """The transform of a minibatch's own move where these signs pass."""
        if (plus, minus) not in self._kernels:
            moving = ~p.still[:, None]
            jump = moving * self.rate * (1 - self._own) / (self.batch * p.old_probs)
            one = self.law.transform(frequency * jump, plus, minus)
            drift = moving * ~self._few * self._own * self.rate
            drift = drift * (plus * self.law.moment("plus") - minus * self.law.moment("minus"))
            self._kernels[plus, minus] = np.exp(self.batch * np.log1p(p.old_probs * (one - 1)) - 1j * frequency * drift)
        return self._kernels[plus, minus]


def moments(p: Population, law: SampleLaw, rate: float, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance of one natural minibatch's move of log r at every point, up to the common shift. Claim T11."""
    gains = p.cells
    m = gains.plus * law.moment("plus") - gains.minus * law.moment("minus")
    q = gains.plus_sq * law.moment("plus_sq") + gains.minus_sq * law.moment("minus_sq")
    square = q / p.old_probs * (1 - 2 * p.probs) + p.mean(p.ratio * q)
    moving = ~p.still[:, None]
    return moving * rate * m, moving * rate**2 / batch * (square + _pairs(p, law))


def _pairs(p: Population, law: SampleLaw) -> np.ndarray:
    """What T11's bracket holds beside E x^2: (G - 1) E[x_i x_j] - G (E x)^2, by the mean moves u_+- of either sign's weight."""
    u = np.stack([gain - p.mean(gain) for gain in (p.cells.plus, p.cells.minus)])
    out: np.ndarray = np.einsum("st,skn,tkn->kn", law.coupling, u, u)
    return out


def local_step(p: Population, law: SampleLaw, rate: float, batch: int) -> Population:
    """Make the Gaussian move with the mean and variance of each point, spread over lattice cells."""
    mean, variance = moments(p, law, rate, batch)
    h = p.step[:, None]
    centre, width = mean / h, np.maximum(variance, 0.0) / h**2
    reach = np.max(np.where(p.mass != 0, np.abs(centre) + 6 * np.sqrt(width), 0.0), axis=1)
    out = np.empty_like(p.mass)
    # Few actions, the likely ones, move far: the others need not look at as many cells.
    for rows in (reach <= _NEAR, reach > _NEAR):
        if np.any(rows):
            out[rows] = _spread(p.mass[rows], centre[rows], width[rows], int(np.ceil(reach[rows].max())) + 1)
    return _normalised(p, out)


def _spread(mass: np.ndarray, centre: np.ndarray, width: np.ndarray, reach: int) -> np.ndarray:
    """Each cell's mass moved by a Gaussian of given centre and variance, in cells; what leaves the lattice stays at its ends."""
    n = mass.shape[1]
    reach = min(reach, n // 2)
    offsets = range(-reach, reach + 1)
    # Weights exp(-(m - centre)^2 / 2 width) are normalised over m; below a width of .5 cells they would lose variance: then three
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
