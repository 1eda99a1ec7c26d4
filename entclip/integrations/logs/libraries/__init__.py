"""The libraries whose logs are read, one file each."""

from __future__ import annotations

from entclip.integrations.logs.libraries.areal import AREAL
from entclip.integrations.logs.libraries.cleanrl import CLEANRL
from entclip.integrations.logs.libraries.easyr1 import EASYR1
from entclip.integrations.logs.libraries.ms_swift import MS_SWIFT
from entclip.integrations.logs.libraries.nemo_rl import NEMO_RL
from entclip.integrations.logs.libraries.open_instruct import OPEN_INSTRUCT
from entclip.integrations.logs.libraries.openrlhf import OPENRLHF
from entclip.integrations.logs.libraries.plain import PLAIN
from entclip.integrations.logs.libraries.prime_rl import PRIME_RL
from entclip.integrations.logs.libraries.roll import ROLL
from entclip.integrations.logs.libraries.sb3 import SB3
from entclip.integrations.logs.libraries.skyrl import SKYRL
from entclip.integrations.logs.libraries.slime import SLIME
from entclip.integrations.logs.libraries.torchrl import TORCHRL
from entclip.integrations.logs.libraries.trl import TRL
from entclip.integrations.logs.libraries.trl_ppo import TRL_PPO
from entclip.integrations.logs.libraries.verl import VERL
from entclip.integrations.logs.names import LogLibrary, plain_name
from entclip.integrations.logs.updates import EPOCHS

__all__ = ["KNOWN", "LIBRARIES", "STEPS", "known", "library_of", "metric"]

# Of two that have as many of a log's names the first is taken.
LIBRARIES: tuple[LogLibrary, ...] = (
    TRL,
    MS_SWIFT,
    VERL,
    EASYR1,
    OPENRLHF,
    PRIME_RL,
    SLIME,
    SKYRL,
    NEMO_RL,
    AREAL,
    ROLL,
    TRL_PPO,
    OPEN_INSTRUCT,
    SB3,
    CLEANRL,
    TORCHRL,
    PLAIN,
)
KNOWN = frozenset(alias.name for library in LIBRARIES for alias in library.aliases)

_COMMON = frozenset(("step", "episodes", "loss", "grad_norm", "rate"))  # what any training logs
_TELLING = frozenset(alias.name for library in LIBRARIES for alias in library.aliases if alias.quantity not in _COMMON)
STEPS = frozenset(alias.name for library in LIBRARIES for alias in library.aliases if alias.quantity in ("step", "episodes"))


def known(name: str) -> bool:
    """Tell whether some library logs a name."""
    return plain_name(name) in KNOWN or plain_name(name) in EPOCHS


def metric(name: str) -> bool:
    """Tell whether a name is known and more than what any training logs: a step, a loss, a learning rate."""
    return plain_name(name) in _TELLING


def library_of(names: list[str]) -> LogLibrary | None:
    """Return the library with most names that only its logs have; without any, plain names; None if none of those is known.

    A name that several libraries log, such as `entropy_loss`, may be minus the entropy in one of them: it decides nothing.
    """
    plain = {plain_name(name) for name in names}

    def score(library: LogLibrary) -> tuple[int, int]:
        marks = sum(plain >= set(mark.split(" & ")) for mark in library.marks)
        return marks, len(plain & {alias.name for alias in library.aliases})

    best = max(LIBRARIES, key=score)
    if score(best)[0]:
        return best
    return PLAIN if score(PLAIN)[1] else None
