"""T11 where rewards are rarely 1 or rarely 0, and where gains are neither: runs predicted against simulations made once.

Totals are control-variate means of the sampled engine with seed 0 and their standard errors, in 1e-5 nat: 8,192 runs (2,048 at
V = 256, 1,024 at V = 1024). The first three are the cases of the report that found forecasts by Gaussian noise up to 39 % off.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtri

import entclip.prediction.meanfield.forecast as module
from entclip.experiments.experiment import Experiment, parse_experiment
from entclip.objectives.clip import Clip
from entclip.prediction.meanfield import predict
from entclip.prediction.meanfield.jumps import counted, lopsided, poisson_quantile
from entclip.prediction.meanfield.law import sample_law
from entclip.prediction.meanfield.nodes import Nodes
from entclip.prediction.meanfield.paths import paths_of
from entclip.rewards.advantage import GroupRelative, Independent
from entclip.rewards.reward import Bernoulli, Gaussian, Rademacher

ARMS: list[dict[str, Any]] = [
    {"name": "none", "objective": "none"},
    {"name": "both", "low": 0.2, "high": 0.2},
    {"name": "low_only", "low": 0.2, "high": math.inf},
    {"name": "high_only", "low": 1.0, "high": 0.2},
]
GROUP = {"kind": "group", "size": 8}
Policy = tuple[int, float] | dict[str, Any]  # (seed, largest probability) of 30 standard normal logits, or a law


def zipf(vocab: int, exponent: float) -> dict[str, Any]:
    return {"kind": "zipf", "vocab": vocab, "exponent": exponent, "contexts": 1}


def case(policy: Policy, p: float, batch: int, minibatches: int, eta: float, folder: Path, **more: Any) -> Experiment:
    if isinstance(policy, tuple):
        seed, top = policy
        logits = np.sort(np.random.default_rng(seed).standard_normal(30))[::-1]
        logits[0] = np.log(np.exp(logits[1:]).sum()) + math.log(top / (1 - top))
        np.save(folder / "logits.npy", logits[None, :])
        policy = {"kind": "file", "path": str(folder / "logits.npy")}
    update = {"geometry": "euclidean", "learning_rate": eta, "batch": batch, "minibatches": minibatches, "rollouts": 1}
    base = {"name": "x", "policy": policy, "reward": {"kind": "bernoulli", "p": p}, "advantage": {"kind": "independent"}}
    return parse_experiment(base | {"arm": ARMS} | more | {"update": update | more.get("update", {})})


RARE: dict[str, tuple[tuple[Any, ...], dict[str, Any], tuple[tuple[int, int], ...]]] = {
    "reported_.02": (((0, 0.38), 0.02, 64, 32, 6.2), {}, ((-2024, 2), (-1511, 94), (-1842, 61), (-1143, 84))),
    "reported_.95": (((0, 0.38), 0.95, 16, 48, 1.6), {}, ((-1912, 1), (-379, 88), (-1230, 56), (-396, 74))),
    "reported_.1": (((0, 0.38), 0.1, 16, 48, 1.69), {}, ((-4039, 7), (-2037, 202), (-1827, 162), (-1871, 181))),
    ".98": (((1, 0.38), 0.98, 64, 32, 5.5), {}, ((-1479, 1), (-78, 74), (-1050, 45), (-2, 63))),
    ".06_peaked": (((4, 0.6), 0.06, 64, 32, 5.0), {}, ((-1030, 14), (-4032, 252), (3536, 201), (-10608, 188))),
    ".05_zipf": ((zipf(64, 1.0), 0.05, 32, 24, 3.0), {}, ((-1780, 2), (-393, 40), (-1963, 12), (-149, 38))),
    ".9_zipf": ((zipf(64, 1.5), 0.9, 32, 24, 2.5), {}, ((-2958, 6), (-949, 121), (-1020, 92), (-1596, 110))),
    ".04_groups": (((2, 0.3), 0.04, 64, 24, 6.0), {"advantage": GROUP}, ((-2725, 2), (-905, 88), (-2446, 54), (-380, 79))),
    ".95_groups": ((zipf(48, 1.2), 0.95, 64, 24, 5.0), {"advantage": GROUP}, ((-2681, 2), (-402, 79), (-2290, 44), (21, 73))),
    ".03_groups_std": (
        ((5, 0.3), 0.03, 64, 24, 1.8),
        {"advantage": GROUP | {"scale": "std"}},
        ((-1399, 1), (-583, 41), (-1457, 17), (-412, 39)),
    ),
    ".02_flat": (
        ({"kind": "dirichlet", "vocab": 256, "alpha": 1.0, "contexts": 1}, 0.02, 64, 32, 6.0),
        {},
        ((-192, 1), (-175, 1), (-192, 1), (-175, 1)),
    ),
    ".1_zipf_256": ((zipf(256, 1.0), 0.1, 64, 16, 5.0), {}, ((-2729, 10), (87, 134), (-3419, 52), (950, 121))),
    ".9_three_rollouts": (
        ((3, 0.25), 0.9, 32, 16, 2.5),
        {"update": {"rollouts": 3}},
        ((-5371, 4), (-1601, 61), (-5022, 29), (-1113, 58)),
    ),
    ".02_zipf_1024": ((zipf(1024, 0.9), 0.02, 128, 32, 12.0), {}, ((-1933, 14), (175, 117), (-2367, 28), (599, 109))),
}


def off(spec: Experiment, values: tuple[tuple[int, int], ...]) -> dict[str, float]:
    """By arm, how far the total is off in units of what is allowed: 5 % of the causes, or 3 s.e. of both numbers."""
    arms, out = predict(spec).summary()["arms"], {}
    for (name, found), (value, error) in zip(arms.items(), values, strict=True):
        assert found["outside"] == []
        causes = sum(abs(found[f"expected_{c}"]) for c in ("clip_low", "clip_high", "other", "curvature"))
        room = max(0.05 * causes, 3 * math.hypot(error * 1e-5, found["discretisation"]))
        out[name] = abs(found["expected_measured"] - value * 1e-5) / room
    return out


@pytest.mark.slow
@pytest.mark.statistical
@pytest.mark.parametrize("name", RARE)
def test_rare_rewards_are_predicted(name: str, tmp_path: Path) -> None:
    """Three arms of the reported cases; of the others the one in which both sides' terms meet."""
    where, more, values = RARE[name]
    few = slice(1, 4) if name.startswith("reported") else slice(1, 2)
    found = off(case(*where, tmp_path, **more, arm=ARMS[few]), values[few])
    assert max(found.values()) <= 1, found


