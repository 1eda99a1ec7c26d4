"""docs/findings.md from the catalogue, the kept data of the runs and the text of page.md: nothing on the page but these."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib import resources
from string import Template
from typing import Any

from entclip.findings.data import Catalogue, Finding
from entclip.findings.tables import all_rows, by_regime, counts, markdown_table, tally
from entclip.findings.verdicts import LEVEL, MISSING, Judged, finding_verdict, judge_finding

__all__ = ["render"]

Results = Mapping[str, Mapping[str, Any]]
_MANY = 12  # contrasts of a finding, above which regimes are summed up
_QUICK = "The runs here are those of `--quick`: smaller than the published ones, language models left out.\n\n"


def _slug(title: str) -> str:
    """Return the anchor that code hosts and the documentation give a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _seen(judged: list[Judged]) -> list[Judged]:
    return [j for j in judged if j.verdict != MISSING]


def _finding(catalogue: Catalogue, finding: Finding, judged: list[Judged], whole: bool) -> str:
    runs = ", ".join(f"`{run}`" for run in dict.fromkeys(j.contrast.run for j in judged))
    parts = [
        f"### {finding.title}",
        f"**{finding_verdict(judged).capitalize()}** ({counts(judged)}). Source: {finding.source}.",
        f"*Claim.* {finding.statement} *Against it:* {finding.against}",
        f"*Result{'' if whole else ' of the published runs'}.* {finding.reason}",
        *([finding.text] if finding.text else []),
        f"`entclip reproduce {finding.id} --out DIR`, which makes the [runs](#the-runs) {runs}.",
    ]
    shown = _seen(judged)
    if len(shown) <= _MANY:
        return "\n\n".join([*parts, all_rows(catalogue, shown)])
    parts.append(by_regime(catalogue, shown))
    rest = [j for j in judged if j.verdict in ("contradicted", "open")]
    # A finding that asks the contrasts of others again would list them a second time.
    if rest and not finding.as_gap_of:
        title = f"The {len(rest)} that are not reproduced"
        parts.append(f"<details><summary>{title}</summary>\n\n{all_rows(catalogue, rest)}\n\n</details>")
    return "\n\n".join(parts)


def _overview(catalogue: Catalogue, findings: Sequence[Finding], verdicts: Mapping[str, list[Judged]], whole: bool) -> str:
    if not findings:
        return "None was run."
    rows = []
    for f in findings:
        judged = verdicts[f.id]
        own = [j for j in _seen(judged) if catalogue.runs[j.contrast.run].pretrained is not None]
        pretrained = finding_verdict(own) if own else ""
        regimes = "/".join(str(n) for n in tally(catalogue, judged))
        rows.append((f"[{f.title}](#{_slug(f.title)})", f"**{finding_verdict(judged)}**", pretrained, regimes, f.reason))
    line = "in one line" if whole else "in one line, of the published runs"
    return markdown_table(("claim", "verdict", "pretrained model", "regimes for / against / divided / open", line), rows)


def _runs(catalogue: Catalogue, results: Results) -> str:
    rows = []
    for spec in catalogue.run:
        data = results.get(spec.name)
        if data is None:
            continue
        units = sorted({arm["units"] for arm in data["arms"].values() if "units" in arm})
        size = "" if not units else str(units[0]) if len(units) == 1 else f"{units[0]} to {units[-1]}"
        seconds = data.get("wall_s")
        took = f"{seconds:.0f} s" if seconds is not None else f"taken from {data['source']}" if "source" in data else ""
        rows.append((f"`{spec.name}`", spec.regime, f"`{data['command']}`", data["engine"], data["digest"], size, took))
    return markdown_table(("run", "regime", "command", "engine", "digest", "units", "time"), rows)


def _missing(catalogue: Catalogue, results: Results, verdicts: Mapping[str, list[Judged]]) -> str:
    """What is not on the page, in a sentence: a row for each would hide those that are."""
    runs = [f"`{spec.name}`" for spec in catalogue.run if spec.name not in results]
    if not runs:
        return ""
    findings = sum(not _seen(judged) for judged in verdicts.values())
    return (
        f"**Not run here:** {len(runs)} of the {len(catalogue.run)} runs, on which {findings} of the {len(verdicts)} findings "
        f"rest wholly; these are left out, and the others are judged by the rest. Missing: {', '.join(runs)}.\n\n"
    )


def render(catalogue: Catalogue, results: Results) -> str:
    """Write the page as Markdown: what was run, and one sentence on what was not."""
    verdicts = {f.id: judge_finding(catalogue.contrasts(f), results) for f in catalogue.findings}
    seen = [j for judged in verdicts.values() for j in _seen(judged)]
    groups = (catalogue.paper, catalogue.disagreement, catalogue.family)
    paper, disagreement, family = ([f for f in group if _seen(verdicts[f.id])] for group in groups)
    judged = [f for f in (*paper, *disagreement, *family) if not f.identity]
    identities = [f for f in (*paper, *disagreement, *family) if f.identity]
    drawn = {(j.contrast.run, j.label, j.contrast.column) for j in seen if j.se is not None and j.contrast.sign is not None}
    kinds = sorted(finding_verdict(verdicts[f.id]) for f in judged)
    quick = {data.get("mode") for data in results.values()} == {"quick"}
    missing = _missing(catalogue, results, verdicts)
    whole = not (missing or quick)

    def overview(findings: Sequence[Finding]) -> str:
        return _overview(catalogue, findings, verdicts, whole)

    text = Template(resources.files("entclip.findings").joinpath("page.md").read_text("utf-8"))
    return text.substitute(
        size=(_QUICK if quick else "") + missing,
        number=len(kinds),
        summary=", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds)),
        identities=len(identities),
        paper_overview=overview([f for f in paper if not f.identity]),
        disagreement_overview=overview([f for f in disagreement if not f.identity]),
        family_overview=overview([f for f in family if not f.identity]),
        identity_overview=overview(identities),
        unsettled=markdown_table(("question", "why not"), [(u["question"], u["why"]) for u in catalogue.unsettled]),
        contrasts=len(seen),
        drawn=len(drawn),
        false=f"{(1 - LEVEL) * len(drawn):.0f}",
        paper="\n\n".join(_finding(catalogue, f, verdicts[f.id], whole) for f in paper),
        disagreements="\n\n".join(_finding(catalogue, f, verdicts[f.id], whole) for f in disagreement),
        family="\n\n".join(_finding(catalogue, f, verdicts[f.id], whole) for f in family),
        runs=_runs(catalogue, results),
    )
