"""T11 where an action is expected less than once in a minibatch: clip fractions by the exact law of the counts."""

from __future__ import annotations

import pytest

from tests.statistics.small_counts import case, measure, predicted


@pytest.mark.statistical
@pytest.mark.parametrize("batch", [8, 16, 32])
def test_clip_fractions_of_small_counts_are_predicted(batch: int) -> None:
    """B pi0 = 1/8, 1/4, 1/2: both fractions within 2 % or 3 standard errors; Gaussian moves must fail, by either fraction."""
    measured = measure(batch, 8, 512)
    off: dict[str, list[float]] = {}
    for law in ("counts", "gaussian"):
        found = predicted(case(batch), law)
        off[law] = []
        for side in ("low", "high"):
            value, se = (measured[f"measured_clip_fraction_{side}{end}"] for end in ("", "_se"))
            off[law].append(abs(found[f"clip_fraction_{side}"] - value) / max(0.02 * value, 3 * se))
    assert max(off["counts"]) <= 1, off
    assert max(off["gaussian"]) > 1, off
