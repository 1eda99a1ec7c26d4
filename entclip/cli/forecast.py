"""Commands that predict without simulating: predict, noise, neutral, map."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from entclip.cli.options import AsJson, Out, Set, number
from entclip.cli.output import console
from entclip.experiments.experiment import Experiment
from entclip.experiments.load import load
from entclip.support.errors import SpecError


def predict(
    experiment: Annotated[str, typer.Argument(help="A shipped experiment or a TOML file.")] = "headline",
    noise: Annotated[
        str | None,
        typer.Option(
            "--noise",
            help="Take log-ratio noise as given, no dynamics: flat:.25, sqrt:.1, inv_sqrt:.1 (law of pi_old, rms at the end of a "
            "rollout); flat:RUN (rms from the ledger of a saved run); or a table, FILE.csv or FILE.npy with columns prob, rms "
            "(see entclip noise).",
        ),
    ] = None,
    set_: Set = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Predict a random-reward run from its configuration, without simulating it."""
    from entclip.prediction.meanfield import predict as predicted
    from entclip.prediction.meanfield import predict_noise
    from entclip.support.files import prepare_folder, to_json, write_atomic

    spec = load(experiment, set_ or [])
    if out is not None:
        prepare_folder(out, ("forecast.json", "forecast.csv"))
    forecast = predicted(spec) if noise is None else predict_noise(spec, *_noise_law(noise))
    summary = forecast.summary()
    if out is not None:
        write_atomic(out / "forecast.json", to_json(summary).encode())
        write_atomic(out / "forecast.csv", forecast.to_frame().to_csv(index=False).encode())
    if as_json:
        typer.echo(to_json(summary))
        return
    terminal = console()
    terminal.print(_forecast_table(spec, summary, noise))
    for reason in dict.fromkeys(r for arm in summary["arms"].values() for r in arm["outside"]):
        advice = "." if noise else f". Simulate instead: entclip run {experiment}"
        terminal.print(f"[yellow]Outside the prediction's validity: {reason}{advice}")
    if out is not None:
        terminal.print(f"forecast.json and forecast.csv are in {out}")


def _noise_law(text: str) -> tuple[Any, ...]:
    """What --noise names: a table, or a law and its rms, as a number or from a saved run's ledger."""
    from entclip.prediction.noise_table import ledger_rms, read_noise_table

    if text.endswith((".csv", ".npy")):
        return (read_noise_table(Path(text)),)
    law, _, rms = text.partition(":")
    return law, ledger_rms(Path(rms)) if rms and Path(rms).is_dir() else number("--noise", rms)


