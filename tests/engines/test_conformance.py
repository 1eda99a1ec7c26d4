"""One suite for all engines: on the same samples every column is the same, and on samples of their own the same in the mean.

The sampled engine is what the others are held to sample by sample; the exact engine, which lists all samples with their
probabilities, is what their means are held to. A new engine adds one line to ENGINES.
"""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest

from entclip.engines.base import Directive
from entclip.engines.head.engine import HeadEngine
from entclip.engines.reduced.engine import ReducedEngine
from entclip.engines.samples import Samples
from entclip.engines.tabular.exact import ExactEngine
from entclip.engines.tabular.sampled import SampledEngine
from entclip.engines.tokens.engine import TokensEngine
from entclip.experiments.experiment import parse_experiment
from entclip.experiments.start import start_of
from entclip.ledger.arm import ArmLedger
from entclip.ledger.by_sign import SIGNS
from entclip.ledger.columns import PARTS
from tests.family import UNBOUNDED, family
from tests.tolerances import IDENTITY, SIGMAS

# Four of the forty actions are tracked from the start: the others are nodes until they are sampled.
ENGINES = {
    "reduced": lambda: ReducedEngine(tracked=4, whole=4, kernels="numpy"),
    "reduced_numba": lambda: ReducedEngine(tracked=4, whole=4, kernels="numba"),
    "tokens": lambda: TokensEngine(),
    "tokens_kernels": lambda: TokensEngine(kernels="reference"),
    "head": lambda: HeadEngine(),
}
OBJECTIVES = family(0.05, SampledEngine.facts.serves)
WEIGHTS = [0.5, 0.5, 1.0, 1.0, 1.5, 1.5]
VOCAB = 40
BY_SIGN = set(SIGNS)  # of the tables alone
# Allowances of the books, not results: each engine has bounds of its own, and sums of absolute values have kinks.
ALLOWANCES = {"_bound", "_scale", "_rare_variance"}


def experiment_of(objective="clip", update=None, **changes):
    """Three updates of six weighted contexts, each on new samples of one rollout (epochs: the head takes all contexts)."""
    default = {"geometry": "euclidean", "learning_rate": 2.0, "batch": 32, "minibatches": 1, "epochs": 3, "rollouts": 2}
    data = {
        "policy": {"kind": "dirichlet", "vocab": VOCAB, "contexts": 6},
        "weights": WEIGHTS,
        "reward": {"kind": "bernoulli", "p": 0.3},
        "advantage": {"kind": "group", "size": 4},
        "update": default | (update or {}),
        "arm": [{"name": "a", "objective": OBJECTIVES[objective]}],
    }
    return parse_experiment(data | changes)


def as_head(experiment, folder):
    """The same contexts as a head with one hidden unit for each."""
    path = folder / "one_hot.npz"
    table = start_of(experiment).log_probs[:, 0]
    np.savez(path, hidden=np.eye(len(table)), head=table.T)
    data = experiment.model_dump(exclude_none=True) | {"policy": {"kind": "hidden", "path": str(path)}}
    return parse_experiment(data)


def samples_of(experiment):
    """Minibatches of repeated actions and real-valued advantages, which use every path of the sums."""
    rng, units = np.random.default_rng(1), 6 * experiment.replicas
    while True:
        yield Samples(rng.integers(0, 12, (units, experiment.update.batch)), rng.normal(size=(units, experiment.update.batch)))


def columns_of(engine, experiment):
    """Columns of every update on the samples above, which the ledger has checked."""
    arm, samples = experiment.arm[0], samples_of(experiment)
    state, books, out = engine.start(experiment, arm.build()), ArmLedger("", arm.name, experiment), []
    for _ in range(experiment.update.rollouts):
        state, rollout = engine.roll_out(state)
        before = engine.observe(state)
        for minibatch in rollout:
            origin = state
            injected = dataclasses.replace(minibatch, samples=next(samples), fresh=True)
            state, entry = engine.step(state, rollout, injected, Directive())
            books.append(entry, origin)
            out.append(entry.columns)
        books.end_rollout(state, before, engine.observe(state))
        state.rollout += 1
    return out


def differences(ours, theirs):
    """Columns that differ by more than rounding: 64 ulps, for every update so far, of the terms that a column adds up."""
    found = {}
    for steps, (a, b) in enumerate(zip(ours, theirs, strict=True), start=1):
        assert set(b) - BY_SIGN <= set(a)
        for name in set(b) - BY_SIGN - ALLOWANCES:
            terms = 1 + b["entropy_before"] + b["_scale"] + np.abs(b[name])
            worst = float(np.max(np.abs(a[name] - b[name]) / (steps * IDENTITY["float64"] * terms)))
            if not worst <= 1:
                found[name] = max(worst, found.get(name, 0.0))
    return found


