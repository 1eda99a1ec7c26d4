"""Writes docs/pretrained.md, its data, its figure, what it decides of docs/findings.md, and its column in README.md from the
records of the measurement.

    python -m entclip.findings.pretrained.publish --records results --docs docs
    python -m entclip.findings.pretrained.publish --docs docs

The first reads every experiment's folder in `results`; those without one keep what the data file has of them. The second writes
page and figure anew from the data file.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from entclip.findings.data import load_catalogue
from entclip.findings.figures import draw
from entclip.findings.kept import read_data, write_data
from entclip.findings.page import render as render_findings
from entclip.findings.pretrained.decide import decide, pooled, reached
from entclip.findings.pretrained.figure import figure
from entclip.findings.pretrained.judged import judged_figure
from entclip.findings.pretrained.kin import HEADLINE, MORE, TRUE, experiment_named, names
from entclip.findings.pretrained.page import beside, render
from entclip.findings.pretrained.records import pairs_of, read
from entclip.findings.pretrained.schema import read_beside, read_published
from entclip.findings.runs import data_of_pairs
from entclip.findings.tables import contrasts_csv
from entclip.support.errors import DamagedFileError, SpecError
from entclip.support.files import prepare_folder, to_json, write_atomic

__all__ = ["gather", "main"]


def gather(records: Path | None, before: dict[str, Any]) -> dict[str, Any]:
    """Return by experiment what its finished pairs decide; `before` for those whose records are not there.

    Raises: DamagedFileError and SpecError as `read` does; SpecError without a finished pair of the headline.
    """
    data = {}
    for name in names():
        experiment = experiment_named(name)
        folder = None if records is None else records / name
        if folder is not None and folder.is_dir():
            found, planned = read(folder, experiment), {"planned": pairs_of(experiment)}
            data[name] = decide(experiment, found) | planned
            early = reached(experiment, found)
            if not experiment.antithetic and early < experiment.update.rollouts:
                data[name]["early"] = decide(experiment, found, early) | planned
        elif name in before:
            data[name] = before[name]
        else:
            data[name] = decide(experiment, {}) | {"planned": pairs_of(experiment)}
    simulated = None if records is None else records / "beside" / "beside.json"
    if simulated is not None and simulated.exists():
        data["beside"] = read_beside(simulated)
    elif "beside" in before:
        data["beside"] = before["beside"]
    if not data[HEADLINE]["pairs"]:
        raise SpecError(f"{HEADLINE}: no pair is finished, so that there is nothing to publish: make smollm2 measures them.")
    return data


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the data, the figure and the page, and the column in README.md."""
    parser = argparse.ArgumentParser(description="The page of the pretrained model, from its records.")
    parser.add_argument("--records", type=Path, help="folder with a folder of records for each experiment, for example results")
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    options = parser.parse_args(arguments)
    if options.records is not None and not options.records.is_dir():
        raise SpecError(f"--records {options.records}: there is no such folder.")
    for folder in (options.docs / "data", options.docs / "figures"):
        prepare_folder(folder)
    store = options.docs / "data" / "pretrained.json"
    data = gather(options.records, read_published(store) if store.exists() else {})
    head, page = pooled(data[HEADLINE], data[MORE]), render(data)
    write_atomic(store, (to_json(data) + "\n").encode())
    figure(head, options.docs / "figures" / "pretrained.png")
    judged_figure(data[TRUE], options.docs / "figures" / "pretrained_true.png")
    write_atomic(options.docs / "pretrained.md", page.encode())
    _findings(data | {HEADLINE: head}, options.docs)
    readme = options.docs.parent / "README.md"
    if readme.exists():
        write_atomic(readme, beside(readme.read_text("utf-8"), head).encode())


def _findings(data: Mapping[str, Any], docs: Path) -> None:
    """Judge the paper's claims anew, where the page of the findings is kept: its data, page, table and figures."""
    kept = docs / "data" / "findings"
    if not kept.is_dir():
        return
    catalogue = load_catalogue()
    for run in catalogue.run:
        if run.pretrained is not None and data[run.pretrained]["pairs"]:
            write_data(data_of_pairs(run, data[run.pretrained]), docs)
    results = read_data(docs)
    write_atomic(docs / "findings.md", render_findings(catalogue, results).encode())
    write_atomic(kept / "contrasts.csv", contrasts_csv(catalogue, results).encode())
    draw(catalogue, results, docs / "figures")


if __name__ == "__main__":
    try:
        main()
    except (SpecError, DamagedFileError) as error:
        sys.exit(str(error))
