"""How commands end: one exit code and one message for each way, the same under any locale, whatever threads are doing."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest
import typer

from entclip.cli.exits import run_command
from entclip.support.errors import SpecError, StorageError
from entclip.support.workers import in_threads

ENTCLIP = [sys.executable, "-m", "entclip"]
SMALL = ["policy.vocab=8", "policy.contexts=64", "update.batch=64", "update.minibatches=4", "update.rollouts=2"]
SET = [word for key in SMALL for word in ("--set", key)]


def ends(error, monkeypatch, capsys):
    """Exit code and standard error of a command that raises an error."""
    app = typer.Typer()

    @app.command()
    def command() -> None:
        raise error

    monkeypatch.setattr(sys, "argv", ["entclip"])
    with pytest.raises(SystemExit) as left:
        run_command(app)
    return left.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (typer.Exit(3), 3, ""),
        (SpecError("update.batch = 0: it must be at least 1."), 2, "error: update.batch = 0: it must be at least 1.\n"),
        (ImportError("it needs torch: pip install 'entclip[torch]'"), 2, "error: it needs torch: pip install 'entclip[torch]'\n"),
        (
            StorageError("cannot write a.csv: No space left on device."),
            74,
            "error: cannot write a.csv: No space left on device.\n",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), 74, "error: the output cannot be written: No space left on device.\n"),
        (PermissionError(errno.EACCES, "Permission denied", "b.npy"), 74, "error: [Errno 13] Permission denied: 'b.npy'\n"),
        (MemoryError(), 2, "error: out of memory. Use fewer contexts"),
        (MemoryError("Unable to allocate 9 TiB"), 2, "error: out of memory (Unable to allocate 9 TiB). Use fewer contexts"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), 2, "error: out of memory (DefaultCPUAllocator"),
        (RuntimeError("can't start new thread"), 2, "error: out of memory (can't start new thread)"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 141, ""),
        (SpecError("x" * 5000 + " is no file"), 2, "error: " + "x" * 100 + "..." + "x" * 60 + " is no file\n"),
        (
            EOFError("marshal data too short"),
            74,
            "error: a module that Python had compiled is cut off: delete the folders __pycache__",
        ),
        (EOFError("another"), 70, "internal error: please report it with the lines above.\n"),
        (RuntimeError("a defect"), 70, "internal error: please report it with the lines above.\n"),
        (ImportError("no module named x"), 70, "internal error: please report it with the lines above.\n"),
    ],
    ids=lambda v: type(v).__name__ if isinstance(v, Exception) else None,
)
def test_each_way_has_its_code_and_its_message(error, code, said, monkeypatch, capsys):
    # A closed pipe and a full disk send the rest of the output nowhere: not that of this process.
    monkeypatch.setattr("entclip.cli.exits.os.dup2", lambda *ends: None)
    got, err = ends(error, monkeypatch, capsys)
    assert got == code
    assert (said in err) if said else err == ""
    assert ("Traceback" in err) == (code == 70)


def test_a_message_breaks_between_words_at_a_terminal(monkeypatch, capsys):
    """No line is wider than the terminal, and no word is lost; in a pipe, which programs read, the message stays as it is."""
    text = "a width of 80 columns is what most terminals have, " * 4 + "\n  and a line that is deeper in stays deeper in " * 3
    monkeypatch.setattr("entclip.cli.exits.error_width", lambda: 60)
    code, err = ends(SpecError(text), monkeypatch, capsys)
    assert code == 2
    assert max(map(len, err.splitlines())) <= 60
    assert err.split() == f"error: {text}".split()
    assert "\n  and a line" in err
    monkeypatch.setattr("entclip.cli.exits.error_width", lambda: None)
    assert ends(SpecError(text), monkeypatch, capsys)[1] == f"error: {text}\n"


def test_a_pipe_that_rich_found_closed_is_no_rejected_theory(monkeypatch, capsys):
    error = SystemExit(1)
    error.__context__ = BrokenPipeError()
    monkeypatch.setattr("entclip.cli.exits.os.dup2", lambda *ends: None)
    assert ends(error, monkeypatch, capsys) == (141, "")


@pytest.mark.parametrize("command", ["list", "--help", f"check headline {' '.join(SET)} --quiet"])
@pytest.mark.parametrize("reader", ["true", "head -1"])
def test_a_reader_that_leaves_is_no_error_and_no_verdict(command, reader):
    line = f"{' '.join(ENTCLIP)} {command} | {{ {reader}; }}"
    # `true` may end before the command has begun, and `head` after all of a short output: then there was nothing to notice.
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, timeout=300)
    assert done.returncode in ((141,) if reader == "true" else (141, 0, 3))
    assert done.stderr == ""


@pytest.mark.parametrize("command", [["list"], ["--version"], ["check", "headline", *SET, "--csv", "-"]], ids=lambda c: c[0])
def test_standard_output_on_a_full_disk(command):
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(
            [*ENTCLIP, *command, *(["--quiet"] if len(command) > 2 else [])], stdout=full, stderr=subprocess.PIPE
        )
    assert done.stderr.decode() == "error: the output cannot be written: No space left on device.\n"
    assert done.returncode == 74


def test_an_interrupt_does_not_wait_for_running_work():
    """The work goes on until the test lets it end: whoever waits for it finds it finished."""
    begun, go, stopped, finished = (threading.Event() for _ in range(4))

    def work(item):
        if item == 0:
            begun.set()
            go.wait(60)
            finished.set()
        else:
            begun.wait()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        in_threads(work, [1, 0, 2, 3], 2, stopped.set)
    assert stopped.is_set()
    assert not finished.is_set()
    go.set()


def test_an_error_waits_for_running_work_and_the_rest_is_not_begun():
    done, go = [], threading.Event()

    def work(item):
        if item == 0:
            raise SpecError("bad")
        go.wait(60)
        done.append(item)

    with pytest.raises(SpecError, match="bad"):
        in_threads(work, range(50), 2, go.set)
    assert len(done) < 49
    before = list(done)
    assert [t for t in threading.enumerate() if t.name.startswith("ThreadPool") and t.is_alive()] == []
    assert done == before


_MOMENTS = {
    # A thread that has not begun cannot be waited for.
    "a thread is being started": """
