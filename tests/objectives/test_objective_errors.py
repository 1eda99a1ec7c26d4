"""What objectives, rewards and advantages refuse, and that the message says which number and why."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from entclip.integrations.torch import EntropyLedger
from entclip.ledger.from_arrays import ledger_from_arrays
from entclip.ledger.from_samples import ledger_from_samples
from entclip.objectives.catalogue import objective
from entclip.objectives.ce_gppo import CeGppo
from entclip.objectives.cispo import Cispo
from entclip.objectives.clip import Clip
from entclip.objectives.dppo_tv import DppoTv
from entclip.objectives.dual_clip import DualClip
from entclip.objectives.given import objective_of
from entclip.objectives.sapo import Sapo
from entclip.rewards.advantage import GroupRelative, Independent
from entclip.rewards.reward import Bernoulli, Gaussian, TableReward
from entclip.support.errors import SpecError


@pytest.mark.parametrize("objective", [Clip, DualClip, Cispo, CeGppo])
def test_clip_widths(objective: Any) -> None:
    for low in (1.2, -0.1, math.nan, math.inf):
        with pytest.raises(ValueError, match=rf"{objective.kind}\.low must be in \[0, 1\], got {low}"):
            objective(low=low)
    for high in (-0.2, math.nan, -math.inf):
        with pytest.raises(ValueError, match=rf"{objective.kind}\.high must be at least 0, got {high}"):
            objective(high=high)
    for low, high in ((0, 0), (1, math.inf), (0.5, 3.0)):  # the ends are allowed: 1 and inf switch a side off
        objective(low=low, high=high)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: DualClip(cap=1.0), r"dual_clip\.cap must be above 1, got 1\.0"),
        (lambda: DualClip(cap=math.nan), r"dual_clip\.cap must be above 1, got nan"),
        (lambda: Sapo(tau_pos=0.0), r"sapo\.tau_pos must be positive and finite, got 0\.0"),
        (lambda: Sapo(tau_neg=math.inf), r"sapo\.tau_neg must be positive and finite, got inf"),
        (lambda: CeGppo(beta_low=-1.0), r"ce_gppo\.beta_low must be finite and at least 0, got -1\.0"),
        (lambda: CeGppo(beta_high=math.nan), r"ce_gppo\.beta_high must be finite and at least 0, got nan"),
        (lambda: DppoTv(delta=1.5), r"dppo_tv\.delta must be in \[0, 1\], got 1\.5"),
        (lambda: DppoTv(delta=math.nan), r"dppo_tv\.delta must be in \[0, 1\], got nan"),
        (lambda: objective("ppo"), r"unknown objective 'ppo': choose one of .*clip"),
        (lambda: objective("clip", width=0.2), "width"),
        (lambda: Clip(low="wide"), "low"),  # type: ignore[arg-type]
    ],
)
def test_other_objectives(build: Callable[[], object], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        build()


def test_named_objectives_are_the_classes() -> None:
    assert objective("clip", low=0.1, high=math.inf) == Clip(0.1, math.inf)
    assert objective("cispo") == Cispo()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Bernoulli(0.0), r"Bernoulli p must be strictly between 0 and 1, got 0\.0.*zero variance"),
        (lambda: Bernoulli(1.0), r"Bernoulli p must be strictly between 0 and 1, got 1\.0.*zero variance"),
        (lambda: Bernoulli(math.nan), "finite"),
        (lambda: Gaussian(0.0, 0.0), r"Gaussian std must be positive, got 0\.0.*zero variance"),
        (lambda: Gaussian(0.0, -1.0), r"Gaussian std must be positive, got -1\.0"),
        (lambda: Gaussian(math.inf, 1.0), "finite"),
        (lambda: TableReward((1.0, 1.0, 1.0)), r"every action the reward 1\.0: with zero variance"),
        (lambda: TableReward((1.0,)), "at least 2 finite values"),
        (lambda: TableReward((1.0, math.nan)), "finite"),
    ],
)
def test_rewards_without_variance(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("size", [1, 0, -4])
def test_group_of_one(size: int) -> None:
    with pytest.raises(ValueError, match=rf"group size\) must be at least 2, got {size}"):
        GroupRelative(size)


@pytest.mark.parametrize(("size", "words"), [(4097, "4097"), (2**20, "1048576"), (10**400, "an integer of 1329 bits")])
def test_groups_whose_moments_have_no_end(size: int, words: str) -> None:
    with pytest.raises(ValueError, match=rf"group size\) must be at most 4096, got {words}: .* Use smaller groups"):
        GroupRelative(size)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"scale": "mad"}, "scale = 'mad' is not valid: choose 'none' or 'std'."),
        ({"ddof": 2}, "ddof = 2 is not valid: choose 0 or 1."),
        ({"eps": -0.1}, "eps = -0.1 is out of range: it must be at least 0."),
        ({"eps": math.nan}, "eps = nan is not finite: give a finite number."),
        ({"groups": 3}, "unknown key groups = 3: known keys here of kind 'group': ddof, eps, kind, scale, size."),
    ],
)
def test_other_advantages(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=rf"^GroupRelative: {re.escape(message)}$"):
        GroupRelative(**{"size": 8, "scale": "std", **wrong})  # type: ignore[arg-type]


def test_a_table_must_fit_the_policy() -> None:
    for advantage in (Independent(), GroupRelative(2)):
        with pytest.raises(ValueError, match="the reward table has 3 values but the policy has 4 actions"):
            advantage.moments(TableReward((0.0, 1.0, 2.0)), np.full(4, 0.25))


def test_too_many_distinct_group_sums() -> None:
    table = TableReward(tuple(np.sqrt(np.arange(2, 112)).tolist()))  # no common grid: sums do not merge
    with pytest.raises(ValueError, match="distinct sums with 110 distinct"):
        GroupRelative(8).moments(table, np.full(110, 1 / 110))


@pytest.mark.parametrize("clip", [0.2, "0.2,0.28", None, (0.2, 0.28, 3.0), (0.2,)])
def test_a_clip_that_is_neither_two_widths_nor_an_objective_is_refused_wherever_one_is_given(clip):
    model = torch.nn.Embedding(3, 2)
    calls = (
        lambda: objective_of(clip),
        lambda: ledger_from_samples([[-1.0]], [[-1.0]], [1.0], [[1]], clip),
        lambda: ledger_from_arrays([[[0.0, 1.0]]], [[[0.0, 1.0]]], [[-1.0]], [[0]], [1.0], None, clip),
        lambda: EntropyLedger(model, torch.optim.SGD(model.parameters(), 0.1), clip=clip, logits=lambda m, c: m(c)),
    )
    for call in calls:
        with pytest.raises(SpecError, match=r"clip = .*: give two widths, clip=\(0.2, 0.28\)"):
            call()
    assert objective_of([0.2, 0.28]) == objective_of((0.2, 0.28)) == objective_of(Clip(0.2, 0.28)) == Clip(0.2, 0.28)
