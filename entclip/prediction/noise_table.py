"""The law of log-ratio noise as a table: mean and rms of log(pi/pi_old) by pi_old, from log-probabilities, a run, or a file.

    >>> import numpy as np
    >>> from entclip.prediction.noise_table import noise_law_of
    >>> old = np.log(np.full((100, 4), 0.25))
    >>> table = noise_law_of(old, old + 0.1)
    >>> table.rms, table.mean, table.sd.round(6)  # all of it is a shift: there is no noise
    (array([0.1]), array([0.1]), array([0.]))

A ledger cannot give it: it keeps one pi_old-weighted rms per update, which is a law's size and not its shape (`ledger_rms`).
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from entclip.experiments.experiment import Experiment
from entclip.objectives.none import NoClip
from entclip.support.arrays import npy_shape, read_npy
from entclip.support.bounded import read_bounded
from entclip.support.errors import SpecError
from entclip.support.foresight import Size, refuse_oversize
from entclip.support.memory import available_bytes

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike

__all__ = ["NoiseTable", "ledger_rms", "measure_noise", "noise_law_of", "noise_of_files", "read_noise_table"]


_LARGEST_FILE = 2**24  # in bytes
_COLUMNS = ("prob", "rms", "rms_se", "count", "mean", "mean_se", "beyond", "largest")
_ROUNDING = 1e-9
_ABOVE = 1e-6  # of a log-probability above 0: rounding of a softmax in float32
_MOST_PER_DECADE = 1000.0  # bins are then .2 % wide
_HELD = 20  # a measurement holds so many numbers of eight bytes for each pair of log-probabilities


@dataclass(frozen=True)
class NoiseTable:
    """rms of log(pi/pi_old) as a function of pi_old at the end of a rollout, (K,) each, `prob` increasing.

    rms^2 = mean^2 + sd^2: a mean is a shift, which clips all actions of a row or none, and not noise. Between rows the mean and
    log sd are linear in log pi_old; beyond them they are constant. Standard errors are over independent units, count is how many
    log-ratios a row pools, beyond the share of them that lie over two sd from the mean, largest the share of the sum of their
    squares about it that the largest one has. None where unknown; without a mean it is taken to be what normalisation makes it,
    and all of rms to be noise.
    """

    prob: np.ndarray
    rms: np.ndarray
    rms_se: np.ndarray | None = None
    count: np.ndarray | None = None
    mean: np.ndarray | None = None
    mean_se: np.ndarray | None = None
    beyond: np.ndarray | None = None
    largest: np.ndarray | None = None

    def __post_init__(self) -> None:
        prob, rms = np.asarray(self.prob, dtype=np.float64), np.asarray(self.rms, dtype=np.float64)
        if prob.ndim != 1 or prob.shape != rms.shape or not prob.size:
            raise SpecError(f"noise table: prob has shape {prob.shape}, rms {rms.shape}: give one of each per row, at least one.")
        if not (np.all(np.isfinite(prob)) and np.all(prob > 0) and np.all(prob <= 1)):
            raise SpecError(f"noise table: prob must lie in (0, 1], got {prob.min()} to {prob.max()}: it is pi_old of an action.")
        if not (np.all(np.isfinite(rms)) and np.all(rms > 0)):
            raise SpecError(f"noise table: rms must be positive and finite, got {rms.min()} to {rms.max()}: leave such rows out.")
        order = np.argsort(prob)
        if np.any(np.diff(prob[order]) == 0):
            raise SpecError("noise table: two rows have the same prob: pool them into one.")
        for name in _COLUMNS:
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, np.asarray(value, dtype=np.float64)[order])
        if self.mean is not None and np.any(np.abs(self.mean) > self.rms * (1 + _ROUNDING)):
            raise SpecError("noise table: a mean is larger than its rms, which is the root of mean^2 + sd^2: check the columns.")

    @property
    def sd(self) -> np.ndarray:
        """Return the standard deviation of log(pi/pi_old) in each row, (K,): rms where the mean is unknown."""
        if self.mean is None:
            return self.rms
        square = self.rms**2 - self.mean**2
        # What rounding leaves of two equal squares is no noise.
        out: np.ndarray = np.sqrt(np.where(square > 1e-12 * self.rms**2, square, 0.0))
        return out

    @property
    def bias(self) -> np.ndarray:
        """Return the part of the mean that noise does not explain, (K,): mean + sd^2/2, 0 where it may be noise alone.

        Normalised noise of standard deviation sd has a mean of about -sd^2/2; twice that and five standard errors are allowed."""
        if self.mean is None:
            return np.zeros_like(self.rms)
        half = self.sd**2 / 2
        off = self.mean + half
        room = half + (0.0 if self.mean_se is None else 5 * self.mean_se)
        out: np.ndarray = np.where(np.abs(off) > room, off, 0.0)
        return out

    @property
    def lone(self) -> np.ndarray:
        """Return which rows have a size that is of a few log-ratios, (K,), as where tails fall off like a power.

        Of n normal numbers the largest square is about 2 log n times the mean, and over 10 log n with a chance of n^-4.
        """
        if self.largest is None or self.count is None:
            return np.zeros(len(self.prob), dtype=bool)
        n = np.maximum(self.count, 2.0)
        out: np.ndarray = self.largest * n > 10 * np.log(n)
        return out

    def at(self, log_prob: np.ndarray) -> np.ndarray:
        """Return the standard deviation at log pi_old, of the same shape."""
        out: np.ndarray = np.exp(np.interp(log_prob, np.log(self.prob), np.log(np.maximum(self.sd, 1e-12))))
        return out

    def mean_at(self, log_prob: np.ndarray) -> np.ndarray:
        """Return the mean at log pi_old, of the same shape; for tables that have one."""
        assert self.mean is not None
        out: np.ndarray = np.interp(log_prob, np.log(self.prob), self.mean)
        return out

    def slope(self) -> tuple[float, float]:
        """Return the slope of log rms against log pi_old and its standard error, rows weighted by their precision; needs
        rms_se.

        Rows count alike where some have no error, as those of a constant log-ratio have; the error is then that of the line."""
        if self.rms_se is None or len(self.prob) < 2:
            raise SpecError("noise table: a slope needs at least two rows with standard errors.")
        x, y, scattered = np.log(self.prob), np.log(self.rms), bool(np.all(self.rms_se > 0))
        weight = (self.rms / self.rms_se) ** 2 if scattered else np.ones_like(x)
        centred = x - np.average(x, weights=weight)
        spread = np.sum(weight * centred**2)
        slope = np.sum(weight * centred * y) / spread
        rest = 1.0 if scattered else np.sum((y - y.mean() - slope * centred) ** 2) / max(len(x) - 2, 1)
        # Of equal sizes rounding leaves a slope, and an error of it.
        found, error = (float(x) if abs(x) > _ROUNDING else 0.0 for x in (slope, np.sqrt(rest / spread)))
        return found, error

    def to_frame(self) -> pd.DataFrame:
        """Return columns prob, rms and, where known, errors, mean, sd, beyond and count: what `predict --noise FILE` reads."""
        import pandas as pd

        columns = {n: getattr(self, n) for n in ("prob", "mean", "mean_se", "sd", "rms", "rms_se", "beyond", "largest", "count")}
        if self.mean is None:
            del columns["sd"]
        return pd.DataFrame({n: v for n, v in columns.items() if v is not None})


def noise_law_of(old_log_probs: ArrayLike, log_probs: ArrayLike, *, per_decade: float = 2.0, least: int = 30) -> NoiseTable:
    """Measure the noise law from log-probabilities before and after the updates of a rollout, numpy or torch.

    rms_k^2 and mean_k are the means of (log pi - log pi_old)^2 and of log pi - log pi_old over the entries whose pi_old lies
    in bin k; a shift of all of them is a mean, with its error, and not noise (`sd`). Bins are equal in log10 pi_old; a bin's
    `prob` is the geometric mean of its entries'. The first axis numbers independent units (contexts, responses): the standard
    errors run over it, those of a ratio of two means. Entries that are NaN in both arrays (padding) are left out.

    Whole distributions (contexts, V) weigh every action of a bin alike; of sampled tokens (responses, tokens), likely ones count
    more often, which within a bin changes next to nothing.

    Args:
        old_log_probs, log_probs: of the same actions in the same states, equal shapes, at least one axis.
        per_decade: bins per factor of 10 in pi_old.
        least: units with an entry in a bin; bins with fewer are left out, and so are bins without noise.
    Raises: ValueError if shapes differ, a value is infinite, above 0 or NaN in one array only, or no bin is left.
    """
    return _measured({"old_log_probs": old_log_probs, "log_probs": log_probs}, per_decade, least)


def _measured(pair: dict[str, ArrayLike], per_decade: float, least: int = 30) -> NoiseTable:
    """Do what `noise_law_of` does with two arrays, old and new, by the names that a message gives them."""
    (old_name, old), (new_name, new) = ((name, _values(name, value)) for name, value in pair.items())
    if old.shape != new.shape or old.ndim == 0:
        raise ValueError(
            f"{old_name} has shape {old.shape}, {new_name} {new.shape}: they must be equal, with at least one axis. Give "
            "log-probabilities of the same actions in the same states, before and after."
        )
    _refuse_bins(per_decade)
    if np.any(lone := np.isnan(old) != np.isnan(new)):
        raise ValueError(
            f"{old_name} and {new_name} are NaN at different places, {np.count_nonzero(lone):,} of them, the first at "
            f"{_place(lone)}: padding must be NaN in both."
        )
    if np.isnan(old).all():  # or empty
        raise ValueError(f"{old_name} holds no number: there is nothing to measure. Give log-probabilities, NaN for padding.")
    old, new = old.reshape(len(old), -1), new.reshape(len(new), -1)
    unit, entry = np.nonzero(~np.isnan(old))
    start, moved = old[unit, entry], (new - old)[unit, entry]
    if not moved.any():
        raise ValueError(
            f"{old_name} and {new_name} hold the same numbers: no probability has moved, so that there is no noise. Give "
            "log-probabilities from before and after the updates of a rollout."
        )
    place = np.floor(start / math.log(10) * per_decade).astype(np.int64)
    bins, index = np.unique(place, return_inverse=True)

    # Per unit and bin: how many entries, and their sums.
    shape, place = (len(old), len(bins)), unit * len(bins) + index
    number, first, second = (np.bincount(place, w, math.prod(shape)).reshape(shape) for w in (None, moved, moved**2))
    count = number.sum(axis=0)
    units = np.count_nonzero(number, axis=0)

    def mean_of(total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The mean over entries and its standard error over units, a ratio of two means."""
        mean = total.sum(axis=0) / count
        variance = np.sum((total - number * mean) ** 2, axis=0) * units / np.maximum(units - 1, 1) / count**2
        return mean, np.sqrt(variance)

    square, square_se = mean_of(second)
    mean, mean_se = mean_of(first)
    keep = (units >= least) & (square > 0)
    if not np.any(keep):
        raise ValueError(
            f"no bin of pi_old has entries of {least} units and noise, the fullest has {units.max()}: give more contexts or a "
            "smaller per_decade."
        )
    centre = np.exp(np.bincount(index, start) / count)
    spread = np.sqrt(np.maximum(square - mean**2, 0.0))
    beyond = np.bincount(index, np.abs(moved - mean[index]) > np.maximum(2 * spread, _ROUNDING * np.sqrt(square))[index]) / count
    peak = np.zeros(len(bins))
    np.maximum.at(peak, index, (moved - mean[index]) ** 2)
    peak = np.divide(peak, count * spread**2, out=np.zeros(len(bins)), where=spread > _ROUNDING * np.sqrt(square))
    columns = (centre, np.sqrt(square), square_se / (2 * np.sqrt(np.maximum(square, 1e-300))), count, mean, mean_se, beyond, peak)
    return NoiseTable(*(column[keep] for column in columns))


