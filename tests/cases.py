"""Cases that several suites go through."""

from __future__ import annotations

import math

# Every family of objectives, with bounds that steps of a few per cent pass.
OBJECTIVES = {
    "clip": {"kind": "clip", "low": 0.05, "high": 0.08},
    "one_sided": {"kind": "clip", "low": 0.05, "high": math.inf},
    "none": {"kind": "none"},
    "dual_clip": {"kind": "dual_clip", "low": 0.05, "high": 0.05, "cap": 1.15},
    "cispo": {"kind": "cispo", "low": 0.05, "high": 0.05},
    "sapo": {"kind": "sapo"},
    "ce_gppo": {"kind": "ce_gppo", "low": 0.05, "high": 0.05},
    "dppo_tv": {"kind": "dppo_tv", "delta": 0.001},
}
