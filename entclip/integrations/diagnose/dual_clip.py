"""What is said of the dual clip beside the ordinary one: how often it acts."""

from __future__ import annotations

from dataclasses import replace

from entclip.integrations.diagnose.finding import Finding
from entclip.integrations.diagnose.run import Run

__all__ = ["with_dual_clip"]

_WORTH = 5e-4  # of the tokens: less moves nothing that anybody asks about


def with_dual_clip(run: Run, there: Finding) -> Finding:
    """Return the finding on the clip with the share of the dual clip, where that is no trifle."""
    evidence = run.evidence("dual_clip", run.acting)
    if not evidence.rows or not _WORTH <= evidence.value <= 1:
        return there
    told = f"{100 * evidence.value:.2g} % ({evidence.metric})"
    return replace(
        there,
        answer=f"{there.answer} The dual clip drops another {told}: those with A < 0 and a ratio above its cap.",
        evidence=(*there.evidence, evidence),
        labels=(*there.labels, "dual"),
    )
