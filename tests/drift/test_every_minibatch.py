"""T8 with everything that an objective may have, against every minibatch of two samples: penalties, drops, a bonus, visits."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from entclip.drift.second_order import expected_curvature, expected_step_variance, pair_sum
from entclip.objectives.base import Change, Keep
from entclip.policies.softmax import log_softmax
from entclip.rewards.advantage import GroupRelative, PairMoments
from entclip.rewards.reward import TableReward
from tests.tolerances import assert_identity

RNG = np.random.default_rng(11)
OLD = log_softmax(RNG.normal(size=3))
NEW = log_softmax(OLD + RNG.normal(0, 0.5, 3))
PI, PI0, RATIO = np.exp(NEW), np.exp(OLD), np.exp(NEW - OLD)
REWARDS = (0.0, 1.0, 0.3)
GAINS, EXTRAS, BONUS = RNG.uniform(0.3, 1.6, (2, 3)), RNG.normal(size=(2, 3)), RNG.normal(size=3)
PLAIN = Change.of(*GAINS, *np.zeros((2, 3), bool))
PENALTY = replace(PLAIN, extra_plus=EXTRAS[0], extra_minus=EXTRAS[1])
ALL = replace(PENALTY, bonus={"bonus": BONUS / 4, "kl_term": BONUS * 3 / 4})
CHANGES = {"gains": PLAIN, "penalty": PENALTY, "bonus": replace(PLAIN, bonus={"bonus": BONUS}), "all": ALL}
KEEP = Keep(np.array([0.5, 0.8, 1.0]), np.array([0.9, 0.25, 0.6]))


def hessian() -> np.ndarray:
    """T1: the Hessian of H in the logits."""
    x = NEW - PI @ NEW
    return -np.diag(PI * (x + 1)) + np.outer(PI, PI) * (x[:, None] + x[None, :] + 1)


FORMS = {"curvature": hessian(), "variance": np.diag(PI) - np.outer(PI, PI)}


def step_of(change: Change, a: int, advantage: float, natural: bool) -> np.ndarray:
    """c e_a/pi_a, or c (e_a - pi), of a sample that survives."""
    if advantage == 0:
        return np.zeros(3)
    gain, extra = (change.gains.plus, change.extra_plus) if advantage > 0 else (change.gains.minus, change.extra_minus)
    c = RATIO[a] * (advantage * gain[a] + (0.0 if extra is None else extra[a]))
    return c * np.eye(3)[a] / PI[a] if natural else c * (np.eye(3)[a] - PI)


Law = tuple[np.ndarray, np.ndarray]  # chances (K,) and steps (K, 3)


def sample(change: Change, a: int, other: int, keep: Keep | None, visits: float, natural: bool) -> Law:
    """The step of a sample of a group of two, with its chance: it must visit the context, and survive the drop."""
    advantage = (REWARDS[a] - REWARDS[other]) / 2
    kept = 1.0 if keep is None else (keep.plus if advantage > 0 else keep.minus)[a]
    moved = step_of(change, a, advantage, natural) / (visits if natural else 1.0)
    return np.array([visits * kept, 1 - visits * kept]), np.array([moved, np.zeros(3)])


def enumerated(change: Change, form: np.ndarray, keep: Keep | None, visits: float, natural: bool, one_group: bool) -> float:
    """E[s' M s] of the step s of two samples, both of one group of two or each of a group of its own."""
    bonus = sum(change.bonus.values()) if change.bonus else np.zeros(3)
    fixed = bonus if natural else visits * PI * (bonus - PI @ bonus)
    pairs, drawn = list(itertools.product(range(3), repeat=2)), np.outer(PI0, PI0).ravel()
    laws = [sample(change, a, b, keep, visits, natural) for a, b in pairs]
    if one_group:
        both = [(chance, law, laws[pairs.index((b, a))]) for (a, b), chance, law in zip(pairs, drawn, laws, strict=True)]
    else:
        one = np.concatenate([c * p for c, (p, _) in zip(drawn, laws, strict=True)]), np.concatenate([s for _, s in laws])
        both = [(1.0, one, one)]
    total = 0.0
    for chance, (p, s), (q, t) in both:
        step = (s[:, None] + t[None]) / 2 + fixed
        total += chance * float(np.einsum("i,j,ijk,kl,ijl", p, q, step, form, step))
    return total


@pytest.mark.parametrize("shared", [0.0, 0.3])
@pytest.mark.parametrize("visits", [1.0, 0.4])
@pytest.mark.parametrize("keep", [None, KEEP])
@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("geometry", ["natural", "euclidean"])
def test_the_second_order_is_the_mean_over_every_minibatch(
    geometry: str, name: str, keep: Keep | None, visits: float, shared: float
) -> None:
    change, moments = CHANGES[name], GroupRelative(2).moments(TableReward(REWARDS), PI0)
    arguments = (NEW, RATIO, change, moments)
    of = {"geometry": geometry, "batch": 2, "shared_group": shared, "visits": visits, "keep": keep}
    for form, got in (
        ("curvature", expected_curvature(*arguments, learning_rate=0.3, **of) / (0.3**2 / 2)),
        ("variance", expected_step_variance(*arguments, **of)),
    ):
        apart, together = (enumerated(change, FORMS[form], keep, visits, geometry == "natural", one) for one in (False, True))
        assert_identity(got, (1 - shared) * apart + shared * together, 200.0)


def test_two_of_a_larger_group_may_both_be_above_its_mean() -> None:
    """Every pair of signs by hand, which a group of two does not have: E[c_i c_j u'M v] over levels, M = 0.7."""
    tables, up, down, x, y = RNG.random((10, 2, 2)), *RNG.normal(size=(4, 2))
    pair, want = PairMoments(*tables), 0.0
    for i, j in itertools.product(range(2), repeat=2):
        pp, mm, pm, plus_plus, plus_minus, minus_plus, minus_minus, both, neither, opposite = tables[:, i, j]
        want += pp * up[i] * up[j] + mm * down[i] * down[j] - 2 * pm * up[i] * down[j]
        want += 2 * (
            plus_plus * up[i] * x[j] + plus_minus * up[i] * y[j] - minus_plus * down[i] * x[j] - minus_minus * down[i] * y[j]
        )
        want += both * x[i] * x[j] + neither * y[i] * y[j] + 2 * opposite * x[i] * y[j]
    steps = {"plus": up, "minus": down, "extra_plus": x, "extra_minus": y}
    assert_identity(pair_sum(pair, steps, lambda u, v: 0.7 * u * v), 0.7 * want, 100.0)
