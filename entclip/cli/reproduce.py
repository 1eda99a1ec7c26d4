"""The command `entclip reproduce`: every run, table and figure of docs/findings.md into one folder, with a manifest."""

from __future__ import annotations

import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from entclip.cli.options import Quiet
from entclip.cli.output import Output
from entclip.support.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from entclip.findings.data import Catalogue, Finding, RunSpec
    from entclip.runs.runner import Progress

__all__ = ["reproduce"]


def reproduce(
    names: Annotated[list[str] | None, typer.Argument(help="Findings or runs; see --list.", show_default="all of them")] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for page, figures, data, runs and manifest.json.", show_default="required"),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Smaller runs, no language model: under five minutes on two cores.")
    ] = False,
    reuse: Annotated[
        list[Path] | None,
        typer.Option(
            "--reuse",
            help="Finished runs made elsewhere, taken where their digest is the same: run folders, summaries.",
            show_default="none",
        ),
    ] = None,
    show: Annotated[bool, typer.Option("--list", help="Only list findings and runs.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON instead of tables.")] = False,
    quiet: Quiet = False,
) -> None:
    """Make every table and figure of the findings again. Interrupted, the same command goes on where it stopped."""
    from entclip.findings.data import load_catalogue
    from entclip.support.files import to_json

    catalogue, output = load_catalogue(), Output(as_json, quiet=quiet)
    chosen = catalogue.chosen(names or [])
    if show:
        _list(catalogue, quick, output)
        return
    if out is None:
        raise SpecError("entclip reproduce writes a folder: give one with --out, for example --out results/findings.")
    manifest = _make(catalogue, chosen, names or [], out, quick, reuse or [], output)
    if as_json:
        typer.echo(to_json(manifest))


def _make(
    catalogue: Catalogue, chosen: list[RunSpec], names: list[str], out: Path, quick: bool, reuse: list[Path], output: Output
) -> dict[str, Any]:
    from entclip.findings.figures import draw
    from entclip.findings.kept import write_data
    from entclip.findings.manifest import manifest_of, refuse_run_folder, versions
    from entclip.findings.page import render
    from entclip.findings.runs import made_before, make, reusable
    from entclip.findings.tables import contrasts_csv
    from entclip.support.files import prepare_folder, to_json, write_atomic
    from entclip.support.lock import folder_lock

    start = time.perf_counter()
    elsewhere = reusable(reuse)
    prepare_folder(out, ("findings.md", "manifest.json"))
    refuse_run_folder(out)
    items, made, found = [], [], versions()
    with folder_lock(out):
        with _progress(chosen, quick, output) as (report, say):
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
    if output.tables:
        _show_findings(catalogue, catalogue.asked(names), results, output)
        output.say(f"findings.md, figures, data, runs and manifest.json are in {out} ({manifest['wall_s']:.0f} s)")
    return manifest


@contextmanager
def _progress(
    chosen: list[RunSpec], quick: bool, output: Output
) -> Iterator[tuple[Callable[[RunSpec], Progress | None], Callable[[Any], None]]]:
    """Show progress over the updates of all runs, and a line when each of them is done."""
    from entclip.runs.foresight import foresee
    from entclip.support.foresight import Size, announced

    def updates(spec: RunSpec) -> int:
        cases = [case for _, case in spec.spec(quick).cases()]
        return sum(c.update.rollouts * c.update.epochs * c.update.minibatches * len(c.arm) for c in cases)

    # Exact computations and records of the pretrained model have no updates.
    simulated = [s for s in chosen if s.exact is None and s.pretrained is None and not (quick and s.quick_skip)]
    seconds = sum(foresee(spec.spec(quick), spec.engine, dtype=spec.dtype).seconds for spec in simulated)
    number = f"{len(chosen)} run{'' if len(chosen) == 1 else 's'}"
    first = ", ".join(filter(None, (number, announced(Size({}, seconds, "")))))
    with output.progress("reproduce", sum(map(updates, simulated)), first) as advance:

        def report(spec: RunSpec) -> Progress:
            return lambda arm, done, of: advance()

        def say(item: Any) -> None:
            seconds = (item.data or {}).get("wall_s")
            took = "" if item.status != "run" or seconds is None else f" {seconds:.0f} s"
            if not output.quiet:
                typer.echo(f"{item.name}: {item.status}{took}{f' ({item.detail})' if item.detail else ''}", err=True)

        yield report, say


def _show_findings(catalogue: Catalogue, asked: list[Finding], results: dict[str, Any], output: Output) -> None:
    from entclip.findings.verdicts import count, finding_verdict, judge_finding
    from entclip.report.grid import text_grid

    rows = []
    for finding in asked:
        judged = judge_finding(catalogue.contrasts(finding), results)
        rows.append((finding.title, finding_verdict(judged), " / ".join(str(n) for n in count(judged))))
    columns = ("finding", "verdict", "reproduced / contradicted / open / not run")
    missing = dict.fromkeys(c.run for f in asked for c in catalogue.contrasts(f) if c.run not in results)
    notes = [f"Not run, and so not judged: {', '.join(missing)}."] if missing else []
    output.show(text_grid("Findings", columns, rows, prose=("finding", "verdict"), notes=notes))


def _list(catalogue: Catalogue, quick: bool, output: Output) -> None:
    from entclip.findings.runs import command_of
    from entclip.report.grid import text_grid
    from entclip.support.files import to_json

    findings = [
        {"finding": f.id, "title": f.title, "source": f.source, "runs": sorted({c.run for c in catalogue.contrasts(f)})}
        for f in catalogue.findings
    ]
    runs = [
        {"run": r.name, "regime": r.regime, "command": command_of(r, quick), "skipped": r.quick_skip if quick else ""}
        for r in catalogue.run
    ]
    if not output.tables:
        typer.echo(to_json({"findings": findings, "runs": runs}))
        return
    for title, rows in (("Findings", findings), ("Runs", runs)):
        columns = [name for name in rows[0] if any(row[name] for row in rows)]
        texts = ([", ".join(v) if isinstance(v := row[name], list) else str(v) for name in columns] for row in rows)
        output.show(text_grid(title, columns, texts, prose=columns[1:]))
