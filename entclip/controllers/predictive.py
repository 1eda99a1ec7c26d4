"""Predictive control: the widths whose predicted drift takes entropy to its target within the next rollout. Claims T6, T12."""

from __future__ import annotations

import math
from dataclasses import replace
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
_WIDEST = 3.0  # |log r| of a width that clips next to nothing
_MOVES = np.linspace(-5.0, 5.0, 1601)  # of log |log r|: from the least to the widest and back
_STILL = 1e-3  # |log r| of both edges that let the first update of a rollout through and next to nothing after it


@dataclass()
class Predictive(Controller):
    """Sets eps_low, eps_high or both so that the predicted entropy change of the next rollout is target - H.

    F(eps_low, eps_high) = D + C_low(eps_low) + C_high(eps_high), nats per rollout. C is what a side does: the moment of |log r|
    beyond a width, by the measured noise of the log-ratios, times what a unit of it was worth (response.py). The signs of the
    gaps are measured, not assumed. The worth is a quotient of smoothed sums, so that a rollout counts by how much it clipped. D
    is everything else, smoothed, and followed faster where it is missed on the same side again and again. Of several solutions
    the nearest to the widths in force is taken. Where no width gives the wanted change the one that comes nearest is, and the
    column can_hold is 0. With "both" that may be to stand still: edges so tight that of the K updates of a rollout only the first
    acts, whose change is taken as D/K.

    target: nats; None is the entropy at the start. sides: what moves; "both" moves both edges, each by its worth: tighter where
    what it clips is worth the wanted sign, wider where it is not, and hardly at all where it decides little. memory: share of the
    old value in the smoothing. least: smallest width, in |log r|.
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
        memory = {"target": self.aim(entropy), "can_hold": 1.0, "miss": 0.0, "still": 0.0}
        memory |= {"rest": math.nan, "missed": 0.0, "size": 0.0}
        for side in _SIDES:
            edge = min(max(own[side], self.least), _WIDEST) if side in self._moved else own[side]
            memory |= {f"{side}_edge": own[side], f"{side}_from": edge, f"{side}_scale": 1.0}
            memory |= {f"{side}_effect": 0.0, f"{side}_moment": 0.0}
        return memory

    def update(self, memory: Memory, observed: Observed) -> Memory:
        sides = {s: measured_response(observed.rows, s, memory[f"{s}_edge"], memory[f"{s}_scale"]) for s in _SIDES}
        new, explained = dict(memory), 0.0
        for side, found in tuple(sides.items()):
            if memory["still"]:  # nearly all was clipped: that says nothing about what a width clips
                explained += found.effect
                sides[side] = replace(found, scale=memory[f"{side}_scale"])
                continue
            # Sums are smoothed, not their quotients: a rollout that clipped next to nothing says next to nothing about the worth.
            moment = float(found.moment(np.asarray(memory[f"{side}_edge"]))) if found.beyond > 0 else 0.0
            for name, value in (("effect", found.effect), ("moment", moment)):
                new[f"{side}_{name}"] = self._smoothed(memory[f"{side}_{name}"], value)
            new[f"{side}_scale"] = found.scale
            if moment > 0:
                explained += _worth(new, side) * moment
        rest = math.fsum(row["measured"] for row in observed.rows) - explained
        if math.isnan(memory["rest"]):
            new["rest"] = rest
        else:
            # Errors that keep their sign are a trend to be followed, errors that change it are noise to be smoothed (Trigg and
            # Leach, 1967): the smoothed error as a share of the smoothed size of errors is how much of the next one is taken.
            missed = rest - memory["rest"]
            sure = abs(memory["missed"]) / memory["size"] if memory["size"] > 0 else 0.0
            new["rest"] += max(1 - self.memory, sure) * missed
            new |= {
                "missed": self._smoothed(memory["missed"], missed),
                "size": self._smoothed(memory["size"] or abs(missed), abs(missed)),
            }
        wanted = memory["target"] - observed.entropy
        new |= self._solved(new, sides, wanted - new["rest"])
        first = new["rest"] / len(observed.rows)
        new["still"] = float(new["can_hold"] == 0 and self.sides == "both" and abs(first - wanted) < new["miss"])
        return new | {f"{side}_edge": _STILL if new["still"] else new[f"{side}_from"] for side in _SIDES}

    def _smoothed(self, old: float, new: float) -> float:
        return self.memory * old + (1 - self.memory) * new

    def _solved(self, memory: Memory, sides: dict[str, SideResponse], wanted: float) -> Memory:
        """The nearest edges whose clip terms add up to `wanted` nats, or come nearest; whether some do, and by how much not."""
        if all(math.isnan(_worth(memory, side)) for side in self._moved):
            return self._probe(memory, sides)
        edges = self._reached(memory, _MOVES)
        effect = np.zeros_like(_MOVES)
        for side in _SIDES:
            if not math.isnan(worth := _worth(memory, side)):
                effect += sides[side].moment(edges[side]) * worth
        excess = effect - wanted
        crossings = np.flatnonzero(excess[:-1] * excess[1:] <= 0)
        if len(crossings) > 0:
            k = crossings[np.argmin(np.abs(_MOVES[crossings]))]
            rise = float(excess[k + 1] - excess[k])
            move = _MOVES[k] - (excess[k] / rise * (_MOVES[1] - _MOVES[0]) if rise != 0 else 0.0)
            said = {"can_hold": 1.0, "miss": 0.0}
        elif any(sides[side].beyond > 0 for side in self._moved):
            k = np.argmin(np.abs(excess))
            move, said = _MOVES[k], {"can_hold": 0.0, "miss": float(abs(excess[k]))}
        else:  # what is known of their worth is old: look again
            return self._probe(memory, sides) | {"can_hold": 0.0}
        return said | {f"{side}_from": float(x) for side, x in self._reached(memory, move).items()}

    @property
    def _moved(self) -> tuple[str, ...]:
        return _SIDES if self.sides == "both" else (self.sides,)

    def _probe(self, memory: Memory, sides: dict[str, SideResponse]) -> Memory:
        """Edges that clip something, where nothing was clipped: at the noise of the rollout. can_hold is 0 where they were there
        already, or where nothing moves before the last update: no width does anything then."""
        noise = float(np.max(sides["low"].noise))
        idle = noise == 0 or all(memory[f"{side}_edge"] <= noise for side in self._moved)
        edge = min(max(noise, self.least), _WIDEST)
        return {f"{side}_from": edge for side in self._moved} | {"can_hold": float(not idle), "miss": 0.0}

    def _reached(self, memory: Memory, moves: np.ndarray) -> dict[str, np.ndarray]:
        """Both edges in |log r| after each of the moves: of a side alone by all of it, of both by their worth, so that one which
        decides little stays and moves to and fro go the same way."""
        worths = {side: 0.0 if math.isnan(w := _worth(memory, side)) else w for side in self._moved}
        most = max(map(abs, worths.values())) or 1.0
        out = {side: np.full_like(moves, memory[f"{side}_from"]) for side in _SIDES}
        for side, worth in worths.items():
            out[side] = np.clip(out[side] * np.exp(-moves * worth / most), self.least, _WIDEST)
        return out

    def settings(self, memory: Memory) -> dict[str, float]:
        return {"low": -math.expm1(-memory["low_edge"]), "high": math.expm1(memory["high_edge"])}

    def columns(self, memory: Memory) -> dict[str, float]:
        return super().columns(memory) | {"can_hold": memory["can_hold"]}


def _worth(memory: Memory, side: str) -> float:
    """Nats of a rollout for each unit of the moment beyond a bound; NaN where nothing was beyond it."""
    return memory[f"{side}_effect"] / memory[f"{side}_moment"] if memory[f"{side}_moment"] > 0 else math.nan
