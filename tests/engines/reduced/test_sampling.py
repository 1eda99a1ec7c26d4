"""Draws without a list: frequencies against the dense probabilities of a policy that has moved."""

import dataclasses

import numpy as np
import pytest

from entclip.engines.base import Directive
from entclip.engines.reduced.basis import basis_of
from entclip.engines.reduced.chunk import Population, begin_chunk, track
from entclip.engines.reduced.engine import ReducedEngine
from entclip.engines.reduced.initial_laws import ZipfLaw
from entclip.engines.reduced.kernels import kernels_named
from entclip.engines.reduced.searches import IdTable, find, insert, last_at_most
from entclip.engines.samples import Samples, draw_advantages
from entclip.experiments.experiment import parse_experiment
from tests.tolerances import SIGMAS


def test_row_search_is_searchsorted():
    rng = np.random.default_rng(0)
    for width in (1, 2, 7, 64):
        table = np.sort(rng.integers(0, 20, size=(5, width)).astype(float), axis=1)
        row, value = rng.integers(0, 5, 400), rng.integers(-1, 21, 400).astype(float)
        want = [np.searchsorted(table[r], v, side="right") - 1 for r, v in zip(row, value, strict=True)]
        assert np.array_equal(last_at_most(table, row, value), want)


def test_id_tables_find_what_they_hold():
    rng = np.random.default_rng(1)
    ids = np.stack([np.unique(rng.integers(0, 2 * 10**8, 400))[:300] * 4, np.arange(300) * 2**20])
    count = np.array([280, 300])
    table = IdTable.of(np.concatenate([ids, np.full((2, 40), -1)], axis=1), count)
    row, slot = np.nonzero(np.arange(300) < count[:, None])
    assert np.array_equal(find(table.keys, table.slots, row, ids[row, slot]), slot)
    absent = (np.array([0, 0, 1, 1]), np.array([1, ids[0, 290], 1, 3]))
    assert np.all(find(table.keys, table.slots, *absent) == -1)
    insert(table.keys, table.slots, np.ones(40, dtype=int), np.arange(40) * 2**20 + 1, np.arange(300, 340))
    assert np.array_equal(find(table.keys, table.slots, np.ones(40, dtype=int), np.arange(40) * 2**20 + 1), np.arange(300, 340))
    assert np.array_equal(find(table.keys, table.slots, row, ids[row, slot]), slot)


def _chunk(kernels):
    laws = ZipfLaw(5000, 1.0)
    population = Population(laws, basis_of(laws, 8, 20), 8, kernels_named(kernels))
    return population, begin_chunk(population, np.zeros(2, dtype=np.int64), adam=True)


@pytest.mark.parametrize("kernels", ["numpy", "numba"])
def test_a_chunk_does_not_see_what_a_later_one_tracks(kernels):
    """They share arrays that grow: the second branch from one chunk is the first one's, bit for bit."""
    population, chunk = _chunk(kernels)
    rng = np.random.default_rng(2)
    chunk, _ = track(chunk, population, rng.integers(0, 5000, (2, 20)))
    now = (np.zeros(4, dtype=np.int64), np.array([5, 77, 4000, 4999]))
    before = chunk.slots(population, *now)
    actions = np.array([[5, 77, 4000, 77], [77, 4999, 1, 77]])
    (one, at), alike = track(chunk, population, actions), track(chunk, population, actions)
    assert one.table is chunk.table, "nothing was copied"
    assert alike[0].table is not chunk.table
    assert np.array_equal(at, alike[1])
    assert np.array_equal(chunk.slots(population, *now), before)
    assert np.array_equal(one.slots(population, *now)[:3], [5, *at[0, 1:3] - chunk.nodes])
    for name in ("ids", "log_probs", "probs", "old_log_probs", "old_probs"):
        assert np.array_equal(getattr(one, name)[:, : chunk.nodes + 30], getattr(alike[0], name)[:, : chunk.nodes + 30])
    assert np.array_equal(one.weight, alike[0].weight)
    assert np.all(one.count == chunk.count + 2)
    other, _ = track(chunk, population, np.array([[600, 601], [602, 603]]))
    assert np.all(other.slots(population, np.array([0, 1]), np.array([4000, 4999])) == -1)
    assert np.all(one.slots(population, np.array([0, 1]), np.array([600, 602])) == -1)
    u = population.laws.log_prob(np.zeros(1), np.array([4000.0]))
    np.testing.assert_allclose(one.log_probs[0, at[0, 2]], u[0], rtol=1e-14)  # nothing has moved yet
    total = np.sum(one.weight * one.probs[:, : one.nodes], axis=1) + np.sum(one.probs[:, one.nodes :] * one.tracked, axis=1)
    np.testing.assert_allclose(total, 1, rtol=1e-13)


