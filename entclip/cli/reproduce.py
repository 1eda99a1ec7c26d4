"""The command `entclip reproduce`: every run, table and figure of docs/findings.md into one folder, with a manifest."""

from __future__ import annotations

import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from entclip.support.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from entclip.findings.data import Catalogue, RunSpec
    from entclip.runs.runner import Progress as Report

__all__ = ["reproduce"]


def reproduce(
    names: Annotated[list[str] | None, typer.Argument(help="Findings or runs (default: all); see --list.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for page, figures, data, runs and manifest.json.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Smaller runs, no language model: under five minutes on two cores.")
    ] = False,
    reuse: Annotated[
        list[Path] | None,
        typer.Option(
            "--reuse", help="Finished runs made elsewhere, taken where their digest is the same: run folders, summaries."
        ),
    ] = None,
    show: Annotated[bool, typer.Option("--list", help="Only list findings and runs.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON instead of tables.")] = False,
) -> None:
    """Make every table and figure of the findings again. Interrupted, the same command goes on where it stopped."""
    from entclip.findings.data import load_catalogue
    from entclip.support.files import to_json

    catalogue = load_catalogue()
    chosen = catalogue.chosen(names or [])
    if show:
        _show_catalogue(catalogue, quick, as_json)
        return
    if out is None:
        raise SpecError("entclip reproduce writes a folder: give one with --out, for example --out results/findings.")
    manifest = _make(catalogue, chosen, names or [], out, quick, reuse or [], as_json)
    if as_json:
        typer.echo(to_json(manifest))


def _make(
    catalogue: Catalogue, chosen: list[RunSpec], names: list[str], out: Path, quick: bool, reuse: list[Path], quiet: bool
) -> dict[str, Any]:
    from entclip.findings.figures import draw
    from entclip.findings.manifest import manifest_of, refuse_run_folder, versions
    from entclip.findings.page import render
    from entclip.findings.runs import made_before, make, reusable, write_data
    from entclip.findings.tables import contrasts_csv
    from entclip.support.files import prepare_folder, to_json, write_atomic
    from entclip.support.lock import folder_lock

    start = time.perf_counter()
    elsewhere = reusable(reuse)
    prepare_folder(out, ("findings.md", "manifest.json"))
    refuse_run_folder(out)
    items, made, found = [], [], versions()
    with folder_lock(out):
        with progress(chosen, quick, quiet) as (report, say):
            for spec in chosen:
                item = make(spec, quick, out, elsewhere=elsewhere, progress=report, versions=found)
                items.append(item)
                say(item)
                if item.data is not None:
                    made.append(write_data(item.data, out))
            items += made_before(catalogue, quick, out, [item.name for item in items])
            results = {item.name: item.data for item in items if item.data is not None}
            page, table = out / "findings.md", out / "data" / "findings" / "contrasts.csv"
            write_atomic(page, render(catalogue, results).encode())
            write_atomic(table, contrasts_csv(catalogue, results).encode())
            made += [page, table, *draw(catalogue, results, out / "figures")]
        words = ["entclip reproduce", *names, *(["--quick"] if quick else []), *(f"--reuse {p}" for p in reuse), f"--out {out}"]
        manifest = manifest_of(out, words, quick, items, made, time.perf_counter() - start)
        write_atomic(out / "manifest.json", to_json(manifest).encode())
    if not quiet:
        _show_findings(catalogue, results)
        typer.echo(f"findings.md, figures, data, runs and manifest.json are in {out} ({manifest['wall_s']:.0f} s)")
    return manifest


@contextmanager
def progress(
    chosen: list[RunSpec], quick: bool, quiet: bool
) -> Iterator[tuple[Callable[[RunSpec], Report | None], Callable[[Any], None]]]:
    """Show a bar per run and a line when it is done; nothing with --json."""
    if quiet:
        yield (lambda spec: None), (lambda item: None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f}%"), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        whole = bar.add_task("all runs", total=len(chosen))
        part = bar.add_task("", total=None, visible=False)

        def report(spec: RunSpec) -> Report:
            cases = [case for _, case in spec.spec(quick).cases()]
            total = sum(c.update.rollouts * c.update.epochs * c.update.minibatches * len(c.arm) for c in cases)
            bar.reset(part, total=total, description=spec.name, visible=True)
            return lambda arm, done, of: bar.advance(part)

        def say(item: Any) -> None:
            seconds = (item.data or {}).get("wall_s")
            took = "" if item.status != "run" or seconds is None else f" {seconds:.0f} s"
            console.print(f"{item.name}: {item.status}{took}{f' ({item.detail})' if item.detail else ''}", highlight=False)
            bar.advance(whole)

        yield report, say


def _show_findings(catalogue: Catalogue, results: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from entclip.findings.verdicts import count, finding_verdict, judge_finding

    table = Table("finding", "verdict", "reproduced / contradicted / open / not run", title="Findings")
    for finding in catalogue.findings:
        judged = judge_finding(catalogue.contrasts(finding), results)
        table.add_row(finding.title, finding_verdict(judged), " / ".join(str(n) for n in count(judged)))
    Console().print(table)


def _show_catalogue(catalogue: Catalogue, quick: bool, as_json: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    from entclip.findings.runs import command_of
    from entclip.support.files import to_json

    findings = [
        {"finding": f.id, "title": f.title, "source": f.source, "runs": sorted({c.run for c in catalogue.contrasts(f)})}
        for f in catalogue.findings
    ]
    runs = [
        {"run": r.name, "regime": r.regime, "command": command_of(r, quick), "skipped": r.quick_skip if quick else ""}
        for r in catalogue.run
    ]
    if as_json:
        typer.echo(to_json({"findings": findings, "runs": runs}))
        return
    for title, rows in (("Findings", findings), ("Runs", runs)):
        table = Table(*rows[0], title=title)
        for row in rows:
            table.add_row(*(", ".join(v) if isinstance(v, list) else str(v) for v in row.values()))
        Console().print(table)
