"""Objectives at numbers worked out by hand: exactly on a bound, at an advantage of 0, at probabilities of 0."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from entclip.objectives.aepo import Aepo
from entclip.objectives.base import Change, Objective, View, sample_counts, split_by_cause, weight
from entclip.objectives.catalogue import NamedObjective, objective
from entclip.objectives.cde import Cde
from entclip.objectives.cispo import Cispo
from entclip.objectives.clip import Clip, surrogate
from entclip.objectives.dppo_tv import DppoTv
from entclip.objectives.gapo import Gapo
from entclip.objectives.given import objective_of
from entclip.objectives.gmpo import Gmpo
from entclip.objectives.gspo import Gspo
from entclip.objectives.high_entropy_mask import HighEntropyMask
from entclip.objectives.parl import Parl
from entclip.objectives.reinforce import Reinforce
from entclip.objectives.repo_r import RepoR
from entclip.objectives.sapo_trinity import SapoTrinity
from entclip.objectives.steer import Steer
from entclip.objectives.top_share import least_of_top
from entclip.objectives.truncated_weights import TruncatedWeights
from entclip.objectives.widths import Bounded
from entclip.support.errors import SpecError
from tests.seen import changed, seen
from tests.tolerances import assert_identity

BEYOND = np.array([0.5, 1.0, 2.0])  # a ratio below the low bound of a clip, one inside, one above the high one
NAN, INF = math.nan, math.inf

# ---- what all objectives share ------------------------------------------------------------------------------------------------


def test_a_view_has_nothing_that_it_was_not_given() -> None:
    bare = View(BEYOND, BEYOND, BEYOND)
    given = {"ratio", "old_probs", "log_probs", "statistics"}
    assert {name for name, x in vars(bare).items() if x is not None} == given
    assert bare.statistics == {}
    assert Change.of(BEYOND, BEYOND, BEYOND < 1, BEYOND > 1).jumps == ()
    assert Change(changed(Clip(), BEYOND, BEYOND).gains, BEYOND < 1, BEYOND > 1).piece.tolist() == [1, 0, 2]


@pytest.mark.parametrize(
    ("idle", "width"),
    [((0.5, 1.25), 0.25), ((0.75, 1.5), 0.25), ((0.5, 3.0), 0.5), ((-1.0, 1.5), 0.5), ((-1.0, INF), INF), ((NAN, NAN), INF)],
)
def test_a_width_is_the_way_to_the_nearer_end(idle: tuple[float, float], width: float) -> None:
    class Idle(Objective):
        def change(self, view: View) -> Change:
            raise NotImplementedError

    Idle.idle = idle  # type: ignore[assignment, method-assign]
    assert Idle().width == width
    assert Idle().widths(np.zeros((2, 3))).tolist() == [[width] * 3] * 2


def test_either_sign_counts_where_a_side_acts_on_both() -> None:
    up, down = np.array([1, 2, 4]), np.array([10, 20, 40])
    ppo, cispo = (sample_counts(changed(x, BEYOND, BEYOND), up, down) for x in (Clip(), Cispo()))
    assert (ppo["clip_count_low"].tolist(), ppo["clip_count_high"].tolist()) == ([10, 0, 0], [0, 0, 4])
    assert (cispo["clip_count_low"].tolist(), cispo["clip_count_high"].tolist()) == ([11, 0, 0], [0, 0, 44])
    for found, gone in ((ppo, ([0, 0, 4], [10, 0, 0])), (cispo, ([0, 0, 0], [0, 0, 0]))):
        assert (found["count_plus"].tolist(), found["count_minus"].tolist()) == (up.tolist(), down.tolist())
        assert (found["removed_plus"].tolist(), found["removed_minus"].tolist()) == gone


def test_the_surrogate_of_the_clip_has_the_weight_as_its_slope() -> None:
    """d surrogate/d log r = c(r, A) away from the bounds, by a central difference; its values by hand."""
    ratio, h = np.array([0.5, 0.9, 1.2, 2.0]), 1e-6
    for advantage, value in ((2.0, [1.0, 1.8, 2.4, 2.6]), (-2.0, [-1.6, -1.8, -2.4, -4.0])):
        a = np.full(4, advantage)
        assert_identity(surrogate(Clip(0.2, 0.3), ratio, a), np.array(value), np.full(4, 4.0))
        slope = [surrogate(Clip(0.2, 0.3), ratio * math.exp(x), a) for x in (h, -h)]
        # truncation h^2/6 times a third derivative of at most 4, rounding 1e-16 of 4 over h
        assert np.max(np.abs((slope[0] - slope[1]) / (2 * h) - weight(Clip(0.2, 0.3), seen(ratio, ratio), a))) < 1e-9


def test_widths_that_are_none_are_refused_with_the_interval_that_they_make() -> None:
    """By the name of its class where an objective of a user's own has no kind."""

    class Mine(Bounded):
        def change(self, view: View) -> Change:
            raise NotImplementedError

    interval = r"so the interval is \[1 - low, 1 \+ high\]"
    with pytest.raises(
        ValueError, match=rf"Mine\.low must be in \[0, 1\], got 1\.5: it is the width below 1, {interval}; 1 switches"
    ):
        Mine(low=1.5)
    with pytest.raises(
        ValueError, match=rf"clip\.high must be at least 0, got -1.*: it is the width above 1, {interval}; inf swit"
    ):
        Clip(high=-1.0)


