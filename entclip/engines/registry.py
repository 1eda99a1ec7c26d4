"""The engines that there are, by their facts: importing this loads neither torch nor any engine."""

from __future__ import annotations

from entclip.engines.facts import EngineFacts
from entclip.engines.head.facts import HEAD
from entclip.engines.llm.facts import LLM, TRL
from entclip.engines.recorded import RECORDED
from entclip.engines.reduced.facts import REDUCED
from entclip.engines.tabular.facts import EXACT, SAMPLED
from entclip.engines.tokens.facts import TOKENS
from entclip.support.errors import SpecError
from entclip.support.rewording import shown, suggestion

__all__ = ["BACKENDS", "DEFAULT", "ENGINES", "described", "facts_of", "usual_engine"]

ENGINES = {facts.name: facts for facts in (SAMPLED, EXACT, REDUCED, TOKENS, HEAD, LLM)}
BACKENDS = {TRL.name: TRL}  # trainers of others that run an engine's experiments in a loop of their own

DEFAULT = SAMPLED.name


def facts_of(name: str) -> EngineFacts:
    """Return the facts of the engine or backend of that name; SpecError for an unknown one."""
    if name not in ENGINES | BACKENDS:
        raise SpecError(f"unknown engine {shown(name)}: {suggestion(name, sorted(ENGINES))}")
    return (ENGINES | BACKENDS)[name]


def described(name: object) -> EngineFacts | None:
    """Return the facts of what made a saved run: an engine, or somebody else's training loop; None for one not known here."""
    return RECORDED if name == RECORDED.name else (ENGINES | BACKENDS).get(str(name))


def usual_engine(policy: str) -> EngineFacts:
    """Return the first engine that runs policies of this kind; SpecError for a recorded run, which none runs."""
    if policy in RECORDED.policies:
        raise SpecError(
            f"policy.kind = {policy!r} is a run of somebody's own training loop: entclip ledger and entclip report read it, but "
            "no engine runs it."
        )
    return next(facts for facts in ENGINES.values() if policy in facts.policies)
