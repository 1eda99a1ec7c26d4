"""One rollout with the ledger inside: causes, curvature, remainder and gaps of every update, and the law of its noise.

The engine takes and accounts the updates, and the ledger checks each of them, as in `entclip llm`; here one model at a time. The
change of entropy is the one that `measure` finds without accounting.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from entclip.engines.base import Directive
from entclip.engines.llm.beginning import Beginning
from entclip.engines.llm.engine import LlmEngine
from entclip.engines.llm.replica import Replica
from entclip.experiments.sections import Arm
from entclip.findings.pretrained.pair import kept, outside
from entclip.findings.pretrained.records import Record
from entclip.ledger.arm import ArmLedger
from entclip.ledger.columns import causes_in
from entclip.objectives.base import Objective
from entclip.prediction.noise_table import NoiseTable, noise_law_of

__all__ = ["account"]

_CONTEXTS = 128  # at least, where there are as many, behind the law of the noise: all of them hold 10^7 tokens and more
_IDENTIFIES = ("schema_version", "case", "arm", "seed", "rollout", "step")  # of a ledger's row; the record says it once


def account(
    engine: LlmEngine,
    begun: Beginning,
    arm: Arm,
    objective: Objective,
    replica: Replica,
    rollout: int,
    like: Mapping[str, Any] | None,
    say: Callable[[str], None],
) -> Record:
    """Train a replica for one rollout and account for every update; arguments and what is returned are those of `measure`.

    `steps` holds the ledger's rows, and `identity` in each: how far, in nats, the causes are from <grad H, step>, which is
    computed apart from them. `noise` is the law of log(pi/pi_old) against pi_old over all tokens of probe contexts.

    Raises: IdentityError if an update's books do not balance.
    """
    experiment = begun.experiment
    books, state = ArmLedger("", arm.name, experiment), engine.state_of(begun, objective, [replica])
    state.rollout = rollout
    if not begun.knows(replica, rollout):
        say(f"generating {experiment.update.batch * experiment.update.minibatches} responses")
    state, rolled = engine.roll_out(state)
    steps = []
    for number, minibatch in enumerate(rolled):
        say(f"update {number + 1} of {len(rolled.minibatches)}, accounted")
        if minibatch is rolled.minibatches[-1]:
            last = outside(begun, replica, rolled.responses[0], minibatch)
        directive = Directive() if like is None else Directive(keep=kept(like["steps"][number]))
        state, entry = engine.step(state, rolled, minibatch, directive)
        assert entry is not None  # ledger.every = 1
        books.append(entry, state)
        columns = {name: float(value[0]) for name, value in entry.columns.items()}
        identity = abs(math.fsum(columns[cause] for cause in causes_in(columns)) - columns["_inner"])
        row = {name: value for name, value in books.rows[-1].items() if name not in _IDENTIFIES and not name.endswith("_se")}
        steps.append(row | {"identity": identity})
    say("the law of its noise")
    old, new = engine.distributions(state, rolled)
    vocabulary = rolled.responses[0].old[0].shape[1]
    some = slice(None, None, max(1, old.size // vocabulary // _CONTEXTS))
    law = noise_law_of(*(x.reshape(-1, vocabulary)[some] for x in (old, new)))  # its errors run over contexts
    before, after = steps[0]["entropy_before"], steps[-1]["entropy"]
    scores = {name: float(value[0]) for name, value in state.log.items()}
    return {
        "entropy_before": before,
        "entropy": after,
        "measured": after - before,
        "last": last,
        "steps": steps,
        **scores,
        "noise": _rows(law),
    }


def _rows(law: NoiseTable) -> list[dict[str, float]]:
    """Return the rows of a noise table as plain numbers."""
    return [{str(name): float(value) for name, value in row.items()} for row in law.to_frame().to_dict("records")]
