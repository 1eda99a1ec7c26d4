"""Is the clip alive and on which side, where in the inner steps, is a metric what its name says, is a share near its ceiling."""

from __future__ import annotations

import math

import numpy as np

from entclip.integrations.diagnose.changing import changing
from entclip.integrations.diagnose.dual_clip import with_dual_clip
from entclip.integrations.diagnose.evidence import Evidence
from entclip.integrations.diagnose.finding import Finding, Level, claim
from entclip.integrations.diagnose.noise_sizes import by_kl
from entclip.integrations.diagnose.part_time import part_time
from entclip.integrations.diagnose.run import Run, mean_and_error
from entclip.integrations.diagnose.unread import unread
from entclip.integrations.lint.liveness import liveness
from entclip.integrations.logs.names import CAVEATS
from entclip.report.numbers import rounded

__all__: list[str] = []

_SHARES = ("clip_low", "clip_high", "clip_merged", "clip_low_any", "clip_high_any", "clip_any")
_FEW_ROWS = 8
_ONE_SIDED = 3.0  # times the other side's share
_SEEN = 0.01  # of the tokens beyond a bound, which no log rounds to a share of 0


def in_percent(run: Run) -> Evidence | None:
    """Return the clip share whose numbers are mostly above 1 where they are not 0, None where there is none."""
    for quantity in ("clip_low", "clip_high", "clip_merged", "clip_any"):
        x = run.get(quantity)
        x = x[np.isfinite(x) & (x != 0)]
        if x.size and float(x.min()) > 0 and float(np.median(x)) > 1 and float(x.max()) <= 100:
            return run.evidence(quantity)
    return None


def _share(x: float) -> str:
    return "0" if x == 0 else f"{100 * x:.2g} %"


@claim("clip")
def _clip(run: Run) -> Finding | None:
    """Which side acts."""
    if (percent := in_percent(run)) is not None:
        return Finding(
            "clip",
            ("percent",),
            "error",
            f"{percent.metric} is {percent.value:.3g} on average: probably percent. A share is at most 1: divide by 100. Nothing "
            "about the clip is read from it as it is.",
            (percent,),
        )
    split = [side for side in ("clip_low", "clip_high") if run.has(side)]
    if not run.counts_bounds and (run.has("clip_merged") or split):
        return _by_covariance(run)
    if split:
        return with_dual_clip(run, changing(run, part_time(run, _by_side(run, split))))
    masks = [side for side in ("mask_low", "mask_high", "mask") if run.has(side)]
    if masks:
        evidence = tuple(run.evidence(side) for side in masks)
        alive = any(e.value > 0 for e in evidence)
        shares = ", ".join(f"{e.metric} {_share(e.value)}" for e in evidence)
        return Finding(
            "clip",
            ("mask" if alive else "none",),
            "info",
            f"The mask on changes of probability {'acts' if alive else 'never acts'} ({shares}); there is no ratio clip.",
            evidence,
            reason="the library's default loss bounds pi - pi_old",
        )
    for quantity, label in (("clip_merged", "merged"), ("clip_any", "ungated")):
        if run.has(quantity):
            return with_dual_clip(run, changing(run, part_time(run, _merged(run, quantity, label))))
    if run.has("held"):
        held = run.evidence("held")
        return Finding(
            "clip",
            ("held",),
            "info",
            "No token is dropped: CISPO holds weights at its bound and drops no gradient, and here it holds "
            f"{f'{_share(held.value)} of them' if held.value else f'none, as {held.metric} is 0 throughout'}.",
            (held,),
            reason="the library logs this share for CISPO alone",
        )
    text = unread(run, *_SHARES)
    if run.config is not None:
        found = liveness(run.config)
        return Finding(
            "clip",
            ("unlogged", found.alive),
            "info" if found.alive == "yes" else "warn",
            f"{text or 'The log has no clip share'}. By its configuration, can the clip act: {found.alive}. {found.reason}",
            confidence="medium",
            reason="read from the configuration, not measured",
        )
    strange = [name for name in run.log.unknown if "clip" in name.lower()]
    names = f"No name of a clip share is known here ({', '.join(strange[:4])})" if strange else "The log has no clip share"
    return Finding(
        "clip",
        ("unknown",),
        "warn",
        f"{text or names}: whether the clip acts cannot be read from it.",
        confidence="low",
        reason="no metric; --config FILE would tell whether it can act",
        change="Log the share of clip events, low and high side apart, as sums over tokens.",
    )