@pytest.mark.statistical
def test_a_gaussian_misses_rare_rewards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Falsifier: the same check rejects the same case where samples are not counted."""
    where, _, values = RARE["reported_.95"]
    spec = case(*where, tmp_path, arm=ARMS[1:2])
    assert max(off(spec, values[1:2]).values()) <= 1
    monkeypatch.setattr(module, "SKEWED", math.inf)
    assert max(off(spec, values[1:2]).values()) > 1


def test_quantiles_have_the_law_of_the_counts() -> None:
    """Mean, variance and third central moment of a Poisson law, by the rectangle rule in its level, whose error is one cell's."""
    means = np.array([1e-3, 0.3, 4.0, 24.0, 26.0, 300.0])
    cells = 400_000
    z = ndtri((np.arange(cells) + 0.5) / cells)[:, None]
    for mean in means:
        n = poisson_quantile(z, np.full((cells, 1), mean))
        whole = mean < 25
        assert bool(np.all(n == np.round(n))) == whole
        for power, value in ((1, 0.0), (2, mean), (3, mean)):
            moment = float(np.mean((n - mean) ** power))
            largest = float(np.max(np.abs(n - mean)) ** power)
            # Cornish and Fisher's third cumulant is right to the next order, 1/mean.
            assert abs(moment - value) <= 5 * largest / cells + (0 if whole else 0.05 * mean * (power == 3)), (mean, power)