# ---- how a caller names one ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("widths", [(0.2, 0.28), [0.5, 1.0], (0.4, 1.5), (1.0, 1.5), (0.5, 2.0), (0.2, INF)])
def test_two_numbers_are_two_widths(widths: Any) -> None:
    assert objective_of(widths) == Clip(*widths)


def test_an_objective_stands_for_itself() -> None:
    member = Cispo()
    assert objective_of(member) is member


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        ((0.8, 1.28), r"clip=\(0\.2, 0\.28\)\. If such widths are meant, give Clip\(0\.8, 1\.28\)"),
        ((0.5, 1.25), r"clip=\(0\.5, 0\.25\)"),
        ([0.75, 1.5], r"clip=\(0\.25, 0\.5\)"),
        (0.2, "clip = 0.2: give two widths"),
        ((0.2,), "give two widths"),
        ((0.2, 0.2, 3.0), "give two widths"),
        ("clip", "give two widths"),
    ],
)
def test_what_may_be_meant_otherwise_is_asked_back(clip: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        objective_of(clip)


@pytest.mark.parametrize("name", ["ppo", "grpo", "dapo", "clip_higher", "DAPO"])
def test_other_names_of_the_clip_are_asked_back(name: str) -> None:
    with pytest.raises(SpecError, match=f"unknown objective '{name}': did you mean clip\\?"):
        objective(name)


def test_an_experiment_names_an_objective_or_gives_its_table() -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(Annotated[Any, NamedObjective])
    assert adapter.validate_python("clip") == "clip"
    assert adapter.validate_python({"kind": "clip", "low": 0.1}) == Clip(low=0.1)
    with pytest.raises(ValueError, match="an objective is a name, a table with a kind, or an Objective, not 3"):
        adapter.validate_python(3)
    tables, name = adapter.json_schema()["anyOf"]
    assert name == {"type": "string"}
    assert tables["discriminator"]["propertyName"] == "kind"


# ---- members ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_token_that_was_never_drawn_has_a_finite_bonus(dtype: Any) -> None:
    """AEPO's weight is q/pi_old with q = pi_old^(1/T): where pi_old underflowed to 0, that of the smallest number."""
    old, one = np.array([[0.75, 0.25, 0.0]], dtype), np.ones((1, 1), dtype)
    view = View(
        np.ones((1, 3), dtype), old, np.log(np.full((1, 3), 1 / 3, dtype)), one, one, {"temperature": one, "strength": one}
    )
    found = Aepo().change(replace(view, advantage=one[None], chances=one[None])).bonus["bonus"]
    assert found.dtype == dtype
    assert_identity(found, np.ones((1, 3)), np.full((1, 3), 100.0), found.dtype.name)


def test_cde_goes_by_the_sign_of_what_it_makes_of_the_advantage() -> None:
    """omega = 0 is the clip: a sample of A = 0 is beyond no bound. Then A' > 0 of A < 0, dropped above the high bound alone."""
    one = np.ones(3)
    view = View(BEYOND, one / 3, np.log(BEYOND / 3), advantage=np.zeros((1, 1)), rewards=one[:1, None], chances=one[None])
    nothing = Cde(omega=0.0).change(view)
    assert not np.any(nothing.low | nothing.high)
    assert nothing.gains.plus.tolist() == [[1.0, 1.0, 1.0]]
    # Surprisals 0.1, 0.1 and 2.3 of alpha 1 and kappa 1: bonuses 0.1, 0.1 and 1, less their mean under pi_old.
    old = np.array([0.9, 0.9, 0.1])
    view = View(
        BEYOND, old, np.log(BEYOND * old), advantage=np.full((1, 1), -0.25), rewards=one[:1, None], chances=one[None] / 1.9
    )
    bonus = np.minimum(1.0, -np.log(old)) - np.sum(old / 1.9 * np.minimum(1.0, -np.log(old)))
    assert bonus[2] > 0.25
    found = Cde(kappa=1.0, alpha=1.0).change(view)
    assert found.low.tolist() == [[True, False, False]]
    assert found.high.tolist() == [[False, False, True]]
    assert found.gated is False
    assert_identity(found.extra_minus, np.array([[0.0, bonus[1], 0.0]]), np.full((1, 3), 10.0))
    parts = split_by_cause(found, np.zeros((1, 3)), np.full((1, 3), 0.1), np.zeros((1, 3)), np.ones((1, 3)))
    assert parts["clip_low"].tolist() == [[0.1, 0.0, 0.0]]
    assert parts["clip_high"].tolist() == [[0.0, 0.0, 0.1]]


def test_probabilities_far_apart_have_widths_of_their_own() -> None:
    """DPPO drops at a change of probability: by .1 of .5 the ratio has moved by .2, of .25 by .4."""
    old = np.array([0.5, 0.25])
    assert_identity(DppoTv(0.1).widths(old), np.array([0.2, 0.4]), np.ones(2))


def test_gapo_widens_with_the_advantage_and_keeps_its_bound() -> None:
    """Groups of two, A = 1/2 when the other was wrong: the high width is .25 + .5, else .25. A ratio on it is kept."""
    gapo, ratio = Gapo(low=0.25, high=0.75, group=2), np.array([1.25, 1.5, 1.75, 2.0, 0.75, 0.5])
    for advantage, kept in ((0.5, [1, 1, 1, 0, 1, 1]), (-0.5, [1, 1, 1, 1, 1, 0]), (0.0, [0] * 6)):
        found = weight(gapo, seen(ratio, np.full(6, 0.1)), np.full(6, advantage))
        assert_identity(found, advantage * ratio * np.array(kept), np.ones(6))
    on = changed_at(gapo, ratio, 0.0)
    assert on.high.tolist() == [False, True, True, True, False, False]


def changed_at(member: Objective, ratio: np.ndarray, advantage: float) -> Change:
    """The change of samples of one advantage."""
    return member.change(replace(seen(ratio, np.full(ratio.shape, 0.1)), advantage=np.full(ratio.shape, advantage)))


def test_gmpo_keeps_a_log_ratio_on_its_bound() -> None:
    """Two tokens of equal share, log-ratios -1/2 and 3/4 on the bounds: both are kept, and nothing is taken off their mean."""
    log_probs = np.array([-0.5, 0.75])
    view = View(np.full(2, math.exp(0.125)), np.ones(2), log_probs, share=np.full(2, 0.5))
    kept = Gmpo(low=0.5, high=0.75).change(view)
    assert not np.any(kept.low | kept.high)
    assert (kept.gains.plus.tolist(), kept.gains.minus.tolist()) == ([1.0, 1.0], [1.0, 1.0])
    gone = Gmpo(low=0.25, high=0.25).change(view)
    assert (gone.low.tolist(), gone.high.tolist()) == ([True, False], [False, True])
    assert_identity(gone.gains.plus, np.array([math.exp(-0.25), 0.0]), np.ones(2))  # (.75 - .25)/2 off the mean
    assert_identity(gone.gains.minus, np.array([0.0, math.exp(0.125)]), np.full(2, 2.0))


def test_the_least_of_the_largest_that_carry_a_share() -> None:
    """Of two replicas: values sorted by hand; .7 + .1 is .8 but for rounding. The largest where all carry less than the share."""
    value = np.array([[3.0, 1.0, 4.0, 2.0], [0.5, -1.0, 0.25, -2.0]])
    weight = np.array([[0.1, 0.1, 0.7, 0.1], [0.25, 0.25, 0.25, 0.25]])
    for share, want in ((0.6, [4.0, -1.0]), (0.7, [4.0, -1.0]), (0.8, [3.0, -2.0]), (0.25, [4.0, 0.5]), (0.26, [4.0, 0.25])):
        assert least_of_top(value, weight, share).tolist() == want
    assert least_of_top(value, weight, 0.25 + 1e-9)[1] == 0.25
    assert least_of_top(value, weight / 2, 0.9).tolist() == [4.0, 0.5]


@pytest.mark.parametrize(
    ("share", "weights", "kept"),
    [(0.25, [0.25, 0.25, 0.25, 0.25], 0.25), (0.8, [0.7, 0.1, 0.1, 0.1], 0.8), (0.81, [0.7, 0.1, 0.1, 0.1], 0.9)],
)
def test_the_mask_keeps_no_more_contexts_than_its_share_takes(share: float, weights: list[float], kept: float) -> None:
    """Also where weights add up to the share but for rounding: .7 + .1 is less than .8."""
    entropy, each = np.array([[1.0, 0.8, 0.5, 0.3]]), np.array([weights])
    found = HighEntropyMask(share).statistics(View(*np.ones((3, 1, 4, 1)), entropy=entropy[..., None]), each[..., None])
    assert found["kept"] == pytest.approx(kept)


def test_units_of_sequences_have_entropies_of_their_own() -> None:
    """PARL's bonus of two units together, sequences of three tokens, is that of each alone."""
    log_probs = np.log(np.random.default_rng(3).dirichlet(np.ones(2), (2, 7)))
    whole, *alone = (Parl().change(View.of(x, x)).bonus["bonus"] for x in (log_probs, *log_probs))
    assert_identity(whole, np.stack(alone), np.full(whole.shape, 10.0))


def test_repo_r_turns_a_sample_once_its_surprisal_is_more_than_its_push() -> None:
    """zeta s is 1/2, exactly 1 and 2: turned is only the last, which the high side clips in the place of the low one."""
    old, zeta = np.array([2.0**-0.5, 0.5, 0.25]), 1 / math.log(2)
    assert -zeta * math.log(0.5) == 1.0
    below, above = (changed(RepoR(zeta=zeta), np.full(3, r), old) for r in (0.5, 2.0))
    assert below.low.tolist() == [True, True, False]
    assert above.high.tolist() == [True] * 3
    assert [x.tolist() for x in below.jumps] == [[False, False, True]]
    assert_identity(below.gains.minus, np.array([0.0, 0.0, -1.0]), np.full(3, 5.0))
    assert_identity(above.gains.minus, np.array([0.5, 0.0, 0.0]), np.full(3, 5.0))


def test_the_steepest_gates_have_the_width_1() -> None:
    assert SapoTrinity(tau_pos=1000.0, tau_neg=2000.0).width == 1.0


def test_steer_scales_a_loss_by_the_size_of_its_push() -> None:
    """|Omega| of two equally likely actions and A = 1 is 0: the largest is held at .02, or not. Then by sizes that are given."""
    half, one = np.full((1, 1, 2), 0.5), np.ones((1, 1, 1))
    flat = View(2 * half, half, np.log(half), math.log(2) * one, advantage=one[None])
    assert {k: v.tolist() for k, v in Steer().statistics(flat, half[None]).items()} == {"largest": [0.02]}
    linear = Steer(mode="linear").statistics(flat, half[None])
    assert {k: v.tolist() for k, v in linear.items()} == {"largest": [0.0], "smallest": [0.0]}
    # Ratios at and above the cap of 2; A is such that |Omega| is 1 and 4, and 1 is the largest of the samples.
    ratio, probs = np.array([2.0, 2.5]), np.array([0.25, 0.25])
    push = ratio * (1 - probs) * np.log(probs)
    view = View(ratio, probs / ratio, np.log(probs), np.zeros(1), advantage=np.array([1.0, 4.0]) / push)
    view = replace(view, statistics={"largest": np.ones(1), "smallest": np.array([0.5])})
    found = Steer(high=5.0, cap=2.0, mode="linear", lambda_min=0.5, lambda_max=1.5).change(view)
    assert_identity(found.gains.plus, np.array([0.5, 0.5]), np.full(2, 5.0))
    assert_identity(found.gains.minus, np.array([0.5, 0.0]), np.full(2, 5.0))
    assert [x.tolist() for x in found.jumps] == [[False, True]]


def test_the_gradient_of_weights_without_a_cap_is_finite() -> None:
    """torch.where passes 0 times the gradient of the branch not taken, which inf over the ratio has none of."""
    torch = pytest.importorskip("torch")
    ratio = torch.tensor([0.5, 1.0, 3.0], dtype=torch.float64, requires_grad=True)
    (changed(TruncatedWeights(cap=INF), ratio, ratio.detach()).gains.plus * ratio).sum().backward()
    assert ratio.grad.tolist() == [1.0, 1.0, 1.0]


def test_gspo_has_the_narrow_widths_of_a_mean_of_many_tokens() -> None:
    """The author's 3e-4 and 4e-4, in verl."""
    found = Gspo().change(View(1 + np.array([-3.1e-4, -2.9e-4, 3.9e-4, 4.1e-4]), *np.ones((2, 4))))
    assert (found.low.tolist(), found.high.tolist()) == ([True, False, False, False], [False, False, False, True])


def test_reinforce_has_half_more_weight_at_its_width() -> None:
    """Without a ratio the gain is 1/r, 3/2 at r = 2/3."""
    at = np.array([1 - Reinforce().width])
    assert_identity(changed(Reinforce(), at, at).gains.plus, np.array([1.5]), np.ones(1))