def _by_covariance(run: Run) -> Finding:
    quantity = "clip_merged" if run.has("clip_merged") else "clip_low"
    evidence = run.evidence(quantity)
    return Finding(
        "clip",
        ("covariance",),
        "info",
        f"Clip-Cov drops {_share(evidence.value)} of the tokens for their covariance; how many are beyond a bound is not logged.",
        (evidence,),
        reason=f"under the configuration's loss {run.name(quantity)} counts what the covariance rule drops",
    )


def _by_side(run: Run, split: list[str]) -> Finding:
    evidence = tuple(run.evidence(side, run.acting) for side in split)
    share = {side: e.value for side, e in zip(split, evidence, strict=True)}
    low, high = share.get("clip_low", 0.0), share.get("clip_high", 0.0)
    if low == high == 0:
        return _dead(run, evidence)
    if low > _ONE_SIDED * high or high > _ONE_SIDED * low:
        side, times = ("low", low / high if high else np.inf) if low > high else ("high", high / low if low else np.inf)
        often = "alone" if times == np.inf else f"{times:.1f} times as often as the {'high' if side == 'low' else 'low'} side"
        return Finding(
            "clip",
            (side,),
            "info",
            f"Yes, mostly on the {side} side: it drops {_share(max(low, high))} of the {run.gradients}, {often}.",
            evidence,
        )
    return Finding(
        "clip",
        ("both",),
        "info",
        f"Yes, on both sides: {_share(low)} of the {run.gradients} are dropped at the low bound, {_share(high)} at the high one.",
        evidence,
    )


def _beyond(width: float, rms: float) -> float:
    """The chance that a normal log-ratio of that rms is further than a width from 0."""
    return math.erfc(width / (math.sqrt(2) * rms))


def _rows(count: int, which: str) -> str:
    return "the only row" if count == 1 else f"{which} {count} rows"


def _rounded_away(run: Run, evidence: tuple[Evidence, ...], most: float, zero: str) -> Finding:
    """What can be said where every share is 0.000: it is printed to so few decimals that a living clip looks like this."""
    return Finding(
        "clip",
        ("unknown", "rounded"),
        "warn",
        f"Not known: every share is printed as {zero}, so that up to {_share(most)} of the {run.clipped} may be clipped in "
        f"{_rows(evidence[0].rows, 'each of the')}.",
        evidence,
        reason="a share is often smaller than half of the last digit that is printed",
        change="Read the numbers with all their digits: the trainer's JSON lines, TensorBoard or W&B have them.",
    )


