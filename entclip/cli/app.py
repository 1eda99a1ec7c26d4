"""The command line: drift, list, run, check, report, bench, snapshot, compare. Exit codes: 0 done; 2 bad input; 70 internal;
74 a file that cannot be written or read; 130 interrupted.

check (and drift --check) also: 1 theory rejected, 3 inconclusive.
"""

from __future__ import annotations

import sys
import warnings

import typer

from entclip.cli import forecast, models, simulate, trainers
from entclip.cli.reproduce import reproduce

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="How PPO/GRPO clipping moves policy entropy."
)
for command in (
    simulate.drift, simulate.run, simulate.check, forecast.predict, forecast.noise, forecast.neutral, trainers.lint,
    trainers.convert, simulate.report, models.llm, models.ledger, simulate.compare, simulate.bench, models.snapshot, reproduce,
):  # fmt: skip
    app.command()(command)
app.command("list")(simulate.list_experiments)
app.command("map")(forecast.map_)


def main() -> None:
    """Run a command: bad input exits with 2 and one message, a file that cannot be written or read with 74, an interrupt with
    130, a defect with 70 and a traceback."""
    if not sys.warnoptions:  # unless asked for: what a library says about its next release is no matter of the run
        warnings.simplefilter("ignore", FutureWarning)
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
    except OSError as error:
        # Of the system, not of the input: a full disk, a limit, a permission.
        typer.echo(f"error: {error}", err=True)
        sys.exit(74)
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
