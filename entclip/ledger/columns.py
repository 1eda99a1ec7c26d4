"""The ledger's columns."""

from __future__ import annotations

from entclip.objectives.base import CAUSES

SCHEMA_VERSION = 1
PARTS = (*CAUSES, "curvature")
OPTIONAL_CAUSES = ("momentum", "weight_decay")  # of an optimiser with memory or decay
SUMMED = (*PARTS, "remainder", "measured")
_SUMMED = (*SUMMED, *OPTIONAL_CAUSES)
EXPECTED = tuple(f"expected_{p}" for p in PARTS)
_MEANS = (
    "pi_low",
    "pi_high",
    "mass_low",
    "mass_high",
    "clip_count_low",
    "clip_count_high",
    "kl",
    "log_ratio_sq",
    "step_variance",
    "count_plus",
    "count_minus",
)
