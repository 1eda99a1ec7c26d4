"""T1 to T17: every proof holds, none holds with a term dropped or a sign flipped, and the page of proofs is current."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import sympy as sp

from theory.__main__ import main
from theory.catalogue import CLAIMS, MODULES, document, prove_claim
from theory.proof import Proof, ProofError, Step, same
from theory.sums import Action, H, S, along, at_size, evaluate, l, mean, pi, slope

ROOT = Path(__file__).resolve().parents[2]
proved = cache(prove_claim)
claims = pytest.mark.parametrize("claim", CLAIMS)


@claims
def test_claim_is_proved(claim: str) -> None:
    result = proved(claim)
    assert result.count >= 3
    assert all(p.claim == claim for p in result.proofs)


def test_the_page_of_proofs_is_current() -> None:
    assert (ROOT / "docs" / "proofs.md").read_text() == document([proved(c) for c in CLAIMS]), "run python -m theory"


def test_every_module_proves_a_claim() -> None:
    assert len(MODULES) == sum(len(proved(c).proofs) for c in CLAIMS)


# ---- falsifiers: a proof must fail when any one term of what it states is missing or has the wrong sign ----------------------


def broken(expr: sp.Expr) -> Iterator[sp.Expr]:
    """Every expression with one term of one of its sums dropped, or its sign flipped; of a lone term, its sign."""
    if isinstance(expr, sp.Add):
        for term in expr.args:
            yield expr - term
            yield expr - 2 * term
    elif expr != 0:
        yield -expr
    else:
        yield sp.Integer(1)
    for k, part in enumerate(expr.args):
        if part.has(sp.Add):
            for change in broken(part):
                if isinstance(part, (sp.Add, sp.Mul, sp.Pow)):
                    yield expr.func(*expr.args[:k], change, *expr.args[k + 1 :])


def harmless(expr: sp.Expr, change: sp.Expr) -> bool:
    """Whether the change leaves the statement as it was: only then may a proof still hold."""
    return same(expr, change)


@claims
def test_no_proof_survives_a_broken_statement(claim: str) -> None:
    tried = 0
    for proof in proved(claim).proofs:
        for step in proof.checked():
            if step.kind != "equation":
                continue
            for side, other in ((step.right, step.left), (step.left, step.right)):
                for change in broken(sp.sympify(side)):
                    tried += 1
                    assert not same(other, change) or harmless(side, change), f"{step.why}\n{side}\n{change}"
    assert tried >= 4


@claims
def test_no_sign_survives_its_opposite(claim: str) -> None:
    for proof in proved(claim).proofs:
        for step in proof.checked():
            if step.kind in ("positive", "nonnegative"):
                assert not Step(step.why, step.kind, -step.left).holds(), step.why


def test_a_false_step_stops_the_proof() -> None:
    d = Action("d")
    proof = Proof("T2", "x", ())
    with pytest.raises(ProofError, match="step 1 does not hold"):
        proof.equal("wrong sign", along(H, d), mean(l * d) - mean(l) * mean(d), "any V")
    with pytest.raises(ProofError, match="step 1"):
        proof.positive("of no sign", sp.Symbol("x", real=True))
    assert proof.steps == []


def test_a_failed_proof_fails_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    import theory.first_order_change as module

    def wrong(p: Proof) -> None:
        p.equal("off by a factor", along(H, Action("d")), 2 * along(H, Action("d")), "any V")

    monkeypatch.setattr(module, "prove", wrong)
    assert main(["T2"]) == 1
    assert "T2   FAILED" in capsys.readouterr().err
    monkeypatch.setattr(module, "prove", lambda p: p.say("trust me"))
    assert main(["T2"]) == 1
    assert "has no proof" in capsys.readouterr().err


def test_one_claim_is_shown_step_by_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["T2"]) == 0
    shown = capsys.readouterr().out
    assert "## T2" in shown
    assert r"\mathrm{Cov}_\pi" in shown
    assert "T2   proved" in shown


# ---- the algebra of sums itself ---------------------------------------------------------------------------------------------


def test_sums_are_linear_and_keep_only_monomials() -> None:
    x, y, c = Action("x"), Action("y"), sp.Symbol("c")
    assert S((x + c) * y) == S(x * y) + c * S(y)
    assert S(S(x) * y) == S(x) * S(y)
    assert S(pi) == 1
    assert not same(S(x * y), S(x) * S(y))
    assert not same(S(x**2), S(x) ** 2)


def test_a_slope_must_be_linear() -> None:
    d = Action("d")
    assert same(slope(S(pi * d) * S(l), d), pi * S(l))
    with pytest.raises(ValueError, match="not linear"):
        slope(S(pi * d**2), d)


def test_sums_agree_with_explicit_sums_and_with_numbers() -> None:
    x = Action("x")
    expr = S(pi * x**2) - S(pi * x) ** 2 + 3 * S(x)
    numbers = {pi: [0.25, 0.5, 0.25], x: [1.0, -2.0, 4.0]}
    by_hand = 0.25 + 2 + 4 - (0.25 - 1 + 1) ** 2 + 9
    assert abs(float(at_size(expr, 3, {k: [sp.Rational(v) for v in row] for k, row in numbers.items()})) - by_hand) < 1e-14
    assert abs(float(evaluate(expr, numbers)) - by_hand) < 1e-14
