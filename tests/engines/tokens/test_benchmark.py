"""The kernels' benchmark runs on a CPU at a small size and gives a ratio for everything it times. No time is asserted."""

from __future__ import annotations

from benchmarks.kernels import measure


def test_every_candidate_is_timed():
    result = measure(rows=3, vocab=300, dtype="float32", device="cpu", rounds=1, compiled=False)
    names = {
        "copy",
        "copy of 3",
        "autograd",
        "eager",
        "engine",
        *(f"reference{s}" for s in ("", " ratio", " all", " adam", " natural")),
    }
    assert set(result["milliseconds"]) == names
    assert all(value > 0 for value in result["milliseconds"].values())
    assert {f"{name} / copy" for name in names} <= set(result["ratios"])
