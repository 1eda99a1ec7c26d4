"""entclip bench: finds the benchmarks of a source checkout, and says where they are when there is none. No time is asserted."""

import sys

import pytest

import benchmarks.__main__ as benchmarks
from benchmarks.reduced import Course, experiment_of, one_replica
from entclip.cli import app as cli
from entclip.cli import simulate
from entclip.engines.reduced.engine import ReducedEngine


def _entclip(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["entclip", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return stop.value.code


def test_unknown_benchmark_is_bad_input(monkeypatch, capfd):
    assert _entclip(monkeypatch, "bench", "fast") == 2
    said = capfd.readouterr().err
    assert "no benchmark is called 'fast': choose from sampled, kernels, reduced, head, logs, llm, ledger" in said


def test_installed_package_says_where_they_are(monkeypatch, capfd, tmp_path):
    monkeypatch.setattr(simulate, "__file__", str(tmp_path / "entclip" / "cli" / "simulate.py"))
    assert _entclip(monkeypatch, "bench") == 2
    assert "Clone the repository" in capfd.readouterr().err


def test_named_benchmarks_run_with_their_options(monkeypatch, capsys):
    class Fake:
        @staticmethod
        def main():
            print("ran", *sys.argv)

    class Missing:
        @staticmethod
        def main():
            raise ModuleNotFoundError(name="torch")

    modules = {"benchmarks.sampled": Fake, "benchmarks.kernels": Fake, "benchmarks.head": Missing}
    monkeypatch.setattr(benchmarks.importlib, "import_module", modules.__getitem__)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "sampled", "kernels", "head", "--device", "cuda"])
    benchmarks.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "== sampled",
        "ran benchmarks.sampled",
        "== kernels",
        "ran benchmarks.kernels --device cuda",
        "== head",
        "left out: torch is not installed (pip install '.[test]').",
    ]


def test_the_reduced_benchmark_compares_what_it_says(capsys):
    assert len(one_replica(vocab=3000, rollouts=2)) == 32
    apart = capsys.readouterr().out.split("entropies differ by ")[1].split()[0]
    assert 0 <= float(apart) < 1e-12
    course = Course(ReducedEngine(), experiment_of(3000, 3, 2))
    assert course.whole_rollout() > 0
    assert course.state.rollout == 1
