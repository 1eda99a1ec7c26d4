"""Tables of what was predicted: a forecast by arm, neutral widths, simulated cells of a map."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from entclip.report.grid import Grid, text_grid
from entclip.report.numbers import plain, rounded, signed

__all__ = [
    "cells_grid",
    "forecast_grid",
    "logged_lines",
    "neutral_grid",
    "noise_grid",
    "outlook_grid",
    "outlook_lines",
    "sequences_grid",
    "width_text",
]


def forecast_grid(summary: Mapping[str, Any], noise: str | None = None) -> Grid:
    """Tabulate the predicted parts of each arm in nats: of the run, or of one rollout with given noise, where nothing moves."""
    other = ("other",) if any(arm["expected_other"] for arm in summary["arms"].values()) else ()
    parts = ("clip_low", "clip_high", *other, "curvature", *(() if noise else ("remainder", "measured")))
    number = f"{summary['rollouts']} rollout{'' if summary['rollouts'] == 1 else 's'}"
    title = f"{summary['experiment']}: predicted entropy change in nats, {number} (no simulation)"
    if noise:
        title = f"{summary['experiment']}: expected terms of one rollout in nats, log-ratio noise {noise} (no dynamics)"
    rows = []
    for name, arm in summary["arms"].items():
        values = [f"{arm[f'expected_{p}']:+.3g}" if noise else plain(arm[f"expected_{p}"], True) for p in parts]
        shares = [f"{arm[f'clip_fraction_{side}']:.5f}" for side in ("low", "high")]
        gaps = ["" if arm[f"gap_{side}"] is None else f"{arm[f'gap_{side}']:+.3f}" for side in ("low", "high")]
        rows.append((name, *values, *shares, *gaps))
    named = ("total" if p == "measured" else p for p in parts)
    return text_grid(title, ("arm", *named, "clip fraction low", "clip fraction high", "gap_low", "gap_high"), rows)


def neutral_grid(name: str, target: float, points: Iterable[Mapping[str, Any]]) -> Grid:
    """Tabulate the neutral eps_low of each eps_high, its slopes, and the drift at the usual and the outermost widths."""
    rows = []
    for p in points:
        usual = ("", "") if p["usual"] is None else (f"{p['usual']:g}", f"{p['drift_usual']:+.4f}")
        low = "none"
        if p["low"] is not None and p["low_error"] is not None:
            low = f"{p['low']:.4f} +- " + (f"{p['low_error']:.4f}" if p["low_error"] >= 5e-5 else "<.0001")
        slopes = ("" if p[k] is None else f"{p[k]:+.3f}" for k in ("slope", "by_high", "by_rate"))
        rows.append((f"{p['high']:g}", *usual, low, *slopes, f"{p['drift_closed']:+.4f}", f"{p['drift_off']:+.4f}"))
    columns = (
        "eps_high",
        "usual eps_low",
        "drift there",
        "neutral eps_low",
        "d drift / d eps_low",
        "d eps_low / d eps_high",
        "d eps_low / d log eta",
        "drift at eps_low .01",
        "drift at eps_low 1",
    )
    title = f"{name}: eps_low for an entropy change of {target:+g} nats per rollout (predicted; drifts per rollout)"
    return text_grid(title, columns, rows)


def cells_grid(x: str, y: str, cells: Iterable[Mapping[str, Any]]) -> Grid:
    """Tabulate cells of a phase map that were simulated, with their predicted and their measured change."""
    rows = (
        (
            f"{c[x]:.4g}",
            f"{c[y]:.4g}",
            c["status"],
            f"{c['expected_measured']:+.5f}",
            f"{c['measured']:+.5f} ({c['measured_se']:.5f})",
            c["verdict"],
        )
        for c in cells
    )
    return text_grid("Simulated cells", (x, y, "status", "predicted (nats)", "measured (s.e.)", "verdict"), rows)


def noise_grid(source: str, frame: Any) -> Grid:
    """Tabulate a measured law of the noise: mean and spread of log(pi/pi_old) by pi_old, from the frame of a NoiseTable."""
    rows = (
        (
            f"{row.prob:.3g}",
            f"{row.mean:+.4f}",
            f"{row.mean_se:.4f}",
            f"{row.sd:.4f}",
            f"{row.rms:.4f}",
            f"{row.rms_se:.4f}",
            f"{100 * row.beyond:.1f} %",
            f"{row.count:.0f}",
        )
        for row in frame.itertuples(index=False)
    )
    columns = ("pi_old", "mean", "s.e.", "sd", "rms", "s.e. of rms", "beyond 2 sd", "log-ratios")
    return text_grid(f"{source}: log(pi/pi_old) after a rollout, no clip (normal noise: 4.6 % beyond 2 sd)", columns, rows)


def lone_log_ratios(table: Any) -> str:
    """Say of a measured law whose size is of a few log-ratios that it is, and what of it can be used."""
    k = int((table.largest * table.lone).argmax())
    return (
        f"Heavy tails: at pi_old = {table.prob[k]:.2g} one log-ratio of {table.count[k]:.0f} has "
        f"{100 * table.largest[k]:.0f} % of the sum of squares. Where tails fall off so slowly more data need not settle a "
        "standard deviation, nor its error. What can be used is a share beyond the clip's own bounds: predict --noise "
        "shares:LOW:HIGH."
    )


def sequences_grid(name: str, noise: str, length: float, rows: Iterable[Mapping[str, Any]]) -> Grid:
    """Tabulate how many sequences each side of a clip on their ratio acts on, of all sequences of a rollout."""
    body = ((row["arm"], *(f"{100 * row[key]:.3g} %" for key in ("low", "high", "ceiling"))) for row in rows)
    title = f"{name}: clipped sequences of {length:g} tokens, token noise {noise} (no dynamics)"
    return text_grid(title, ("arm", "clipped low", "clipped high", "no side can exceed"), body)


def width_text(value: float) -> str:
    """Return a neutral width as text: three decimals, or two digits where it is one of sequences."""
    return f"{value:.3f}" if value >= 0.01 else f"{value:.2g}"


def outlook_lines(found: Any) -> list[str]:
    """Say line by line what of a trainer's configuration was carried over, is a default, was assumed, and cannot be expressed."""
    parts = (
        ("Carried over", found.carried),
        ("Not in the file, by default", found.by_default),
        ("Assumed", found.assumed),
        ("Not expressed", found.left_out),
    )
    return [f"{title}: {line}" for title, lines in parts for line in lines]