threading._start_new_thread = lambda *work: signal.raise_signal(signal.SIGINT)
threading.Thread(target=print).start()""",
    "the first interrupt is being handled": """
try:
    signal.raise_signal(signal.SIGINT)
finally:
    signal.raise_signal(signal.SIGINT)""",
    "the process is being left": """
change, due = signal.signal, [signal.SIGINT]
def late(number, handler):
    if handler is signal.SIG_IGN and due:
        signal.raise_signal(due.pop())
    return change(number, handler)
signal.signal = late
signal.raise_signal(signal.SIGINT)""",
    "standard error is being written": """
class Slow(io.RawIOBase):
    def writable(self):
        return True
    def write(self, data):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
sys.stderr = io.TextIOWrapper(io.BufferedWriter(Slow()))
sys.stderr.write("progress")
sys.stderr.flush()""",
    "compiled code that goes on swallows it": """
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    time.sleep(1000)
raise ValueError("it went on to its end")""",
    "compiled code swallows it in the last step": """
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    pass""",
    "another error is made of it": """
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    raise ImportError("a module that did not finish") from None""",
}


@pytest.mark.parametrize("moment", _MOMENTS.values(), ids=_MOMENTS)
def test_an_interrupt_has_its_code_at_any_moment(moment):
    script = f"""
import io, signal, sys, threading, time, typer
from entclip.cli.exits import run_command
app = typer.Typer()
@app.command()
def command():
{textwrap.indent(moment, "    ")}
sys.argv = ["entclip"]
run_command(app)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 130, done.stderr
    assert done.stderr.startswith("interrupted. A run with --out goes on")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("command", [["neutral", "headline"], ["predict", "headline"], ["drift"], ["llm"]], ids=lambda c: c[0])
@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupt_is_said_and_has_its_code(command, times):
    with subprocess.Popen([*ENTCLIP, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr.readline()  # the first line of its progress: it is at work
        for _ in range(times):
            running.send_signal(signal.SIGINT)
        said = running.communicate(timeout=120)[1]
    assert running.returncode == 130, said
    assert said.splitlines()[-1].startswith("interrupted. A run with --out goes on")
    assert "Traceback" not in said


_LOCALES = {
    "POSIX": {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    "ascii": {"PYTHONIOENCODING": "ascii", "LANG": "C"},
}


@pytest.mark.slow
@pytest.mark.parametrize("locale", _LOCALES)
def test_every_command_works_where_only_ascii_can_be_printed(locale, tmp_path):
    """In one process, and with a folder whose name ASCII does not have; files that are read without an encoding are errors."""
    folder = tmp_path / "Größe"
    folder.mkdir()
    (folder / "grpo.yaml").write_text("epsilon: 0.2  # größer\nnum_generations: 8\n", encoding="utf-8")
    (folder / "mine.toml").write_text(
        'name = "mine"\ndescription = "größer ± 1"\n[policy]\nkind = "zipf"\nvocab = 8\ncontexts = 64\n'
        "[update]\nbatch = 64\nminibatches = 4\nrollouts = 1\n",
        encoding="utf-8",
    )
    mine, run = str(folder / "mine.toml"), str(folder / "run")
    commands = [
        ["--help"],
        ["drift", *SET, "--arm", "both"],
        ["run", mine, "--out", run],
        ["check", mine],
        ["check", mine, "--plan"],
        ["predict", mine],
        ["noise", mine],
        ["neutral", mine, "--eps-high", ".2"],
        ["map", "widths", "--points", "2"],
        ["list"],
        ["list", "--csv", "-"],
        ["report", run],
        ["ledger", run],
        ["compare", run, run],
        ["reproduce", "--list"],
        ["lint", str(folder / "grpo.yaml")],
        ["convert", str(folder / "grpo.yaml"), "--to", "verl"],
        ["init", str(folder / "new.toml")],
        ["run", str(folder / "none.toml")],
    ]
    script = f"""
import json, os, sys, warnings
warnings.filterwarnings("error", category=EncodingWarning, module="entclip")
from entclip.cli.app import main
codes = []
for words in json.loads({json.dumps(json.dumps(commands))}):
    sys.argv = ["entclip", *(os.fsdecode(word.encode()) for word in words)]  # as the system passes them
    try:
        main()
    except SystemExit as left:
        codes.append(left.code)
    print("==", words[0], codes[-1], file=sys.stderr)
sys.exit(codes not in ([0] * {len(commands) - 1} + [2], [0, 0, 0, 3] + [0] * {len(commands) - 5} + [2]))
"""
    call, env = [sys.executable, "-X", "warn_default_encoding", "-c", script], os.environ | _LOCALES[locale]
    done = subprocess.run(call, capture_output=True, env=env, timeout=580)
    said = done.stderr.decode("utf-8")  # click writes UTF-8 where it distrusts the locale
    assert done.returncode == 0, said
    assert "Traceback" not in said
    tables, _, csv = done.stdout.partition(b"name,claims,description")
    assert csv
    assert "\u2500" not in tables.decode("utf-8")  # rules of tables are made of hyphens
