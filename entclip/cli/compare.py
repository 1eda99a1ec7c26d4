"""The command that sets things side by side: two finished runs, or objectives on one experiment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from entclip.cli.execute import unheld
from entclip.cli.named import named_tables
from entclip.cli.options import AsJson, Csv, Device, Dtype, EngineName, Quiet, Set
from entclip.cli.output import Output
from entclip.support.errors import SpecError

if TYPE_CHECKING:
    from entclip.experiments.experiment import Experiment
    from entclip.objectives.base import Objective


def compare(
    first: Annotated[str, typer.Argument(help="Folder of a finished run; with --objectives or --all an experiment.")],
    second: Annotated[Path | None, typer.Argument(help="Folder of another run.", show_default="none")] = None,
    objectives: Annotated[
        str | None,
        typer.Option(
            "--objectives",
            metavar="NAME,NAME",
            help='Objectives, the first for reference: "clip,sapo,clip(low=.2,high=.28)".',
            show_default="two runs",
        ),
    ] = None,
    controllers: Annotated[
        str | None,
        typer.Option(
            "--controllers",
            metavar="NAME,NAME",
            help='Rules that move the first objective, or the clip: "pi,predictive(sides=both)".',
            show_default="none",
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every published objective that the engine serves.")] = False,
    engine: EngineName = "sampled",
    device: Device = "cpu",
    dtype: Dtype = "float64",
    set_: Set = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for comparison.json and comparison.png.", show_default="none written")
    ] = None,
    as_json: AsJson = False,
    csv: Csv = None,
    quiet: Quiet = False,
) -> None:
    """Set objectives and controllers side by side on one experiment, or two finished runs: differences with their standard
    errors."""
    if objectives is None and controllers is None and not every:
        _two_runs(first, second, quiet)
        return
    if second is not None:
        raise SpecError(
            f"--objectives, --controllers and --all compare on one experiment, not two, {first} and {second}: leave one out."
        )
    if objectives is not None and every:
        raise SpecError("--objectives and --all exclude each other: leave one out.")
    output = Output(as_json, csv, quiet)
    chosen = None if every else _named(objectives or "clip")
    _contest(first, chosen, named_tables("--controllers", controllers or ""), (engine, device, dtype), set_ or [], out, output)


def _two_runs(first: str, second: Path | None, quiet: bool) -> None:
    from entclip.ledger.folder import read_summary
    from entclip.report.difference import comparison_grid

    if second is None:
        raise SpecError(
            f"one run cannot be compared: give the folder of another, or set objectives side by side on an experiment with "
            f"entclip compare {first} --objectives clip,none."
        )
    Output(quiet=quiet).show(comparison_grid(read_summary(Path(first)), read_summary(second)))


def _named(text: str) -> dict[str, Objective]:
    """The objectives of "clip,gppo(low=.1),none" by what stands there."""
    from entclip.objectives.catalogue import objective

    tables = named_tables("--objectives", text)
    return {label: objective(table.pop("kind"), **table) for label, table in tables.items()}


def _served(engine: str, experiment: Experiment) -> tuple[dict[str, Objective], dict[str, str]]:
    """Every published objective with its defaults that the engine serves, the clip first; and why others do not fit."""
    from entclip.engines.registry import facts_of
    from entclip.engines.serving import refuse_unfit, serves
    from entclip.objectives.catalogue import PUBLISHED, objective

    every = {name: objective(name) for name in ("clip", *(n for n in PUBLISHED if n != "clip"))}
    served, unfit = {name: found for name, found in every.items() if serves(facts_of(engine), found)}, {}
    for name, found in served.items():
        try:
            refuse_unfit(facts_of(engine), experiment, found)
        except SpecError as error:
            unfit[name] = str(error)
    return {name: found for name, found in served.items() if name not in unfit}, unfit


def _contest(
    name: str,
    named: dict[str, Objective] | None,
    rules: dict[str, dict[str, Any]],
    machine: tuple[str, str, str],
    set_: list[str],
    out: Path | None,
    output: Output,
) -> None:
    from dataclasses import replace

    from entclip.engines.facts import updates_of
    from entclip.engines.registry import facts_of
    from entclip.experiments.load import load
    from entclip.report.contest import contest_figure, contest_grid
    from entclip.report.grid import causes_grid
    from entclip.report.style import write_figure
    from entclip.runs.comparison import compare, lined_up
    from entclip.runs.foresight import foresee
    from entclip.support.files import prepare_folder, to_json, write_atomic
    from entclip.support.foresight import announced

    experiment, (engine, device, dtype) = load(name, set_), machine
    facts_of(engine).refuse_unloadable()
    chosen, unfit = _served(engine, experiment) if named is None else (named, {})
    lined_up(experiment, chosen, engine, rules)
    if out is not None:
        prepare_folder(out, ("comparison.json", "comparison.png"))
    per_arm = updates_of(experiment) // len(experiment.arm)
    number = len(chosen) + len(rules)
    size = foresee(experiment, engine, device, dtype)
    about = announced(replace(size, seconds=size.seconds * number / len(experiment.arm)))
    first = ", ".join(filter(None, (f"{number} objectives, {per_arm:,} updates each", about)))
    with output.progress(experiment.name, per_arm * number, first) as advance:
        found = compare(
            experiment, chosen, engine, controllers=rules, device=device, dtype=dtype, progress=lambda arm, done, of: advance()
        )
    summary = found.summary()
    if out is not None:
        write_atomic(out / "comparison.json", to_json(summary).encode())
        write_figure(contest_figure(summary), out / "comparison.png")
    if output.machine(lambda: summary, lambda: summary["comparison"]):
        return
    output.show(contest_grid(summary), causes_grid(summary))
    output.warn(unheld(summary))
    output.warn(f"{name} is not in the tables: {why}" for name, why in {**found.failed, **unfit}.items())
    if out is not None:
        output.say(f"comparison.json and comparison.png are in {out}")
