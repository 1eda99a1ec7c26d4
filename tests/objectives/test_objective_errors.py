"""What objectives, rewards and advantages refuse, and that the message says which number and why."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import fields
from typing import Any, get_args

import numpy as np
import pytest
import torch

from entclip.controllers.catalogue import AnyController
from entclip.controllers.proportional import Proportional
from entclip.engines.registry import facts_of
from entclip.experiments.experiment import parse_experiment
from entclip.experiments.load import load
from entclip.integrations.torch import EntropyLedger
from entclip.ledger.from_arrays import ledger_from_arrays
from entclip.ledger.from_samples import ledger_from_samples
from entclip.objectives.catalogue import kinds, objective
from entclip.objectives.ce_gppo import CeGppo
from entclip.objectives.cispo import Cispo
from entclip.objectives.clip import Clip
from entclip.objectives.dppo_tv import DppoTv
from entclip.objectives.dual_clip import DualClip
from entclip.objectives.given import objective_of
from entclip.objectives.sapo import Sapo
from entclip.report.card import card
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
        (lambda: objective("lbfgs"), r"unknown objective 'lbfgs': choose one of .*clip"),
        (lambda: objective("PPO"), r"unknown objective 'PPO': did you mean clip\?"),
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


# ---- Numbers that are none, and names that are nearly right --------------------------------------------------------------------

_NUMBERS = [
    (cls, f.name)
    for cls in (*kinds().values(), *get_args(get_args(AnyController)[0]), Bernoulli, Gaussian, GroupRelative)
    if cls.__module__.startswith("entclip.")
    for f in fields(cls)
    if isinstance(f.default, int | float) or f.name in ("target", "p")
]


@pytest.mark.parametrize("value", [True, np.True_, "0.2", math.nan, [0.2], 10**400])
def test_a_number_is_a_number(value: Any) -> None:
    """No parameter of an objective, controller, reward or advantage takes anything else, and each says which one was wrong."""
    assert len(_NUMBERS) > 150
    for cls, name in _NUMBERS:
        with pytest.raises(SpecError) as caught:
            cls(**{name: value})
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_numbers_may_be_numpys() -> None:
    assert Clip(np.float64(0.5), np.float32(0.25)) == Clip(0.5, 0.25)
    assert Clip(1, np.int64(2)) == Clip(1.0, 2.0)
    assert TableReward(np.array([1.0, 0.0])) == TableReward((1, 0))  # type: ignore[arg-type]


def test_no_gain_is_negative_and_no_step_endless() -> None:
    for cls in get_args(get_args(AnyController)[0]):
        for name in {f.name for f in fields(cls)} & {"k_p", "k_i", "delta", "band", "low_step", "high_step", "rho", "memory"}:
            with pytest.raises(SpecError, match=rf"{name} = -0\.1 is out of range"):
                cls(**{name: -0.1})
    for member, wrong, message in (
        ("bapo", {"low_step": math.inf}, r"bapo\.low_step and bapo\.high_step must be positive and finite"),
        ("bapo", {"high_step": 1e-9}, r"bapo\.high_step = 1e-09 make 1\.8e\+09 pairs of widths"),
        ("flexible", {"high_slope": math.inf}, r"flexible\.high_slope must be finite, got inf"),
        ("gapo", {"group": 10**9}, r"gapo\.group must be from 2 to 4096, got 1000000000"),
    ):
        with pytest.raises(SpecError, match=message):
            objective(member, **wrong)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda: objective("cliip"), "unknown objective 'cliip': did you mean clip?"),
        (lambda: objective("gpo"), "unknown objective 'gpo': did you mean gmpo or gppo or gspo?"),
        (lambda: objective("clip", lw=0.2), "Clip: unknown key lw = 0.2: did you mean low?"),
        (lambda: Sapo(taupos=1.0), "Sapo: unknown key taupos = 1.0: did you mean tau_pos?"),  # type: ignore[call-arg]
        (lambda: Proportional(kp=1.0), "Proportional: unknown key kp = 1.0: did you mean k_p?"),  # type: ignore[call-arg]
        (lambda: _arm(objective="cliip"), "arm.a: unknown objective 'cliip': did you mean clip?"),
        (lambda: _arm(objective={"kind": "cliip"}), "arm.a.objective: unknown objective 'cliip': did you mean clip?"),
        (lambda: _arm(objective={"kind": "grpo"}), "arm.a.objective: unknown objective 'grpo': did you mean clip?"),
        (
            lambda: _arm(controller={"kind": "predictiv"}),
            "arm.a.controller.kind = 'predictiv': did you mean predictive?",
        ),
        (
            lambda: _arm(objective={"kind": "clip", "low": True}),
            "arm.a.objective.low = True is not valid: it must be a number.",
        ),
        (lambda: load("headline", ["seed=true"]), "seed = True is not valid: it must be a whole number."),
        (lambda: card("gapoo"), "unknown objective 'gapoo': did you mean gapo?"),
        (lambda: facts_of("reducd"), "unknown engine 'reducd': did you mean reduced?"),
    ],
)
def test_a_slip_is_named_with_what_was_meant(use: Callable[[], object], message: str) -> None:
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        use()


def _arm(**changes: Any) -> object:
    return parse_experiment({"arm": [{"name": "a", **changes}]})
