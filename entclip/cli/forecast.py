"""Commands that predict without simulating: predict, noise, neutral, map."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from entclip.cli.options import AsJson, Csv, Experiment, Library, Quiet, Set, number
from entclip.cli.output import Output
from entclip.support.errors import SpecError

if TYPE_CHECKING:
    from entclip.experiments.experiment import Experiment as Spec
    from entclip.prediction.meanfield.forecast import Forecast
    from entclip.prediction.noise_table import NoiseTable
    from entclip.prediction.noise_words import LogRatioRms, NoiseLaw, Shares, Tail


def predict(
    experiment: Experiment = "headline",
    config: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="A trainer's configuration in place of an experiment: what its clip does at the noise given by --noise.",
            show_default="predict the experiment",
        ),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            "--policy",
            help="With --from: snapshot:NAME, or a .npy file of logits (contexts, actions).",
            show_default="the shipped snapshot",
        ),
    ] = None,
    library: Library = None,
    noise: Annotated[
        str | None,
        typer.Option(
            "--noise",
            help="Take log-ratio noise as given, no dynamics: flat:.25, sqrt:.1, inv_sqrt:.1 (law of pi_old, rms at the end of a "
            "rollout); kl:.0024 (flat, of the size that has this mean KL per token); shares:.004:.001 (flat, of the size "
            "that clips these shares low and high); flat:RUN (from the ledger of a saved run); heavy tails by flat:.05:t:5 or "
            "flat:.05:mixture:.2:4; or a table, FILE.csv or FILE.npy with columns prob, rms (see entclip noise).",
            show_default="follow the dynamics",
        ),
    ] = None,
    log: Annotated[
        Path | None,
        typer.Option(
            "--log",
            help="With --from: a log of the run, whose clip shares say how large its noise is.",
            show_default="none read",
        ),
    ] = None,
    length: Annotated[
        float | None,
        typer.Option(
            "--length",
            help="With --noise: ratios of whole sequences (GSPO) of so many tokens, from the noise of a token: how many are "
            "clipped, and with --from what that does to entropy.",
            show_default="ratios of tokens",
        ),
    ] = None,
    set_: Set = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for forecast.json and forecast.csv.", show_default="none written")
    ] = None,
    as_json: AsJson = False,
    csv: Csv = None,
    quiet: Quiet = False,
) -> None:
    """Predict a random-reward run from its configuration, without simulating it."""
    from entclip.cli.execute import arms_frame
    from entclip.experiments.load import load
    from entclip.prediction.meanfield import predict as predicted
    from entclip.prediction.meanfield.forecast import PATHS
    from entclip.prediction.size import forecast_size
    from entclip.report.forecast import forecast_grid
    from entclip.support.files import prepare_folder, to_json, write_atomic
    from entclip.support.foresight import announced

    output, spec = Output(as_json, csv, quiet), load(experiment, set_ or [])
    if out is not None:
        prepare_folder(out, ("forecast.json", "forecast.csv"))
    if config is not None:
        return _from_config(config, library, noise, log, policy, length, output)
    if policy is not None or library is not None or log is not None:
        raise SpecError(
            "--policy, --library and --log go with --from CONFIG; an experiment states its policy by --set policy.kind=..."
        )
    if length is not None:
        return _sequences(spec, noise, length, output)
    if noise is None:
        about = announced(forecast_size(spec, PATHS))
        with output.progress(f"{spec.name}: predicting", sum(len(case.arm) for _, case in spec.cases()), about) as advance:
            forecast = predicted(spec, progress=advance)
    else:
        forecast = _with_noise(spec, noise, output)
    summary = forecast.summary()
    if out is not None:
        write_atomic(out / "forecast.json", to_json(summary).encode())
        write_atomic(out / "forecast.csv", forecast.to_frame().to_csv(index=False).encode())
    if output.machine(lambda: summary, lambda: arms_frame(summary)):
        return
    output.show(forecast_grid(summary, noise))
    advice = "." if noise else f". Simulate instead: entclip run {experiment}"
    output.warn(
        f"Outside the prediction's validity: {reason}{advice}" for arm in summary["arms"].values() for reason in arm["outside"]
    )
    if out is not None:
        output.say(f"forecast.json and forecast.csv are in {out}")


def _with_noise(spec: Spec, text: str, output: Output) -> Forecast:
    """Make the forecast with what --noise names: a table, or a law with its rms, as a number or from a saved run's ledger."""
    from entclip.prediction.meanfield import predict_noise
    from entclip.prediction.meanfield.noise_shares import TRIES, rms_of_shares
    from entclip.prediction.noise_table import NoiseTable, read_noise_table
    from entclip.prediction.noise_words import Shares
    from entclip.prediction.size import forecast_size
    from entclip.support.foresight import announced

    read = read_noise_table(Path(text)) if text.endswith((".csv", ".npy")) else _law(text)
    times = TRIES if not isinstance(read, NoiseTable) and isinstance(read[1], Shares) else 1
    with output.progress(f"{spec.name}: predicting", 1, announced(forecast_size(spec, 0, times))):
        if isinstance(read, NoiseTable):
            return predict_noise(spec, read)
        law, size, tail = read
        if not isinstance(size, Shares):
            return predict_noise(spec, law, size, tail)
        found = rms_of_shares(spec, law, size, tail)
        return predict_noise(spec, law, found.rms, tail, found.outside)