def _refuse_bins(per_decade: float) -> None:
    """Raise SpecError for a number of bins that is none, or more than log-ratios can fill."""
    if not 1e-3 <= per_decade <= _MOST_PER_DECADE:
        raise SpecError(
            f"per_decade must be from 0.001 to {_MOST_PER_DECADE:g}, got {per_decade}: it is the number of bins per factor of 10."
        )


def noise_of_files(old: Path, new: Path, per_decade: float = 2.0) -> NoiseTable:
    """Measure the noise law from two .npy files of log-probabilities: `noise_law_of` what they hold.

    Raises: SpecError for files that are no such arrays, or whose pairs the memory does not hold.
    """
    names = {f"--old {str(old)!r}": old, f"--new {str(new)!r}": new}
    pairs = max(math.prod(npy_shape(path, name)) for name, path in names.items())
    size = Size({f"{pairs:,} pairs of log-probabilities": 8.0 * _HELD * pairs}, 0.0, "")
    refuse_oversize(size, available_bytes(), f"measuring {old} and {new}", "measure some of the contexts or responses")
    return _measured({name: read_npy(path, name) for name, path in names.items()}, per_decade)


def _values(name: str, value: Any) -> np.ndarray:
    if hasattr(value, "detach"):
        value = value.detach().cpu().double().numpy()
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{name} has dtype {array.dtype}: expected log-probabilities, as floats.")
    array = array.astype(np.float64)
    if np.any(bad := np.isinf(array) | (array > _ABOVE)):
        raise ValueError(
            f"{name} holds infinite or positive values, {np.count_nonzero(bad):,} of {array.size:,}, the first {array[bad][0]:g} "
            f"at {_place(bad)}: log-probabilities are finite and at most 0. Give log pi and not logits, NaN for padding."
        )
    return array


