"""The quantities of papers without an objective of their own, against enumeration, closed forms and the ledger's own sums."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from entclip import Bernoulli, GroupRelative, Independent, SoftmaxPolicy, TableReward, load, run, zipf
from entclip.drift.gradient_noise import gradient_noise
from entclip.engines.base import Directive
from entclip.engines.tabular.sampled import SampledEngine
from entclip.engines.tabular.table import update_block
from entclip.experiments.experiment import Experiment, parse_experiment
from entclip.ledger.by_sign import by_position, by_sign
from entclip.ledger.reward_law import fit_reward_law, points_of
from entclip.objectives.base import CAUSES
from entclip.policies.answers import Support, answer_entropy, answer_probs, detectable, support_kept
from entclip.support.errors import SpecError
from tests.tolerances import assert_identity

# ---- Invisible Leash ----------------------------------------------------------------------------------------------------


def test_the_rates_are_those_of_the_paper() -> None:
    """P = 2388, E = 48, S = 175 are the paper's counts; the rates by hand from its formulas."""
    found = Support(preserved=2388, expanded=48, shrunk=175, out=10)
    assert found.retention == pytest.approx(2388 / 2563)
    assert found.discovery == pytest.approx(48 / 2436)
    assert 1 / found.dynamic_score == pytest.approx((2563 / 2388 + 2436 / 48) / 2)
    assert found.net_change == pytest.approx((48 - 175) / 2611)
    assert detectable() == pytest.approx(3.66e-4, rel=1e-3)
    assert (1 - detectable(50, 0.1)) ** 50 <= 0.1


def test_support_is_counted_answer_by_answer() -> None:
    before = np.array([[0.5, 0.3, 0.1, 0.05, 0.05], [0.2, 0.2, 0.2, 0.2, 0.2]])
    after = np.array([[0.5, 0.05, 0.3, 0.1, 0.05], [0.9, 0.1, 0.0, 0.0, 0.0]])
    right = np.array([True, True, True, False, True])
    found = support_kept(before, after, right, least=0.08)
    counts = [0, 0, 0, 0]
    for row, column in itertools.product(range(2), range(5)):
        old, new = before[row, column] >= 0.08, after[row, column] >= 0.08
        counts[(0 if new else 2) if old else (1 if new else 3)] += bool(right[column])
    assert [found.preserved, found.expanded, found.shrunk, found.out] == counts
    assert sum(counts) == 8
    nothing = support_kept(before, after, np.zeros(5, dtype=bool))
    assert math.isnan(nothing.retention)
    assert math.isnan(nothing.net_change)


