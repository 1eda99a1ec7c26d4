"""The command line: every command in its group's file, and what all of them have.

Exit codes: 0 done; 2 bad input; 70 internal error; 74 a file or the output that cannot be written or read; 130 interrupted;
141 the reader of a pipe left. check (and drift --check) also: 1 theory rejected, 3 inconclusive.
"""

from __future__ import annotations

from typing import Annotated

import typer

from entclip.cli import folders, forecast, logs, models, simulate, trainers
from entclip.cli.compare import compare
from entclip.cli.exits import run_command
from entclip.cli.objectives import objectives
from entclip.cli.reproduce import reproduce

__all__ = ["app", "main"]

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]})
for command in (
    simulate.drift,
    simulate.run,
    simulate.check,
    forecast.predict,
    forecast.noise,
    forecast.neutral,
    trainers.lint,
    trainers.convert,
    logs.diagnose,
    folders.init,
    folders.report,
    models.llm,
    models.ledger,
    compare,
    simulate.bench,
    models.snapshot,
    reproduce,
    objectives,
):
    app.command()(command)
app.command("list")(folders.list_experiments)
app.command("map")(forecast.map_)


def _print_version(wanted: bool) -> None:
    if wanted:
        from entclip import __version__

        typer.echo(f"entclip {__version__}")
        raise typer.Exit


@app.callback()
def _entclip(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """How PPO/GRPO clipping moves policy entropy."""


def main() -> None:
    """Run the command and leave with its exit code."""
    run_command(app)


if __name__ == "__main__":
    main()