def test_counted_noise_has_the_moments_of_a_minibatch() -> None:
    """Mean 0, variance 1 and the skewness E A^3/((B pi0)^(1/2) (E A^2)^(3/2)) of every action in the band, within 5 s.e."""
    law, probs, batch, size = sample_law(Bernoulli(0.05), Independent()), np.array([0.4, 0.3, 0.2, 0.1]), 64, 1 << 17
    p = paths_of(Nodes(np.log(probs), np.ones(4)), Clip(), size)
    noise = counted(p, law, batch, np.random.default_rng(0).standard_normal((size, 4 * len(law.atoms))))
    q = 0.05 * 0.95
    skewness = q * (1 - 2 * 0.05) / (np.sqrt(batch * probs) * q**1.5)
    for power, value in ((1, 0.0), (2, 1.0), (3, skewness)):
        drawn = noise**power
        assert np.all(np.abs(drawn.mean(axis=0) - value) < 5 * drawn.std(axis=0) / math.sqrt(size)), power


def test_only_lopsided_laws_are_counted() -> None:
    step, probs = 0.1, np.array([0.5, 0.5])
    for reward in (Rademacher(), Bernoulli(0.5), Gaussian(0, 2)):
        assert np.all(lopsided(sample_law(reward, Independent()), Clip(), probs, step) < 1e-12)
    rare = lopsided(sample_law(Bernoulli(0.02), Independent()), Clip(), probs, step)
    np.testing.assert_allclose(rare, step * 0.96 / 0.2, rtol=1e-12)  # E A^3/E A^2 = 1 - 2p


LAWS = [(r, a) for r in (Rademacher(), Bernoulli(0.03)) for a in (Independent(), GroupRelative(8), GroupRelative(4, "std"))]


@pytest.mark.parametrize(("reward", "advantage"), [*LAWS, (Gaussian(0, 2), GroupRelative(8))])
def test_atoms_keep_the_moments_of_either_sign(reward: Any, advantage: Any) -> None:
    law = sample_law(reward, advantage)
    for sign, side in ((1, "plus"), (-1, "minus")):
        half = [(abs(value), chance) for value, chance in law.atoms if sign * value > 0]
        for power, name in ((1, side), (2, f"{side}_sq")):
            assert math.isclose(sum(c * v**power for v, c in half), law.moment(name), rel_tol=1e-9), (side, power)


GAINS: list[dict[str, Any]] = [
    {"name": "clip", "low": 0.2, "high": 0.2},
    {"name": "ce_gppo", "objective": {"kind": "ce_gppo", "low": 0.2, "high": 0.2}},
    {"name": "cispo", "objective": "cispo", "low": 0.2, "high": 0.2},
    {"name": "sapo", "objective": {"kind": "sapo"}},
]
SMALL: dict[str, tuple[tuple[Any, ...], dict[str, Any], tuple[tuple[int, int], ...]]] = {
    "reported_.1": ((zipf(64, 0.8), 0.1, 64, 16, 0.11378), {}, ((-725, 2), (-237, 1), (-195, 1), (-195, 1))),
    ".9": ((zipf(64, 0.8), 0.9, 32, 16, 0.08), {}, ((195, 2), (-47, 1), (-91, 1), (-101, 1))),
    "large_batch": ((zipf(64, 1.0), 0.5, 2048, 16, 0.2828), {}, ((-385, 6), (292, 2), (200, 1), (217, 1))),
    "groups": (
        ({"kind": "uniform", "vocab": 32, "contexts": 1}, 0.2, 64, 16, 0.2),
        {"advantage": GROUP},
        ((-1029, 3), (-1936, 1), (-2185, 1), (-2202, 1)),
    ),
}