def test_answers_have_less_entropy_by_what_their_actions_differ_in() -> None:
    """The chain rule: H(action) = H(answer) + sum over answers of its chance times the entropy within it."""
    probs = zipf(6).probs
    answers = np.array([0, 1, 0, 2, 1, 1])
    whole = answer_probs(probs, answers)
    within = sum(
        q * SoftmaxPolicy.from_probs(probs[answers == k] / q).entropy for k, q in enumerate(whole) if (answers == k).sum() > 1
    )
    assert float(answer_entropy(probs, answers)) == pytest.approx(float(zipf(6).entropy) - within, abs=1e-14)
    # Tokens may spread while answers do not: more entropy among actions that are one answer.
    spread = np.where(answers == 1, whole[1] / 3, probs)
    assert SoftmaxPolicy.from_probs(spread).entropy > zipf(6).entropy
    assert float(answer_entropy(spread, answers)) == pytest.approx(float(answer_entropy(probs, answers)))
    assert float(answer_entropy(np.array([1.0, 0.0]), np.array([0, 1]))) == 0.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: detectable(0), "samples = 0"),
        (lambda: answer_entropy(np.ones(3) / 3, np.array([0, 1])), "one integer of at least 0 for each of the 3 actions"),
        (lambda: support_kept(np.ones(3), np.ones(2), np.ones(3, dtype=bool)), "they must fit"),
        (lambda: support_kept(np.array([-1.0]), np.array([-2.0]), np.array([True])), "between 0 and 1"),
        (
            lambda: gradient_noise(zipf(4), Bernoulli(), batch=6, advantage=GroupRelative(4)),
            "positive multiple of the group size, 4",
        ),
        (lambda: fit_reward_law(np.zeros((2, 8)), np.zeros((2, 8))), "does not move"),
        (lambda: fit_reward_law(np.arange(3.0), np.arange(3.0)), "at least 6 points"),
        (lambda: fit_reward_law(np.full(8, np.nan), np.zeros(8)), "finite"),
        (lambda: points_of([{"entropy": 1.0}]), "no reward that depends on the action"),
        (lambda: by_sign([{"rollout": 0, "measured": 0.1}]), "the engines sampled and exact do"),
        (lambda: by_position([{"rollout": 0, "measured": 0.1}]), "know no positions"),
    ],
)
def test_bad_input_is_refused(call: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        call()


# ---- gradient noise -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.05, 0.5, 0.9])
def test_two_actions_have_the_closed_form(p: float) -> None:
    found = gradient_noise(SoftmaxPolicy.from_probs([p, 1 - p]), TableReward((1.0, 0.0)), batch=4)
    assert float(found.signal) == pytest.approx(2 * (p * (1 - p)) ** 2, abs=1e-15)
    assert float(found.variance) == pytest.approx(2 * p * (1 - p) * (1 - 2 * p) ** 2 / 4, abs=1e-15)
    if p != 0.5:
        assert float(found.ratio) == pytest.approx(4 * p * (1 - p) / (1 - 2 * p) ** 2)


@pytest.mark.parametrize("advantage", [Independent(), GroupRelative(3), GroupRelative(3, scale="std", eps=0.1)])
@pytest.mark.parametrize("reward", [TableReward((1.0, 0.0, 1.0)), TableReward((0.3, -1.0, 2.0)), Bernoulli(0.3)])
def test_signal_and_noise_are_those_of_every_outcome(advantage: Any, reward: Any) -> None:
    """All groups of three samples with their chances: mean and covariance of the minibatch's gradient."""
    probs = np.array([0.6, 0.3, 0.1])
    table, scores = isinstance(reward, TableReward), np.eye(3) - probs
    law = [(v, reward.level_probs[0, k]) for k, v in enumerate(reward.levels)] if not table else []
    mean, square, total = np.zeros(3), 0.0, 0.0
    for actions in itertools.product(range(3), repeat=3):
        for given in [None] if table else itertools.product(law, repeat=3):
            rewards = np.array([reward.values[a] for a in actions] if given is None else [value for value, _ in given])
            chance = math.prod(probs[list(actions)]) * (1.0 if given is None else math.prod(q for _, q in given))
            if isinstance(advantage, GroupRelative):
                weights = advantage.of_rewards(rewards[None], ties=table)[0]
            else:
                weights = rewards - (probs @ np.asarray(reward.values) if table else sum(v * q for v, q in law))
            g = weights @ scores[list(actions)] / 3
            mean, square, total = mean + chance * g, square + chance * g @ g, total + chance
    found = gradient_noise(SoftmaxPolicy.from_probs(probs), reward, batch=3, advantage=advantage)
    assert total == pytest.approx(1)
    assert float(found.signal) == pytest.approx(mean @ mean, abs=1e-14)
    assert float(found.variance) == pytest.approx(square - mean @ mean, abs=1e-14)


@pytest.mark.parametrize("advantage", [Independent(), GroupRelative(3)])
def test_signal_and_noise_of_several_contexts(advantage: Any) -> None:
    probs, batch = np.random.default_rng(2).dirichlet(np.ones(3), (2, 4)), 1 if isinstance(advantage, Independent) else 3
    reward = TableReward((0.3, -1.0, 2.0))
    found = gradient_noise(SoftmaxPolicy.from_probs(probs), reward, batch=batch, advantage=advantage)
    assert found.signal.shape == found.variance.shape == (2, 4)
    for place in itertools.product(range(2), range(4)):
        alone = gradient_noise(SoftmaxPolicy.from_probs(probs[place]), reward, batch=batch, advantage=advantage)
        assert float(found.signal[place]) == pytest.approx(float(alone.signal), abs=1e-14)
        assert float(found.variance[place]) == pytest.approx(float(alone.variance), abs=1e-14)


# ---- by sign, stage and position ------------------------------------------------------------------------------------------


def _experiment(objective: Any = "clip", **changes: Any) -> Experiment:
    data: dict[str, Any] = {
        "policy": {"kind": "dirichlet", "vocab": 8, "contexts": 4},
        "reward": {"kind": "table", "values": [1, 0, 0, 0, 1, 0, 0, 0]},
        "update": {"geometry": "euclidean", "learning_rate": 2.0, "batch": 32, "minibatches": 4, "rollouts": 4},
        "arm": [{"name": "a", "objective": objective}],
    }
    return parse_experiment(data | changes)


def _run(engine: str = "sampled", **changes: Any) -> Any:
    return run(_experiment(**changes), engine, jobs=1).arms["a"]


SEQUENCES: dict[str, Any] = {
    "policy": {"kind": "autoregressive", "vocab": 3, "length": 3, "contexts": 3},
    "reward": {"kind": "table", "values": [float(k % 4 == 1) for k in range(27)]},
}


@pytest.mark.parametrize(
    ("objective", "changes"),
    [
        ("clip", {}),
        ("repo_r", {}),
        ({"kind": "kl_cov", "ratio": 0.2}, {}),
        ("steer", {"advantage": {"kind": "group", "size": 4}}),
        ({"kind": "gspo", "low": 0.01, "high": 0.01}, SEQUENCES),
        ("clip", SEQUENCES),
    ],
    ids=["clip", "penalty", "statistics", "levels", "sequence", "prefixes"],
)
def test_one_sign_is_what_its_samples_do_without_the_others(objective: Any, changes: dict[str, Any]) -> None:
    """In the third update of a rollout: all causes together once the samples of the other sign are taken out."""
    experiment, engine = _experiment(objective, **changes), SampledEngine()
    state = engine.start(experiment, experiment.arm[0].build())
    state, rollout = engine.roll_out(state)
    for minibatch in rollout.minibatches[:2]:
        state, _ = engine.step(state, rollout, minibatch, Directive())
    rows = slice(0, len(state.log_probs))
    whole = engine._sums(state, rollout, rollout.minibatches[2], rows, 0, False, None)
    nothing = np.zeros_like(whole.plus)
    levels = whole.levels, whole.levels
    if whole.levels is not None:
        positive = state.levels.values[..., None] > 0
        levels = whole.levels * positive, whole.levels * ~positive
    halves = {
        "from_plus": whole._replace(minus=nothing, n_minus=nothing, levels=levels[0]),
        "from_minus": whole._replace(plus=nothing, n_plus=nothing, levels=levels[1]),
    }
    _, found = update_block(state, rollout, rollout.minibatches[2], whole, rows, Directive())
    for name, sums in halves.items():
        _, alone = update_block(state, rollout, rollout.minibatches[2], sums, rows, Directive())
        total = sum(alone[cause] for cause in CAUSES)
        assert np.max(np.abs(total)) > 1e-5
        assert_identity(found[name], total, found["_scale"] + alone["_scale"] + sum(np.abs(found[c]) for c in CAUSES))


def test_stages_and_positions_add_up_to_what_was_measured() -> None:
    books = _run(**SEQUENCES)
    for found, names in ((by_sign(books.rows), ("from_plus", "from_minus", "rest")), (by_position(books.summaries), ())):
        assert [(s["first"], s["last"]) for s in found] == [(0, 1), (2, 3)]
        assert sum(s["measured"] for s in found) == pytest.approx(sum(r["measured"] for r in books.rows), abs=1e-14)
        for stage in found:
            parts = names or [f"change_{k}" for k in (1, 2, 3)]
            assert sum(stage[name] for name in parts) == pytest.approx(stage["measured"], abs=1e-13)
    assert len(by_sign(books.rows, 4)) == 4
    with pytest.raises(SpecError, match="stages = 5"):
        by_sign(books.rows, 5)


def test_the_exact_engine_knows_the_signs_and_the_reward() -> None:
    small = {"policy": {"kind": "zipf", "vocab": 3}, "reward": {"kind": "table", "values": [1, 0, 0]}}
    update = {"geometry": "natural", "learning_rate": 0.3, "batch": 3, "minibatches": 2, "rollouts": 1}
    books = _run(engine="exact", update=update, **small)
    assert "from_plus" in books.rows[1]
    assert 0 < books.summaries[0]["policy_reward"] < 1


# ---- reward and entropy -----------------------------------------------------------------------------------------------------


def test_the_law_is_found_where_it_holds_and_its_interval_covers() -> None:
    """Lines with known a and b and independent noise in 400 batches of 4 runs: the 95 % intervals hold 95 % of the time."""
    rng = np.random.default_rng(0)
    h = np.linspace(2.0, 1.0, 12) + np.zeros((4, 1))
    exact = fit_reward_law(h, -0.1 * np.exp(h) + 0.9)
    assert (exact.a, exact.b) == pytest.approx((0.1, 0.9))
    assert exact.ceiling == pytest.approx(0.8)
    assert max(exact.rmse, exact.ahead, exact.a_half, exact.b_half) < 1e-12
    covered = 0
    for _ in range(400):
        slope = 0.1 + 0.01 * rng.normal(size=(4, 1))
        found = fit_reward_law(h, -slope * np.exp(h) + 0.9 + 0.01 * rng.normal(size=h.shape))
        covered += abs(found.a - 0.1) <= found.a_half
    assert abs(covered / 400 - 0.95) < 5 * math.sqrt(0.95 * 0.05 / 400)
    assert math.isnan(fit_reward_law(h[0], -0.1 * np.exp(h[0])).a_half)


def test_points_of_a_run_are_its_policies() -> None:
    """The reward of the last rollout is the probability of the right actions at its end."""
    seen: dict[str, Any] = {}
    data = load("true_reward").model_dump(exclude_none=True) | {"arm": [{"name": "a", "objective": "none"}]}
    data["update"] |= {"batch": 64, "minibatches": 2, "rollouts": 2}
    ledger = run(parse_experiment(data), jobs=1, inspect=lambda arm, state: seen.update({arm: state}))
    entropy, reward = points_of(ledger.arms["a"].summaries)
    right = np.asarray(data["reward"]["values"], dtype=float)
    assert reward[-1] == pytest.approx(float(np.mean(np.exp(seen["a"].log_probs[:, 0]) @ right)), rel=1e-12)
    assert entropy[-1] == ledger.arms["a"].summaries[-1]["entropy"]
