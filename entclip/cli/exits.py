"""How a command ends: its exit code and, where something went wrong, one message on standard error."""

from __future__ import annotations

import codecs
import contextlib
import errno
import os
import re
import signal
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import NoReturn, TextIO

import typer

from entclip.cli.output import error_width
from entclip.support.sentences import wrapped

__all__ = ["run_command"]

BAD_INPUT, INTERNAL, STORAGE, INTERRUPTED, CLOSED_PIPE = 2, 70, 74, 130, 141
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
_PATIENCE = 0.5  # seconds that an interrupt leaves to running threads for ending at their next step
_ALARM = getattr(signal, "SIGALRM", None)  # Windows has none
_ASCII = {"±": "+-", "→": "->", "…": "...", "─": "-", "━": "-", "–": "-"}
_NO_ROOM = ("allocate memory", "out of memory", "can't start new thread", "failed to map segment")
_LONGEST = 200  # characters of a word in a message: a path or a name that somebody gave
_interrupted = False  # not an Event: its lock may be held where a second interrupt comes in


def run_command(app: typer.Typer) -> NoReturn:
    """Run the command that the arguments name, and leave the process with its exit code."""
    if not sys.warnoptions:  # unless asked for: what a library says about its next release is no matter of the run
        warnings.simplefilter("ignore", FutureWarning)
    global _interrupted
    _degrade()
    _interrupted = False
    before = signal.signal(signal.SIGINT, _on_interrupt)
    try:
        code = _invoke(app)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        if _interrupted:  # swallowed in the last step
            _leave_interrupted()
    except BaseException as error:
        # A module that was interrupted while it was imported may have turned the interrupt into another error.
        if _interrupted:
            _leave_interrupted()
        code = _code_of(error)
    finally:
        signal.signal(signal.SIGINT, before)
    sys.exit(code)


def _invoke(app: typer.Typer) -> int:
    command = typer.main.get_command(app)
    if "_ENTCLIP_COMPLETE" in os.environ:
        command(prog_name="entclip")  # a shell asks what may follow; this never returns
    try:
        # Not command(): it turns an interrupt and a closed pipe into exit codes of its own, without a word.
        with command.make_context("entclip", sys.argv[1:]) as context:
            command.invoke(context)
    except typer.Exit as left:
        return int(left.exit_code)
    return 0


def _code_of(error: BaseException) -> int:
    """The exit code for what ended the command, after saying what it was."""
    # Rich answers a closed pipe by SystemExit(1), which is the code for a rejected theory.
    if isinstance(error, BrokenPipeError) or isinstance(error.__context__, BrokenPipeError):
        _forget_output()
        return CLOSED_PIPE
    if not isinstance(error, Exception):
        raise error
    # Usage errors are click's, which typer may carry inside itself: they are known by their way to show themselves.
    if hasattr(error, "show") and hasattr(error, "exit_code"):
        if hasattr(error, "message"):
            error.message = _shortened(error.message)
        error.show()
        return BAD_INPUT
    if isinstance(error, OSError):
        # Of the system, not of the input: a full disk, a limit, a permission.
        _forget_output(sys.stdout)
        full = error.errno in _FULL and not error.filename
        return _say(f"error: {f'the output cannot be written: {error.strerror}.' if full else error}", STORAGE)
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError | ImportError) and any(sign in str(error) for sign in _NO_ROOM)
    ):
        detail = next(iter(str(error).splitlines()), "")
        cause = f"error: out of memory{f' ({detail})' if detail else ''}"
        return _say(f"{cause}. Use fewer contexts, replicas or actions, a smaller batch, or a machine with more.", BAD_INPUT)
    if isinstance(error, EOFError) and str(error).startswith("marshal data"):
        # Python keeps half of a compiled module where the disk was full, and reads that ever after.
        place = Path(__file__).parents[1]
        return _say(f"error: a module that Python had compiled is cut off: delete the folders __pycache__ in {place}.", STORAGE)
    if isinstance(error, ValueError) or (isinstance(error, ImportError) and "install" in str(error)):
        return _say(f"error: {error}", BAD_INPUT)
    import traceback

    traceback.print_exception(error)
    return _say("internal error: please report it with the lines above.", INTERNAL)


def _say(text: str, code: int) -> int:
    """Print a message; at a terminal in lines that fit, each of its own lines for itself and as deep in as it is."""
    width, lines = error_width(), _shortened(text).splitlines()
    if width is not None:
        deep = [(line[: len(line) - len(line.lstrip())], line.lstrip()) for line in lines]
        lines = [part for indent, line in deep for part in wrapped(line, width, indent) or [""]]
    with contextlib.suppress(OSError):
        typer.echo("\n".join(lines), err=True)
    return code


def _shortened(text: str) -> str:
    """Cut the middle out of words that no reader wants whole."""
    return re.sub(rf"\S{{{_LONGEST + 1},}}", lambda found: f"{found[0][:100]}...{found[0][-60:]}", text)


def _on_interrupt(signum: int, frame: object) -> None:
    global _interrupted
    if _interrupted:  # whoever asks twice does not want to wait
        _leave_interrupted()
    _interrupted = True
    if _ALARM is not None:  # compiled code may swallow the error (numpy 1.26 does) and go on: the alarm asks again
        signal.signal(_ALARM, _on_interrupt)
        signal.setitimer(signal.ITIMER_REAL, 2 * _PATIENCE)
    raise KeyboardInterrupt


def _leave_interrupted() -> NoReturn:
    """Say so and end the process, whatever its threads are doing: a library's own threads would have it wait or abort.

    It is called wherever a second signal comes in: no error may get past it, and the message takes the way around a stream that
    is just being written.
    """
    try:
        for signum in (signal.SIGINT, _ALARM or signal.SIGINT):
            signal.signal(signum, signal.SIG_IGN)
        _flush(sys.stderr)
        os.write(2, b"interrupted. A run with --out goes on from its last whole rollout when the same command is given again.\n")
        until = time.monotonic() + _PATIENCE
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and not thread.daemon:
                with contextlib.suppress(RuntimeError):  # it is just being started
                    thread.join(max(0.0, until - time.monotonic()))
        _flush(sys.stdout)
    finally:
        os._exit(INTERRUPTED)


def _flush(stream: TextIO) -> None:
    with contextlib.suppress(OSError, ValueError, RuntimeError):  # RuntimeError: a signal came in while it was being written
        stream.flush()


def _forget_output(*streams: TextIO) -> None:
    """Send what is still buffered nowhere: Python would try to write it again when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in streams or (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
            continue
        with contextlib.suppress(OSError, ValueError):
            os.dup2(nowhere, stream.fileno())


def _degrade() -> None:
    """Print what an encoding cannot show as the nearest ASCII, instead of failing."""

    def nearest(error: UnicodeError) -> tuple[str, int]:
        if not isinstance(error, UnicodeEncodeError):
            raise error
        return "".join(_ASCII.get(c, "?") for c in error.object[error.start : error.end]), error.end

    codecs.register_error("entclip", nearest)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="entclip")