@pytest.fixture(scope="module")
def oracle():
    """Columns of the sampled engine by case: computed once for all engines."""
    known = {}

    def columns(objective, geometry):
        if (objective, geometry) not in known:
            known[objective, geometry] = columns_of(SampledEngine(), _plain(objective, geometry))
        return known[objective, geometry]

    return columns


def _plain(objective, geometry):
    return experiment_of(objective, {"geometry": geometry, "learning_rate": {"natural": 0.05, "euclidean": 2.0}[geometry]})


# A head takes euclidean steps only.
CASES = [
    (name, geometry, objective)
    for name, engine in ENGINES.items()
    for geometry in ("natural", "euclidean")
    for objective in family(0.05, engine().facts.serves)
    if (name, geometry) != ("head", "natural")
]


@pytest.mark.parametrize(("name", "geometry", "objective"), CASES)
def test_same_samples_give_the_same_columns(name, geometry, objective, oracle, tmp_path):
    experiment, theirs = _plain(objective, geometry), oracle(objective, geometry)
    acted = sum(float(np.sum(c["pi_low"] + c["pi_high"])) for c in theirs)
    assert acted > 0.1 or objective in UNBOUNDED, "no action beyond a bound: the test would see nothing"
    ours = columns_of(ENGINES[name](), as_head(experiment, tmp_path) if name == "head" else experiment)
    assert differences(ours, theirs) == {}


@pytest.mark.parametrize("change", [{"low": 0.08, "high": 0.05}, {"low": 0.05, "high": 0.1}, {"low": 0.0, "high": 0.08}])
def test_another_clip_would_be_seen(change, oracle):
    """Falsifier: the same comparison with sides swapped, one width off, every falling action clipped."""
    objective = OBJECTIVES["clip"] | change
    experiment = _plain("clip", "euclidean")
    experiment = parse_experiment(experiment.model_dump(exclude_none=True) | {"arm": [{"name": "a", "objective": objective}]})
    found = differences(columns_of(ENGINES["tokens"](), experiment), oracle("clip", "euclidean"))
    assert {"pi_high", "expected_clip_high"} <= set(found) or {"pi_low", "expected_clip_low"} <= set(found)


ADAMS = {
    "adam": {"optimizer": "adam"},
    "l2": {"optimizer": "adam", "weight_decay": 0.002},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1, "betas": [0.8, 0.95], "eps": 1e-5},
}


@pytest.mark.parametrize("optimizer", ADAMS)
@pytest.mark.parametrize("objective", ["clip", "dual_clip", "sapo"])
def test_adam_is_the_same_in_every_engine_that_has_it(objective, optimizer, tmp_path):
    """Six updates over two rollouts, momentum and decay among the columns. Claim T13's convention is one convention."""
    experiment = experiment_of(objective, {"learning_rate": 0.03} | ADAMS[optimizer])
    tokens = columns_of(TokensEngine(), experiment)
    assert max(np.abs(c["momentum"]).max() for c in tokens) > 1e-4
    assert ("weight_decay" in tokens[0]) == ("weight_decay" in ADAMS[optimizer])
    for name, given in (("reduced", experiment), ("reduced_numba", experiment), ("head", as_head(experiment, tmp_path))):
        ours = columns_of(ENGINES[name](), given)
        found = differences(ours, tokens)
        if name != "head":
            # Decay raises rare actions most, so the largest ratio may be at a node beyond the last action that is not tracked:
            # there it is an upper bound, and the only column that is not the dense one.
            room = 1 - IDENTITY["float64"]
            assert all(np.all(a["ratio_max"] >= room * b["ratio_max"]) for a, b in zip(ours, tokens, strict=True))
            found.pop("ratio_max", None)
        assert found == {}, name
    other = experiment_of(objective, {"learning_rate": 0.03 * (1 + 1e-6)} | ADAMS[optimizer])
    assert {"entropy", "momentum", "unclipped"} <= set(differences(columns_of(ENGINES["reduced"](), other), tokens))  # falsifier


# ---- the exact engine ---------------------------------------------------------------------------------------------------------
TINY = {
    "independent": {"reward": {"kind": "rademacher"}, "advantage": {"kind": "independent"}},
    "group": {"reward": {"kind": "bernoulli", "p": 0.3}, "advantage": {"kind": "group", "size": 2}},
}


RATES = {
    ("independent", "natural"): 0.3,
    ("independent", "euclidean"): 1.0,
    ("group", "natural"): 1.0,
    ("group", "euclidean"): 4.0,
}


def tiny(setting, geometry, replicas=1):
    """Two updates of two samples each from three actions: few enough to list, and steps that reach the bounds."""
    rate = RATES[setting, geometry]
    update = {"geometry": geometry, "learning_rate": rate, "batch": 2, "minibatches": 2, "rollouts": 1}
    policy = {"kind": "zipf", "vocab": 3, "contexts": 1}
    arm = [{"name": "a", "low": 0.05, "high": 0.05}]
    return parse_experiment({"policy": policy, "update": update, "arm": arm, "replicas": replicas} | TINY[setting])