def _moved(policy, units):
    """A sampler of pi_old after some large steps, the dense pi_old of each unit, and what it were had unsampled actions moved
    together."""
    experiment = parse_experiment(
        {
            "policy": policy,
            "replicas": units,
            "arm": [{"name": "none", "objective": "none"}],
            "update": {"geometry": "euclidean", "learning_rate": 8.0, "batch": 8, "minibatches": 6, "rollouts": 2},
        }
    )
    engine = ReducedEngine(tracked=4, whole=4)
    state, rollout = engine.roll_out(engine.start(experiment, experiment.arm[0].build()))
    rng = np.random.default_rng(5)
    for minibatch in rollout:
        samples = Samples(rng.choice([1, 20, 40, 55], (units, 8)), rng.normal(size=(units, 8)) - 0.5)
        state, _ = engine.step(state, rollout, dataclasses.replace(minibatch, samples=samples), Directive())
    state, rollout = engine.roll_out(state)
    chunk, laws = state.chunks[0], state.population.laws
    vocab = laws.vocab
    unit, action = np.repeat(np.arange(units), vocab), np.tile(np.arange(vocab), units)
    law = chunk.law[unit]
    u = laws.log_prob(law, laws.rank(law, action))
    dense = np.exp(u + chunk.flow(chunk.log_probs, state.population, unit, u)).reshape(units, vocab)
    row, slot = np.nonzero(chunk.tracked)
    dense[row, chunk.ids[row, slot]] = np.exp(chunk.log_probs[row, chunk.nodes + slot])
    share = np.exp(u).reshape(units, vocab)
    free = np.ones(dense.shape, dtype=bool)
    free[row, chunk.ids[row, slot]] = False
    still = np.where(free, share, 0.0)
    still *= np.sum(dense * free, axis=1, keepdims=True) / still.sum(axis=1, keepdims=True)
    return rollout.samplers[0], dense, np.where(free, still, dense)


@pytest.mark.statistical
@pytest.mark.parametrize(
    "policy",
    [
        {"kind": "zipf", "vocab": 60, "exponent": 1.0},
        {"kind": "normal_logits", "vocab": 60, "sd": 1.5},
        {"kind": "peaked", "vocab": 60, "logit": 2.0},
    ],
    ids=lambda p: p["kind"],
)
def test_draws_have_the_current_policys_frequencies(policy):
    sampler, dense, still = _moved(policy, units=2)
    assert np.allclose(dense.sum(axis=1), 1, atol=1e-12)
    n, rng = 200_000, np.random.default_rng(11)
    for unit, actions in enumerate(sampler.draw(n, rng)):
        share = np.bincount(actions, minlength=60) / n

        def z(p, share=share):
            return np.max(np.abs(share - p) / np.sqrt(p * (1 - p) / n))

        assert z(dense[unit]) < SIGMAS
        # Falsifier: a sampler that forgets how unsampled actions have parted would be seen (those of one level do not part).
        assert (z(still[unit]) > SIGMAS) == (policy["kind"] != "peaked")


@pytest.mark.statistical
def test_draws_from_a_billion_actions():
    """Shares of ranges of ranks that span nine decades, none of which is listed."""
    experiment = parse_experiment({"policy": {"kind": "zipf", "vocab": 10**9}, "update": {"geometry": "euclidean"}})
    engine = ReducedEngine()
    _, rollout = engine.roll_out(engine.start(experiment, experiment.arm[0].build()))
    n = 200_000
    actions = rollout.samplers[0].draw(n, np.random.default_rng(2))[0]
    edges = np.array([0, 1, 10, 256, 300, 10**4, 10**6, 10**8, 10**9])
    harmonic = np.array(
        [np.sum(1 / np.arange(1.0, a + 1)) if a < 1e7 else np.log(a) + 0.5772156649015329 + 0.5 / a for a in edges]
    )
    p = np.diff(harmonic) / harmonic[-1]
    share = np.histogram(actions, edges)[0] / n
    assert np.all(np.abs(share - p) < SIGMAS * np.sqrt(p * (1 - p) / n))
    assert len(np.unique(actions)) > 50_000


def test_advantages_of_samples():
    table = parse_experiment({"policy": {"kind": "uniform", "vocab": 4}, "reward": {"kind": "table", "values": [1, 2, 3, 4]}})
    actions, rng = np.array([[0, 3], [1, 1]]), np.random.default_rng(0)
    assert draw_advantages(table, actions, 2.5, rng, mirror=False).tolist() == [[-1.5, 1.5], [-0.5, -0.5]]
    groups = parse_experiment({"advantage": {"kind": "group", "size": 4}, "reward": {"kind": "gaussian"}})
    one = draw_advantages(groups, np.zeros((3, 8), dtype=int), 0.0, np.random.default_rng(1), mirror=False)
    other = draw_advantages(groups, np.zeros((3, 8), dtype=int), 0.0, np.random.default_rng(1), mirror=True)
    assert np.abs(one.reshape(3, 2, 4).sum(axis=2)).max() < 1e-14
    assert np.array_equal(one, -other)
