"""Predictive control: the widths whose predicted drift takes entropy to its target within the next rollout. Claims T6, T12."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from entclip.controllers.base import Controller, Memory, Observed, parameter
from entclip.controllers.response import SideResponse, measured_response
from entclip.objectives.base import Objective
from entclip.support.errors import SpecError
from entclip.support.numbers import NotNegative, Share
from entclip.support.rewording import dataclass

__all__ = ["Predictive"]

_SIDES = ("low", "high")
_PLACES = np.linspace(0.0, 1.0, 801)
_WIDEST = 3.0  # |log r| of a width that clips next to nothing
_SPREAD = math.log(10.0)  # of both edges from the arm's own, in either direction
_STILL = 1e-3  # |log r| of both edges that let the first update of a rollout through and next to nothing after it


@dataclass()
class Predictive(Controller):
    """Sets eps_low, eps_high or both so that the predicted entropy change of the next rollout is target - H.

    F(eps_low, eps_high) = D + C_low(eps_low) + C_high(eps_high), nats per rollout. C is what a side did in the last rollout, for
    other widths by the measured noise of the log-ratios and the worth of what it clipped (response.py): the signs of the gaps are
    measured, not assumed. D is everything else. Both are smoothed over rollouts. Of several solutions the nearest is taken. Where
    no width gives the wanted change the one that comes nearest is, and the column can_hold is 0. With "both" that may be to stand
    still: edges so tight that of the K updates of a rollout only the first acts, whose change is taken as D/K.

    target: nats; None is the entropy at the start. sides: what moves; "both" moves both edges by one factor, each tighter where
    what it clips is worth the wanted sign and wider where it is not. memory: share of the old value in the smoothing. least:
    smallest width, in |log r|.
    """

    target: NotNegative | None = None
    sides: Literal["low", "high", "both"] = "low"
    memory: Share = 0.5
    least: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 0.02
    kind: Literal["predictive"] = "predictive"
    moves = ("low", "high")
    reads_causes = True

    def start(self, base: Objective, entropy: float) -> Memory:
        low, high = parameter(base, "low"), parameter(base, "high")
        own = {"low": math.inf if low == 1 else -math.log1p(-low), "high": math.log1p(high)}
        if self.sides == "both" and not all(0 < x < math.inf for x in own.values()):
            raise SpecError(
                f'predictive.sides = "both" needs widths inside their limits to move from, got low = {low}, high = {high}.'
            )
        place = 0.5
        if self.sides != "both":
            edge = min(max(own[self.sides], self.least), _WIDEST)
            place = math.log(edge / self.least) / math.log(_WIDEST / self.least)
        memory = {"place": place, "target": self.aim(entropy), "can_hold": 1.0, "trend": math.nan, "still": 0.0}
        memory |= {"promised": math.nan, "bias": 0.0}
        for side in _SIDES:
            memory |= {f"{side}_own": own[side], f"{side}_edge": own[side], f"{side}_scale": 1.0, f"{side}_worth": math.nan}
        return memory

    def update(self, memory: Memory, observed: Observed) -> Memory:
        sides = {s: measured_response(observed.rows, s, memory[f"{s}_edge"], memory[f"{s}_scale"]) for s in _SIDES}
        clipped = math.fsum(found.effect for found in sides.values())
        rest = math.fsum(row["measured"] for row in observed.rows) - clipped
        new = memory | {"trend": self._smoothed(memory["trend"], rest)}
        for side, found in sides.items():
            new |= {f"{side}_worth": self._smoothed(memory[f"{side}_worth"], found.worth), f"{side}_scale": found.scale}
        wanted = memory["target"] - observed.entropy
        if not math.isnan(memory["promised"]):
            change = math.fsum(row["measured"] for row in observed.rows)
            new["bias"] = self._smoothed(memory["bias"], change - memory["promised"])
        new |= {"still": 0.0} | self._solved(new, sides, wanted - new["trend"] - new["bias"])
        edges = self._edges(new, np.asarray(new["place"]))
        first = new["trend"] / len(observed.rows)
        if new["can_hold"] == 0 and self.sides == "both" and abs(first - wanted) < new["miss"]:
            new["still"], edges = 1.0, {side: np.asarray(_STILL) for side in _SIDES}
        new["promised"] = wanted if new["can_hold"] == 1 else math.nan
        return new | {f"{side}_edge": float(edges[side]) for side in _SIDES}

    def _smoothed(self, old: float, new: float) -> float:
        if math.isnan(old) or math.isnan(new):
            return old if math.isnan(new) else new
        return self.memory * old + (1 - self.memory) * new

    def _solved(self, memory: Memory, sides: dict[str, SideResponse], wanted: float) -> Memory:
        """The place of edges whose clip terms add up to `wanted` nats, or come nearest; whether some do, and by how much not."""
        clips = [not math.isnan(sides[side].worth) for side in self._moved]
        known = [not math.isnan(memory[f"{side}_worth"]) for side in self._moved]
        if not any(known):
            return self._probe(sides)
        edges = self._edges(memory, _PLACES)
        effect = np.zeros_like(_PLACES)
        for side in _SIDES:
            if not math.isnan(worth := memory[f"{side}_worth"]):
                effect += sides[side].reach(edges[side]) * worth
        excess = effect - wanted
        crossings = np.flatnonzero(excess[:-1] * excess[1:] <= 0)
        if len(crossings) > 0:
            k = crossings[np.argmin(np.abs(_PLACES[crossings] - memory["place"]))]
            rise = float(excess[k + 1] - excess[k])
            return {
                "place": float(_PLACES[k] + (_PLACES[1] * -excess[k] / rise if rise != 0 else 0.0)),
                "can_hold": 1.0,
                "miss": 0.0,
            }
        if not any(clips):  # what is known of their worth is old: look again
            return self._probe(sides) | {"can_hold": 0.0}
        size = np.abs(excess)
        return {"place": float(_PLACES[np.argmin(size)]), "can_hold": 0.0, "miss": float(np.min(size))}

    @property
    def _moved(self) -> tuple[str, ...]:
        return _SIDES if self.sides == "both" else (self.sides,)

    def _probe(self, sides: dict[str, SideResponse]) -> Memory:
        """Edges that clip something, where nothing was clipped: at the noise of the rollout."""
        edge = min(max(float(np.max(sides["low"].noise)), self.least), _WIDEST)
        if self.sides == "both":
            return {"place": 0.5, "low_own": edge, "high_own": edge, "can_hold": 1.0, "miss": 0.0}
        return {"place": math.log(edge / self.least) / math.log(_WIDEST / self.least), "can_hold": 1.0, "miss": 0.0}

    def _edges(self, memory: Memory, place: np.ndarray) -> dict[str, np.ndarray]:
        """Both edges in |log r| at places from 0 to 1: of one side that moves from the tightest on, of both from what lowers
        entropy most to what raises it most."""
        if self.sides == "both":
            signs = {side: 0.0 if math.isnan(w := memory[f"{side}_worth"]) else math.copysign(1.0, w) for side in _SIDES}
            moved = {side: memory[f"{side}_own"] * np.exp((1 - 2 * place) * signs[side] * _SPREAD) for side in _SIDES}
            return {side: np.clip(edge, self.least, _WIDEST) for side, edge in moved.items()}
        edge = self.least * (_WIDEST / self.least) ** place
        return {side: edge if side == self.sides else np.full_like(edge, memory[f"{side}_own"]) for side in _SIDES}

    def settings(self, memory: Memory) -> dict[str, float]:
        return {"low": -math.expm1(-memory["low_edge"]), "high": math.expm1(memory["high_edge"])}

    def columns(self, memory: Memory) -> dict[str, float]:
        return super().columns(memory) | {"can_hold": memory["can_hold"]}
