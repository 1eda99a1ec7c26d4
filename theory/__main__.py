"""`python -m theory`: prove every claim; `python -m theory T5`: show one proof; exits 1 if a proof fails, 2 without sympy."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

try:
    import sympy  # noqa: F401
except ModuleNotFoundError:
    print("the proofs need sympy, which is not installed: in entclip's checkout, run pip install '.[theory]'.", file=sys.stderr)
    sys.exit(2)

from theory.catalogue import CLAIMS, document, prove_claim
from theory.proof import ProofError

PAGE = Path(__file__).resolve().parents[1] / "docs" / "proofs.md"


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m theory", description="Prove the claims T1 to T17 symbolically.")
    parser.add_argument("claim", nargs="?", choices=CLAIMS, help="show this proof step by step instead of proving all")
    parser.add_argument("--out", type=Path, default=PAGE, help="where the proofs are written as Markdown with LaTeX")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the file differs from the proofs")
    options = parser.parse_args(arguments)

    failed = 0
    results = []
    for claim in [options.claim] if options.claim else CLAIMS:
        try:
            result = prove_claim(claim)
        except ProofError as error:
            failed += 1
            print(f"{claim:4} FAILED\n{error}", file=sys.stderr)
            continue
        results.append(result)
        if options.claim:
            print(result.text())
        print(result.summary(), flush=True)
    if options.claim:
        return min(failed, 1)
    steps, seconds = sum(r.count for r in results), sum(r.seconds for r in results)
    print(f"{len(results)} of {len(CLAIMS)} claims proved, {steps} checked steps, {seconds:.0f} s")
    if failed:
        return 1
    page = document(results)
    if options.check:
        if not options.out.is_file() or options.out.read_text() != page:
            print(f"{options.out} is not what the proofs say: run python -m theory", file=sys.stderr)
            return 1
        return 0
    temporary = options.out.with_suffix(".part")
    temporary.write_text(page)
    temporary.replace(options.out)
    print(f"written: {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