# One of three actions is tracked from the start.
TINY_ENGINES = {
    "sampled": SampledEngine,
    "reduced": lambda: ReducedEngine(tracked=1, whole=1, kernels="numpy"),
    "reduced_numba": lambda: ReducedEngine(tracked=1, whole=1, kernels="numba"),
    "tokens": TokensEngine,
}


def exact_means(experiment):
    """Mean of every column of each update over all outcomes."""
    engine, out = ExactEngine(), []
    state, rollout = engine.roll_out(engine.start(experiment, experiment.arm[0].build()))
    for minibatch in rollout:
        state, entry = engine.step(state, rollout, minibatch, Directive())
        out.append({k: np.dot(entry.weight, v) / entry.weight.sum() for k, v in entry.columns.items()})
    return out


def all_samples(experiment):
    """Every ordered minibatch (N, 2) of actions and advantages, and its probability (N,)."""
    probs, reward = np.exp(start_of(experiment).log_probs[0, 0]), experiment.reward
    draws = list(itertools.product(range(3), range(3), range(2), range(2)))
    actions, levels = (np.array(draws)[:, part] for part in (slice(0, 2), slice(2, 4)))
    rewards = reward.levels[levels]
    grouped = experiment.advantage.kind == "group"
    advantages = experiment.advantage.of_rewards(rewards) if grouped else rewards
    return Samples(actions, advantages), np.prod(probs[actions] * reward.level_probs[0][levels], axis=1)


@pytest.mark.parametrize("setting", TINY)
@pytest.mark.parametrize("geometry", ["natural", "euclidean"])
@pytest.mark.parametrize("name", ["sampled", "reduced", "reduced_numba", "tokens", "tokens_kernels"])
def test_all_samples_with_their_probabilities_are_the_exact_engine(name, geometry, setting):
    """Each of the 36 x 36 pairs of minibatches is a unit of its own: means with their probabilities, no sampling error."""
    experiment = tiny(setting, geometry)
    (actions, advantages), chance = all_samples(experiment)
    n = len(chance)
    wide = tiny(setting, geometry, replicas=n * n)
    engine = (ENGINES | TINY_ENGINES)[name]()
    state, rollout = engine.roll_out(engine.start(wide, wide.arm[0].build()))
    first, second = np.repeat(np.arange(n), n), np.tile(np.arange(n), n)
    weight = chance[first] * chance[second]
    clipped = 0.0
    for minibatch, pick, want in zip(rollout, (first, second), exact_means(experiment), strict=True):
        samples = Samples(actions[pick], advantages[pick])
        state, entry = engine.step(state, rollout, dataclasses.replace(minibatch, samples=samples), Directive())
        for column in set(want) - ALLOWANCES - (BY_SIGN if name != "sampled" else set()):
            value = float(weight @ entry.columns[column])
            terms = 1 + want["entropy_before"] + want["_scale"] + float(weight @ np.abs(entry.columns[column]))
            assert abs(value - want[column]) <= 2 * IDENTITY["float64"] * terms, column
        clipped += want["clip_count_low"] + want["clip_count_high"]
    assert clipped > 0.01


REPLICAS = 4096


def own_means(engine, experiment):
    """Means and standard errors of every realised part of each update, on the engine's own samples."""
    state, rollout = engine.roll_out(engine.start(experiment, experiment.arm[0].build()))
    out = []
    for minibatch in rollout:
        state, entry = engine.step(state, rollout, minibatch, Directive())
        columns = {p: entry.columns[p] for p in (*PARTS, "measured", "remainder", "clip_count_low", "clip_count_high")}
        out.append({k: (v.mean(), v.std(ddof=1) / math.sqrt(len(v))) for k, v in columns.items()})
    return out


def rejected(own, exact):
    """Parts whose mean is over five standard errors from the exact one; without scatter, one that is another number."""
    found = []
    for a, b in zip(own, exact, strict=True):
        for name, (mean, se) in a.items():
            room = SIGMAS * se + IDENTITY["float64"] * (1 + abs(b[name]))
            if abs(mean - b[name]) > room:
                found.append(name)
    return found


@pytest.mark.statistical
@pytest.mark.parametrize("setting", TINY)
@pytest.mark.parametrize("geometry", ["natural", "euclidean"])
@pytest.mark.parametrize("name", ["sampled", "reduced", "tokens"])
def test_own_samples_have_the_exact_means(name, geometry, setting):
    own = own_means(TINY_ENGINES[name](), tiny(setting, geometry, REPLICAS))
    assert rejected(own, exact_means(tiny(setting, geometry))) == []
    # Falsifiers, at this sample size: a side that does not clip, no curvature.
    exact = exact_means(tiny(setting, geometry))
    for part in ("clip_low", "clip_high", "curvature"):
        assert part in rejected(own, [exact[0], exact[1] | {part: 0.0}])
