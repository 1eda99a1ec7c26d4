"""The books of a run that happens elsewhere: rows as they come, and after every rollout the folder of a finished run."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from entclip.engines.recorded import RECORDED
from entclip.experiments.experiment import Experiment, parse_experiment
from entclip.integrations.recording.history import History
from entclip.ledger.arm import ArmLedger
from entclip.ledger.columns import COLUMNS
from entclip.ledger.entry import Entry
from entclip.ledger.manifest import MANIFEST, RUN_FILES
from entclip.objectives.base import Objective
from entclip.runs.result import Ledger
from entclip.runs.save import save_run
from entclip.runs.versions import ALWAYS
from entclip.support.errors import SpecError
from entclip.support.files import prepare_folder, version_of
from entclip.support.lock import folder_lock

__all__ = ["LOGGED", "About", "Record"]

# The columns of a row that a dashboard shows.
LOGGED = (
    *(c.name for c in COLUMNS if c.kind == "cause"),
    "curvature",
    "remainder",
    "measured",
    "cancelling",
    "position_se",
    "entropy",
    "gap_low",
    "gap_high",
    "clip_fraction_low",
    "clip_fraction_high",
    "kl",
    "log_ratio_mean",
    "log_ratio_rms",
    "token_log_ratio_rms",
    "ratio_max",
)
_ARM = "run"
_KEPT = (
    "rows",
    "details",
    "summaries",
    "totals",
    "rollout_totals",
    "entropy_start",
    "entropy_end",
    "skipped",
    "drawn",
    "_rollout_skipped",
    "_entropy_expected",
)
_TOTALS = ("totals", "rollout_totals")
_NOTES = 40  # reasons of updates that could not be accounted

_HELD: set[Path] = set()  # folders of the ledgers of this process that are not closed


def _refuse_held(out: Path) -> None:
    if out.resolve() in _HELD:
        raise SpecError(
            f"another ledger of this program has {out} and was not closed: call its close(), or its release() to leave it as it "
            "is, or choose another folder with out=."
        )


@dataclass(frozen=True)
class About:
    """What a reader of the folder will want to know of the run."""

    name: str
    program: str
    model: str
    optimizer: str
    objective: Objective
    seed: int
    device: str
    dtype: str
    packages: tuple[str, ...]


@dataclass
class _One:
    """The one unit of a recorded run, as the ledger sees it."""

    rollout: int = -1
    replica: np.ndarray = field(default_factory=lambda: np.zeros(1, dtype=np.int64))
    weight: np.ndarray = field(default_factory=lambda: np.ones(1))
    context_weight: np.ndarray = field(default_factory=lambda: np.ones(1))
    shared: bool = True
    length: int = 1


class Record:
    """The ledger of one arm, saved into a folder whenever a rollout ends. Without a folder it is kept in memory."""

    def __init__(self, about: About, out: str | Path | None, history: History | None = None) -> None:
        self.about, self.out, self.history = about, None if out is None else Path(out), history
        self.remarks: list[str] = []  # of the run, in sentences
        self.notes: list[str] = []  # why updates have no row
        self.unseen: str | None = None  # what of the loss was never compared with the declared clip
        self._unit, self._held, self._resumed = _One(), ExitStack(), False
        self._books = ArmLedger("", _ARM, self._experiment(), gaps=True)
        if self.out is not None:
            prepare_folder(self.out, (*RUN_FILES, MANIFEST))
            _refuse_held(self.out)
            self._held.enter_context(folder_lock(self.out, "out="))
            _HELD.add(self.out.resolve())
            self._held.callback(_HELD.discard, self.out.resolve())

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Return the rows so far, one per accounted update."""
        return self._books.rows

    @property
    def rollout(self) -> int:
        """Return the index of the rollout that goes on, -1 before the first one."""
        return self._unit.rollout

    def begin_rollout(self) -> None:
        """Count a rollout; SpecError at the first one if the folder holds a run that this one does not go on with."""
        if self._unit.rollout < 0 and not self._resumed and self.out is not None:
            there = [name for name in (MANIFEST, *RUN_FILES) if (self.out / name).exists()]
            if there:
                raise SpecError(
                    f"{self.out} holds {there[0]}, of another run: choose another folder, or go on with that run by "
                    "load_state_dict(...) of what its ledger's state_dict() gave."
                )
        self._unit.rollout += 1
        if self.history is not None:
            self.history.begin_rollout()

    def append(self, columns: Mapping[str, float], inner_step: int, samples: float, precision: float) -> dict[str, Any]:
        """Book an accounted update and return its row; IdentityError if its parts do not add up."""
        entry = Entry(
            inner_step=inner_step,
            rollout=self._unit.rollout,
            columns={name: np.array([value]) for name, value in columns.items()},
            weight=self._unit.weight,
            context=np.zeros(1, dtype=np.int64),
            replica=self._unit.replica,
            samples=samples,
            fresh=False,
            drawn=True,
            precision=precision,
        )
        if "whole_step" in columns:  # of the rows before it, whose steps were their causes, it was 0
            for row in self._books.rows:
                row.setdefault("whole_step", 0.0)
        # Whatever else changed the model since the last update goes into `unaccounted`.
        self._books._entropy_expected = None
        self._books.append(entry, self._unit)
        if self.history is not None:
            self.history.add(entry)
        return self._books.rows[-1]

    def skip(self, reason: str | None) -> None:
        """Book an update without a row; reason: why it could not have one, None if it was not its turn."""
        self._books.skip()
        if self.history is not None:
            self.history.add(None)
        if reason is not None and len(self.notes) < _NOTES:
            self.notes.append(f"update {len(self._books.rows) + self._books.skipped - 1}: {reason}")

    def end_rollout(self, before: float, after: float, observed: Mapping[str, float]) -> None:
        """Close the rollout with the entropies that were seen at its ends, and save the folder."""
        if self.history is not None:
            self.history.end_rollout(before, after, observed)
        if not self._books.rows:
            return
        start, end = ({"entropy": np.array([x]), "sequence_entropy": np.array([x])} for x in (before, after))
        self._books.end_rollout(self._unit, start, end | {k: np.array([float(v)]) for k, v in observed.items()})
        if self.out is not None:
            versions = {name: version_of(name) or "not installed" for name in (*ALWAYS, *self.about.packages)}
            save_run(self.ledger(), self.out, versions)

    def ledger(self) -> Ledger:
        """Return the run so far as a Ledger: to_frame(), summary()."""
        made = Ledger(self._experiment(), RECORDED.name, self.about.device, self.about.dtype)
        made.arms[_ARM] = self._books
        return made

    def close(self) -> None:
        """Let other programs write to the folder."""
        self._held.close()

    def state(self) -> dict[str, Any]:
        """Return what a resumed run needs to go on with these books."""
        kept = {name: copy.deepcopy(getattr(self._books, name)) for name in _KEPT}
        for name in _TOTALS:  # as numbers, which torch.load takes with weights_only=True
            kept[name] = {column: np.asarray(value).tolist() for column, value in kept[name].items()}
        return {"books": kept, "rollout": self._unit.rollout, "notes": list(self.notes)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with the books that `state` gave."""
        for name in _KEPT:
            setattr(self._books, name, copy.deepcopy(state["books"][name]))
        for name in _TOTALS:
            setattr(self._books, name, {column: np.array(value) for column, value in state["books"][name].items()})
        self._unit.rollout, self.notes, self._resumed = state["rollout"], list(state["notes"]), True

    def _experiment(self) -> Experiment:
        a, notes, said = self.about, getattr(self, "notes", []), [*getattr(self, "remarks", [])]
        if (unseen := getattr(self, "unseen", None)) is not None:
            said.append(unseen)
        more = f" ({_NOTES} are listed)" if len(notes) == _NOTES else ""
        if notes:
            said.append(f"Updates that could not be accounted{more}: {'; '.join(notes)}.")
        data = {
            "name": a.name,
            "description": " ".join(said),
            "seed": a.seed,
            "arm": [{"name": _ARM, "objective": a.objective}],
            "policy": {"kind": "recorded", "program": a.program, "model": a.model, "optimizer": a.optimizer},
            "update": {"rollouts": max(1, getattr(self, "_unit", _One()).rollout + 1)},
        }
        return parse_experiment(data)
