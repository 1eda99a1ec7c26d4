"""Traps that only AReaL has."""

from __future__ import annotations

from entclip.integrations.lint.facts import TrainerConfig
from entclip.integrations.lint.rules import rule
from entclip.integrations.lint.values import is_number, shown

__all__: list[str] = []


@rule("areal-kl-without-reference", "error", "areal")
def _reference(config: TrainerConfig) -> str | None:
    given = config.get("actor.kl_ctl")
    value = given.value
    if not is_number(value) or value <= 0 or any(key == "ref" or key.startswith("ref.") for key in config.values):
        return None
    default = "" if given.explicit else ", the default,"
    return (
        f"actor.kl_ctl = {shown(value)}{default} without a ref: {config.library.release} then takes the reference's "
        "log-probabilities for 0, so that each token is rewarded with -kl_ctl log pi, an entropy bonus and no pull to a "
        "reference. Set actor.kl_ctl: 0, or give a ref."
    )
