"""What a command says where a package is missing, or where Python leaves out what a library needs: one line, exit code 2."""

import subprocess
import sys
import warnings

import pytest
import typer

from entclip.cli import app

LLM = ["llm", "--model", "untrained", "--rollouts", "1"]


def outcome(arguments, *options, absent=(), module="entclip"):
    """Exit code and the lines of stderr of `python OPTIONS -m MODULE ARGUMENTS` where some packages are not installed."""
    code = f"""
import runpy, sys
sys.modules.update(dict.fromkeys({list(absent)!r}))
sys.argv = ["program", *{list(arguments)!r}]
runpy.run_module({module!r}, run_name="__main__", alter_sys=True)
"""
    done = subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout == ""
    return done.returncode, done.stderr.splitlines()


@pytest.mark.parametrize(
    ("arguments", "absent", "extra"),
    [
        (["run", "headline", "--engine", "tokens"], "torch", "torch"),
        (["run", "shared_parameters", "--engine", "head"], "torch", "torch"),
        (LLM, "torch", "llm"),
        (LLM, "transformers", "llm"),
        (["llm", "--task", "reasoning_gym:leg_counting"], "reasoning_gym", "tasks"),
        (["snapshot", "--out", "unwritten.npz"], "transformers", "llm"),
        (["snapshot", "--hidden", "--out", "unwritten.npz"], "torch", "llm"),
    ],
)
def test_each_command_names_the_extra_that_it_needs(arguments, absent, extra):
    code, lines = outcome(arguments, absent=[absent])
    assert code == 2
    line = lines[-1]
    assert len(lines) == (2 if "--task" in arguments else 1), "a title comes before work, and there is none"
    assert line.startswith("error: ")
    assert absent.replace("_", "-") in line
    assert line.endswith(f"pip install '.[{extra}]'.")


@pytest.mark.parametrize(
    "arguments", [LLM, ["snapshot", "--out", "unwritten.npz"], ["snapshot", "--hidden", "--out", "unwritten.npz"]]
)
def test_without_docstrings_a_language_model_is_refused(arguments):
    code, lines = outcome(arguments, "-OO")
    assert code == 2
    (line,) = lines
    assert "python -OO (or PYTHONOPTIMIZE=2) removes: use python -O" in line


def test_the_proofs_name_their_extra():
    code, lines = outcome([], absent=["sympy"], module="theory")
    assert (code, len(lines)) == (2, 1)
    assert lines[0].endswith("pip install '.[theory]'.")


@pytest.mark.parametrize(("asked", "shown"), [([], False), (["default"], True)])
def test_a_library_that_announces_a_change_is_not_heard_unless_asked_for(monkeypatch, asked, shown):
    command = typer.Typer()

    @command.command()
    def one():
        warnings.warn("renamed in the next release", FutureWarning, stacklevel=1)

    monkeypatch.setattr(sys, "argv", ["entclip"])
    monkeypatch.setattr(sys, "warnoptions", asked)
    monkeypatch.setattr(app, "app", command)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("default")
        with pytest.raises(SystemExit, match="0"):
            app.main()
    assert bool(heard) is shown


def test_the_ledger_of_a_plain_loop_needs_torch_alone():
    """The extra that its page names has no transformers."""
    code = "import sys; sys.modules['transformers'] = None; from entclip.integrations.torch import EntropyLedger"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
