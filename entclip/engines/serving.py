"""Which engine serves which objective: what is refused before anything of a run is made, and what cards say of it.

What an objective needs and what an engine serves are facts of theirs; nothing here knows any of them by name.
"""

from __future__ import annotations

from collections.abc import Sequence, Set

from entclip.engines.facts import EngineFacts
from entclip.engines.registry import BACKENDS, ENGINES
from entclip.engines.rules import ruled
from entclip.experiments.experiment import Experiment
from entclip.objectives.base import Objective
from entclip.objectives.needs import refuse_unserved
from entclip.support.errors import SpecError

__all__ = ["SEQUENCES", "refuse_needs", "refuse_unfit", "servers", "serves"]

SEQUENCES = "autoregressive"  # the kind of policy whose samples are sequences, each with one advantage


def serves(facts: EngineFacts, objective: Objective, policy: str = "") -> bool:
    """Tell whether an engine or backend can run an objective, on a kind of policy that it runs."""
    if facts.objectives is not None and objective.kind not in facts.objectives:
        return False
    return objective.needs <= facts.serves and not (policy == SEQUENCES and objective.needs & facts.single_tokens)


def servers(objective: Objective, policy: str = "") -> list[str]:
    """Return the names of the engines and backends that can run an objective, on a kind of policy or on any of theirs."""
    known = (ENGINES | BACKENDS).values()
    return [facts.name for facts in known if (not policy or policy in facts.policies) and serves(facts, objective, policy)]


def refuse_needs(objective: Objective, served: Set[str], who: str, policy: str = "") -> None:
    """Raise SpecError, with the engines that can run it, for an objective that needs what `who` does not serve.

    policy: the kind of policy that it is to be run on, if there is one: engines for others are named where none has it.
    """
    able = [name for name in servers(objective, policy) or servers(objective) if name in ENGINES]
    refuse_unserved(objective, served, who, f"use the engine {_either(able)}, or another objective" if able else "")


def _either(names: Sequence[str]) -> str:
    """Write names as "a, b or c"."""
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def refuse_unfit(facts: EngineFacts, experiment: Experiment, objective: Objective) -> None:
    """Raise SpecError, before anything is made, for an objective that an engine cannot run on an experiment."""
    refuse_needs(objective, facts.serves, f"the {facts.name} engine", experiment.policy.kind)
    if experiment.policy.kind == SEQUENCES and objective.needs & facts.single_tokens:
        what = "drops tokens at random" if "survival" in objective.needs else "goes by the advantage of each token"
        raise SpecError(
            f"the objective {objective.kind!r} {what}, but policy.kind = {experiment.policy.kind!r} draws whole sequences: use a "
            "policy of single tokens."
        )
    if not facts.drawn and objective.source == "batch" and "survival" in objective.needs:
        raise SpecError(
            f"the {facts.name} engine lists what {objective.kind!r} drops before it knows the minibatch, but source = 'batch' "
            "makes its chances of that minibatch: use source = 'policies' or 'previous', or the sampled engine."
        )
    ruled(experiment, objective)
