"""A case - a command line with its files, environment and limits - as data, and the sandbox that runs it."""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.robustness.inputs import make

ROOT = Path(__file__).resolve().parents[2]
CORE = (
    "numpy",
    "pandas",
    "pyarrow.parquet",
    "scipy.stats",
    "scipy.special",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
    "rich.table",
    "rich.progress",
    "rich.markup",
    "pydantic",
    "yaml",
    "entclip.__main__",
    "entclip.cli.execute",
    "entclip.engines.tabular.sampled",
    "entclip.integrations.lint.report",
    "entclip.prediction.maps.phase_map",
    "entclip.report.document",
    "entclip.report.explain",
    "entclip.report.page",
    "entclip.runs.runner",
)
TORCH = (*CORE, "torch", "safetensors.torch", "transformers.models.llama.modeling_llama")

POSIX = {"LC_ALL": "POSIX", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

GIB = 1 << 30
RESIDENT = 3 * GIB // 2  # of peak memory, libraries included
DATA = 5 * GIB // 4  # what a command finds free: it is to refuse what does not fit, or to say that it did not fit
CPU_SECONDS = 20  # a guard against hangs, not a measure of speed
WALL_SECONDS = 90  # on a machine that is shared


@dataclass(frozen=True)
class Case:
    """One command line. files: (path, operation of inputs.py, its arguments), made in this order inside the case's own folder.

    torch, posix: run in a server that has imported torch, or that was started in the POSIX locale with an ASCII terminal.
    stdout: "file", "closed" (a pipe whose reader has gone) or "full" (/dev/full).
    fresh: a new interpreter, for what is read when it starts.
    out: the run folder that the command writes, judged afterwards. must: "refused", "done" or "anything".
    """

    kind: str
    argv: tuple[str, ...]
    files: tuple[tuple[str, str, Mapping[str, Any]], ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    stdout: str = "file"
    fresh: bool = False
    flags: tuple[str, ...] = ()
    program: str = "entclip"
    limits: Mapping[str, float] = field(default_factory=dict)
    out: str | None = None
    must: str = "anything"
    torch: bool = False
    posix: bool = False

    def words(self) -> str:
        """The command as a shell would take it, for a report."""
        import shlex

        env = " ".join(f"{k}={v!r}" for k, v in self.env.items())
        text = shlex.join(["entclip", *self.argv])
        redirect = {"file": "", "closed": " | true", "full": " > /dev/full"}[self.stdout]
        return f"{env} {text}{redirect}".strip()


@dataclass(frozen=True)
class Outcome:
    """How a command ended. ended: "" by itself, "time" or "memory" where a limit ended it; peak in bytes.

    silent: seconds before its end in which it said nothing.
    """

    code: int
    out: str
    err: str
    ended: str
    peak: int
    seconds: float
    silent: float


class Server:
    """The client's side of server.py; safe to call from several threads, each call waits for its own command."""

    def __init__(self, modules: tuple[str, ...] = CORE, extra: Mapping[str, str] | None = None) -> None:
        env = environment(extra or {})
        command = [sys.executable, "-W", "ignore", "-m", "tests.robustness.server", *modules]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=env)
        self._lock, self._waiting, self._count = threading.Lock(), {}, 0  # type: ignore[var-annotated]
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n", "the server did not start"
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            answer = json.loads(line)
            self._waiting.pop(answer["id"]).put(answer)

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        reply: queue.Queue[dict[str, Any]] = queue.Queue()
        with self._lock:
            self._count += 1
            self._waiting[self._count] = reply
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps({**request, "id": self._count}).encode() + b"\n")
            self._process.stdin.flush()
        return reply.get(timeout=600)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=120)
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()


_PASSED_ON = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV")


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """A small environment that does not depend on whose shell it is."""
    kept = {k: os.environ[k] for k in _PASSED_ON if k in os.environ}
    fixed = {
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
        "MPLBACKEND": "agg",
        "ARROW_DEFAULT_MEMORY_POOL": "system",  # its own pool takes a GiB of addresses, which counts against DATA
        "HF_HUB_OFFLINE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",  # under a limit on sizes Python leaves half a file, which breaks later starts
    }
    return {**kept, **fixed, **extra}


class Sandbox:
    """Runs cases, each in a folder of its own below `root`; `templates` holds the finished runs that cases copy."""

    def __init__(self, root: Path, templates: Path) -> None:
        self.root, self.templates = root, templates
        self._servers: dict[tuple[bool, bool], Server] = {}
        self._lock = threading.Lock()

    def server(self, torch: bool, posix: bool) -> Server:
        with self._lock:
            if (torch, posix) not in self._servers:
                self._servers[torch, posix] = Server(TORCH if torch else CORE, POSIX if posix else {})
            return self._servers[torch, posix]

    def prepare(self, case: Case, folder: Path) -> Path:
        """The case's files, in folder/work; the command's working directory."""
        work = folder / "work"
        work.mkdir(parents=True)
        for path, operation, arguments in case.files:
            make(work / path, operation, dict(arguments), self.templates)
        return work

    def call(self, case: Case, folder: Path) -> Outcome:
        """Run one command in a prepared folder."""
        work = folder / "work"
        streams = {name: folder / name for name in ("stdout", "stderr")}
        limits: dict[str, Any] = {
            "cpu": CPU_SECONDS,
            "wall": WALL_SECONDS,
            "resident": RESIDENT,
            "address": 16 * GIB,
            "data": DATA,
        }
        limits |= {"fsize": None, "files": None, "interrupt": None, "kill": None} | dict(case.limits)
        request = {
            "argv": case.argv,
            "cwd": str(work),
            "env": environment({**(POSIX if case.posix else {}), **case.env}),
            "fresh": case.fresh,
            "flags": case.flags,
            "program": case.program,
            "stdout": case.stdout,
            "out": str(streams["stdout"]),
            "err": str(streams["stderr"]),
            **limits,
        }
        answer = self.server(case.torch, case.posix).ask(request)
        encoding = case.env.get("PYTHONIOENCODING") or "utf-8"  # the POSIX locale's is a part of it
        text = {n: p.read_bytes().decode(encoding, "replace") if p.exists() else "" for n, p in streams.items()}
        if not case.fresh:  # what a binding says when a forked interpreter ends
            text["stderr"] = text["stderr"].partition("nanobind: leaked")[0]
        measured = (answer[name] for name in ("ended", "peak", "seconds", "silent"))
        return Outcome(answer["code"], text["stdout"], text["stderr"], *measured)

    def run(self, case: Case, name: str) -> tuple[Outcome, Path]:
        """Prepare and call; the folder stays until `forget`."""
        folder = self.root / name
        self.prepare(case, folder)
        return self.call(case, folder), folder

    @staticmethod
    def forget(folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        for server in self._servers.values():
            server.close()
