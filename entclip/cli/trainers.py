"""Commands about other trainers' configurations: lint and convert."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from entclip.cli.options import AsJson, Library


def lint(
    file: Annotated[Path, typer.Argument(help="A trainer's YAML, JSON or TOML, or a script with its command line.")],
    library: Library = None,
    everything: Annotated[bool, typer.Option("--all", help="Every finding in full, every setting, all unknown keys.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 if a finding is an error or the clip cannot act.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say whether a trainer's clip is alive, which epsilon is where, which traps apply, which way it moves entropy."""
    from entclip.cli.output import console
    from entclip.integrations.lint.report import lint_command
    from entclip.support.files import to_json

    report = lint_command(file, library)
    typer.echo(to_json(report.to_json()) if as_json else report.to_text(console().width, everything=everything))
    if strict and report.amiss:
        raise typer.Exit(1)


def convert(
    file: Annotated[
        Path | None, typer.Argument(help="A trainer's configuration; or give widths.", show_default="the widths given")
    ] = None,
    to: Annotated[
        str, typer.Option("--to", help="trl, verl, openrlhf, prime-rl, ms-swift, axolotl, nemo-rl or entclip.")
    ] = "entclip",
    library: Library = None,
    eps_low: Annotated[float | None, typer.Option(help="Width below 1 (1: off).", show_default="0.2, or of the file")] = None,
    eps_high: Annotated[float | None, typer.Option(help="Width above 1 (inf: off).", show_default="0.2, or of the file")] = None,
    cap: Annotated[
        float | None,
        typer.Option(help="Dual clip: bound on the ratio of tokens with A < 0.", show_default="none, or of the file"),
    ] = None,
) -> None:
    """Write the same clip in another library's notation, with what that library cannot express in comments."""
    from entclip.integrations.lint.report import convert_command

    typer.echo(convert_command(file, to, library, eps_low, eps_high, cap))