def _law(text: str) -> tuple[NoiseLaw, float | LogRatioRms | Shares, Tail]:
    from entclip.prediction.noise_table import ledger_rms
    from entclip.prediction.noise_words import LogRatioRms, noise_words

    law, size, tail = noise_words(text)
    return law, LogRatioRms(ledger_rms(size)) if isinstance(size, Path) else size, tail


def _from_config(
    config: Path,
    library: str | None,
    noise: str | None,
    log: Path | None,
    policy: str | None,
    length: float | None,
    output: Output,
) -> None:
    """Show what a trainer's configuration does at a noise, with what was carried over, assumed and left out."""
    import dataclasses

    from entclip.integrations.diagnose.logged import contexts, logged
    from entclip.integrations.lint.config import read_config
    from entclip.integrations.lint.outlook import near, outlook
    from entclip.prediction.noise_table import read_noise_table
    from entclip.report.forecast import logged_lines, outlook_grid, outlook_lines

    if (noise is None) == (log is None):
        raise SpecError(
            "predict --from: a trainer's learning rate is no step of a table, so the noise of its log-ratios has to be given, "
            "once: --noise kl:NATS (its logged KL per token at the end of a rollout), flat:RMS, shares:LOW:HIGH (of tokens "
            "clipped), a table of entclip noise, or its log by --log."
        )
    read = read_config(config, library)
    kind, _, name = (policy or "snapshot").partition(":")
    chosen = {"kind": "snapshot"} | ({"name": name} if name else {}) if kind == "snapshot" else {"kind": "file", "path": policy}
    used = None if policy is None else chosen
    measured = None if log is None else logged(read, log)
    # A snapshot's contexts under many pairs of widths: half a minute and more.
    with output.progress(f"{config.name}: predicting", 1, "both geometries, one after the other"):
        if measured is not None:
            found = outlook(read, "flat", measured.shares, policy=used, length=length, split=measured.split)
            bounds = measured.bounds() or ()
            around = [outlook(read, "flat", each, policy=used, widths=near(found), split=measured.split) for each in bounds]
            values = [value for each in (found, *around) for value in each.neutral.values()]
            given = None if used is None else contexts(used)
            values += [] if found.one_width else measured.neutral_values(float(read.low.value), found.high, given)
        elif noise is not None:
            table = noise.endswith((".csv", ".npy"))
            law = (read_noise_table(Path(noise)),) if table else _law(noise)
            found, around = outlook(read, *law, policy=used, length=length), []
    rows = [{"geometry": g, "eps_high": h} | dataclasses.asdict(x) for g, h, x in found.rows()]
    most = None if measured is None else measured.most(found.high, found.other_high)
    told = dataclasses.asdict(found) | {"decided": found.decided}
    if measured is not None:
        told |= {"shares": dataclasses.asdict(measured.shares), "shares_error": measured.error, "most_change": most}
        size = measured.size
        told |= {"rms_of_log": None if size is None else size.rms, "rms_of_log_bounds": None if size is None else size.bounds}
        told |= {"neutral_around": [each.neutral for each in around], "neutral_values": values}
    if output.machine(lambda: told, lambda: rows):
        return
    output.warn([f"Contradicted: {found.contradiction}."] if found.contradiction else [])
    output.warn(f"Outside the prediction's validity: {reason}." for reason in found.outside)
    for line in outlook_lines(found):
        output.tell(line)
    source = noise if measured is None else f"flat:{found.rms:.3g} ({log})"
    output.show(outlook_grid(str(config), str(source), found))
    output.tell(found.answer())
    if measured is not None:
        for line in logged_lines(measured.source, measured.told, most, found, values, used is None):
            output.tell(line)