def noise(
    experiment: Annotated[
        str, typer.Argument(help="A shipped experiment, a TOML file, or experiment.toml of a saved run.")
    ] = "headline",
    old: Annotated[Path | None, typer.Option("--old", help="Your own log pi_old, a .npy file (contexts, ...).")] = None,
    new: Annotated[Path | None, typer.Option("--new", help="log pi of the same actions after the updates of a rollout.")] = None,
    per_decade: Annotated[float, typer.Option("--per-decade", help="Bins per factor of 10 in pi_old.")] = 2.0,
    set_: Set = None,
    out: Annotated[Path | None, typer.Option("--out", help="CSV file to write: what predict --noise reads.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure how log-ratio noise depends on pi_old: one unclipped rollout simulated, or log-probabilities of your own."""
    from rich.table import Table

    from entclip.prediction.noise_table import measure_noise, noise_law_of
    from entclip.support.arrays import read_npy
    from entclip.support.files import prepare_file, to_json, write_atomic

    if (old is None) != (new is None):
        raise SpecError("--old and --new go together: log-probabilities of the same actions before and after.")
    if out is not None:
        prepare_file(out)
    if old is not None and new is not None:
        arrays = [read_npy(path, f"{option} {str(path)!r}") for option, path in (("--old", old), ("--new", new))]
        found, source = noise_law_of(*arrays, per_decade=per_decade), f"{old}, {new}"
    else:
        found, source = measure_noise(load(experiment, set_ or []), per_decade=per_decade), experiment
    frame = found.to_frame()
    if out is not None:
        write_atomic(out, frame.to_csv(index=False).encode())
    if as_json:
        typer.echo(to_json(frame.to_dict(orient="list")))
        return
    table = Table(
        "pi_old", "rms of log(pi/pi_old)", "s.e.", "log-ratios", title=f"{source}: log-ratio noise after a rollout, no clip"
    )
    for row in frame.itertuples(index=False):
        table.add_row(f"{row.prob:.3g}", f"{row.rms:.4f}", f"{row.rms_se:.4f}", f"{row.count:.0f}")
    console().print(table)
    if len(frame) > 1:
        slope, se = found.slope()
        console().print(f"slope of log rms in log pi_old: {slope:+.3f} +- {se:.3f} (sqrt +.5, flat 0, inv_sqrt -.5)")


def _forecast_table(spec: Experiment, summary: dict[str, Any], noise: str | None) -> Any:
    from rich.table import Table

    parts = ["clip_low", "clip_high", "other", "curvature"] + ([] if noise else ["remainder", "measured"])
    table = Table("arm", *("total" if p == "measured" else p for p in parts), "clip fraction low", "high", "gap_low", "gap_high")
    table.title = f"{spec.name}: predicted entropy change in nats, {spec.update.rollouts} rollouts (no simulation)"
    if noise:
        table.title = f"{spec.name}: expected terms of one rollout in nats, log-ratio noise {noise} (no dynamics)"
    for name, arm in summary["arms"].items():
        values = [f"{arm[f'expected_{p}']:+.3g}" if noise else f"{arm[f'expected_{p}']:+.4f}" for p in parts]
        shares = [f"{arm[f'clip_fraction_{side}']:.5f}" for side in ("low", "high")]
        gaps = ["" if arm[f"gap_{side}"] is None else f"{arm[f'gap_{side}']:+.3f}" for side in ("low", "high")]
        table.add_row(name, *values, *shares, *gaps)
    return table


def neutral(
    experiment: Annotated[str, typer.Argument(help="A shipped experiment or a TOML file; its arms are ignored.")] = "headline",
    eps_high: Annotated[
        list[str] | None, typer.Option("--eps-high", help="High widths to solve for (default .1 .2 .28 inf).")
    ] = None,
    target: Annotated[float, typer.Option("--target", help="Entropy change per rollout to aim at, nats.")] = 0.0,
    set_: Set = None,
    as_json: AsJson = False,
) -> None:
    """Find the eps_low that keeps entropy still (or at a target drift) for a given eps_high, by prediction."""
    import dataclasses

    from rich.table import Table

    from entclip.prediction.neutral import STANDARD, neutral_clip
    from entclip.support.files import to_json

    spec = load(experiment, set_ or [])
    highs = tuple(STANDARD) if not eps_high else tuple(number("--eps-high", x) for x in eps_high)
    points = neutral_clip(spec, target, highs)
    if as_json:
        typer.echo(to_json([dataclasses.asdict(p) for p in points]))
        return
    table = Table(
        "eps_high", "usual eps_low", "drift there", "neutral eps_low", "d drift / d eps_low", "d eps_low / d eps_high",
        "d eps_low / d log eta", "drift at eps_low .01", "drift at eps_low 1",
    )  # fmt: skip
    table.title = f"{spec.name}: eps_low for an entropy change of {target:+g} nats per rollout (predicted; drifts per rollout)"
    for p in points:
        usual = ["", ""] if p.usual is None else [f"{p.usual:g}", f"{p.drift_usual:+.4f}"]
        low = "none"
        if p.low is not None and p.low_error is not None:
            low = f"{p.low:.4f} ± " + (f"{p.low_error:.4f}" if p.low_error >= 5e-5 else "<.0001")
        slopes = ["" if v is None else f"{v:+.3f}" for v in (p.slope, p.by_high, p.by_rate)]
        table.add_row(f"{p.high:g}", *usual, low, *slopes, f"{p.drift_closed:+.4f}", f"{p.drift_off:+.4f}")
    terminal = console()
    terminal.print(table)
    for reason in dict.fromkeys(r for p in points for r in p.outside):
        terminal.print(f"[yellow]Outside the prediction's validity: {reason}.")


def map_(
    plane: Annotated[str, typer.Argument(help="concentration, batch or widths.")] = "concentration",
    geometry: Annotated[str, typer.Option(help="natural or euclidean.")] = "natural",
    out: Out = None,
    cells: Annotated[int, typer.Option("--verify", min=0, help="Simulate this many cells, spread over the plane.")] = 0,
    points: Annotated[int | None, typer.Option(min=2, help="Values per axis (default: as many as take under a minute).")] = None,
    as_json: AsJson = False,
) -> None:
    """Draw the phase map of a plane: predicted terms, the borders between regimes, and simulated cells that agree or do not."""
    from rich.table import Table

    from entclip.prediction.maps.figure import figure
    from entclip.prediction.maps.phase_map import phase_map, records
    from entclip.prediction.maps.phase_map import plane as named
    from entclip.prediction.maps.verify import spread, verify
    from entclip.support.files import prepare_folder, to_json, write_atomic

    if geometry not in ("natural", "euclidean"):
        raise SpecError(f"--geometry {geometry!r}: choose natural or euclidean.")
    chosen = named(plane, geometry, points)  # type: ignore[arg-type]
    if out is not None:
        prepare_folder(out, ("map.png", "map.csv", "map.json"))
    frame = phase_map(chosen.experiment, chosen.x, chosen.y)
    if cells:
        frame = verify(frame, spread(frame, cells))
    if out is not None:
        figure(frame, out / "map.png")
        write_atomic(out / "map.csv", frame.to_csv(index=False).encode())
        write_atomic(out / "map.json", to_json(records(frame)).encode())
    if as_json:
        typer.echo(to_json(records(frame)))
        return
    terminal, tested = console(), frame[frame["verdict"] != ""]
    count = {k: int((frame["status"] == k).sum()) for k in ("valid", "outside", "refused")}
    terminal.print(f"{plane}, {geometry} steps: " + ", ".join(f"{n} cells {k}" for k, n in count.items()))
    table = Table(
        chosen.x.name, chosen.y.name, "status", "predicted (nats)", "measured (s.e.)", "verdict", title="Simulated cells"
    )
    for _, row in tested.iterrows():
        measured = f"{row['measured']:+.5f} ({row['measured_se']:.5f})"
        place = (f"{row[a.name]:.4g}" for a in (chosen.x, chosen.y))
        table.add_row(*place, row["status"], f"{row['expected_measured']:+.5f}", measured, row["verdict"])
    if len(tested):
        terminal.print(table)
    if out is not None:
        terminal.print(f"map.png, map.csv and map.json are in {out}")
