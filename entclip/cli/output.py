"""What commands print: the console, the progress bar, a run's tables, its exit code."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from entclip.experiments.experiment import Experiment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from entclip.runs.result import Ledger


_Machine = tuple[str, str, str]  # engine, device, dtype
_EXIT = {"agree": 0, "reject": 1, "inconclusive": 3}


def console(stderr: bool = False) -> Any:
    from rich.console import Console

    # Tables are wide; a pipe has no width of its own.
    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=160)


@contextmanager
def progress(experiment: Experiment, quiet: bool) -> Iterator[Callable[[str, int, int], None] | None]:
    if quiet:
        yield None
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f}%"),
        TimeRemainingColumn(),
        console=console(stderr=True),
    ) as bar:
        u = experiment.update
        per_arm = [c.update.rollouts * c.update.epochs * c.update.minibatches * len(c.arm) for _, c in experiment.cases()]
        task = bar.add_task(f"{experiment.name} ({u.geometry})", total=sum(per_arm))
        yield lambda arm, done, total: bar.advance(task)


def execute(experiment: Experiment, machine: _Machine, out: Path | None, as_json: bool, judged: bool) -> Ledger:
    """Run, save, print, draw; exit by the verdict when judged."""
    from entclip.experiments.start import takeover_ratio
    from entclip.ledger.verdict import verdict_of
    from entclip.runs.runner import run as run_experiment
    from entclip.support.files import prepare_folder, to_json

    if out is not None:
        prepare_folder(out, ("figure.png",))
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
    with progress(experiment, quiet=as_json) as advance:
        ledger = run_experiment(experiment, engine, device=device, dtype=dtype, out=out, progress=advance)
    summary = ledger.summary()
    if as_json:
        typer.echo(to_json(summary))
    else:
        show(summary)
    if out is not None:
        from entclip.report import figure

        figure(summary, out / "figure.png")
        if not as_json:
            console().print(f"Ledger, summary and figure are in {out}")
    verdict = verdict_of(summary).verdict
    if judged:
        if not as_json:
            console().print(f"Verdict: [bold]{verdict}[/bold]")
        raise typer.Exit(_EXIT[verdict])
    return ledger


def show(summary: dict[str, Any]) -> None:
    from entclip.report import tables

    terminal = console()
    for table in tables(summary):
        terminal.print(table)
    for name, arm in summary["arms"].items():
        if arm["collapses"]:
            terminal.print(
                f"[yellow]{name}: {arm['collapses']} contexts collapsed (lost over 1 nat and half their entropy) and carry "
                f"the mean; the median change is {arm['measured_median']:+.4f} nats."
            )