def _place(where: np.ndarray) -> str:
    """The first place that is true, as an index."""
    return str([int(i) for i in np.argwhere(where)[0]])


def measure_noise(experiment: Experiment, *, per_decade: float = 2.0, progress: Callable[[], None] | None = None) -> NoiseTable:
    """Simulate the experiment's first rollout without clipping and measure its noise law.

    Units are contexts x replicas, of a language model its replicas: contexts of one model move together. With the seed of a saved
    run this is that run's own first rollout, as its unclipped arm has it. `progress` is called after each of its updates.
    Raises: SpecError for a number of bins out of range, a grid, a perturbation, or sequences.
    """
    from entclip.engines.base import Directive
    from entclip.engines.named import engine_named
    from entclip.engines.registry import usual_engine
    from entclip.runs.foresight import refuse_too_large

    _refuse_bins(per_decade)
    if experiment.grid:
        raise SpecError("noise: the experiment has a grid; choose one of its cases by --set.")
    if experiment.perturbation is not None:
        raise SpecError("noise: the experiment has a perturbation, which is a noise law already. Leave it out.")
    if experiment.policy.kind == "autoregressive":
        raise SpecError("noise: sequences are not covered: give noise_law_of the log-probabilities of their tokens.")
    model = experiment.policy.kind == "language_model"
    facts = usual_engine(experiment.policy.kind)
    once = experiment.update.model_copy(update={"rollouts": 1})
    refuse_too_large(experiment.model_copy(update={"update": once, "arm": experiment.arm[:1]}), facts.name, dtype=facts.dtypes[0])
    engine: Any = engine_named(facts.name)
    state, rollout = engine.roll_out(engine.start(experiment, NoClip()))
    for minibatch in rollout:
        state, _ = engine.step(state, rollout, minibatch, Directive())
        if progress is not None:
            progress()
    try:
        if model:
            old, new = engine.distributions(state, rollout)
            return noise_law_of(old, new, per_decade=per_decade, least=2)
        return noise_law_of(state.old_log_probs[:, 0], state.log_probs[:, 0], per_decade=per_decade)
    except ValueError as error:
        raise SpecError(f"noise: {error} Raise replicas or policy.contexts.") from None