@pytest.mark.statistical
@pytest.mark.parametrize("name", SMALL)
def test_soft_gains_at_few_samples_are_predicted(name: str, tmp_path: Path) -> None:
    """Natural steps: within 5 % of the causes or 3 s.e., where Gaussian moves were 30 % off; there is no quadrature."""
    where, more, values = SMALL[name]
    spec = case(*where, tmp_path, arm=GAINS, update={"geometry": "natural"}, **more)
    found = off(spec, values)
    assert max(found.values()) <= 1, found


def test_a_soft_clip_with_no_gain_left_is_the_clip(tmp_path: Path) -> None:
    hard = {"kind": "ce_gppo", "low": 0.2, "high": 0.2, "beta_low": 0.0, "beta_high": 0.0}
    arms = [GAINS[0], {"name": "zero", "objective": hard}, {"name": "near", "objective": hard | {"beta_low": 1e-9}}]
    where = SMALL["reported_.1"][0]
    found = predict(case(*where, tmp_path, arm=arms, update={"geometry": "natural"})).summary()["arms"]
    assert found["zero"]["expected_measured"] == found["clip"]["expected_measured"]
    # Not told from the clip by a flag: a gain of 1e-9 goes through the compound law of each cell.
    causes = abs(found["clip"]["expected_clip_high"])
    assert abs(found["near"]["expected_measured"] - found["clip"]["expected_measured"]) < 0.01 * causes


def test_forecasts_over_many_rollouts_of_small_groups_end(tmp_path: Path) -> None:
    """Alternating tails of single jumps grew from rollout to rollout until a density was NaN: an IndexError at 4 and 5."""
    group = {"kind": "group", "size": 4, "scale": "std"}
    totals = []
    for rollouts in (3, 4, 5):
        update = {"geometry": "natural", "rollouts": rollouts}
        spec = case(zipf(64, 0.8), 0.5, 8, 16, 0.01, tmp_path, arm=ARMS[1:2], advantage=group, update=update)
        totals.append(predict(spec).summary()["arms"]["both"]["expected_measured"])
    assert 0 > totals[0] > totals[1] > totals[2] > 2 * totals[0]


@pytest.mark.parametrize("objective", [{"kind": "dppo_tv", "delta": 0.01}, {"kind": "sapo", "tau_pos": 4.0, "tau_neg": 8.0}])
def test_the_gate_knows_objectives_without_low_and_high(objective: dict[str, Any], tmp_path: Path) -> None:
    """The reported case, where totals were off by 49 % and 14 % with no warning; with a tenth of the step it is inside."""
    policy = {"kind": "uniform", "vocab": 32, "contexts": 1}
    arm = [{"name": "one", "objective": objective}]
    for eta, inside in ((2.0, False), (0.2, True)):
        spec = case(policy, 0.5, 4, 12, eta, tmp_path, arm=arm, reward={"kind": "rademacher"})
        reasons = predict(spec, paths=64).summary()["arms"]["one"]["outside"]
        assert any("one sample moves a log-ratio" in r for r in reasons) != inside


@pytest.mark.statistical
def test_contexts_left_out_are_in_the_stated_error(tmp_path: Path) -> None:
    """300 unlike contexts of which 16 are followed: all of them lie within 3 stated errors, most of which is not quadrature."""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "mixed.npy", rng.standard_normal((300, 12)) * rng.uniform(0.2, 3, (300, 1)))
    policy = {"kind": "file", "path": str(tmp_path / "mixed.npy")}
    spec = case(policy, 0.5, 64, 8, 3.0, tmp_path, arm=ARMS[1:2], reward={"kind": "rademacher"})
    few, every = (predict(spec, paths=32 * n).summary()["arms"]["both"] for n in (16, 300))
    assert abs(few["expected_measured"] - every["expected_measured"]) < 3 * few["discretisation"]
    assert few["discretisation"] > 2 * every["discretisation"]
