"""The numbers of an experiment as types with ranges: what float64 arithmetic, int64 and a seed can carry.

The books hold cubes of steps, a step being a rate times a reward, and the variances of these: sixth powers. With rates up to 1e6
(a rate of 1e6 moves a log-probability by a million) and other scales up to 1e20 that is 1e156, and leaves as much again for small
probabilities, where float64 ends at 1.8e308. Logits, which are exponents, end at 700: exp(-700) = 1e-304 is about the smallest
probability that can still be divided by.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

__all__ = ["Count", "Logit", "Natural", "NotNegative", "Positive", "Rate", "Real", "Seed", "Share", "Spread", "Vocab"]

_LARGEST, _SMALLEST = 1e20, 1e-30
_MOST = 10**12  # exact as a float64, and so are its sums
_LOGIT = 700.0

Rate = Annotated[float, Field(ge=_SMALLEST, le=1e6, allow_inf_nan=False)]
Real = Annotated[float, Field(ge=-_LARGEST, le=_LARGEST, allow_inf_nan=False)]
Positive = Annotated[float, Field(ge=_SMALLEST, le=_LARGEST, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, le=_LARGEST, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
Logit = Annotated[float, Field(ge=-_LOGIT, le=_LOGIT, allow_inf_nan=False)]
Spread = Annotated[float, Field(ge=_SMALLEST, le=_LOGIT, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=_MOST)]
Natural = Annotated[int, Field(ge=0, le=_MOST)]
Vocab = Annotated[int, Field(ge=2, le=_MOST)]
Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]  # what a Parquet column of integers holds
