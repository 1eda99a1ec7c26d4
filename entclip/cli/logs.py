"""The command about other trainers' logs: diagnose."""

from __future__ import annotations

import os
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from entclip.cli.options import AsJson

__all__ = ["FailOn", "diagnose"]


class FailOn(StrEnum):
    """Levels of findings."""

    info = "info"
    warn = "warn"
    error = "error"


def diagnose(
    logs: Annotated[list[Path], typer.Argument(help="What a trainer wrote: a file, or the folder of a run.", metavar="LOG...")],
    config: Annotated[
        Path | None,
        typer.Option(help="The trainer's configuration, as lint reads it.", show_default="widths .2, updates from the log"),
    ] = None,
    run: Annotated[
        str | None, typer.Option(help="Whose columns to read in a table of several runs.", show_default="the only one")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Each answer with its rows, numbers and reasons.")] = False,
    fail_on: Annotated[
        FailOn | None, typer.Option(help="Exit 1 if a finding is of this level or above.", show_default="never")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="HTML file to write, with the curves.", show_default="none written")] = None,
    follow: Annotated[bool, typer.Option(help="Read again as the log grows, until interrupted or --fail-on holds.")] = False,
    every: Annotated[float, typer.Option(help="Seconds between two looks with --follow.", min=0.1)] = 10.0,
    as_json: AsJson = False,
) -> None:
    """Say of a run's log whether its clip acts, on which side, and how much of the entropy change it can have caused."""
    from entclip.integrations.logs.reading import NoMetricError
    from entclip.support.errors import SpecError

    if html is not None and len(logs) > 1:
        raise SpecError(f"--html writes the page of one log, and {len(logs)} are given: give one.")
    if html is not None:
        from entclip.support.files import prepare_file

        prepare_file(html)
    seen: list[tuple[int, float]] = []
    while True:
        started = time.monotonic()
        state = [_state(log) for log in logs]
        if state != seen:
            seen = state
            try:
                failed = _once(logs, config, run, everything, fail_on, html, as_json)
            except NoMetricError as error:
                if not follow:
                    raise
                # A job that has just begun: its first row is still to come.
                typer.echo(f"waiting: {error}", err=True)
                failed = False
            if failed:
                raise typer.Exit(1)
        if not follow:
            return
        # A log that takes long to read is read less often: at most a tenth of the time goes into reading.
        time.sleep(max(every, 9 * (time.monotonic() - started)))


def _state(path: Path) -> tuple[int, float]:
    """Size and time of the last change, of a folder those of its files."""
    files = [Path(root, name) for root, _, names in os.walk(path) for name in names] if path.is_dir() else [path]
    found = []
    for file in files:
        try:
            status = file.stat()
        except OSError:
            continue
        found.append((status.st_size, status.st_mtime))
    return sum(size for size, _ in found), max((when for _, when in found), default=0.0)


def _once(
    logs: list[Path],
    config: Path | None,
    run: str | None,
    everything: bool,
    fail_on: FailOn | None,
    html: Path | None,
    as_json: bool,
) -> bool:
    """Diagnose every log once; whether --fail-on holds."""
    from entclip.cli.output import console
    from entclip.integrations.diagnose import diagnose as ask
    from entclip.integrations.diagnose.finding import LEVELS
    from entclip.support.files import to_json, write_atomic

    found = [ask(log, config=config, run=run) for log in logs]
    if as_json:
        typer.echo(to_json(found[0].to_json() if len(found) == 1 else [each.to_json() for each in found]))
    else:
        typer.echo("\n\n".join(each.to_text(console().width, everything=everything) for each in found))
    if html is not None:
        from entclip.integrations.diagnose.page import html as page

        write_atomic(html, page(found[0]).encode())
    return fail_on is not None and any(LEVELS.index(each.level) >= LEVELS.index(fail_on.value) for each in found)
