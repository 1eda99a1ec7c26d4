"""kill -9 and the same command again: the same bytes as a run that nobody killed, on every engine."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.robustness.sandbox import Case, Sandbox
from tests.robustness.scope import share
from tests.robustness.templates import BASE, TINY_LLM

_STEPS = BASE.partition("[[arm]]")[0].replace("rollouts = 2", "rollouts = 6")
_ARMS = BASE[len(BASE.partition("[[arm]]")[0]) :]
_EUCLIDEAN = _STEPS.replace("batch = 8", 'geometry = "euclidean"\nbatch = 8')
_CONTROL = '[[arm]]\nname = "control"\nobjective = "none"\ncontrol = { kind = "match_kl", like = "both" }\n'
_EXACT = """\
name = "exact"
[policy]
kind = "zipf"
vocab = 2
contexts = 2
[update]
batch = 1
minibatches = 2
rollouts = 4
"""
EXPERIMENTS = {
    "sampled": _STEPS + _ARMS,
    "exact": _EXACT + _ARMS,
    "reduced": _STEPS + _ARMS,
    "tokens": _STEPS + _ARMS,
    "head": _EUCLIDEAN.replace('kind = "zipf"', 'kind = "hidden"\ndim = 2') + _ARMS,
    "controls": _STEPS + _ARMS + _CONTROL,
    "grid": _STEPS + _ARMS + '[grid]\n"policy.exponent" = [0.5, 1.5]\n',
    "contexts": _STEPS.replace("[policy]", '[ledger]\ndetail = "context"\n[policy]') + _ARMS,
}
FILES = ("ledger.parquet", "summary.json", "rollouts.parquet", "contexts.parquet", "experiment.toml", "metrics.jsonl")


def _case(name: str) -> Case:
    if name == "llm":
        return Case("resume", ("llm", *TINY_LLM, "--rollouts", "4", "--out", "run"), torch=True, out="run")
    engine = name if name in ("exact", "reduced", "tokens", "head") else "sampled"
    files = (("x.toml", "text", {"value": EXPERIMENTS[name]}),)
    return Case(
        "resume", ("run", "x.toml", "--engine", engine, "--out", "run"), files, torch=name in ("tokens", "head"), out="run"
    )


def _bytes(folder: Path) -> dict[str, bytes]:
    return {name: (folder / "work" / "run" / name).read_bytes() for name in FILES if (folder / "work" / "run" / name).exists()}


@pytest.mark.parametrize("name", share((*EXPERIMENTS, "llm"), "sampled", "reduced"))
def test_a_killed_run_resumes_to_the_same_bytes(name: str, sandbox: Sandbox) -> None:
    case, rng = _case(name), random.Random(f"7/{name}")
    whole, folder = sandbox.run(case, f"whole-{name}")
    assert whole.code == 0, whole.err
    want = _bytes(folder)
    assert {"ledger.parquet", "summary.json", "rollouts.parquet"} <= set(want)

    # Checkpoints written before the kill, and ticks of 10 ms after the last of them.
    moment = (rng.randint(1, {"llm": 2, "exact": 5}.get(name, 6)), rng.randint(0, 2))
    folder = sandbox.root / f"killed-{name}"
    sandbox.prepare(case, folder)
    killed = sandbox.call(Case("kill", case.argv, torch=case.torch, limits={"kill": moment}), folder)
    assert killed.ended == "killed", (moment, killed)
    assert not (folder / "work" / "run" / "summary.json").exists()
    again = sandbox.call(case, folder)
    assert again.code == 0, again.err
    got = _bytes(folder)
    assert sorted(got) == sorted(want)
    assert [name for name in want if got[name] != want[name]] == []