def read_noise_table(path: Path) -> NoiseTable:
    """Read a table from a CSV file with columns prob and rms and, if it has them, mean and errors, or a .npy array (K, 2)."""
    where = f"noise table {str(path)!r}"
    if path.suffix == ".npy":
        array = read_npy(path, where)
        if array.ndim != 2 or array.shape[1] != 2 or array.dtype.kind not in "fiu":
            raise SpecError(f"{where} has shape {array.shape} of {array.dtype}: expected (K, 2), columns prob and rms.")
        return NoiseTable(array[:, 0], array[:, 1])
    try:
        rows = list(csv.reader(io.StringIO(read_bounded(path, _LARGEST_FILE, "noise table").decode("utf-8-sig")), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise SpecError(f"{where} is not a CSV file of numbers: {error}.") from None
    numbered = [(line, row) for line, row in enumerate(rows, 1) if row]
    if not numbered:
        raise SpecError(f"{where} is not a CSV file of numbers: it is empty.")
    header = [name.strip() for name in numbered[0][1]]
    if missing := [n for n in ("prob", "rms") if header.count(n) != 1]:
        raise SpecError(
            f"{where} has {header.count(missing[0]) or 'no'} column {missing[0]}: expected a header with prob and rms."
        )
    for line, row in numbered[1:]:
        # A column without a name would shift all others, and which one it is nobody can tell.
        if len(row) != len(header):
            raise SpecError(f"{where}, line {line}: {len(row)} values under {len(header)} names. Give every column a name.")
    columns = {name: header.index(name) for name in _COLUMNS if name in header}
    return NoiseTable(
        **{n: np.array([_number(row[k], n, where, line) for line, row in numbered[1:]]) for n, k in columns.items()}
    )


def _number(text: str, name: str, where: str, line: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise SpecError(
            f"{where} is not a CSV file of numbers: line {line} has {name} = {text[:40]!r}, which is no finite number."
        )
    return value


def ledger_rms(folder: Path) -> float:
    """Return the pi_old-weighted rms of log(pi/pi_old) after a rollout's last update, from a saved run: a law's size, not its
    shape.

    That of the arm `none` (else the first), mean square over rollouts. The ledger has it before the last of K updates: noise of
    independent updates is then short of sqrt((K - 1)/K).
    Raises: SpecError if there is no whole ledger, it has several cases, or K = 1.
    """
    from entclip.ledger.folder import read_frame

    frame = read_frame(folder)
    if frame["case"].nunique() > 1:
        raise SpecError(f"{folder} holds several cases: run one of them by itself.")
    names = list(dict.fromkeys(frame["arm"]))
    own = frame[frame["arm"] == ("none" if "none" in names else names[0])]
    updates = int(own["inner_step"].max()) + 1
    if updates < 2:
        raise SpecError(f"{folder} has one update per rollout: its ledger never sees pi apart from pi_old.")
    last = own[own["inner_step"] == updates - 1]["log_ratio_rms"]
    return math.sqrt(float((last**2).mean()) * updates / (updates - 1))
