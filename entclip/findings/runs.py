"""Making the runs of the catalogue: kept if finished, resumed if interrupted, taken from elsewhere if asked, else run.

A run's folder is named by its digest, so quick and full runs live side by side and neither overwrites the other. What the
findings need of a run is kept in a small file that the page is made from (kept.py).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from entclip.engines.named import engine_named
from entclip.engines.registry import DEFAULT, facts_of
from entclip.findings.data import Catalogue, RunSpec
from entclip.findings.exact import EXACT
from entclip.findings.family.experiments import AGAINST
from entclip.findings.family.paired import paired_arms
from entclip.findings.kept import read_data, read_made
from entclip.findings.pretrained.arms import arms_of
from entclip.findings.pretrained.decide import decide
from entclip.findings.pretrained.kin import HEADLINE
from entclip.findings.pretrained.records import read
from entclip.ledger.folder import read_summary
from entclip.ledger.manifest import MANIFEST
from entclip.ledger.summary import parse_summary
from entclip.runs.runner import Progress, run
from entclip.support.errors import DamagedFileError, SpecError
from entclip.support.files import open_file, to_json, write_atomic

__all__ = ["Item", "command_of", "data_of_pairs", "made_before", "make", "reusable"]

_VALUES = ("unclipped", "clip_low", "clip_high", "curvature", "measured", "measured_cv")
_KEPT = (
    *_VALUES,
    *(f"{v}_se" for v in _VALUES),
    *(f"expected_{v}" for v in _VALUES[:4]),
    *(f"residual_{v}_se" for v in _VALUES[:4]),
    "gap_low",
    "gap_high",
    "clip_fraction_low",
    "clip_fraction_high",
    "units",
    "entropy_start",
    "entropy_end",
    "updates",
    "skipped",
)
_EVENTS = ("clip_events_low", "clip_events_high")


@dataclass(frozen=True)
class Item:
    """One run of the catalogue as it stands: status run, kept, reused or skipped; detail says from where, or why not."""

    name: str
    command: str
    status: str
    detail: str
    data: dict[str, Any] | None
    folder: str | None = None


def command_of(spec: RunSpec, quick: bool) -> str:
    """Return what a reader types to make this run alone."""
    if spec.exact is not None or spec.family is not None:
        return f"entclip reproduce {spec.name}{' --quick' if quick else ''}"
    if spec.pretrained is not None:
        return "make smollm2" if spec.pretrained == HEADLINE else f"make smollm2 ARGS='--experiment {spec.pretrained}'"
    if facts_of(spec.engine).trains_models:
        words = ["entclip llm", str(spec.experiment)]
    else:
        words = ["entclip run", str(spec.experiment), *(["--engine", spec.engine] if spec.engine != DEFAULT else [])]
    for override in spec.overrides(quick):
        words += ["--set", f"'{override}'" if any(c in override for c in ' "[') else override]
    return " ".join(words)


def _rounded(value: Any) -> Any:
    """Round to six significant digits: more than any interval here can use."""
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items() if v is not None}
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else value
    return value


def _kept_arms(summary: dict[str, Any]) -> dict[str, Any]:
    # The ledger of a model in training counts clipped tokens in units of a response: those are no events.
    columns = _KEPT if facts_of(summary["engine"]).trains_models else (*_KEPT, *_EVENTS)
    return {name: {c: arm[c] for c in columns if c in arm} for name, arm in summary["arms"].items()}


def _side_by_side(spec: RunSpec, quick: bool, progress: Progress | None, versions: dict[str, str] | None) -> Item:
    """Run objectives beside each other; what is compared unit by unit is in no folder of a run, so that none is kept."""
    assert spec.family is not None
    experiment, start = spec.spec(quick), time.perf_counter()
    ledger = run(experiment, spec.engine, progress=progress)
    arms = paired_arms(ledger, AGAINST[spec.family])
    columns = (*_KEPT, *_EVENTS, "own", "own_se", "other", "policy_reward")
    kept = {n: {c: arm[c] for c in arm if c in columns or c.startswith("minus_")} for n, arm in arms.items()}
    about = {"experiment": experiment.name, "engine": spec.engine, "dtype": spec.dtype, "digest": experiment.digest}
    made = {"wall_s": round(time.perf_counter() - start, 1), "versions": versions or {}}
    data = _data_of(spec, quick, kept, seed=experiment.seed, rollouts=experiment.update.rollouts, **about, **made)
    return Item(spec.name, command_of(spec, quick), "run", "", data)


def _data_of(spec: RunSpec, quick: bool, arms: dict[str, Any], **about: Any) -> dict[str, Any]:
    head = {"run": spec.name, "mode": "quick" if quick else "full", "command": command_of(spec, quick)}
    data: dict[str, Any] = _rounded({**head, **about, "arms": arms})
    return data


def made_before(catalogue: Catalogue, quick: bool, out: Path, besides: Collection[str]) -> list[Item]:
    """Return runs of this folder that were not asked for now, but were made by an earlier command in the same mode and still
    stand."""
    items = []
    for name, data in read_data(out).items():
        spec = catalogue.runs.get(name)
        if spec is None or name in besides or data["mode"] != ("quick" if quick else "full"):
            continue
        digest = "none" if spec.exact is not None else spec.spec(quick).digest
        if data["digest"] == digest:
            folder = _folder(spec, digest)
            kept = folder if (out / folder / MANIFEST).is_file() else None
            items.append(Item(name, command_of(spec, quick), "kept", data.get("source", ""), data, kept))
    return items


def _folder(spec: RunSpec, digest: str) -> str:
    """Where a run of the catalogue is kept, below the output folder."""
    return f"runs/{spec.name}-{digest}-{spec.engine}"


def reusable(paths: Sequence[Path]) -> dict[tuple[str, str], tuple[Path, dict[str, Any]]]:
    """Find finished runs made elsewhere, by (digest, engine): run folders, summary files, or folders of either.

    Raises: SpecError for a path that holds none; DamagedFileError for a run folder or a summary that is damaged.
    """
    found: dict[tuple[str, str], tuple[Path, dict[str, Any]]] = {}
    for path in paths:
        summaries = {file: value for file in _candidates(path) if (value := _summary_in(file)) is not None}
        if not summaries:
            raise SpecError(f"--reuse {path} holds no summary of a run: give a run folder, a summary.json, or a folder of them.")
        found |= {(value["digest"], value["engine"]): (file, value) for file, value in summaries.items()}
    return found


def _candidates(path: Path) -> list[Path]:
    """The JSON files of a path that may be summaries; of a run folder its summary.json alone."""
    if not path.is_dir():
        return [path]
    if (path / "summary.json").exists():
        return [path / "summary.json"]
    return [*sorted(path.glob("*.json")), *sorted(path.glob("*/summary.json"))]


def _summary_in(file: Path) -> dict[str, Any] | None:
    """The summary of a run that a JSON file is; None if it is something else. One in a run folder is checked with its folder."""
    if file.name == "summary.json" and (file.parent / MANIFEST).is_file():
        return read_summary(file.parent)
    try:
        with open_file(file, "Give --reuse a run folder, a summary.json, or a folder of them.") as (opened, _):
            data = opened.read()
        value = from_json(data)
        is_summary = isinstance(value, dict) and {"digest", "engine", "arms"} <= value.keys()
        # Data of a finding names its run and is what is left of a summary.
        return None if not is_summary else value if "run" in value else parse_summary(data)
    except ValueError as error:
        raise DamagedFileError(f"--reuse {file} is no summary of a run: {str(error).rstrip('.')}.") from None


def make(
    spec: RunSpec,
    quick: bool,
    out: Path,
    *,
    elsewhere: dict[tuple[str, str], tuple[Path, dict[str, Any]]] | None = None,
    progress: Callable[[RunSpec], Progress | None] = lambda spec: None,
    versions: dict[str, str] | None = None,
) -> Item:
    """Make one run, or find it made: the Item says which.

    Raises: DamagedFileError for a damaged run folder. An engine that is not installed, or a run that --quick leaves out, is
    "skipped".
    """
    if spec.exact is not None:
        start = time.perf_counter()
        arms = EXACT[spec.exact]()
        seconds = time.perf_counter() - start
        data = _data_of(spec, quick, arms, engine="exact computation", digest="none", wall_s=round(seconds, 1), versions=versions)
        return Item(spec.name, command_of(spec, quick), "run", "", data)
    if spec.family is not None:
        return _side_by_side(spec, quick, progress(spec), versions)
    experiment = spec.spec(quick)
    if spec.pretrained is not None:
        return _of_pairs(spec, quick, decide(experiment, read(Path("results") / spec.pretrained, experiment)))
    folder = out / _folder(spec, experiment.digest)
    about = {"experiment": experiment.name, "engine": spec.engine, "dtype": spec.dtype, "digest": experiment.digest}
    record = folder / "item.json"
    if (folder / MANIFEST).is_file() and record.is_file():
        return _item(spec, quick, "kept", read_summary(folder), about | read_made(record), folder, out)
    if elsewhere and (experiment.digest, spec.engine) in elsewhere:
        file, summary = elsewhere[experiment.digest, spec.engine]
        return _item(spec, quick, "reused", summary, about | {"source": file.as_posix()}, None, out)
    if quick and spec.quick_skip:
        return Item(spec.name, command_of(spec, quick), "skipped", spec.quick_skip, None)
    try:
        engine_named(spec.engine, dtype=spec.dtype)
    except SpecError as error:
        return Item(spec.name, command_of(spec, quick), "skipped", str(error), None)
    start = time.perf_counter()
    try:
        ledger = run(experiment, spec.engine, dtype=spec.dtype, out=folder, progress=progress(spec))
    except SpecError as error:
        if "pip install" not in str(error):  # a model may find only when it loads that a package is missing
            raise
        return Item(spec.name, command_of(spec, quick), "skipped", str(error), None)
    made = {"wall_s": round(time.perf_counter() - start, 1), "versions": versions or {}}
    write_atomic(record, to_json(made).encode())
    return _item(spec, quick, "run", ledger.summary(), about | made, folder, out)


def _of_pairs(spec: RunSpec, quick: bool, decided: dict[str, Any]) -> Item:
    """Judge the pairs of the pretrained model that `make smollm2` has finished so far."""
    if not decided["pairs"]:
        why = f"takes hours, and no pair is finished in results/{spec.pretrained}: {command_of(spec, quick)}"
        return Item(spec.name, command_of(spec, quick), "skipped", why, None)
    return Item(spec.name, command_of(spec, quick), "run", "", data_of_pairs(spec, decided, quick))


def data_of_pairs(spec: RunSpec, decided: dict[str, Any], quick: bool = False) -> dict[str, Any]:
    """Return what findings need of the pretrained model, from what `decide` says of its pairs."""
    about = {"experiment": decided["experiment"], "engine": "llm", "dtype": "float32", "digest": decided["digest"]}
    return _data_of(spec, quick, arms_of(decided), **about)


def _item(
    spec: RunSpec, quick: bool, status: str, summary: dict[str, Any], about: dict[str, Any], folder: Path | None, out: Path
) -> Item:
    data = _data_of(spec, quick, _kept_arms(summary), seed=summary["seed"], rollouts=summary["rollouts"], **about)
    where = None if folder is None else folder.relative_to(out).as_posix()
    return Item(spec.name, command_of(spec, quick), status, about.get("source", ""), data, where)
