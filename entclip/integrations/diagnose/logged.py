"""What a log says of the noise behind its clip, for `predict --from CONFIG --log LOG`: shares by side, and a bound in nats.

The shares give the size of the noise, hence the balance of the sides and the neutral width, whatever the learning rate. Nats need
the push of one update on a token, which no log has: `law.py` bounds it by how far tokens moved, so that the change that another
eps_high makes lies between 0 and that bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from entclip.experiments.experiment import parse_experiment
from entclip.experiments.start import start_of
from entclip.integrations.diagnose.clip_claims import in_percent
from entclip.integrations.diagnose.contradiction import contradictions, refuse_other_trainer
from entclip.integrations.diagnose.effect import effects, logged_entropy, side_shares
from entclip.integrations.diagnose.law import POWERS, at_other_high, neutral_lows
from entclip.integrations.diagnose.noise import ceiling
from entclip.integrations.diagnose.noise_sizes import MEASURES, SIZE, Size, by_kl, by_share
from entclip.integrations.diagnose.run import Run
from entclip.integrations.lint.facts import TrainerConfig
from entclip.integrations.logs import read_log
from entclip.prediction.noise_words import Shares
from entclip.support.errors import SpecError

__all__ = ["Logged", "contexts", "logged"]

_MOST_NUMBERS = 2_000_000
_FEW = 1e-7  # of the tokens


@dataclass(frozen=True)
class Logged:
    """The clip shares of a log that belongs to a configuration.

    shares: means over the rows; error: standard error of their sum, None where there are too few rows. split: whether the log has
    the sides apart (a merged share is halved). entropy: mean per token, None where it cannot be used.
    """

    shares: Shares
    error: float | None
    rows: int
    split: bool
    entropy: float | None
    run: Run

    @property
    def source(self) -> str:
        """Say what was measured."""
        total = self.shares.low + self.shares.high
        error = "" if not self.error else f" +- {100 * self.error:.1g} %"
        low, high = (f"{100 * share:.3g} %" for share in (self.shares.low, self.shares.high))
        how = f" ({low} low and {high} high)" if self.split else ", both sides in one number"
        return f"a clip share of {100 * total:.3g} %{error} in {self.rows} rows{how}"

    @property
    def size(self) -> Size | None:
        """Return the size of the noise as `diagnose` finds it."""
        return by_share(self.run)

    @property
    def told(self) -> str:
        """Say how large the noise is by shares and by KL, as `diagnose` does; empty where neither tells."""
        sizes = [size.told for size in (self.size, by_kl(self.run)) if size is not None]
        return f"{SIZE}: {', '.join(sizes)}" if sizes else ""

    def bounds(self) -> tuple[Shares, Shares] | None:
        """Return the shares two standard errors below and above, None where there is no error or it reaches 0."""
        total = self.shares.low + self.shares.high
        if self.error is None or not 2 * self.error < total:
            return None
        down, up = (1 + sign * 2 * self.error / total for sign in (-1, 1))
        return tuple(Shares(self.shares.low * x, self.shares.high * x) for x in (down, up))  # type: ignore[return-value]

    def most(self, high: float, other: float) -> float | None:
        """Return the largest change of entropy per rollout, in nats, that eps_high = other in place of high makes, signed.

        The larger of the noise laws, two standard errors of the share up. None where the log has no entropy per token to go by.
        """
        found, config = effects(self.run), self.run.config
        if found is None or self.entropy is None or config is None or config.updates.count is None:
            return None
        updates = round(config.updates.count)
        changes = [
            each.high - at_other_high(each, self.entropy, high, other, updates, power)
            for each, power in zip(found, POWERS, strict=False)
        ]
        total = self.shares.low + self.shares.high
        return max(changes, key=abs) * (1 + 2 * (self.error or 0.0) / total)

    def neutral_values(self, low: float, high: float, policy: np.ndarray | None) -> list[float | None]:
        """Return the neutral eps_low under each thing that is assumed of such a log, None where there is none.

        Noise flat in pi and as pi^(-1/4), natural and euclidean entropy values, the share and two standard errors to either side,
        and SmolLM2's policy as it is and at the log's entropy, or the policy that is given instead.
        """
        assert self.run.config is not None
        assert self.run.config.updates.count is not None
        total, updates = self.shares.low + self.shares.high, round(self.run.config.updates.count)
        ends = self.bounds() or ()
        policies = [policy] if policy is not None else [None, *([] if self.entropy is None else [self.entropy])]
        out: list[float | None] = []
        for each, power, share in product(policies, POWERS, (total, *(end.low + end.high for end in ends))):
            out += neutral_lows(each, share, min(low, 1.0), high, updates, power)
        return out


def contexts(policy: dict[str, Any]) -> np.ndarray:
    """Return the log-probabilities of a [policy] table, (contexts, actions), of as many contexts as make two million numbers."""
    logs = start_of(parse_experiment({"name": "policy", "policy": policy})).old_log_probs[:, 0, :]
    return np.asarray(logs[:: max(logs.size // _MOST_NUMBERS, 1)], dtype=float)


def _unusable(run: Run) -> str:
    """Why the log has no share to go by."""
    if (percent := in_percent(run)) is not None:
        return f"{percent.metric} is {percent.value:.3g} on average: probably percent. A share is at most 1: divide by 100."
    named = [name for name in run.log.unknown if "clip" in name.lower()]
    if named:
        return f"no name of a clip share is known here ({', '.join(named[:4])}); clip_fraction_low and clip_fraction_high are."
    return "it has no share of clipped tokens between 0 and 1."


def logged(config: TrainerConfig, path: Path) -> Logged:
    """Read a log's clip shares as those of a configuration.

    Raises: SpecError where the log has no usable share: none logged, none above 0, so large that it measures nothing, or taken
        to the sampling engine.
    """
    run = Run.of(read_log(path), config)
    if run is None:
        raise SpecError(f"--log {path}: none of its columns is a metric that entclip knows: give its clip shares by --noise.")
    refuse_other_trainer(run, f"--log {path}: ")
    if found := contradictions(run):
        raise SpecError(
            f"--log {path} contradicts the configuration: {'; '.join(found)}. No forecast is about both: give the configuration "
            "that the run was started with."
        )
    if run.clipped == "sequences":
        raise SpecError(
            f"--log {path}: its shares are of whole sequences ({config.level.key} = {config.level.value}), which do not tell a "
            "token's noise. Give that by --noise kl:NATS and --length TOKENS."
        )
    shares = side_shares(run)
    if shares is None:
        raise SpecError(f"--log {path}: {_unusable(run)} Give the noise by --noise kl:NATS or flat:RMS.")
    if run.ratio_to != "old":
        raise SpecError(f"--log {path}: its ratios are to the sampling engine, whose mismatch no noise of updates has.")
    if not shares.total > _FEW:
        raise SpecError(
            f"--log {path}: no token is clipped in {shares.rows} rows: the noise is too small for these widths to see."
        )
    if not shares.total < MEASURES * ceiling(run.updates):
        most, times = ceiling(run.updates), f" in {run.updates} updates per rollout" if run.updates else ""
        of = f"{100 * shares.total / most:.0f} % of" if shares.total <= most else "more than"
        raise SpecError(
            f"--log {path}: {100 * shares.total:.3g} % of the {run.actions} are clipped, {of} the most that can be "
            f"({100 * most:.3g} %{times}): such a share does not tell the size of the noise. Give it by --noise."
        )
    split = shares.low is not None and shares.high is not None
    sides = Shares(shares.low or 0.0, shares.high or 0.0) if split else Shares(shares.total / 2, shares.total / 2)
    x = logged_entropy(run)
    entropy = None if x is None or not math.isfinite(float(np.nanmean(x))) else float(np.nanmean(x))
    return Logged(sides, shares.error, shares.rows, split, entropy, run)
