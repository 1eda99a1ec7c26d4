"""A warm process that runs command lines in forked children, each under its own limits.

Starting Python and importing numpy, pandas, pyarrow and matplotlib takes seconds; a fork takes milliseconds. The parent stays
single-threaded and starts no pool, so a fork is safe; a child leaves the loop and ends as an interpreter does (threads joined,
buffers flushed). Requests and answers are lines of JSON on standard input and output.
`python -m tests.robustness.server [MODULE ...]` starts one.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import io
import json
import locale
import os
import resource
import select
import signal
import sys
import time
from importlib import import_module
from typing import Any

_TICK = 0.01  # seconds between two looks at the children
_PAGE = resource.getpagesize()


def _limit(kind: int, value: int | None) -> None:
    if value is not None:
        resource.setrlimit(kind, (value, value))


class _Pipe:
    """From a child to a file: unlike a file, a pipe is not subject to the child's limit on the size of files."""

    def __init__(self, path: str) -> None:
        self.reader, self.writer = os.pipe()
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, 1 << 20)
        os.set_blocking(self.reader, False)
        self.file = open(path, "wb")  # noqa: SIM115
        self.heard = time.monotonic()

    def drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self.reader, 1 << 20):
                self.file.write(data)
                self.heard = time.monotonic()

    def close(self) -> None:
        self.drain()
        os.close(self.reader)
        self.file.close()


def _streams(request: dict[str, Any], pipes: list[_Pipe]) -> None:
    """Standard input empty; standard output as asked for; standard error, and standard output by default, into pipes."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    out, errors = (pipe.writer for pipe in pipes)
    if request["stdout"] == "closed":
        reader, out = os.pipe()
        os.close(reader)
    elif request["stdout"] == "full":
        out = os.open("/dev/full", os.O_WRONLY)
    os.dup2(out, 1)
    os.dup2(errors, 2)
    os.closerange(3, 256)


def _become(request: dict[str, Any], pipes: list[_Pipe]) -> None:
    """In the child: folder, streams, limits, environment. Returns only where the warm interpreter itself runs the command."""
    os.setsid()
    _streams(request, pipes)
    os.chdir(request["cwd"])
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, request["fsize"])
    _limit(resource.RLIMIT_NOFILE, request["files"])
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    resource.setrlimit(resource.RLIMIT_CPU, (request["cpu"], request["cpu"] + 5))
    _limit(resource.RLIMIT_AS, request["address"])
    _limit(resource.RLIMIT_DATA, request["data"])
    if request["fresh"]:
        words = [sys.executable, *request["flags"], "-m", request["program"], *request["argv"]]
        os.execve(sys.executable, [os.fsencode(w) for w in words], request["env"])
    os.environ.clear()
    os.environ.update(request["env"])
    # As an interpreter opens them when it starts.
    encoding = request["env"].get("PYTHONIOENCODING") or locale.getencoding()
    escape = "surrogateescape" if "PYTHONIOENCODING" not in request["env"] and encoding == "ANSI_X3.4-1968" else "strict"
    sys.stdin = io.TextIOWrapper(io.FileIO(0, "r", closefd=False), encoding=encoding)
    sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), encoding=encoding, errors=escape)
    sys.stderr = io.TextIOWrapper(
        io.FileIO(2, "w", closefd=False), encoding=encoding, errors="backslashreplace", line_buffering=True
    )
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr  # type: ignore[misc]
    sys.argv = ["entclip", *request["argv"]]
    sys.modules["__main__"].__package__ = ""  # or usage lines call the command by this module's name


def _resident(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


class _Child:
    def __init__(self, pid: int, request: dict[str, Any], pipes: list[_Pipe]) -> None:
        self.pipes = pipes
        self.pid, self.request, self.start, self.ended = pid, request, time.monotonic(), ""
        self.interrupted, self.seen, self.writes = False, 0, set[tuple[str, int]]()

    def watch(self) -> None:
        age, request = time.monotonic() - self.start, self.request
        if request["interrupt"] is not None and age > request["interrupt"] and not self.interrupted:
            self.interrupted = True
            os.kill(self.pid, signal.SIGINT)
        if age > request["wall"]:
            self._kill("time")
        elif request["kill"] is not None and self._written():
            self._kill("killed")
        elif _resident(self.pid) > request["resident"]:
            self._kill("memory")

    def _written(self) -> bool:
        """Whether the run has written its checkpoints as often as the request's `kill` says, and ticked on as it says."""
        writes, ticks = self.request["kill"]
        for folder, _, names in os.walk(self.request["cwd"]):
            for name in names if "checkpoint" in folder else ():
                with contextlib.suppress(OSError):
                    path = os.path.join(folder, name)
                    self.writes.add((path, os.stat(path).st_mtime_ns))
        self.seen += len(self.writes) >= writes
        return self.seen > ticks

    def _kill(self, reason: str) -> None:
        self.ended = self.ended or reason
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            os.kill(self.pid, signal.SIGKILL)

    def answer(self, status: int, usage: resource.struct_rusage) -> dict[str, Any]:
        code = os.waitstatus_to_exitcode(status)
        if code == -signal.SIGXCPU:
            self.ended = self.ended or "time"
        peak = usage.ru_maxrss * 1024
        if not self.ended and peak > self.request["resident"]:
            self.ended = "memory"
        return {
            "id": self.request["id"],
            "code": code,
            "ended": self.ended,
            "peak": peak,
            "seconds": time.monotonic() - self.start,
            "silent": time.monotonic() - max(pipe.heard for pipe in self.pipes),
        }


def serve() -> bool:
    """Answer requests until standard input ends; True in a child that is to run its command now."""
    children: dict[int, _Child] = {}
    pending, open_ = b"", True
    while open_ or children:
        ready = select.select([0] if open_ else [], [], [], _TICK)[0]
        if ready:
            data = os.read(0, 1 << 20)
            open_ = bool(data)
            pending += data
            *lines, pending = pending.split(b"\n")
            for line in lines:
                request = json.loads(line)
                pipes = [_Pipe(request["out"]), _Pipe(request["err"])]
                pid = os.fork()
                if pid == 0:
                    _become(request, pipes)
                    return True
                for pipe in pipes:
                    os.close(pipe.writer)
                children[pid] = _Child(pid, request, pipes)
        for pid, child in list(children.items()):
            for pipe in child.pipes:
                pipe.drain()
            done, status, usage = os.wait4(pid, os.WNOHANG)
            if done:
                del children[pid]
                for pipe in child.pipes:
                    pipe.close()
                os.write(1, json.dumps(child.answer(status, usage)).encode() + b"\n")
            else:
                child.watch()
    return False


if __name__ == "__main__":
    for module in sys.argv[1:]:
        import_module(module)
    from entclip.cli.app import main
    from entclip.support import progress

    # A line a second instead of one a minute: within its limits a long run is to be told from one that hangs.
    progress._EVERY = progress._FIRST = 1.0
    gc.collect()
    gc.freeze()
    os.write(1, b"ready\n")
    if serve():
        main()
    else:
        os._exit(0)  # libraries complain about what they leak when an interpreter ends
