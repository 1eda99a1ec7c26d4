"""`diagnose`: every claim asked of one log.

>>> rows = [{"clip_ratio/low_mean": 0.0, "clip_ratio/high_mean": 0.0, "entropy": 0.5} for _ in range(8)]
>>> diagnose(rows)["clip"].labels
('none',)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# The claims register themselves when their files are imported, in this order.
from entclip.integrations.diagnose import (  # noqa: F401
    bias_claim,
    ceiling_claim,
    change_claim,
    clip_claims,
    entropy_claims,
    gaps_claim,
    noise_claims,
)
from entclip.integrations.diagnose.contradiction import refuse_other_trainer
from entclip.integrations.diagnose.finding import LEVELS, Finding, Level, claims
from entclip.integrations.diagnose.run import Run
from entclip.integrations.lint.config import read_config
from entclip.integrations.lint.facts import TrainerConfig
from entclip.integrations.logs import Log, read_log, read_rows
from entclip.report.numbers import plus_minus, rounded
from entclip.support.errors import SpecError
from entclip.support.sentences import leading, wrapped

__all__ = ["ORDER", "Diagnosis", "diagnose"]

# What a reader asks first comes first.
ORDER = (
    "broken",
    "config",
    "gaps",
    "clip",
    "inner-steps",
    "entropy",
    "cause",
    "change",
    "ceiling",
    "bias",
    "noise",
    "flat-groups",
    "entropy-size",
    "names",
    "differences",
)
_LINES = {
    "broken": 3,
    "config": 5,
    "gaps": 3,
    "clip": 5,
    "entropy": 4,
    "cause": 7,
    "change": 5,
    "ceiling": 3,
    "bias": 4,
    "names": 4,
    "noise": 7,
}  # of a short answer; 2 of every other


@dataclass(frozen=True)
class Diagnosis:
    """The answers to one log.

    Attributes:
        findings: in the order of a reader's questions; a claim that does not apply is missing.
        log: the numbers; library: title and version of the names; updates, rollouts: as found, None if unknown.
        config: what it was read with.
    """

    findings: tuple[Finding, ...]
    log: Log
    library: str
    updates: int | None
    rollouts: float | None
    config: str

    def __getitem__(self, claim: str) -> Finding:
        """Return the finding of a claim; KeyError if the claim did not apply."""
        for finding in self.findings:
            if finding.claim == claim:
                return finding
        raise KeyError(claim)

    def __contains__(self, claim: object) -> bool:
        return any(finding.claim == claim for finding in self.findings)

    @property
    def level(self) -> Level:
        """Return the highest level of its findings."""
        return max((finding.level for finding in self.findings), key=LEVELS.index, default="info")

    def to_json(self) -> dict[str, Any]:
        """Return one plain object."""
        log = self.log
        return {
            "source": log.source,
            "form": log.form,
            "library": self.library,
            "rows": log.rows,
            "lines": [int(log.lines[0]), int(log.lines[-1])] if log.rows else [],
            "skipped": log.skipped,
            "superseded": log.superseded,
            "other_ranks": log.other_ranks,
            "updates_per_rollout": self.updates,
            "rollouts": self.rollouts,
            "config": self.config,
            "columns": list(log.columns),
            "level": self.level,
            "findings": [finding.to_json() for finding in self.findings],
        }

    @property
    def heading(self) -> str:
        """Say what was read, in one sentence."""
        log = self.log
        skipped = f", {log.skipped} unreadable" if log.skipped else ""
        skipped += f", {log.superseded} left out as a later start repeats their steps" if log.superseded else ""
        skipped += f", {log.other_ranks} left out as other processes wrote them" if log.other_ranks else ""
        spans = f", {self.rollouts:.0f} rollout{'s' if round(self.rollouts) != 1 else ''}" if self.rollouts is not None else ""
        updates = f", {self.updates} update{'s' if self.updates > 1 else ''} each" if self.updates else ""
        config = f"; {self.config}" if self.config else ""
        name = Path(log.source).name
        rows = f"{log.rows} row{'s' if log.rows != 1 else ''}{skipped}"
        return f"{name}: {self.library}, {log.form}, {rows}{spans}{updates}{config}"

    def to_text(self, width: int = 80, *, everything: bool = False) -> str:
        """Write the answers for people in lines of at most `width` characters: one page, or with reasons and evidence."""
        lines = wrapped(self.heading, width, rest="  ")
        for finding in self.findings:
            lines += _full(finding, width, self.log.unit) if everything else _short(finding, width)
        if not everything:
            lines += wrapped("Each in full, with rows, reasons and what to change: --all", width)
        return "\n".join(lines)


def _short(finding: Finding, width: int) -> list[str]:
    """As many whole sentences of the answer as it has room for."""
    doubt = ", low confidence" if finding.confidence == "low" and finding.level != "info" else ""
    doubt = "[low confidence] " if finding.confidence == "low" and finding.level == "info" else doubt
    mark = doubt if finding.level == "info" else f"[{finding.level}{doubt}] "
    text = f"{finding.claim}: {mark}{finding.answer}"
    return leading(text, width, _LINES.get(finding.claim, 2), rest="  ")


def _full(finding: Finding, width: int, unit: str) -> list[str]:
    lines = ["", f"{finding.claim} ({', '.join(finding.labels)}; {finding.level}; confidence {finding.confidence})"]
    lines.append(f"  {finding.answer}")
    if finding.change:
        lines.append(f"  Change: {finding.change}")
    for e in finding.evidence:
        where = f" ({unit}s {e.first} to {e.last}, {e.rows} rows)" if e.last else f" ({e.rows} rows)" if e.rows else ""
        lines.append(f"  - {e.metric}: {rounded(e.value, 4)}{plus_minus(e.error)}{where}")
    if finding.reason:
        lines.append(f"  Because: {finding.reason}")
    return [part for line in lines for part in (_wrapped(line, width) if line else [""])]


def _wrapped(line: str, width: int) -> list[str]:
    indent = line[: len(line) - len(line.lstrip())]
    return wrapped(line.lstrip(), width, indent, indent + "  " if not indent or line.lstrip().startswith("- ") else indent)


def diagnose(
    path_or_rows: str | Path | Iterable[Mapping[str, Any]],
    *,
    config: str | Path | TrainerConfig | None = None,
    run: str | None = None,
) -> Diagnosis:
    """Answer what a run's log says about its clip and its entropy.

    Args:
        path_or_rows: a file or folder that a trainer wrote, or rows of numbers by name.
        config: the trainer's configuration, as `entclip lint` reads it: widths, updates per rollout, bonus.
        run: whose columns to read where a table has those of several runs.
    Raises: SpecError (a ValueError) for what is no log or has no metric that is known.
    """
    log = read_log(path_or_rows, run=run) if isinstance(path_or_rows, str | Path) else read_rows(path_or_rows)
    facts = read_config(config) if isinstance(config, str | Path) else config
    meant = Run.of(log, facts)
    if meant is None:
        raise SpecError(f"the rows have no metric that is known here: {', '.join(log.unknown[:6]) or 'there are none'}.")
    refuse_other_trainer(meant)
    asked = claims()
    found = [finding for name in ORDER if (finding := asked[name](meant)) is not None]
    title = f"{meant.library.title} {meant.library.version}".strip()
    told = "" if facts is None else f"configuration of {facts.library.release}"
    return Diagnosis(tuple(found), meant.log, title, meant.updates, meant.rollouts, told)