def _dead(run: Run, evidence: tuple[Evidence, ...]) -> Finding:
    rows, config = evidence[0].rows, run.config
    if (count := run.of_first_updates) is not None:
        better = next(k for k in range(count + 1, 2 * count + 2) if math.gcd(k, count) == 1)
        return Finding(
            "clip",
            ("unknown",),
            "warn",
            f"Not known: each of the {rows} rows is the first update of its rollout, of {count}. Ratios are 1 there, and no "
            "clip can act in it, whatever the others do.",
            evidence,
            reason="the log numbers the updates of a rollout, and all of its rows are number 0",
            change=f"Record with an every that is coprime with the updates of a rollout, such as {better}.",
        )
    if config is None and run.library.rows == "update" and rows < _FEW_ROWS:
        return Finding(
            "clip",
            ("unknown",),
            "info",
            f"The share is 0 in {rows} row{'s' if rows > 1 else ''}, which may be the first update of a rollout: that never "
            "clips, whatever the later ones do.",
            evidence,
            "low",
            "too few rows for a cycle",
            "Give the whole log, not its last row.",
        )
    if (rounded_away := run.rounded_away) is not None:
        return _rounded_away(run, evidence, *rounded_away)
    kl = by_kl(run)
    beyond = 0.0 if kl is None or config is not None or run.widths is None else _beyond(run.widths.low, kl.overall)
    if kl is not None and run.widths is not None and beyond > _SEEN:
        told = f"{kl.evidence.metric} = {rounded(kl.evidence.value)}"
        return Finding(
            "clip",
            ("none",),
            "warn",
            f"No: every share is 0 in {_rows(rows, 'all')}, though {told} says that ratios are "
            f"not 1. A clip at {run.widths.low:g} would act, so the loss has none (as KL-Cov), or a far wider one.",
            (*evidence, kl.evidence),
            "low",
            f"a normal log-ratio of that KL (rms {rounded(kl.overall)}) is beyond the bounds for {_share(beyond)} of the tokens",
            "Give the configuration (--config): it says which loss and which widths the run has.",
        )
    found = liveness(config) if config is not None else None
    updates = config.updates.count if config is not None else None
    if updates is not None and updates <= 1:
        why = f"one update per rollout ({config.updates.formula})" if config is not None else ""
    elif found is not None and found.alive == "no":
        why = found.reason.rstrip(".")
    elif updates is not None:
        why = f"{updates:g} updates per rollout never moved a ratio to a bound"
    else:
        picked = " (or its rows were picked from a longer log)" if run.stride > 1 else ""
        why = f"most likely each rollout is used for one update, so that every ratio is 1{picked}"
    return Finding(
        "clip",
        ("none",),
        "warn",
        f"No: every share is 0 in {_rows(rows, 'all')}; {why}.",
        evidence,
        "high" if updates is not None or (found is not None and found.alive == "no") else "medium",
        "the shares are exactly 0",
        "Changing either epsilon, up or down, does nothing as long as this holds. For a clip that acts take more updates per "
        "rollout; being on-policy is no fault.",
    )


def _merged(run: Run, quantity: str, label: str) -> Finding:
    evidence = run.evidence(quantity, run.acting)
    if evidence.value == 0:
        return _dead(run, (evidence,))
    about = f", about {_share(evidence.value / 2)} with the sign of the advantage," if label == "ungated" else ""
    return Finding(
        "clip",
        (label,),
        "info",
        f"Yes: {_share(evidence.value)} of the {run.clipped}{about} are beyond a bound, but the log does not tell on which side.",
        (evidence,),
        reason=f"{run.name(quantity)} {CAVEATS['merged-sides']}",
        change="Log the two sides apart (entclip's registered loss and EntropyLedger do): what clips low raises entropy, what "
        "clips high lowers it.",
    )


@claim("inner-steps")
def _inner(run: Run) -> Finding | None:
    """The sawtooth, which an average over a rollout hides."""
    x = np.where(run.acting, run.shares, np.nan)
    if in_percent(run) is not None or not (np.isfinite(x).any() and np.nanmax(x) > 0 and run.counts_bounds):
        return None
    if run.ratio_to == "engine":
        return Finding(
            "inner-steps",
            ("engine",),
            "info",
            "The ratio is to the sampling engine's probabilities: it differs from 1 on the first update too, by mismatch.",
            reason="how the library computes its ratio"
            if run.config is None
            else "how the ratio is computed, by the configuration",
        )
    if run.updates == 1:
        mean, error = run.averaged(x)
        return _first_not_zero(
            f"There is one update per rollout, and it clips {_share(mean)}", (Evidence("clip share", mean, error),)
        )
    inner = run.inner
    if inner is None:
        return _averaged(run)
    count = int(inner.max()) + 1
    places = [k for k in range(count) if np.isfinite(x[inner == k]).any()]
    averages = {k: mean_and_error(x[inner == k]) for k in places}
    means = [mean for mean, _ in averages.values()]
    evidence = tuple(Evidence(f"share at update {k + 1} of {count}", *averages[k], rows=int(np.sum(inner == k))) for k in places)
    if places[0] == 0 and means[0] > 0.05 * max(means):
        return _first_not_zero(f"The first update of a rollout clips {_share(means[0])}", evidence)
    return Finding(
        "inner-steps",
        ("sawtooth", str(count)),
        "info",
        f"A sawtooth of {count} updates per rollout: 0 at the first, then {', '.join(_share(m) for m in _some(means[1:]))}.",
        evidence,
        reason="rows of one place in the rollout are averaged, places never with each other",
    )


