"""Findings are data: TOML files say what is run, what a paper claims of it, and what would contradict the claim.

`runs.toml` lists the runs; `paper.toml`, `disagreements.toml` and `family.toml` the findings, each with its contrasts. A contrast
is one number of one run, or a sum over its arms, with a predicted sign or size. Nothing here computes: verdicts.py has the one
rule.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from functools import cached_property
from importlib import resources
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from entclip.engines.registry import DEFAULT
from entclip.experiments.experiment import Experiment
from entclip.experiments.load import load
from entclip.findings.exact import EXACT
from entclip.findings.family.experiments import FAMILY, family_experiment
from entclip.findings.pretrained.kin import experiment_named
from entclip.support.errors import SpecError

__all__ = ["Catalogue", "Contrast", "Finding", "RunSpec", "Term", "Within", "load_catalogue"]

Text = Annotated[str, Field(min_length=1)]
_FILES = ("runs.toml", "paper.toml", "disagreements.toml", "family.toml")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RunSpec(_Part):
    """One run: a shipped experiment on an engine with its overrides in either mode, an exact computation by name, objectives side
    by side (`family`), or the pairs of the pretrained model, which take hours: `make smollm2` measures them.

    regime: policy, steps and size in words. quick_skip: why --quick leaves it out (empty: it does not).
    """

    name: Text
    regime: Text
    experiment: str | None = None
    exact: str | None = None
    family: str | None = None
    pretrained: str | None = None
    engine: str = DEFAULT
    dtype: str = "float64"
    full: tuple[str, ...] = ()
    quick: tuple[str, ...] = ()
    quick_skip: str = ""

    @model_validator(mode="after")
    def _one_source(self) -> RunSpec:
        if [self.experiment, self.exact, self.family, self.pretrained].count(None) != 3:
            raise ValueError(f"run {self.name}: give one of experiment, exact, family and pretrained.")
        if self.family is not None and self.family not in FAMILY:
            raise ValueError(f"run {self.name}: family = {self.family!r} is not one of {', '.join(FAMILY)}.")
        if self.exact is not None and self.exact not in EXACT:
            raise ValueError(f"run {self.name}: exact = {self.exact!r} is not one of {', '.join(EXACT)}.")
        return self

    def overrides(self, quick: bool) -> tuple[str, ...]:
        """Return the --set options of that mode."""
        return self.quick if quick else self.full

    def spec(self, quick: bool) -> Experiment:
        """Return the experiment as it is run in that mode; not for exact computations."""
        if self.pretrained is not None:
            return experiment_named(self.pretrained)
        if self.family is not None:
            return family_experiment(self.family, quick)
        assert self.experiment is not None
        return load(self.experiment, self.overrides(quick))


class Term(_Part):
    """One arm of a sum, times a factor."""

    arm: Text
    factor: float = 1.0


class Within(_Part):
    """A predicted size: |value| at most `factor` times |column `of` of arm `of_arm`|, or at most `factor` without `of`."""

    factor: Annotated[float, Field(gt=0)]
    of: str | None = None
    of_arm: str | None = None


class Contrast(_Part):
    """One number and what is predicted of it.

    case: a pattern (*, ?) over the run's cases, one contrast for each that matches.
    arm: the arm; or terms: a sum of arms of the same case (with "/" in a name: of the case before it).
    column: a column of the summary, or clips (clip_low + clip_high), total (the control-variate mean or the raw one, whichever
        has the smaller standard error), residual_COLUMN (measured minus theory along the path); of the pretrained model and of
        objectives side by side also minus_ARM (the change minus that of another arm, unit by unit), of the latter own
        (clip_low + clip_high + other), and of the model under a judged reward pass_at_1_minus_ARM and pass_at_8_minus_ARM (of
        the last rollout).
    sign: +1, -1, or "gap": the sign that T6 gives, that of gap_low, or minus that of gap_high.
    regime: the row of the figure and of the table, where the run's own is too coarse.
    """

    run: Text
    column: Text
    case: str = "*"
    arm: str | None = None
    terms: tuple[Term, ...] = ()
    sign: Literal[1, -1, "gap"] | None = None
    within: Within | None = None
    regime: str | None = None

    @model_validator(mode="after")
    def _decidable(self) -> Contrast:
        if (self.arm is None) == (not self.terms):
            raise ValueError(f"contrast on {self.run}: give either arm or terms.")
        if (self.sign is None) == (self.within is None):
            raise ValueError(f"contrast on {self.run}: give either sign or within.")
        if self.sign == "gap" and self.column not in ("clip_low", "clip_high"):
            raise ValueError(f'contrast on {self.run}: sign = "gap" is about clip_low or clip_high, not {self.column}.')
        return self

    @property
    def parts(self) -> tuple[Term, ...]:
        """Return the terms of the sum; an arm is a sum of one."""
        return self.terms or (Term(arm=str(self.arm)),)


class Finding(_Part):
    """A claim in our own words, what would contradict it, its contrasts, and text around them.

    identity: what must hold whatever the policy, if theory and code are right: a check of both, no evidence about models.
    default: keys that all contrasts share. as_gap_of: findings whose contrasts are asked again, with the sign that the gap gives.
    """

    id: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    title: Text
    source: Text
    statement: Text
    against: Text
    reason: Text
    text: str = ""
    identity: bool = False
    as_gap_of: tuple[str, ...] = ()
    contrast: tuple[Contrast, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _with_defaults(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "default" not in data:
            return data
        rest = {k: v for k, v in data.items() if k not in ("default", "contrast")}
        # A contrast with a predicted size leaves the common sign out, and the other way round; so does an arm the common sum.
        other = {"sign": "within", "within": "sign", "arm": "terms", "terms": "arm"}
        shared = [
            {**{k: v for k, v in data["default"].items() if other.get(k) not in one}, **one} for one in data.get("contrast", [])
        ]
        return {**rest, "contrast": shared}


class Catalogue(_Part):
    """All runs, findings of the paper, disagreements between papers, claims about published objectives, and what cannot be
    settled here."""

    run: tuple[RunSpec, ...]
    paper: tuple[Finding, ...]
    disagreement: tuple[Finding, ...]
    family: tuple[Finding, ...] = ()
    unsettled: tuple[dict[str, str], ...] = ()

    @cached_property
    def runs(self) -> dict[str, RunSpec]:
        return {run.name: run for run in self.run}

    @property
    def findings(self) -> tuple[Finding, ...]:
        return (*self.paper, *self.disagreement, *self.family)

    @model_validator(mode="after")
    def _refers(self) -> Catalogue:
        for names, what in (([r.name for r in self.run], "run"), ([f.id for f in self.findings], "finding")):
            twice = {n for n in names if names.count(n) > 1}
            if twice:
                raise ValueError(f"two of the {what}s are named {sorted(twice)[0]!r}.")
        known, ids = {r.name for r in self.run}, {f.id for f in self.findings}
        for finding in self.findings:
            if not finding.contrast and not finding.as_gap_of:
                raise ValueError(f"finding {finding.id} has no contrast.")
            for other in finding.as_gap_of:
                if other not in ids:
                    raise ValueError(f"finding {finding.id}: there is no finding {other!r}.")
            for contrast in finding.contrast:
                if contrast.run not in known:
                    raise ValueError(f"finding {finding.id}: there is no run {contrast.run!r}.")
        return self

    def contrasts(self, finding: Finding) -> tuple[Contrast, ...]:
        """Return a finding's own contrasts, and those that it asks again of others with the sign that the gap gives."""
        sided = ("clip_low", "clip_high")  # a difference between arms has no gap of its own
        again = (c for f in self.findings if f.id in finding.as_gap_of for c in f.contrast if c.column in sided)
        return (*finding.contrast, *(c.model_copy(update={"sign": "gap"}) for c in again))

    def chosen(self, names: Iterable[str]) -> list[RunSpec]:
        """Return the runs behind findings or runs of these names, in the catalogue's order; all without names.

        Raises: SpecError for an unknown name.
        """
        wanted: set[str] = set()
        by_id = {f.id: f for f in self.findings}
        for name in names:
            if name in by_id:
                wanted |= {c.run for c in self.contrasts(by_id[name])}
            elif name in self.runs:
                wanted.add(name)
            else:
                raise SpecError(f"no finding or run named {name!r}: entclip reproduce --list shows them.")
        return [run for run in self.run if not wanted or run.name in wanted]

    def asked(self, names: Iterable[str]) -> list[Finding]:
        """Return the findings of these names and those that judge runs of these names; all without names."""
        wanted = set(names)
        return [
            finding
            for finding in self.findings
            if not wanted or finding.id in wanted or wanted & {contrast.run for contrast in self.contrasts(finding)}
        ]


def load_catalogue() -> Catalogue:
    """Load the shipped catalogue; SpecError if it is not consistent in itself."""
    data: dict[str, Any] = {}
    for name in _FILES:
        data |= tomllib.loads(resources.files("entclip.findings").joinpath(name).read_text("utf-8"))
    try:
        return Catalogue.model_validate(data)
    except ValidationError as error:
        lines = [f"{'.'.join(str(p) for p in e['loc'])}: {e['msg']}" for e in error.errors()]
        raise SpecError("the catalogue of findings is not valid: " + "; ".join(lines)) from None
