"""Commands about what is there: list, init, report."""

from __future__ import annotations

import shlex
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from entclip.cli.options import AsJson, Csv, Quiet
from entclip.cli.output import Output
from entclip.support.errors import SpecError


def list_experiments(as_json: AsJson = False, csv: Csv = None, quiet: Quiet = False) -> None:
    """List the experiments that ship with entclip."""
    from entclip.experiments.load import experiment_names, load
    from entclip.report.grid import text_grid

    output = Output(as_json, csv, quiet)
    found = [(name, load(name)) for name in experiment_names()]
    rows = [{"name": n, "claims": e.claims, "description": e.description} for n, e in found]
    if output.machine(lambda: rows, lambda: [r | {"claims": " ".join(r["claims"])} for r in rows]):
        return
    columns = ("experiment", "claims", "cases x arms", "what it shows")
    shown = ((n, " ".join(e.claims), f"{len(e.cases())} x {len(e.arm)}", e.description) for n, e in found)
    output.show(text_grid("Experiments", columns, shown, prose=("what it shows",)))


def init(
    file: Annotated[Path, typer.Argument(help="The file to write; one that exists is left alone.")] = Path("experiment.toml"),
    quiet: Quiet = False,
) -> None:
    """Write an experiment to start from: every section, with comments. It runs as it is, in a few seconds."""
    from entclip.support.files import prepare_file, write_atomic

    if file.exists() or file.is_symlink():
        raise SpecError(f"{file} exists and is left alone: give another name, or remove it first.")
    prepare_file(file)
    text, name = resources.files("entclip.cli").joinpath("start.toml").read_text("utf-8"), shlex.quote(str(file))
    if name.isprintable():  # a comment is one line
        text = text.replace("experiment.toml", name)
    write_atomic(file, text.encode())
    Output(quiet=quiet).say(f"{file} is written. Run it: entclip run {name}")


def report(
    run_folder: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    out: Annotated[Path | None, typer.Option("--out", help="Where the files go.", show_default="the run folder")] = None,
    quiet: Quiet = False,
) -> None:
    """Write the report of a finished run: tables here; report.html (one page, nothing else needed), report.md, figures."""
    from entclip.cli.execute import show_run
    from entclip.ledger.folder import read_summary
    from entclip.report import write_report

    output, summary, target = Output(quiet=quiet), read_summary(run_folder), out or run_folder
    files = write_report(run_folder, target)
    show_run(summary, output)
    output.say(f"{', '.join(files)} are in {target}")
