"""T6: the paper's inequality holds and fails where theory/inequality.py says so, in the shipped experiment of that name."""

from __future__ import annotations

import pytest

from entclip.experiments.load import load
from entclip.runs.runner import run
from tests.tolerances import SIGMAS


@pytest.fixture(scope="module")
def arms():
    return run(load("inequality")).summary()["arms"]


def sign(arm, side: str) -> int:
    """Sign of M pi(X) gap_X, read off the ledger's column and its error; 0 if that does not settle it."""
    value, se = arm[f"clip_{side}"], arm[f"clip_{side}_se"]
    value = value if side == "low" else -value
    return 0 if abs(value) <= SIGMAS * se else 1 if value > 0 else -1


@pytest.mark.slow
@pytest.mark.statistical
def test_no_case_rejects_the_theory(arms):
    assert len(arms) == 30
    assert "reject" not in {a["verdict"] for a in arms.values()}


@pytest.mark.slow
@pytest.mark.statistical
def test_signs_are_those_of_the_proof(arms):
    """Natural steps. Proved: pi^-1/2 noise makes both gaps positive, pi^1/2 noise reverses both if no pi exceeds 1/4."""
    proved = {"inv_sqrt": (1, 1), "sqrt": (-1, -1)}
    for law, signs in proved.items():
        for policy in ("dirichlet:2", "zipf:1", "zipf:1.5") if law == "inv_sqrt" else ("dirichlet:2", "zipf:1"):
            (arm,) = (
                a for name, a in arms.items() if name.startswith(f"{policy},") and f":{law}:" in name and ":natural:" in name
            )
            assert (sign(arm, "low"), sign(arm, "high")) == signs, (policy, law)
    for name, arm in arms.items():  # at the uniform policy only the selection of actions that moved is left
        if name.startswith("uniform"):
            assert (sign(arm, "low"), sign(arm, "high")) == (1, -1), name
    peaked = [a for name, a in arms.items() if name.startswith("peaked:8") and ":flat:" in name and ":natural:" in name]
    assert [(sign(a, "low"), sign(a, "high")) for a in peaked] == [(1, 1)]
