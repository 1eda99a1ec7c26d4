"""A log with its meaning: quantities instead of names, widths and updates per rollout, and which rows belong to which update."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from entclip.integrations.diagnose.broken import Broken, before_it_broke
from entclip.integrations.diagnose.evidence import Evidence
from entclip.integrations.diagnose.regimes import Stretch, stretches
from entclip.integrations.lint.facts import TrainerConfig
from entclip.integrations.lint.libraries import LIBRARIES
from entclip.integrations.lint.liveness import NEVER, liveness
from entclip.integrations.lint.values import is_number
from entclip.integrations.logs.libraries import library_of
from entclip.integrations.logs.log import Log
from entclip.integrations.logs.names import OF_UPDATES, Alias, LogLibrary, plain_name
from entclip.integrations.logs.updates import of_updates

__all__ = ["MADE", "Run", "Widths", "above_rounding", "mean_and_error", "rounding"]

_FEWEST = 4  # rollouts whose means have an error
_BATCHES = 20  # of rows, whose means are taken for independent
_LONGEST_CYCLE = 64
_MOST_UPDATES = 100_000  # of a rollout
_KNOWN = 0.9  # of the rows: shares that are missing oftener show no cycle
_CHANCE = 1e-4  # that zeros fall on one place of a cycle by chance
_ROUNDING = 1e-12  # of the largest number: what is left of a difference below it is rounding
# Numbers that an update makes, whatever the rollout had: the policy is broken where one of them is no number to the end.
MADE = frozenset(("entropy", "loss", "kl_old", "kl_old_k3", "kl_old_k2", "ratio_mean", "log_ratio_rms", "log_ratio_mean"))
SIDES = ("low", "high")


@dataclass(frozen=True)
class Widths:
    """The interval [1 - low, 1 + high] of token ratios; source: where it is from, and assumed: whether that is a guess."""

    low: float
    high: float
    source: str
    assumed: bool


def mean_and_error(x: np.ndarray) -> tuple[float, float | None]:
    """Return the mean of the finite numbers and its standard error, from the means of up to 20 stretches of rows.

    Neighbouring rows are alike, so that single rows would give too small an error. None where there are fewer than 4 numbers.
    """
    x = x[np.isfinite(x)]
    if x.size == 0:
        return math.nan, None
    if x.size < 4:
        return float(x.mean()), None
    parts = np.array_split(x, min(_BATCHES, x.size // 2))
    weights = np.array([len(part) for part in parts], dtype=float)
    means = np.array([part.mean() for part in parts])
    mean = float(x.mean())
    variance = float(np.sum(weights * (means - mean) ** 2) / np.sum(weights)) / (len(parts) - 1)
    return mean, above_rounding(math.sqrt(variance), x)


def above_rounding(value: float, x: np.ndarray) -> float:
    """Return a difference of numbers of a column, or 0 where it is what rounding leaves of equal ones."""
    return value if abs(value) > rounding(x) else 0.0


def rounding(x: np.ndarray) -> float:
    """Return the size below which a difference of numbers of a column is nothing but rounding."""
    finite = x[np.isfinite(x)]
    return _ROUNDING * float(np.max(np.abs(finite), initial=0.0))


@dataclass(frozen=True, eq=False)  # by identity, so that what is worked out once can be kept
class Run:
    """A log's updates, the library whose names it has, the configuration beside it if there is one, and where the run broke.

    Of a run that broke only the rows before are here."""

    log: Log
    library: LogLibrary
    config: TrainerConfig | None = None
    broken: Broken | None = None

    @classmethod
    def of(cls, log: Log, config: TrainerConfig | None = None) -> Run | None:
        """Find the library of a log and its rows that are updates; None if no name is known."""
        library = library_of(list(log.columns))
        if library is None:
            return None
        run = cls(log, library, config)
        telling = [name for alias, name in run.present if alias.quantity in OF_UPDATES]
        counter = next((quantity for quantity in ("step", "episodes") if run.has(quantity)), None)
        numbered = counter is not None and not any(run.has(quantity) for quantity in ("inner_step", "rollout", "batch"))
        order = [run.name(quantity) for quantity in ("rollout", "inner_step") if run.has(quantity)]
        updates = of_updates(log, telling, run.name(counter) if numbered and counter else None, order)
        rows, broken = before_it_broke(updates, [name for alias, name in run.present if alias.quantity in MADE])
        return cls(rows, library, config, broken)

    @cached_property
    def _columns(self) -> dict[str, tuple[Alias, str]]:
        """Quantity to its alias and the name as logged: of several the library's first."""
        found: dict[str, tuple[Alias, str]] = {}
        for alias, name in self.present:
            found.setdefault(alias.quantity, (alias, name))
        return found

    def has(self, quantity: str) -> bool:
        """Tell whether the log has a quantity."""
        return quantity in self._columns

    def get(self, quantity: str) -> np.ndarray:
        """Return a quantity for every row, NaN where a row lacks it; all NaN where the log does."""
        if quantity not in self._columns:
            return np.full(self.log.rows, np.nan)
        alias, name = self._columns[quantity]
        return self.log.columns[name] * alias.scale

    def name(self, quantity: str) -> str:
        """Return the name under which the log has a quantity."""
        return self._columns[quantity][1] if quantity in self._columns else quantity

    @cached_property
    def present(self) -> tuple[tuple[Alias, str], ...]:
        """Return every alias of the library that the log has, with the name as logged."""
        there: dict[str, str] = {}
        for name, column in self.log.columns.items():
            if np.isfinite(column).any():
                there.setdefault(plain_name(name), name)
        return tuple((alias, there[alias.name]) for alias in self.library.aliases if alias.name in there)

    @cached_property
    def rounded_away(self) -> tuple[float, str] | None:
        """Return how large a clip share may be where all are printed as 0.000, and that 0; None where they say what they are."""
        sides = [self._columns[side][1] for side in ("clip_low", "clip_high", "clip_merged", "clip_any") if self.has(side)]
        places = min((self.log.decimals[name] for name in sides if name in self.log.decimals), default=None)
        if places is None or any(np.nanmax(np.abs(self.log.columns[name])) > 0 for name in sides):
            return None
        if self.config is not None and liveness(self.config).alive == "no":
            return None
        return 0.5 * 10.0**-places, f"{0:.{places}f}"

    def caveats(self, quantity: str) -> tuple[str, ...]:
        """Return what the name of a quantity does not say, as keys of CAVEATS."""
        return self._columns[quantity][0].caveats if quantity in self._columns else ()

    def never(self, name: str) -> bool:
        """Tell whether the log names a metric, by its alias, and never has a number for it."""
        return any(plain_name(logged) == name and not np.isfinite(column).any() for logged, column in self.log.columns.items())

    def averaged(self, x: np.ndarray) -> tuple[float, float | None]:
        """Return the mean of a quantity of every row and its standard error.

        The error is from whole rollouts where rows are updates of one: how a share goes up and down within each is no scatter.
        """
        mean, error = mean_and_error(x)
        if self.inner is not None:
            whole = self.rollout_means(x)
            error = mean_and_error(whole)[1] if whole.size >= _FEWEST else error
        return mean, error

    @property
    def actions(self) -> str:
        """Name what the policy takes: tokens of a language model, or actions."""
        return "tokens" if self.library.tokens else "actions"

    @property
    def clipped(self) -> str:
        """Name what has a ratio of its own: tokens or actions, or by the configuration whole sequences."""
        whole = self.config is not None and self.config.level.value == "sequence"
        return "sequences" if whole else self.actions

    @property
    def gradients(self) -> str:
        """Name what a clipped event loses: the gradient of a token, or that of a whole sequence, which has one ratio."""
        return "gradients of whole sequences" if self.clipped == "sequences" else f"{self.actions}' gradients"

    def rollout_means(self, x: np.ndarray) -> np.ndarray:
        """Return means over the rollouts of which every update has a number; rows as they are where each is a mean already.

        The incomplete ones at either end are left out."""
        inner = self.inner
        if inner is None:
            return x[np.isfinite(x)]
        places = int(inner.max()) + 1
        rollout = np.cumsum(inner == 0)
        sums = np.bincount(rollout, np.where(np.isfinite(x), x, 0.0))
        whole = np.bincount(rollout, np.isfinite(x)) == places
        out: np.ndarray = sums[whole] / places
        return out

    def evidence(self, quantity: str, among: np.ndarray | None = None, title: str = "") -> Evidence:
        """Return the mean of a quantity, over all rows or those of a mask, as evidence."""
        x = self.get(quantity) if among is None else np.where(among, self.get(quantity), np.nan)
        used = np.isfinite(x)
        mean, error = self.averaged(x)
        lines = self.log.lines[used]
        first, last = (int(lines[0]), int(lines[-1])) if lines.size else (0, 0)
        return Evidence(title or self.name(quantity), mean, error, first, last, int(lines.size))

    @property
    def ratio_to(self) -> str:
        """Name the policy in the ratio: "engine" also where the configuration says so."""
        return "engine" if self.config is not None and self.config.updates.engine else self.library.ratio_to

    @property
    def counts_bounds(self) -> bool:
        """Tell whether a clip share counts ratios beyond a bound; under Clip-Cov it counts what the covariance rule drops."""
        return self.config is None or self.config.kind != "clip_cov"

    # The clip's widths

    @cached_property
    def widths(self) -> Widths | None:
        """Return the widths of token ratios: the configuration's, the log's, or the libraries' .2; None without such a clip."""
        config = self.config
        if config is not None:
            if config.space not in ("ratio", "unknown") or config.level.value == "sequence" or config.kind == "cispo":
                return None
            low, high = config.low.value, config.high.value
            if is_number(low) and is_number(high) and not self.other_width:
                told = Widths(min(low, 1.0), math.inf if high >= NEVER else high, "the configuration", False)
                if not self.acting_though_off(told):
                    return told
        if self.has("clip_width"):
            width = float(np.nanmedian(self.get("clip_width")))
            if 0 < width < 1:
                return Widths(width, width, self.name("clip_width"), False)
        if any(alias.quantity in ("mask", "mask_low", "mask_high") for alias, _ in self.present):
            return None
        return Widths(0.2, 0.2, "the libraries' default", True)

    @property
    def other_width(self) -> bool:
        """Tell whether the log has a width, and nowhere the configuration's."""
        logged = self.get("clip_width")
        logged = logged[np.isfinite(logged)]
        fact = None if self.config is None else self.config.low.value
        return bool(logged.size and fact is not None and is_number(fact) and not np.any(np.isclose(logged, fact, rtol=1e-6)))

    def acting_though_off(self, widths: Widths) -> list[str]:
        """Return the quantities of the sides that have events in the log and are off by these widths."""
        off = [("clip_low", widths.low >= 1), ("clip_high", math.isinf(widths.high))]
        return [side for side, is_off in off if is_off and np.nanmax(self.get(side), initial=0.0) > 0]

    @property
    def one_width(self) -> str:
        """Return the trainer's key of the only width where one stands for both sides, empty where each can have its own."""
        if self.config is not None:
            return self.config.one_width
        return LIBRARIES[self.library.configs[0]].one_width if self.library.configs else ""

    # Updates of a rollout, and which of them a row is

    @cached_property
    def stride(self) -> int:
        """Say how many updates a row stands for: 1, or more where rows are means over a logging window."""
        return 1 if self.library.rows != "update" or self.has("inner_step") else self._gap

    @cached_property
    def _gap(self) -> int:
        """Training steps from a row to the next, as a rule."""
        step = self.get("step")
        gaps = np.diff(step[np.isfinite(step)])
        gaps = gaps[gaps > 0]
        return max(int(np.median(gaps)), 1) if gaps.size else 1

    @cached_property
    def updates(self) -> int | None:
        """Return the updates per rollout: by the log, where it tells, else the configuration's; None if unknown."""
        if self.logged_updates is not None:
            return self.logged_updates
        if self.config is not None and self.config.updates.count is not None and self.config.updates.count >= 1:
            return round(self.config.updates.count)
        return None if self._numbered is None else int(self._numbered.max()) + 1

    @cached_property
    def of_first_updates(self) -> int | None:
        """Return the updates per rollout where the log has the first of each alone, as its own numbers say; None otherwise.

        A ledger whose `every` is a multiple of them makes such rows: ratios are 1 in all, and no clip can act in any."""
        if self._numbered is None or self._numbered.any():
            return None
        each = np.diff(self.get("step")) / np.diff(self.get("rollout"))
        each = each[np.isfinite(each)]
        return int(np.median(each)) if each.size and np.all(each > 1) else None

    @property
    def logged_updates(self) -> int | None:
        """Return the updates per rollout by the log alone: its own count, or from its zeros; None where neither tells."""
        if self.of_first_updates is not None:
            return self.of_first_updates
        if self._numbered is not None:
            # Where some numbers never come, the last may not have come either.
            count = int(self._numbered.max()) + 1
            return count if len(np.unique(self._numbered)) == count else None
        found = self._cycle
        return None if found is None else found[0]

    @cached_property
    def epochs(self) -> int:
        """Return how often a rollout is gone through, by the log's count; 0 where it has none."""
        done = np.diff(self.get("epochs_done"))
        done = done[np.isfinite(done) & (done > 0)]
        return int(np.median(done)) if done.size else 0

    @cached_property
    def _numbered(self) -> np.ndarray | None:
        """The log's own number of the update in its rollout, from 0; None if it has none or they are no such numbers."""
        inner = self.get("inner_step")
        if not len(inner) or not np.all((inner >= 0) & (inner < _MOST_UPDATES) & (inner == np.floor(inner))):
            return None
        return inner.astype(np.int64)

    @cached_property
    def shares(self) -> np.ndarray:
        """Return all of the clip's events that a row counts, whatever the side; NaN where it has no share."""
        if self.has("clip_low") or self.has("clip_high"):
            return self._added("clip_low", "clip_high")
        for quantity in ("clip_merged", "clip_any", "mask"):
            if self.has(quantity):
                return self.get(quantity)
        return self._added("mask_low", "mask_high")

    def _added(self, *quantities: str) -> np.ndarray:
        """The sum of those that the log has; a row that lacks one of them has no sum."""
        logged = [quantity for quantity in quantities if self.has(quantity)]
        out: np.ndarray = np.sum([self.get(quantity) for quantity in logged or quantities], axis=0)
        return out

    @cached_property
    def stretches(self) -> tuple[Stretch, ...]:
        """Return the stretches of rows between which the clip goes on or off; empty where it does neither."""
        return stretches(self.shares, 1 if self.inner is None else int(self.inner.max()) + 1)

    @cached_property
    def acting(self) -> np.ndarray:
        """Return which rows are of stretches in which the clip acts: all of them where it does not go on or off."""
        out = np.ones(self.log.rows, dtype=bool)
        for stretch in self.stretches:
            out[stretch.first : stretch.last + 1] = stretch.acts
        return out

    @property
    def by_update(self) -> bool:
        """Tell whether a row is one update, so that rows of one rollout can be told apart."""
        return self.library.rows == "update" and self.stride == 1

    @cached_property
    def _cycle(self) -> tuple[int, int] | None:
        """Length and first row of the shortest cycle one place of which is always 0 while the others are not."""
        x = self.shares
        known = np.isfinite(x)
        if not self.by_update or known.mean() < _KNOWN or not (x > 0).any():
            return None
        zero = known & (x == 0)
        for length in range(2, min(_LONGEST_CYCLE, len(x) // 3) + 1):
            place = np.arange(len(x)) % length
            numbers, zeros = (np.bincount(place[rows], minlength=length) for rows in (known, zero))
            for first in range(length):
                count, others = int(numbers[first]), int(zero.sum() - zeros[first]) / max(int(known.sum() - numbers[first]), 1)
                if zeros[first] == count and others < 0.9 and others**count < _CHANCE / length:
                    return length, first
        return None

    @cached_property
    def inner(self) -> np.ndarray | None:
        """Return the number of the update within its rollout for every row, from 0; None where rows cannot be told apart."""
        if not self.by_update:
            return None
        if self._numbered is not None:
            return self._numbered
        if self._cycle is not None and self._cycle[0] == self.updates:
            return (np.arange(self.log.rows) - self._cycle[1]) % self._cycle[0]
        step = self.get("step")
        if self.config is not None and self.updates is not None and self._cycle is None and np.isfinite(step).all():
            # Trainers that log every update count them from 1, and begin a rollout with the first.
            return (step.astype(np.int64) - 1) % self.updates
        return None

    @property
    def rollouts(self) -> float | None:
        """Say how many rollouts the rows span; None where rows are updates of which nobody knows how many a rollout has."""
        rollout = self.get("rollout")
        if np.isfinite(rollout).any():
            return float(np.nanmax(rollout) - np.nanmin(rollout) + 1)
        if self.library.rows == "rollout":
            # Steps of a language model's trainer are rollouts; elsewhere they count what the environment did.
            return float(self.log.rows * (self._gap if self.library.tokens else 1))
        return None if self.updates is None else self.log.rows * self.stride / self.updates