def logged_lines(source: str, size: str, most: float | None, found: Any, neutral: list[float | None], shipped: bool) -> list[str]:
    """Say what a log's noise was measured from, what another eps_high changes in nats, and where the clip is neutral.

    size: of the noise by the log, as text. most: the largest change of entropy per rollout, signed, None where the log has no
    entropy to go by. neutral: eps_low under each of the things that are assumed. shipped: whether the policy is assumed, too.
    """
    where = "SmolLM2's policy as it is" if shipped else "the policy given"
    lines = [
        f"Noise from the log: {source}. {size}{'. ' if size else ''}The table's flat:{found.rms:.3g} clips that share on "
        f"{where}: logits move by {found.rms:.3g} and log-ratios of sampled tokens, which normalisation damps, by "
        f"{found.log_ratio_rms:.2g}."
    ]
    if found.one_width:
        lines.append(
            f"In nats nothing can be said: {found.one_width} moves both sides, whose effects are opposite, and the log bounds "
            "each alone."
        )
        return lines
    if most is None:
        lines.append("In nats nothing can be said: the log has no entropy per token to set the policy by.")
    else:
        lines.append(
            f"At your noise {found.setting} = {found.other_high:g} instead of {found.high:g} changes entropy per rollout by "
            f"{most / 2:+.2g} +- {abs(most) / 2:.2g} nats: between nothing and the most that updates of this size can do."
        )
    policy = ", SmolLM2's policy as it is and at your entropy" if shipped else ""
    taken = f"natural and euclidean entropy values, noise from flat in pi to pi^(-1/4){policy}, two standard errors of the share"
    widths = [value for value in neutral if value is not None]
    if widths:
        none = "; under some of these there is none" if len(widths) < len(neutral) else ""
        lines.append(
            f"What is assumed moves the neutral eps_low from {rounded(min(widths))} to {rounded(max(widths))}: {taken}{none}."
        )
    else:
        lines.append(f"No eps_low is neutral, whatever is assumed: {taken}.")
    return lines


def outlook_grid(source: str, noise: str, found: Any) -> Grid:
    """Tabulate the sides of a configuration's clip at a noise: shares of tokens, terms over eta M, the neutral eps_low."""
    rows = []
    columns: tuple[str, ...] = ("entropy value", found.setting)
    for geometry, high, x in found.rows():
        neutral = found.neutral[geometry] if high == found.high else None
        here = "" if high != found.high else "none" if neutral is None else width_text(neutral)
        shares = (f"{100 * share:.2g} %" for share in (x.share_low, x.share_high))
        net = x.net if abs(x.net) > 1e-12 * (abs(x.low) + abs(x.high)) else 0.0  # what rounding leaves of terms that cancel
        rows.append((geometry, f"{high:g}", *shares, *(signed(v, 3) for v in (x.low, x.high, net)), here))
    clipped = "tokens" if found.length is None else "sequences"
    sides = (f"{clipped} clipped low", f"{clipped} clipped high")
    columns = (*columns, *sides, "low", "high", "net", "neutral eps_low")
    if found.one_width:
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    return text_grid(f"{source}: the clip's terms of one rollout, nats per eta M, noise {noise}", columns, rows)