def _first_not_zero(what: str, evidence: tuple[Evidence, ...]) -> Finding:
    return Finding(
        "inner-steps",
        ("first-not-zero",),
        "warn",
        f"{what}, where a ratio to the trainer's own policy is exactly 1: old and new log-probabilities are not computed alike.",
        evidence,
        reason="a share at ratio 1 is 0 by definition",
        change="Compute both in the same precision and batch shape, or recompute the old ones in the trainer.",
    )


def _some(values: list[float]) -> list[float]:
    return values if len(values) <= 4 else [values[i] for i in (0, len(values) // 3, 2 * len(values) // 3, -1)]


def _averaged(run: Run) -> Finding:
    updates = run.updates
    if run.library.rows == "rollout" or run.stride > 1:
        if updates is not None and updates > 1:
            more = f"{updates / (updates - 1):.2f} times the mean"
            rest = f"; the first of {updates} never clips, so the other {updates - 1} clip {more}"
        else:
            rest = "; the first never clips, later ones clip more than the mean"
        return Finding(
            "inner-steps",
            ("averaged",),
            "info",
            f"A row is a mean over {'the updates of a rollout' if run.stride == 1 else f'{run.stride} updates'}, which hides the "
            f"sawtooth{rest}.",
            (run.evidence("step"),) if run.stride > 1 else (),
            reason="how the library reduces" if run.stride == 1 else f"rows are {run.stride} steps apart",
        )
    return Finding(
        "inner-steps",
        ("unknown",),
        "info",
        "No rollout's first update, with a share of 0, can be told apart in the rows.",
        confidence="low",
        reason="no column of inner steps, no cycle of zeros",
        change="--config FILE gives the updates per rollout; logging every step shows the sawtooth.",
    )


@claim("names")
def _names(run: Run) -> Finding | None:
    """What a name does not say."""
    said: dict[str, str] = {}
    for alias, name in run.present:
        for caveat in alias.caveats:
            said.setdefault(caveat, name)
    wrong = _impossible(run)
    if not said and not wrong:
        return None
    order = [c for c in CAVEATS if c in said]
    texts = [f"{said[c]} {CAVEATS[c]}" for c in order]
    labels = tuple(order) + (("impossible",) if wrong else ())
    level: Level = "error" if wrong else "info"
    return Finding(
        "names",
        labels,
        level,
        " ".join(f"{text}." for text in (*wrong, *texts)),
        reason=f"names as of {run.library.title} {run.library.version}".rstrip(),
    )


def _impossible(run: Run) -> list[str]:
    """Numbers that no share or entropy can be."""
    wrong = []
    for quantity in ("clip_low", "clip_high", "clip_merged", "clip_any", "dual_clip", "flat_groups"):
        x = run.get(quantity)
        bad = np.flatnonzero(np.isfinite(x) & ((x < 0) | (x > 1)))
        if bad.size:
            wrong.append(
                f"{run.name(quantity)} is {x[bad[0]]:.4g} at {run.log.unit} {run.log.lines[bad[0]]}, which no share can be"
            )
    x = run.get("entropy")
    negative = np.flatnonzero(x < -1e-3)
    # A density's entropy may be negative: only where actions are tokens is it impossible.
    if negative.size and run.library.tokens:
        place = f"{run.log.unit} {run.log.lines[negative[0]]}"
        wrong.append(f"{run.name('entropy')} is {x[negative[0]]:.4g} at {place}, and no entropy is negative")
    return wrong