def _sequences(spec: Spec, noise: str | None, length: float, output: Output) -> None:
    """Show the clip shares of ratios of whole sequences."""

    from entclip.prediction.noise_words import Shares
    from entclip.prediction.sequence_noise import sequence_shares
    from entclip.report.forecast import sequences_grid

    if noise is None or noise.endswith((".csv", ".npy")):
        raise SpecError("--length needs the noise of a token by --noise LAW:RMS, such as flat:.05 or kl:.0024.")
    if spec.grid:
        raise SpecError("predict: the experiment has a grid; choose one of its cases by --set.")
    _, size, _ = _law(noise)
    if isinstance(size, Shares):
        raise SpecError("--length needs the noise of a token by its size, flat:.05 or kl:.0024, not by shares.")
    rms = size if isinstance(size, float) else size.rms  # of a token's log-ratio
    shares = {}
    for arm in spec.arm:
        low, high = arm.build().idle
        if not low <= 1 <= high:
            raise SpecError(
                f"--length: arm {arm.name} has no band of ratios in which it does nothing: no share of it is clipped."
            )
        shares[arm.name] = sequence_shares(rms, length, 1 - low, high - 1, spec.update.minibatches)
    rows = [{"arm": name} | share._asdict() for name, share in shares.items()]
    if output.machine(lambda: rows, lambda: rows):
        return
    output.show(sequences_grid(spec.name, noise, length, rows))
    output.say("Tokens are taken as independent; where those of a sequence move together the shares are larger.")


def noise(
    experiment: Annotated[
        str, typer.Argument(help="A shipped experiment, a TOML file, or experiment.toml of a saved run.")
    ] = "headline",
    old: Annotated[
        Path | None,
        typer.Option("--old", help="Your own log pi_old, a .npy file (contexts, ...).", show_default="simulate the experiment"),
    ] = None,
    new: Annotated[
        Path | None,
        typer.Option(
            "--new",
            help="log pi of the same actions after the updates of a rollout.",
            show_default="simulate the experiment",
        ),
    ] = None,
    per_decade: Annotated[float, typer.Option("--per-decade", help="Bins per factor of 10 in pi_old.")] = 2.0,
    set_: Set = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="CSV file to write: what predict --noise reads.", show_default="none written"),
    ] = None,
    as_json: AsJson = False,
    csv: Csv = None,
    quiet: Quiet = False,
) -> None:
    """Measure how log-ratio noise depends on pi_old: one unclipped rollout simulated, or log-probabilities of your own."""
    from entclip.prediction.noise_table import noise_of_files
    from entclip.report.forecast import lone_log_ratios, noise_grid
    from entclip.report.numbers import plus_minus, signed
    from entclip.support.files import prepare_file, write_atomic

    output = Output(as_json, csv, quiet)
    if (old is None) != (new is None):
        raise SpecError("--old and --new go together: log-probabilities of the same actions before and after.")
    if out is not None:
        prepare_file(out)
    if old is not None and new is not None:
        found, source = noise_of_files(old, new, per_decade), f"{old}, {new}"
    else:
        found, source = _noise_of_run(experiment, set_ or [], per_decade, output), experiment
    frame = found.to_frame()
    if out is not None:
        write_atomic(out, frame.to_csv(index=False).encode())
    if output.machine(lambda: frame.to_dict(orient="list"), lambda: frame):
        return
    output.show(noise_grid(source, frame))
    if len(frame) > 1:
        slope, se = found.slope()
        output.tell(f"slope of log rms in log pi_old: {signed(slope)}{plus_minus(se, 1)} (sqrt +.5, flat 0, inv_sqrt -.5)")
    output.warn([lone_log_ratios(found)] if found.lone.any() else [])
    if found.bias.any():
        k = int(abs(found.bias).argmax())
        output.warn(
            [
                f"Shifted: the mean log-ratio at pi_old = {found.prob[k]:.2g} is {signed(frame['mean'][k], 3)}, where noise of "
                f"this size has {signed(-(found.sd[k] ** 2) / 2)}. Another temperature, engine or truncation does that, noise "
                "does not."
            ]
        )


def _noise_of_run(experiment: str, overrides: list[str], per_decade: float, output: Output) -> NoiseTable:
    from entclip.experiments.load import load
    from entclip.prediction.noise_table import measure_noise

    spec = load(experiment, overrides)
    first = "loading the model" if spec.policy.kind == "language_model" else ""
    with output.progress(f"{spec.name}: one rollout", spec.update.epochs * spec.update.minibatches, first) as advance:
        return measure_noise(spec, per_decade=per_decade, progress=advance)


