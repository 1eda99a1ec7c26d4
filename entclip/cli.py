"""The command line: drift, list, run, check, report, bench, snapshot, compare. Exit codes: 0 done; 2 bad input; 70 internal;
130 interrupted.

check (and drift --check) also: 1 theory rejected, 3 inconclusive.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from entclip.cli_options import choose_arms, number, policy_section, reward_section
from entclip.cli_reproduce import reproduce
from entclip.spec import Experiment, SpecError, apply_overrides, experiment_names, load, parse_experiment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from entclip.ledger import Ledger


__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="How PPO/GRPO clipping moves policy entropy."
)
app.command()(reproduce)
Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override any key of the experiment.")]
Out = Annotated[Path | None, typer.Option("--out", help="Folder for the ledger (Parquet), summary and figure.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
EngineName = Annotated[
    str, typer.Option("--engine", help="sampled, exact (every outcome), reduced (any vocabulary), tokens (torch), head (shared).")
]
Device = Annotated[str, typer.Option("--device", help="cpu or cuda, for the torch engines.")]
Dtype = Annotated[str, typer.Option("--dtype", help="float64 or float32, for the torch engines.")]
_Machine = tuple[str, str, str]  # engine, device, dtype
_EXIT = {"agree": 0, "reject": 1, "inconclusive": 3}


def _console(stderr: bool = False) -> Any:
    from rich.console import Console

    # Tables are wide; a pipe has no width of its own.
    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=160)


@contextmanager
def _progress(experiment: Experiment, quiet: bool) -> Iterator[Callable[[str, int, int], None] | None]:
    if quiet:
        yield None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f}%"),
        TimeRemainingColumn(),
        console=_console(stderr=True),
    ) as bar:
        u = experiment.update
        per_arm = [c.update.rollouts * c.update.epochs * c.update.minibatches * len(c.arm) for _, c in experiment.cases()]
        task = bar.add_task(f"{experiment.name} ({u.geometry})", total=sum(per_arm))
        yield lambda arm, done, total: bar.advance(task)


def _execute(experiment: Experiment, machine: _Machine, out: Path | None, as_json: bool, judged: bool) -> Ledger:
    """Run, save, print, draw; exit by the verdict when judged."""
    from entclip.initial import takeover_ratio
    from entclip.runner import run as run_experiment
    from entclip.store import to_json
    from entclip.verdict import verdict_of

    engine, device, dtype = machine
    # The reduced engine's tables are too large to look at; those of shared parameters take no natural step.
    ratios = {label: 0.0 if engine in ("reduced", "head", "llm") else takeover_ratio(case) for label, case in experiment.cases()}
    worst = max(ratios, key=lambda label: ratios[label])
    if ratios[worst] > 1:
        typer.echo(
            f"warning: {worst or experiment.name}: a single sample can make a rare action take the policy over, eta/(B pi_min) "
            f"is {ratios[worst]:.2g} times log(1/pi_min): raise update.batch or policy.floor, or lower update.learning_rate.",
            err=True,
        )
    with _progress(experiment, quiet=as_json) as progress:
        ledger = run_experiment(experiment, engine, device=device, dtype=dtype, out=out, progress=progress)
    summary = ledger.summary()
    if as_json:
        typer.echo(to_json(summary))
    else:
        _show(summary)
    if out is not None:
        from entclip.report import figure

        figure(summary, out / "figure.png")
        if not as_json:
            _console().print(f"Ledger, summary and figure are in {out}")
    verdict = verdict_of(summary).verdict
    if judged:
        if not as_json:
            _console().print(f"Verdict: [bold]{verdict}[/bold]")
        raise typer.Exit(_EXIT[verdict])
    return ledger


def _show(summary: dict[str, Any]) -> None:
    from entclip.report import tables

    console = _console()
    for table in tables(summary):
        console.print(table)
    for name, arm in summary["arms"].items():
        if arm["collapses"]:
            console.print(
                f"[yellow]{name}: {arm['collapses']} contexts collapsed (lost over 1 nat and half their entropy) and carry "
                f"the mean; the median change is {arm['measured_median']:+.4f} nats."
            )


@app.command()
def drift(
    policy: Annotated[
        str | None, typer.Option(help="zipf:1.2, dirichlet:2, peaked:5, uniform, snapshot:NAME or FILE.npy.")
    ] = None,
    vocab: Annotated[int | None, typer.Option(help="Actions V.")] = None,
    contexts: Annotated[int | None, typer.Option(help="Contexts.")] = None,
    eps_low: Annotated[float | None, typer.Option(help="Width below 1 (1: off).")] = None,
    eps_high: Annotated[float | None, typer.Option(help="Width above 1 (inf: off).")] = None,
    reward: Annotated[str | None, typer.Option(help="bernoulli:.5, gaussian:1 or rademacher.")] = None,
    group_size: Annotated[int | None, typer.Option(help="Group-relative advantages of this size; 0: independent.")] = None,
    geometry: Annotated[str | None, typer.Option(help="natural or euclidean.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Step eta.")] = None,
    batch: Annotated[int | None, typer.Option(help="Samples per context and minibatch.")] = None,
    minibatches: Annotated[int | None, typer.Option(help="Updates per rollout.")] = None,
    rollouts: Annotated[int | None, typer.Option(help="Rollouts.")] = None,
    replicas: Annotated[int | None, typer.Option(help="Independent repetitions.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed.")] = None,
    arm: Annotated[list[str] | None, typer.Option(help="Only these arms.")] = None,
    engine: EngineName = "sampled",
    device: Device = "cpu",
    dtype: Dtype = "float64",
    set_: Set = None,
    out: Out = None,
    as_json: AsJson = False,
    judged: Annotated[bool, typer.Option("--check", help="Exit 1 if the theory is rejected, 3 if inconclusive.")] = False,
) -> None:
    """Simulate random-reward drift: six clip settings, theory beside simulation. Without options: the headline experiment."""
    data = load("headline").model_dump(exclude_none=True)
    if policy is not None:
        data["policy"] = policy_section(policy, vocab, contexts)
    for key, value in (("policy.vocab", vocab), ("policy.contexts", contexts)):
        if value is not None and (policy is None or not policy.endswith(".npy")):
            apply_overrides(data, [f"{key}={value}"])
    if reward is not None:
        data["reward"] = reward_section(reward)
    if group_size is not None:
        data["advantage"] = {"kind": "group", "size": group_size} if group_size else {"kind": "independent"}
    direct = {
        "geometry": geometry, "learning_rate": learning_rate, "batch": batch, "minibatches": minibatches, "rollouts": rollouts,
    }  # fmt: skip
    data["update"] |= {k: v for k, v in direct.items() if v is not None}
    data |= {k: v for k, v in {"replicas": replicas, "seed": seed}.items() if v is not None}
    choose_arms(data, eps_low, eps_high, arm)
    apply_overrides(data, set_ or [])
    _execute(parse_experiment(data), (engine, device, dtype), out, as_json, judged)


@app.command("list")
def list_experiments(as_json: AsJson = False) -> None:
    """The experiments that ship with entclip."""
    from rich.table import Table

    from entclip.store import to_json

    found = [(name, load(name)) for name in experiment_names()]
    if as_json:
        typer.echo(to_json([{"name": n, "claims": e.claims, "description": e.description} for n, e in found]))
        return
    table = Table("experiment", "claims", "cases x arms", "what it shows")
    for name, e in found:
        table.add_row(name, " ".join(e.claims), f"{len(e.cases())} x {len(e.arm)}", e.description)
    _console().print(table)


@app.command()
def run(
    experiment: Annotated[str, typer.Argument(help="A shipped experiment or a TOML file.")],
    engine: EngineName = "sampled",
    device: Device = "cpu",
    dtype: Dtype = "float64",
    set_: Set = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Run an experiment; with --out an interrupted run resumes from its last whole rollout."""
    _execute(load(experiment, set_ or []), (engine, device, dtype), out, as_json, judged=False)


