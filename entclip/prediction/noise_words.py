"""What --noise says in words: a law of pi_old, its size and its tails.

    flat:.25               logits move by the same standard deviation for every action, rms .25 at the end of a rollout
    sqrt:.1, inv_sqrt:.1   proportional to pi_old^(1/2), to pi_old^(-1/2)
    shares:.004:.001       flat, of the size that clips these shares of the tokens at the low and at the high bound
    kl:.0024               flat, of the size that a mean KL(pi_old || pi) of .0024 nats per token has: 2 KL is the mean square of
                           log(pi/pi_old) itself, which normalisation makes smaller than that of the logits
    flat:.05:t:5           Student's t of 5 degrees of freedom, of that standard deviation
    flat:.05:mixture:.2:4  a share .2 of log-ratios with 4 times the standard deviation of the others, .05 all told

A Gaussian puts 4.6 % beyond two standard deviations; a model in bf16 has been seen with 7.5 %, which no t law has (at most 5 %)
and mixture:.2:4 nearly has.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from entclip.support.errors import SpecError

__all__ = ["POWERS", "Gauss", "LogRatioRms", "Mixture", "NoiseLaw", "Shares", "StudentT", "Tail", "noise_words"]

NoiseLaw = Literal["inv_sqrt", "flat", "sqrt"]
POWERS: dict[str, float] = {"inv_sqrt": -0.5, "flat": 0.0, "sqrt": 0.5}


class Tail(Protocol):
    """The shape of a log-ratio's law, whatever its size."""

    reach: float  # standard deviations within which the law is held

    def density(self, x: np.ndarray) -> np.ndarray:
        """Return the density at x standard deviations, up to a factor."""
        ...


@dataclass(frozen=True)
class Gauss:
    """The normal law."""

    reach = 8.0

    def density(self, x: np.ndarray) -> np.ndarray:
        out: np.ndarray = np.exp(-(x**2) / 2)
        return out


@dataclass(frozen=True)
class StudentT:
    """Student's t law of `df` degrees of freedom, scaled to unit variance: (1 + x^2/(df - 2))^(-(df + 1)/2)."""

    df: float
    reach = 16.0

    def __post_init__(self) -> None:
        if not 2 < self.df < math.inf:
            raise SpecError(f"--noise: a t law needs more than 2 degrees of freedom to have a variance, got {self.df:g}.")

    def density(self, x: np.ndarray) -> np.ndarray:
        out: np.ndarray = (1 + x**2 / (self.df - 2)) ** (-(self.df + 1) / 2)
        return out


@dataclass(frozen=True)
class Mixture:
    """Two normal laws about the same mean, of unit variance together: a `share` with `scale` times the others' deviation."""

    share: float
    scale: float
    reach = 16.0

    def __post_init__(self) -> None:
        if not 0 < self.share < 1 or not 1 < self.scale < math.inf:
            raise SpecError(
                f"--noise: a mixture needs a share between 0 and 1 and a scale above 1, got {self.share:g} and {self.scale:g}."
            )

    def density(self, x: np.ndarray) -> np.ndarray:
        narrow = 1 / math.sqrt(1 - self.share + self.share * self.scale**2)
        wide = self.scale * narrow
        out: np.ndarray = (1 - self.share) / narrow * np.exp(-((x / narrow) ** 2) / 2)
        out += self.share / wide * np.exp(-((x / wide) ** 2) / 2)
        return out


@dataclass(frozen=True)
class LogRatioRms:
    """Root mean square of log(pi/pi_old) over the actions that were drawn, after the last update of a rollout.

    It is what KL divergences, ledgers and logs have. Normalisation damps the noise of logits, that of likely actions most: on
    peaked policies the logits' rms is half as large again (`noise_law.logit_rms`).
    """

    rms: float


@dataclass(frozen=True)
class Shares:
    """Shares of tokens that each side of a clip drops, gated by the sign of A, as means over the updates of a rollout."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (self.low >= 0 and self.high >= 0 and 0 < self.low + self.high < 1):
            raise SpecError(
                "--noise shares: LOW and HIGH are shares of all tokens, from 0 to 1 and not both 0, got "
                f"{self.low:g} and {self.high:g}."
            )


def noise_words(text: str) -> tuple[NoiseLaw, float | LogRatioRms | Path | Shares, Tail]:
    """Return the law, its rms (or what tells it: that of the log-ratio, the folder of a saved run, clip shares) and its tails.

    Raises: SpecError for anything else, with what can be said.
    """
    law, _, rest = text.partition(":")
    folder = Path(rest)
    if law in POWERS and rest and folder.is_dir():
        return law, folder, Gauss()  # type: ignore[return-value]
    size, *tail = rest.split(":")
    if law == "shares":
        if not tail:
            raise SpecError(f"--noise {text}: give both sides, shares:LOW:HIGH, such as shares:.004:.001.")
        return "flat", Shares(_number(text, size), _number(text, tail[0])), _tail(text, tail[1:])
    if law == "kl":
        kl = _number(text, size)
        if not 0 < kl < math.inf:
            raise SpecError(f"--noise {text}: a KL divergence must be positive and finite, got {kl:g}.")
        return "flat", LogRatioRms(math.sqrt(2 * kl)), _tail(text, tail)
    if law not in POWERS:
        raise SpecError(
            f"--noise {text!r}: the law must be a table (.csv, .npy), kl:NATS, shares:LOW:HIGH or one of {', '.join(POWERS)}."
        )
    return law, _number(text, size), _tail(text, tail)  # type: ignore[return-value]


def _tail(text: str, words: list[str]) -> Tail:
    match words:
        case []:
            return Gauss()
        case ["t", df]:
            return StudentT(_number(text, df))
        case ["mixture", share, scale]:
            return Mixture(_number(text, share), _number(text, scale))
    raise SpecError(f"--noise {text}: tails are t:DEGREES or mixture:SHARE:SCALE, got {':'.join(words)!r}.")


def _number(text: str, word: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise SpecError(f"--noise {text}: {word!r} is not a number.") from None
