"""What a reader should know before believing a total of a ledger, in sentences; one function for each kind."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from entclip.ledger.cancelling import MARK, cancelling_words
from entclip.report.numbers import half_width, plain, with_error

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["cautions", "ceiling", "share_without_advantage"]

Sums = Mapping[str, tuple[float, float | None]]  # of each part: its sum over the accounted updates and the standard error of that
_SMALL = 0.2  # of the other parts: a remainder above it is too large for a second-order account
_SOME, _MUCH = 0.1, 0.5  # of the samples: so many without an advantage are a reason, and worth a sentence of their own


def cautions(rows: pd.DataFrame, sums: Sums, units: int | None, updates: int) -> tuple[str, ...]:
    """Return the sentences about one arm.

    Args:
        rows: its updates. sums: of every part of the change. units: independent ones behind the standard errors, None if unknown.
        updates: how many there were, those without a row included.
    """
    alive = _alive(rows)
    said = [*_inactive(rows, alive)]
    if "clip_low" not in sums:
        said.append("the steps are not split by cause: what either side of the clip did to entropy is not known.")
    elif alive.any():
        said += _larger_than_the_clips(rows, sums, units)
    if MARK in rows and (words := cancelling_words(rows.loc[rows[MARK] > 0, "step"].tolist())):
        said.append(f"{words[0].lower()}{words[1:-1]}.")
    said += [*_remainder(sums), *_signs(rows, sums, units), *_errors(rows, sums)]
    if updates > len(rows):
        said.append(f"{len(rows)} of {updates} updates were accounted; parts are sums over those.")
    return tuple(said)


def share_without_advantage(rows: pd.DataFrame) -> float | None:
    """Return share of samples whose advantage is 0, in groups whose rewards are all equal: they move nothing and are never
    clipped.

    In a control that drops samples at random, the dropped ones count, too. None for rows without the counts.
    """
    if not {"count_plus", "count_minus", "samples"} <= set(rows.columns):
        return None
    share = 1 - float((rows["count_plus"] + rows["count_minus"]).sum() / rows["samples"].sum())
    return share if share > 1e-9 else 0.0


def ceiling(rows: pd.DataFrame) -> str | None:
    """Say on how many samples of a trainer's run a bound could act at the most, and on how many it did.

    A bound acts on one sign of the advantage, and on no sample of a group whose rewards are all equal. None for rows of engines,
    whose groups are the experiment's own.
    """
    flat = share_without_advantage(rows)
    if flat is None or "log_ratio_mean" not in rows:
        return None
    total = float(rows["samples"].sum())
    most = {side: float(rows[f"count_{sign}"].sum()) / total for side, sign in (("low", "minus"), ("high", "plus"))}
    acted = {side: float(rows[f"clip_count_{side}"].sum()) / total for side in most}
    low, high = (f"on at most {most[side]:.1%} of the samples, and did on {acted[side]:.1%}" for side in ("low", "high"))
    return f"{flat:.1%} had no advantage (flat groups). The low bound could act {low}; the high bound {high}."


def _alive(rows: pd.DataFrame) -> pd.Series:
    """For each inner step of a rollout whether any sample was ever clipped there."""
    clipped = rows["clip_fraction_low"] + rows["clip_fraction_high"]
    return clipped.groupby(rows["inner_step"]).max() > 0


def _inactive(rows: pd.DataFrame, alive: pd.Series) -> Iterator[str]:
    """Where the clip did not act, and what was missing: ratios beyond a bound, or samples with an advantage."""
    if list(alive.index) == [0] and int(rows["step"].max()) >= 2 * len(rows):
        yield (
            "only first updates of rollouts were accounted for, in which ratios are 1: what the clip does in the others is not "
            "known. Record with an every that is coprime with the updates of a rollout."
        )
        return
    able = len(alive) - int(0 in alive.index)  # the first inner step of a rollout is on-policy and never clips
    flat = share_without_advantage(rows) or 0.0
    carried = f"{flat:.0%} of the samples carried no advantage (groups whose rewards are all equal)"
    reason = f"; {carried}" if flat > _SOME else ""
    if alive.any() and alive.sum() >= able:
        if flat > _MUCH:
            yield f"{carried}: they move nothing, and no bound acts on them."
        return
    steps = f"clip alive in {int(alive.sum())} of {len(alive)} inner steps: "
    steps += "in the others" if alive.any() else "it never acted:"
    dead = rows[~rows["inner_step"].map(alive) & (rows["inner_step"] != 0)]
    beyond = float((dead["pi_low"] + dead["pi_high"]).max()) if len(dead) else 0.0
    if beyond > 0:
        yield (
            f"{steps} no sample was drawn on which a bound acts, though up to {plain(beyond, False)} of the probability lay "
            f"beyond one{reason}."
        )
    else:
        yield f"{steps} no ratio left the band{'' if alive.any() else ', if the arm has one'}."


def _larger_than_the_clips(rows: pd.DataFrame, sums: Sums, units: int | None) -> Iterator[str]:
    """Parts that no clip causes and that moved entropy more than either clip."""
    sides = [sums[f"clip_{side}"] for side in ("low", "high")]
    clips, shown = max(abs(value) for value, _ in sides), ", ".join(with_error(*both) for both in sides)

    def larger(part: str) -> str | None:
        value, error = sums.get(part, (0.0, None))
        return with_error(value, error) if abs(value) > clips else None

    if size := larger("curvature"):
        yield f"curvature ({size}) is larger than both clip terms ({shown}): noise moved entropy more than clipping did."
    if size := larger("unclipped"):
        walk = "Under a random reward plain steps average it to 0"
        yield f"the unclipped part ({size}) is larger than both clip terms. {walk}: " + (
            "it is told from 0 here, so either the reward depends on the action, or momentum books to the later of successive "
            "steps what they do together beyond first order."
            if _told(rows, *sums["unclipped"], units)
            else "mostly a random walk, which antithetic pairs cancel to first order."
        )
    if size := larger("momentum"):
        yield (
            f"momentum ({size}) is larger than both clip terms: it is what earlier minibatches left in the optimiser, of every "
            'cause. In a language model ledger.momentum = "cause" gives each cause its own.'
        )


def _remainder(sums: Sums) -> Iterator[str]:
    size = sum(abs(value) for part, (value, _) in sums.items() if part not in ("remainder", "unaccounted"))
    value = abs(sums["remainder"][0])
    if value > _SMALL * size > 0:
        yield f"the remainder is {value / size:.0%} of the other parts: steps too large for second order."


def _signs(rows: pd.DataFrame, sums: Sums, units: int | None) -> Iterator[str]:
    """Gaps of the unusual sign, and clip terms whose sign is not the one that their gap lets expect."""
    for side, usual in (("low", 1), ("high", -1)):
        value, error = sums.get(f"clip_{side}", (0.0, None))
        mass, probability = (math.fsum(rows[f"{name}_{side}"]) for name in ("mass", "pi"))
        if mass < 0:
            word = "lower" if usual > 0 else "raise"
            yield f"gap_{side} is negative: expect a clip at the {side} bound to {word} entropy here, unlike the usual sign."
        if value * mass * usual < 0:
            many = "" if units is None else f" over {units} independent unit{'s' if units > 1 else ''}"
            if not _told(rows, value, error, units):
                why = "that cannot be told from 0, so neither can its sign"
            else:
                why = "momentum, shared parameters or a reward that depends on the action can turn it, chance once in twenty runs"
            gap = plain(mass / probability, True)
            yield (
                f"clip_{side} is {with_error(value, error)}{many}; under a random reward gap_{side} ({gap}) lets expect the "
                f"other sign: {why}."
            )


def _told(rows: pd.DataFrame, value: float, error: float | None, units: int | None) -> bool:
    """Whether a sum's 95 % interval excludes 0."""
    half = 0.0 if _exact(rows) else half_width({"value_se": error, "units": units}, "value")
    return half is not None and abs(value) > half


def _exact(rows: pd.DataFrame) -> bool:
    """Whether the engine knew every outcome with its probability: its rows have no standard error at all."""
    return "measured_se" not in rows


def _errors(rows: pd.DataFrame, sums: Sums) -> Iterator[str]:
    if not _exact(rows) and all(error is None for _, error in sums.values()):
        yield "no standard error: one independent unit. Use replicas."
