"""entclip: how PPO/GRPO clipping moves policy entropy - theory, simulation, and a ledger that sets one beside the other.

The public names load when first used, so that `import entclip` is fast and needs neither torch, sympy nor matplotlib.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_WHERE = {
    "SoftmaxPolicy": "entclip.policies.softmax",
    "uniform": "entclip.policies.laws",
    "zipf": "entclip.policies.laws",
    "dirichlet": "entclip.policies.laws",
    "peaked": "entclip.policies.laws",
    "snapshot": "entclip.policies.laws",
    "Clip": "entclip.objectives.clip",
    "objective": "entclip.objectives.catalogue",
    "Bernoulli": "entclip.rewards.reward",
    "Gaussian": "entclip.rewards.reward",
    "Rademacher": "entclip.rewards.reward",
    "TableReward": "entclip.rewards.reward",
    "GroupRelative": "entclip.rewards.advantage",
    "Independent": "entclip.rewards.advantage",
    "DriftTerms": "entclip.drift.expected",
    "expected_entropy_drift": "entclip.drift.expected",
    "Experiment": "entclip.experiments.experiment",
    "SpecError": "entclip.support.errors",
    "load": "entclip.experiments.load",
    "Ledger": "entclip.runs.result",
    "Verdict": "entclip.ledger.verdict",
    "run": "entclip.runs.runner",
    "check": "entclip.runs.runner",
    "ledger_from_arrays": "entclip.ledger.from_arrays",
    "Forecast": "entclip.prediction.meanfield.forecast",
    "predict": "entclip.prediction.meanfield.forecast",
    "predict_noise": "entclip.prediction.meanfield.noise_law",
    "NoiseTable": "entclip.prediction.noise_table",
    "measure_noise": "entclip.prediction.noise_table",
    "noise_law_of": "entclip.prediction.noise_table",
    "Diagnosis": "entclip.integrations.diagnose.diagnosis",
    "diagnose": "entclip.integrations.diagnose.diagnosis",
    "NeutralPoint": "entclip.prediction.neutral",
    "neutral_clip": "entclip.prediction.neutral",
}

__version__ = "0.1.0"

__all__ = [
    "Bernoulli",
    "Clip",
    "Diagnosis",
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
    "diagnose",
    "dirichlet",
    "expected_entropy_drift",
    "ledger_from_arrays",
    "load",
    "measure_noise",
    "neutral_clip",
    "noise_law_of",
    "objective",
    "peaked",
    "predict",
    "predict_noise",
    "run",
    "snapshot",
    "uniform",
    "zipf",
]

if TYPE_CHECKING:
    from entclip.drift.expected import DriftTerms, expected_entropy_drift
    from entclip.experiments.experiment import Experiment
    from entclip.experiments.load import load
    from entclip.integrations.diagnose.diagnosis import Diagnosis, diagnose
    from entclip.ledger.from_arrays import ledger_from_arrays
    from entclip.ledger.verdict import Verdict
    from entclip.objectives.catalogue import objective
    from entclip.objectives.clip import Clip
    from entclip.policies.laws import dirichlet, peaked, snapshot, uniform, zipf
    from entclip.policies.softmax import SoftmaxPolicy
    from entclip.prediction.meanfield.forecast import Forecast, predict
    from entclip.prediction.meanfield.noise_law import predict_noise
    from entclip.prediction.neutral import NeutralPoint, neutral_clip
    from entclip.prediction.noise_table import NoiseTable, measure_noise, noise_law_of
    from entclip.rewards.advantage import GroupRelative, Independent
    from entclip.rewards.reward import Bernoulli, Gaussian, Rademacher, TableReward
    from entclip.runs.result import Ledger
    from entclip.runs.runner import check, run
    from entclip.support.errors import SpecError


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'entclip' has no attribute {name!r}")
    value = getattr(import_module(_WHERE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
