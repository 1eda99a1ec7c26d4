"""docs/findings.md from the catalogue, the kept data of the runs and the text of page.md: nothing on the page but these."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib import resources
from string import Template
from typing import Any

from entclip.findings.data import Catalogue, Finding
from entclip.findings.tables import all_rows, by_regime, counts, markdown_table, tally
from entclip.findings.verdicts import LEVEL, Judged, finding_verdict, judge_finding

__all__ = ["render"]

Results = Mapping[str, Mapping[str, Any]]
_MANY = 12  # contrasts of a finding, above which regimes are summed up
_QUICK = "The runs here are those of `--quick`: smaller than the published ones, language models left out.\n\n"


def _slug(title: str) -> str:
    """Return the anchor that code hosts and the documentation give a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _finding(catalogue: Catalogue, finding: Finding, judged: list[Judged]) -> str:
    runs = ", ".join(f"`{run}`" for run in dict.fromkeys(j.contrast.run for j in judged))
    parts = [
        f"### {finding.title}",
        f"**{finding_verdict(judged).capitalize()}** ({counts(judged)}). Source: {finding.source}.",
        f"*Claim.* {finding.statement} *Against it:* {finding.against}",
        f"*Result.* {finding.reason}",
        *([finding.text] if finding.text else []),
        f"`entclip reproduce {finding.id} --out DIR`, which makes the [runs](#the-runs) {runs}.",
    ]
    if len(judged) <= _MANY:
        return "\n\n".join([*parts, all_rows(catalogue, judged)])
    parts.append(by_regime(catalogue, judged))
    rest = [j for j in judged if j.verdict in ("contradicted", "open")]
    # A finding that asks the contrasts of others again would list them a second time.
    if rest and not finding.as_gap_of:
        title = f"The {len(rest)} that are not reproduced"
        parts.append(f"<details><summary>{title}</summary>\n\n{all_rows(catalogue, rest)}\n\n</details>")
    return "\n\n".join(parts)


def _overview(catalogue: Catalogue, findings: Sequence[Finding], verdicts: Mapping[str, list[Judged]]) -> str:
    rows = []
    for f in findings:
        judged = verdicts[f.id]
        own = [j for j in judged if catalogue.runs[j.contrast.run].pretrained is not None]
        pretrained = finding_verdict(own) if own else ""
        regimes = "/".join(str(n) for n in tally(catalogue, judged))
        rows.append((f"[{f.title}](#{_slug(f.title)})", f"**{finding_verdict(judged)}**", pretrained, regimes, f.reason))
    return markdown_table(("claim", "verdict", "pretrained model", "regimes for / against / divided / open", "in one line"), rows)


def _runs(catalogue: Catalogue, results: Results) -> str:
    rows = []
    for spec in catalogue.run:
        data = results.get(spec.name)
        if data is None:
            rows.append((f"`{spec.name}`", spec.regime, "not run", "", "", "", ""))
            continue
        units = sorted({arm["units"] for arm in data["arms"].values() if "units" in arm})
        size = "" if not units else str(units[0]) if len(units) == 1 else f"{units[0]} to {units[-1]}"
        seconds = data.get("wall_s")
        took = f"{seconds:.0f} s" if seconds is not None else f"taken from {data['source']}" if "source" in data else ""
        rows.append((f"`{spec.name}`", spec.regime, f"`{data['command']}`", data["engine"], data["digest"], size, took))
    return markdown_table(("run", "regime", "command", "engine", "digest", "units", "time"), rows)


def render(catalogue: Catalogue, results: Results) -> str:
    """Write the page as Markdown."""
    verdicts = {f.id: judge_finding(catalogue.contrasts(f), results) for f in catalogue.findings}
    seen = [j for judged in verdicts.values() for j in judged if j.verdict != "not run"]
    drawn = {(j.contrast.run, j.label, j.contrast.column) for j in seen if j.se is not None and j.contrast.sign is not None}
    kinds = sorted(finding_verdict(verdicts[f.id]) for f in catalogue.findings if not f.identity)
    quick = {data.get("mode") for data in results.values()} == {"quick"}
    text = Template(resources.files("entclip.findings").joinpath("page.md").read_text("utf-8"))
    return text.substitute(
        size=_QUICK if quick else "",
        number=len(kinds),
        summary=", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds)),
        identities=len(catalogue.findings) - len(kinds),
        paper_overview=_overview(catalogue, [f for f in catalogue.paper if not f.identity], verdicts),
        disagreement_overview=_overview(catalogue, [f for f in catalogue.disagreement if not f.identity], verdicts),
        identity_overview=_overview(catalogue, [f for f in catalogue.findings if f.identity], verdicts),
        unsettled=markdown_table(("question", "why not"), [(u["question"], u["why"]) for u in catalogue.unsettled]),
        contrasts=len(seen),
        drawn=len(drawn),
        false=f"{(1 - LEVEL) * len(drawn):.0f}",
        paper="\n\n".join(_finding(catalogue, f, verdicts[f.id]) for f in catalogue.paper),
        disagreements="\n\n".join(_finding(catalogue, f, verdicts[f.id]) for f in catalogue.disagreement),
        runs=_runs(catalogue, results),
    )