def neutral(
    experiment: Annotated[str, typer.Argument(help="A shipped experiment or a TOML file; its arms are ignored.")] = "headline",
    eps_high: Annotated[
        list[str] | None, typer.Option("--eps-high", help="High widths to solve for.", show_default=".1 .2 .28 inf")
    ] = None,
    target: Annotated[float, typer.Option("--target", help="Entropy change per rollout to aim at, nats.")] = 0.0,
    set_: Set = None,
    as_json: AsJson = False,
    csv: Csv = None,
    quiet: Quiet = False,
) -> None:
    """Find the eps_low that keeps entropy still (or at a target drift) for a given eps_high, by prediction."""
    import dataclasses

    from entclip.experiments.load import load
    from entclip.prediction.neutral import STANDARD, neutral_clip, neutral_size
    from entclip.report.forecast import neutral_grid
    from entclip.support.foresight import announced

    output, spec = Output(as_json, csv, quiet), load(experiment, set_ or [])
    highs = tuple(STANDARD) if not eps_high else tuple(number("--eps-high", x) for x in eps_high)
    about = announced(neutral_size(spec, len(highs)))
    first = ", ".join(filter(None, ("about a dozen predictions for each eps_high", about)))
    with output.progress(f"{spec.name}: solving for eps_low", len(highs), first) as advance:
        points = [dataclasses.asdict(point) for point in neutral_clip(spec, target, highs, progress=advance)]
    if output.machine(lambda: points, lambda: [point | {"outside": "; ".join(point["outside"])} for point in points]):
        return
    output.show(neutral_grid(spec.name, target, points))
    output.warn(f"Outside the prediction's validity: {reason}." for point in points for reason in point["outside"])


def map_(
    plane: Annotated[str, typer.Argument(help="concentration, batch or widths.")] = "concentration",
    geometry: Annotated[str, typer.Option(help="natural or euclidean.")] = "natural",
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for map.png, map.csv and map.json.", show_default="none written")
    ] = None,
    cells: Annotated[int, typer.Option("--verify", min=0, help="Simulate this many cells, spread over the plane.")] = 0,
    points: Annotated[
        int | None, typer.Option(min=2, help="Values per axis.", show_default="as many as take under a minute")
    ] = None,
    as_json: AsJson = False,
    csv: Csv = None,
    quiet: Quiet = False,
) -> None:
    """Draw the phase map of a plane: predicted terms, the borders between regimes, and simulated cells that agree or do not."""
    from entclip.prediction.maps.figure import figure, map_caption
    from entclip.prediction.maps.phase_map import map_size, phase_map, records
    from entclip.prediction.maps.phase_map import plane as named
    from entclip.prediction.maps.verify import spread, verify
    from entclip.report.forecast import cells_grid
    from entclip.support.files import prepare_folder, to_json, write_atomic
    from entclip.support.foresight import announced

    output = Output(as_json, csv, quiet)
    if geometry not in ("natural", "euclidean"):
        raise SpecError(f"--geometry {geometry!r}: choose natural or euclidean.")
    chosen = named(plane, geometry, points)  # type: ignore[arg-type]
    if out is not None:
        prepare_folder(out, ("map.png", "map.csv", "map.json"))
    title = f"map of {plane} ({geometry})"
    about = announced(map_size(chosen.experiment, chosen.x, chosen.y))
    with output.progress(f"{title}: predicting", len(chosen.x.values) * len(chosen.y.values), about) as advance:
        frame = phase_map(chosen.experiment, chosen.x, chosen.y, progress=advance)
    if cells:
        places = spread(frame, cells)
        with output.progress(f"{title}: simulating", len(places)) as advance:
            frame = verify(frame, places, progress=advance)
    if out is not None:
        figure(frame, out / "map.png")
        write_atomic(out / "map.csv", frame.to_csv(index=False).encode())
        write_atomic(out / "map.json", to_json(records(frame)).encode())
    if output.machine(lambda: records(frame), lambda: frame):
        return
    count = {k: int((frame["status"] == k).sum()) for k in ("valid", "outside", "refused")}
    output.tell(f"{plane}, {geometry} steps: " + ", ".join(f"{n} cells {k}" for k, n in count.items()))
    tested = frame[frame["verdict"] != ""]
    if len(tested):
        output.show(cells_grid(chosen.x.name, chosen.y.name, records(tested)))
    if out is not None:
        output.say(f"map.png, map.csv and map.json are in {out}. In the picture: {map_caption(frame)}")
