"""A command line in the process of the test: the entry point, exit codes and streams of a new interpreter without its start."""

from __future__ import annotations

import contextlib
import io
import sys
from dataclasses import dataclass

import pytest

from entclip.cli.app import main

__all__ = ["Ended", "entclip"]


@dataclass(frozen=True)
class Ended:
    """What a command left, under the names of subprocess.CompletedProcess."""

    returncode: int
    stdout: str
    stderr: str


def entclip(*arguments: object) -> Ended:
    """Run `entclip ARGUMENTS` where no terminal is, 80 columns wide."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2)]
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setattr(sys, "argv", ["entclip", *map(str, arguments)])
        patch.setenv("COLUMNS", "80")
        stack.enter_context(contextlib.redirect_stdout(streams[0]))
        stack.enter_context(contextlib.redirect_stderr(streams[1]))
        with pytest.raises(SystemExit) as left:
            main()
    for stream in streams:
        stream.flush()
    assert isinstance(left.value.code, int)
    return Ended(left.value.code, *(stream.buffer.getvalue().decode() for stream in streams))  # type: ignore[attr-defined]
