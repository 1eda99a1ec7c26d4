"""The libraries whose configurations are read, a folder for each: keys, defaults, what they mean, traps, and notation."""

from __future__ import annotations

from entclip.integrations.lint.libraries.areal import AREAL
from entclip.integrations.lint.libraries.axolotl import AXOLOTL
from entclip.integrations.lint.libraries.cleanrl import CLEANRL
from entclip.integrations.lint.libraries.easyr1 import EASYR1
from entclip.integrations.lint.libraries.ms_swift import MS_SWIFT
from entclip.integrations.lint.libraries.nemo_rl import NEMO_RL
from entclip.integrations.lint.libraries.open_instruct import OPEN_INSTRUCT
from entclip.integrations.lint.libraries.openrlhf import OPENRLHF
from entclip.integrations.lint.libraries.prime_rl import PRIME_RL
from entclip.integrations.lint.libraries.roll import ROLL
from entclip.integrations.lint.libraries.sb3 import SB3
from entclip.integrations.lint.libraries.skyrl import SKYRL
from entclip.integrations.lint.libraries.slime import SLIME
from entclip.integrations.lint.libraries.trl import TRL
from entclip.integrations.lint.libraries.trl_ppo import TRL_PPO
from entclip.integrations.lint.libraries.unsloth import UNSLOTH
from entclip.integrations.lint.libraries.verl import VERL
from entclip.integrations.lint.library import Library

__all__ = ["LIBRARIES", "library_named"]

LIBRARIES = {
    library.name: library
    for library in (
        TRL,
        VERL,
        OPENRLHF,
        PRIME_RL,
        MS_SWIFT,
        AXOLOTL,
        NEMO_RL,
        SLIME,
        EASYR1,
        SKYRL,
        AREAL,
        OPEN_INSTRUCT,
        ROLL,
        UNSLOTH,
        SB3,
        CLEANRL,
        TRL_PPO,
    )
}


def library_named(name: str) -> Library:
    """Return what is known of one library; ValueError for a name that has no folder."""
    if name not in LIBRARIES:
        raise ValueError(f"unknown library {name!r}: choose one of {', '.join(LIBRARIES)}.")
    return LIBRARIES[name]
