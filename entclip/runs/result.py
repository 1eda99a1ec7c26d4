"""The result of a run: the ledgers of its arms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from entclip.experiments.experiment import Experiment
from entclip.ledger.arm import ArmLedger
from entclip.ledger.manifest import RunName

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Ledger"]


class Ledger:
    """A run's books: `to_frame()` for rows, `summary()` for the JSON object of the run."""

    def __init__(self, experiment: Experiment, engine: str, device: str = "cpu", dtype: str = "float64") -> None:
        self.experiment, self.engine, self.device, self.dtype = experiment, engine, device, dtype
        # As they are when the run starts: input files may be gone or others when the ledger is read.
        self.inputs = experiment.inputs
        self.name = RunName(experiment.digest, engine, dtype, device)
        self.arms: dict[str, ArmLedger] = {}

    def to_frame(self, kind: str = "updates") -> pd.DataFrame:
        """Return rows as a DataFrame: "updates" (one per arm and update), "rollouts" (one per arm and rollout) or "contexts"."""
        import pandas as pd

        source = {"updates": "rows", "rollouts": "summaries", "contexts": "details"}
        if kind not in source:
            raise ValueError(f"kind must be one of {sorted(source)}, got {kind!r}.")
        return pd.DataFrame([row for arm in self.arms.values() for row in getattr(arm, source[kind])])

    def judged(self, arm: ArmLedger) -> dict[str, Any]:
        """Return an arm's summary with its verdict."""
        from entclip.ledger.verdict import judge

        return judge(arm.summary())

    def summary(self) -> dict[str, Any]:
        """Return the run as one JSON-able object, with verdicts."""
        return {
            "experiment": self.experiment.name,
            "digest": self.name.digest,
            "engine": self.engine,
            "device": self.device,
            "dtype": self.dtype,
            "seed": self.experiment.seed,
            "rollouts": self.experiment.update.rollouts,
            "arms": {name: self.judged(arm) for name, arm in self.arms.items()},
        }

    def _repr_html_(self) -> str:
        """The table of causes, as a notebook shows it."""
        from entclip.report import table

        return table(self.summary()).to_html()