@app.command()
def check(
    experiment: Annotated[str, typer.Argument(help="A shipped experiment or a TOML file.")],
    engine: EngineName = "sampled",
    device: Device = "cpu",
    dtype: Dtype = "float64",
    plan: Annotated[
        bool, typer.Option("--plan", help="From a pilot run: units needed to tell each part from 0 at 8 standard errors.")
    ] = False,
    set_: Set = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Judge every cause against its expectation: exit 0 agree, 1 reject, 3 inconclusive."""
    spec = load(experiment, set_ or [])
    if not plan:
        _execute(spec, (engine, device, dtype), out, as_json, judged=True)
        return
    from rich.table import Table

    from entclip.runner import run as run_experiment
    from entclip.store import to_json
    from entclip.verdict import sample_plan

    with _progress(spec, quiet=as_json) as progress:
        pilot = run_experiment(spec, engine, device=device, dtype=dtype, out=out, progress=progress)
        rows = sample_plan(pilot.summary())
    if as_json:
        typer.echo(to_json(rows))
        return
    table = Table(
        "arm",
        "part",
        "expected (nats)",
        "residual s.e.",
        "units now",
        "units needed",
        title="Units (contexts x replicas) for 8 standard errors",
    )
    for row in rows:
        table.add_row(
            row["arm"], row["part"], f"{row['expected']:+.3e}", f"{row['se']:.1e}", str(row["units"]), str(row["units_needed"])
        )
    _console().print(table)


@app.command()
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
    from entclip.meanfield import predict as predicted
    from entclip.meanfield import predict_noise
    from entclip.store import prepare_folder, to_json, write_atomic

    spec = load(experiment, set_ or [])
    if out is not None:
        prepare_folder(out)
    forecast = predicted(spec) if noise is None else predict_noise(spec, *_noise_law(noise))
    summary = forecast.summary()
    if out is not None:
        write_atomic(out / "forecast.json", to_json(summary).encode())
        write_atomic(out / "forecast.csv", forecast.to_frame().to_csv(index=False).encode())
    if as_json:
        typer.echo(to_json(summary))
        return
    console = _console()
    console.print(_forecast_table(spec, summary, noise))
    for reason in dict.fromkeys(r for arm in summary["arms"].values() for r in arm["outside"]):
        advice = "." if noise else f". Simulate instead: entclip run {experiment}"
        console.print(f"[yellow]Outside the prediction's validity: {reason}{advice}")
    if out is not None:
        console.print(f"forecast.json and forecast.csv are in {out}")


def _noise_law(text: str) -> tuple[Any, ...]:
    """What --noise names: a table, or a law and its rms, as a number or from a saved run's ledger."""
    from entclip.noise_table import ledger_rms, read_noise_table

    if text.endswith((".csv", ".npy")):
        return (read_noise_table(Path(text)),)
    law, _, rms = text.partition(":")
    return law, ledger_rms(Path(rms)) if rms and Path(rms).is_dir() else number("--noise", rms)


@app.command()
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
    import numpy as np
    from rich.table import Table

    from entclip.noise_table import measure_noise, noise_law_of
    from entclip.store import prepare_folder, to_json, write_atomic

    if (old is None) != (new is None):
        raise SpecError("--old and --new go together: log-probabilities of the same actions before and after.")
    if out is not None:
        prepare_folder(out.parent)
    if old is not None and new is not None:
        try:
            arrays = [np.load(path, allow_pickle=False) for path in (old, new)]
        except (OSError, ValueError, EOFError) as error:
            raise SpecError(f"--old and --new must be .npy arrays: {error}") from None
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
    _console().print(table)
    if len(frame) > 1:
        slope, se = found.slope()
        _console().print(f"slope of log rms in log pi_old: {slope:+.3f} +- {se:.3f} (sqrt +.5, flat 0, inv_sqrt -.5)")


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


@app.command()
def neutral(
    experiment: Annotated[str, typer.Argument(help="A shipped experiment or a TOML file; its arms are ignored.")] = "headline",
    eps_high: Annotated[
        list[str] | None, typer.Option("--eps-high", help="High widths to solve for (default .1 .2 .28 inf).")
    ] = None,
    target: Annotated[float, typer.Option("--target", help="Entropy change per rollout to aim at, nats.")] = 0.0,
    set_: Set = None,
    as_json: AsJson = False,
) -> None:
    """The eps_low that keeps entropy still (or at a target drift) for a given eps_high, by prediction."""
    import dataclasses

    from rich.table import Table

    from entclip.neutral import STANDARD, neutral_clip
    from entclip.store import to_json

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
    console = _console()
    console.print(table)
    for reason in dict.fromkeys(r for p in points for r in p.outside):
        console.print(f"[yellow]Outside the prediction's validity: {reason}.")


@app.command("map")
def map_(
    plane: Annotated[str, typer.Argument(help="concentration, batch or widths.")] = "concentration",
    geometry: Annotated[str, typer.Option(help="natural or euclidean.")] = "natural",
    out: Out = None,
    cells: Annotated[int, typer.Option("--verify", min=0, help="Simulate this many cells, spread over the plane.")] = 0,
    points: Annotated[int | None, typer.Option(min=2, help="Values per axis (default: as many as take under a minute).")] = None,
    as_json: AsJson = False,
) -> None:
    """Phase map of a plane: predicted terms, the borders between regimes, and simulated cells that agree or do not."""
    from rich.table import Table

    from entclip.phase_figure import figure
    from entclip.phase_map import phase_map, records, spread, verify
    from entclip.phase_map import plane as named
    from entclip.store import prepare_folder, to_json, write_atomic

    if geometry not in ("natural", "euclidean"):
        raise SpecError(f"--geometry {geometry!r}: choose natural or euclidean.")
    chosen = named(plane, geometry, points)  # type: ignore[arg-type]
    if out is not None:
        prepare_folder(out)
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
    console, tested = _console(), frame[frame["verdict"] != ""]
    count = {k: int((frame["status"] == k).sum()) for k in ("valid", "outside", "refused")}
    console.print(f"{plane}, {geometry} steps: " + ", ".join(f"{n} cells {k}" for k, n in count.items()))
    table = Table(
        chosen.x.name, chosen.y.name, "status", "predicted (nats)", "measured (s.e.)", "verdict", title="Simulated cells"
    )
    for _, row in tested.iterrows():
        measured = f"{row['measured']:+.5f} ({row['measured_se']:.5f})"
        place = (f"{row[a.name]:.4g}" for a in (chosen.x, chosen.y))
        table.add_row(*place, row["status"], f"{row['expected_measured']:+.5f}", measured, row["verdict"])
    if len(tested):
        console.print(table)
    if out is not None:
        console.print(f"map.png, map.csv and map.json are in {out}")


Library = Annotated[str | None, typer.Option("--library", help="trl, verl, openrlhf or prime-rl (default: detected).")]


@app.command()
def lint(
    file: Annotated[Path, typer.Argument(help="A trainer's YAML, JSON or TOML, or a script with its command line.")],
    library: Library = None,
    as_json: AsJson = False,
) -> None:
    """Is a trainer's clip alive, which epsilon is where, which traps apply, which way it moves entropy?"""
    from entclip.integrations.lint import lint_command
    from entclip.store import to_json

    report = lint_command(file, library)
    typer.echo(to_json(report.to_json()) if as_json else report.to_text())


@app.command()
def convert(
    file: Annotated[Path | None, typer.Argument(help="A trainer's configuration; or give widths.")] = None,
    to: Annotated[str, typer.Option("--to", help="trl, verl, openrlhf, prime-rl or entclip.")] = "entclip",
    library: Library = None,
    eps_low: Annotated[float | None, typer.Option(help="Width below 1 (1: off).")] = None,
    eps_high: Annotated[float | None, typer.Option(help="Width above 1 (inf: off).")] = None,
    cap: Annotated[float | None, typer.Option(help="Dual clip: bound on the ratio of tokens with A < 0.")] = None,
) -> None:
    """The same clip in another library's notation, with what that library cannot express in comments."""
    from entclip.integrations.lint import convert_command

    typer.echo(convert_command(file, to, library, eps_low, eps_high, cap))


@app.command()
def report(
    run_folder: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    out: Annotated[Path | None, typer.Option("--out", help="Where the files go (default: the run folder).")] = None,
) -> None:
    """Report of a finished run: tables here; report.html (one page, nothing else needed), report.md and figures as files."""
    from entclip.report import write_report
    from entclip.store import read_summary

    summary, target = read_summary(run_folder), out or run_folder
    files = write_report(run_folder, target)
    _show(summary)
    _console().print(f"{', '.join(files)} are in {target}")


@app.command()
def llm(
    experiment: Annotated[str, typer.Argument(help="A shipped experiment about language models, or a TOML file.")] = "llm",
    model: Annotated[str | None, typer.Option(help="tiny, smollm2-135m, a hub id, a folder or a .gguf file.")] = None,
    task: Annotated[str | None, typer.Option(help="digits, sums or reasoning_gym:NAME.")] = None,
    reward: Annotated[
        str | None, typer.Option(help="bernoulli:.5, gaussian:1 or rademacher (random); correct or format (judged).")
    ] = None,
    eps_low: Annotated[float | None, typer.Option(help="Width below 1 (1: off).")] = None,
    eps_high: Annotated[float | None, typer.Option(help="Width above 1 (inf: off).")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Of the optimiser.")] = None,
    rollouts: Annotated[int | None, typer.Option(help="Rollouts.")] = None,
    replicas: Annotated[int | None, typer.Option(help="Independent repetitions (pairs count twice).")] = None,
    every: Annotated[int | None, typer.Option(help="Account every so manieth update.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed.")] = None,
    arm: Annotated[list[str] | None, typer.Option(help="Only these arms.")] = None,
    device: Device = "cpu",
    dtype: Annotated[str, typer.Option("--dtype", help="float32, float64 or bfloat16 (autocast over float32).")] = "float32",
    set_: Set = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Train a language model by GRPO with the entropy ledger inside. Without options: the tiny model, random rewards."""
    from entclip.cli_llm import llm_experiment, rollout_table, write_metrics

    keys = {
        "policy.model": model, "rollout.task": task, "update.learning_rate": learning_rate, "update.rollouts": rollouts,
        "replicas": replicas, "ledger.every": every, "seed": seed,
    }  # fmt: skip
    spec = llm_experiment(experiment, keys, reward, (eps_low, eps_high), arm, set_ or [])
    ledger = _execute(spec, ("llm", device, dtype), out, as_json, judged=False)
    if out is not None:
        write_metrics(ledger, out)
    if not as_json:
        _console().print(rollout_table(ledger))


@app.command()
def ledger(
    files: Annotated[list[Path], typer.Argument(help="Folders of finished runs, or ledger.parquet files.")],
    out: Annotated[Path | None, typer.Option("--out", help="Where causes.png goes (default: beside the ledger).")] = None,
    as_json: AsJson = False,
) -> None:
    """Explain where a run's entropy went: causes with errors, warnings, one figure."""
    from entclip.cli_llm import explain_command

    text = explain_command(files, out, as_json, _console())
    if text is not None:
        typer.echo(text)


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    second: Annotated[Path, typer.Argument(help="Folder of another.")],
) -> None:
    """Set two runs side by side: differences with their standard errors."""
    from entclip.report import comparison
    from entclip.store import read_summary

    _console().print(comparison(read_summary(first), read_summary(second)))


@app.command()
def bench(
    names: Annotated[list[str] | None, typer.Argument(help="sampled, kernels, reduced, head, llm (default: all).")] = None,
    device: Annotated[str | None, typer.Option("--device", help="cpu or cuda, for kernels and head.")] = None,
) -> None:
    """Speed as ratios measured in one run, from a source checkout: see docs/performance.md."""
    import subprocess

    root = Path(__file__).resolve().parents[1]
    if not (root / "benchmarks" / "__main__.py").is_file():
        raise SpecError(
            f"{root} has no benchmarks/: they are not part of an installed package. Clone the repository, install it with "
            "pip install -e '.[test]', and run entclip bench again."
        )
    options = [*(names or ()), *(("--device", device) if device else ())]
    raise typer.Exit(subprocess.run([sys.executable, "-m", "benchmarks", *options], cwd=root).returncode)


@app.command()
def snapshot(
    out: Annotated[Path, typer.Option("--out", help="The .npz file to write.")],
    model: Annotated[str, typer.Option(help="smollm2-135m, a .gguf file, a saved folder or a hub id.")] = "smollm2-135m",
    contexts: Annotated[int, typer.Option(help="Next-token distributions to keep.")] = 256,
    prompts: Annotated[Path | None, typer.Option(help="Text file, one prompt a line (default: the shipped ones).")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the sampled continuations.")] = 0,
    hidden: Annotated[
        bool, typer.Option("--hidden", help='Hidden states and output head instead, for policy.kind = "hidden" (engine head).')
    ] = False,
) -> None:
    """Compress a language model's next-token distributions into a policy file (needs the llm extra)."""
    from entclip.snapshot_model import snapshot_from_model
    from entclip.store import prepare_folder

    prepare_folder(out.parent)
    lines = None
    if prompts is not None:
        try:
            lines = [line.strip() for line in prompts.read_text().splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise SpecError(f"cannot read --prompts {prompts}: {error}.") from None
    if hidden:
        from entclip.head.extract import hidden_from_model

        rows, vocab, dim = hidden_from_model(out, model, lines, contexts=contexts, seed=seed)
        _console().print(
            f'{rows} hidden states and a head of {vocab} x {dim} are in {out}; use policy.kind = "hidden", path = {out}'
        )
        return
    made = snapshot_from_model(model, lines, contexts=contexts, seed=seed)
    made.save(out)
    _console().print(f"{made.contexts} contexts over V = {made.vocab} actions are in {out}; use it with --policy snapshot:{out}")


def main() -> None:
    """Entry point: bad input exits with 2 and one message, an interrupt with 130, a defect with 70 and a traceback."""
    try:
        code = app(standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("interrupted; with --out, the same command resumes from the last whole rollout.", err=True)
        sys.exit(130)
    except (ValueError, ImportError) as error:
        if isinstance(error, ImportError) and "install" not in str(error):
            raise
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
    except Exception as error:
        # Usage errors are click's, which typer may carry inside itself: they are known by their way to show themselves.
        if hasattr(error, "show") and hasattr(error, "exit_code"):
            error.show()
            sys.exit(2)
        import traceback

        traceback.print_exc()
        typer.echo("internal error: please report it with the lines above.", err=True)
        sys.exit(70)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
