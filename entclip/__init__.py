"""entclip: how PPO/GRPO clipping moves policy entropy - theory, simulation, and a ledger that sets one beside the other.

The public names load when first used, so that `import entclip` is fast and needs neither torch, sympy nor matplotlib.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_WHERE = {
    "SoftmaxPolicy": "entclip.policy",
    "uniform": "entclip.policy",
    "zipf": "entclip.policy",
    "dirichlet": "entclip.policy",
    "peaked": "entclip.policy",
    "snapshot": "entclip.policy",
    "Clip": "entclip.objective",
    "Bernoulli": "entclip.reward",
    "Gaussian": "entclip.reward",
    "Rademacher": "entclip.reward",
    "TableReward": "entclip.reward",
    "GroupRelative": "entclip.advantage",
    "Independent": "entclip.advantage",
    "DriftTerms": "entclip.drift.terms",
    "expected_entropy_drift": "entclip.drift.terms",
    "Experiment": "entclip.spec",
    "SpecError": "entclip.spec",
    "load": "entclip.spec",
    "Ledger": "entclip.ledger",
    "Verdict": "entclip.verdict",
    "run": "entclip.runner",
    "check": "entclip.runner",
    "ledger_from_arrays": "entclip.arrays",
    "Forecast": "entclip.meanfield.forecast",
    "predict": "entclip.meanfield.forecast",
    "predict_noise": "entclip.meanfield.noise_law",
    "NoiseTable": "entclip.noise_table",
    "measure_noise": "entclip.noise_table",
    "noise_law_of": "entclip.noise_table",
    "NeutralPoint": "entclip.neutral",
    "neutral_clip": "entclip.neutral",
}

__all__ = [
    "Bernoulli",
    "Clip",
    "DriftTerms",
    "Experiment",
    "Forecast",
    "Gaussian",
    "GroupRelative",
    "Independent",
    "Ledger",
    "NeutralPoint",
    "NoiseTable",
    "Rademacher",
    "SoftmaxPolicy",
    "SpecError",
    "TableReward",
    "Verdict",
    "check",
    "dirichlet",
    "expected_entropy_drift",
    "ledger_from_arrays",
    "load",
    "measure_noise",
    "neutral_clip",
    "noise_law_of",
    "peaked",
    "predict",
    "predict_noise",
    "run",
    "snapshot",
    "uniform",
    "zipf",
]

if TYPE_CHECKING:
    from entclip.advantage import GroupRelative, Independent
    from entclip.arrays import ledger_from_arrays
    from entclip.drift.terms import DriftTerms, expected_entropy_drift
    from entclip.ledger import Ledger
    from entclip.meanfield.forecast import Forecast, predict
    from entclip.meanfield.noise_law import predict_noise
    from entclip.neutral import NeutralPoint, neutral_clip
    from entclip.noise_table import NoiseTable, measure_noise, noise_law_of
    from entclip.objective import Clip
    from entclip.policy import SoftmaxPolicy, dirichlet, peaked, snapshot, uniform, zipf
    from entclip.reward import Bernoulli, Gaussian, Rademacher, TableReward
    from entclip.runner import check, run
    from entclip.spec import Experiment, SpecError, load
    from entclip.verdict import Verdict


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'entclip' has no attribute {name!r}")
    value = getattr(import_module(_WHERE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
