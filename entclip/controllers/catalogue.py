"""Every controller by its kind, as an experiment names one."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from entclip.controllers.adaptive_bonus import AdaptiveBonus, Doubling
from entclip.controllers.bounds import Adapo, Bapo
from entclip.controllers.entropic import EntropicControl
from entclip.controllers.predictive import Predictive
from entclip.controllers.proportional import Proportional
from entclip.controllers.schedules import FlexibleSchedule
from entclip.controllers.thermostat import Thermostat

__all__ = ["AnyController"]

AnyController = Annotated[
    Predictive | Proportional | Thermostat | AdaptiveBonus | Doubling | Adapo | Bapo | EntropicControl | FlexibleSchedule,
    Field(discriminator="kind"),
]
