"""Initial laws that are never listed: sums over ranks, nodes and ids against the listed law."""

import numpy as np
import pytest

from entclip.engines.reduced.basis import basis_of
from entclip.engines.reduced.initial_laws import LevelLaws, ListedLaws, ZipfLaw, laws_of
from entclip.experiments.experiment import parse_experiment
from entclip.experiments.start import start_of


def _zipf(vocab, exponent):
    logits = -exponent * np.log(np.arange(1, vocab + 1))
    return logits - np.log(np.sum(np.exp(logits)))


@pytest.mark.parametrize("exponent", [0.7, 1.0, 1.5])
@pytest.mark.parametrize(("first", "last"), [(0, 500_000), (300, 500_000), (40_000, 400_000), (400_000, 400_100)])
def test_sums_over_ranks_are_those_of_the_list(exponent, first, last):
    """The integral with its end corrections, to a part in 10^13, for functions as steep as the nodes' polynomials are."""
    law, u = ZipfLaw(500_000, exponent), _zipf(500_000, exponent)[first:last]
    at, count = law.atoms(0, first, last)
    middle, half = (u[0] + u[-1]) / 2, max((u[0] - u[-1]) / 2, 1e-3)
    for power in (0, 1, 7):
        for weight in (np.ones_like, np.exp, lambda x: np.exp(2 * x)):
            want, terms = np.sum(weight(u) * ((u - middle) / half) ** power), np.sum(weight(u))
            value = np.sum(count * weight(at) * ((at - middle) / half) ** power)
            assert abs(value - want) < 1e-13 * terms, (power, value, want)


@pytest.mark.parametrize(
    "law",
    [
        ZipfLaw(3000, 1.2),
        ZipfLaw(3000, -0.6),
        ZipfLaw(3000, 0.0),
        LevelLaws(np.array([[0.0, -1.0, -3.0]]), np.array([[1, 5, 2994]])),
        LevelLaws(np.array([[1.0, 0.0]]), np.array([[2999, 1]]), reverse=True),
        ListedLaws(np.random.default_rng(3).normal(size=(2, 3000))),
    ],
    ids=["zipf", "rising", "flat", "levels", "reversed", "listed"],
)
def test_ranks_ids_and_buckets(law):
    row = np.zeros(3000, dtype=np.int64)
    action = np.arange(3000)
    rank = law.rank(row, action)
    assert sorted(rank) == list(range(3000))
    assert np.array_equal(law.action(row, rank), action)
    u = law.log_prob(row, np.arange(3000))
    assert np.all(np.diff(u) <= 0)
    for first in (0, 7):
        buckets = law.buckets(first)
        start, size = buckets.start[0], buckets.size[0]
        used = size > 0
        assert int(size.sum()) == 3000 - first
        assert np.array_equal(np.sort(start[used])[1:], np.sort(start[used] + size[used])[:-1])
        for a, n, ceiling in zip(start[used], size[used], buckets.ceiling[0][used], strict=True):
            assert np.all(u[a : a + n] <= ceiling + 1e-15)
            assert n <= 2 or u[a + n - 1] >= ceiling - 0.11 or isinstance(law, LevelLaws)


@pytest.mark.parametrize(
    "policy",
    [
        {"kind": "zipf", "vocab": 700, "exponent": 1.1},
        {"kind": "zipf", "vocab": 700, "exponent": -0.5},
        {"kind": "uniform", "vocab": 700},
        {"kind": "peaked", "vocab": 700, "logit": 3.0},
        {"kind": "peaked", "vocab": 700, "logit": -3.0},
        {"kind": "normal_logits", "vocab": 700, "contexts": 4},
        {"kind": "dirichlet", "vocab": 700, "contexts": 3},
        {"kind": "snapshot", "contexts": 3},
    ],
    ids=lambda p: f"{p['kind']}{p.get('logit', p.get('exponent', ''))}",
)
def test_laws_are_the_experiments_policies(policy):
    experiment = parse_experiment({"policy": policy})
    laws, which = laws_of(experiment)
    dense = start_of(experiment).old_log_probs[:, 0]
    assert dense.shape == (len(which), laws.vocab)
    for context, row in enumerate(which):
        rows = np.full(laws.vocab, row)
        mine = laws.log_prob(rows, laws.rank(rows, np.arange(laws.vocab)))
        np.testing.assert_allclose(mine, dense[context], rtol=0, atol=2e-14)


def test_a_list_from_a_file_and_its_repeated_rows(tmp_path):
    logits = np.random.default_rng(0).normal(size=(1, 50)).repeat(3, axis=0)
    np.save(tmp_path / "rows.npy", logits)
    laws, which = laws_of(parse_experiment({"policy": {"kind": "file", "path": str(tmp_path / "rows.npy")}}))
    assert (laws.rows, which.tolist()) == (1, [0, 0, 0])


def test_many_normal_logits_are_levels_with_their_expected_numbers():
    laws, _ = laws_of(parse_experiment({"policy": {"kind": "normal_logits", "vocab": 10**8, "sd": 2.0}}))
    u, count = laws.atoms(0, 0, laws.vocab)
    assert count.sum() == 10**8
    mean, square = (np.sum(count * u**k) / 1e8 for k in (1, 2))
    # A standard error of a drawn law's spread would be 2/sqrt(2e8) = 1.4e-4.
    assert abs(np.sqrt(square - mean**2) - 2.0) < 1.4e-4
    assert abs(np.sum(count * np.exp(u)) - 1) < 1e-12


@pytest.mark.parametrize("vocab", [5000, 500_000])
def test_nodes_stand_for_sums_of_smooth_functions(vocab):
    """sum e^u h and sum h over all actions of a rank and beyond, for flows that Adam and euclidean steps make."""
    law = ZipfLaw(vocab, 1.0)
    basis, u = basis_of(law, 256, 20), _zipf(vocab, 1.0)[256:]
    nodes = basis.nodes[0]
    for h in (
        np.ones_like,
        lambda x: x,
        lambda x: np.exp(-x),
        lambda x: 1 / (1 + 1e4 * np.exp(x)),
        lambda x: np.log1p(1e5 * np.exp(x)),
    ):
        want, terms = np.sum(np.exp(u) * h(u)), np.sum(np.exp(u) * np.abs(h(u)))
        assert abs(np.sum(basis.weight[0] * np.exp(nodes) * h(nodes)) - want) < 1e-12 * terms
        assert abs(np.sum(basis.number[0] * h(nodes)) - np.sum(h(u))) < 1e-12 * np.sum(np.abs(h(u)))


def test_a_far_outlier_does_not_spoil_the_nodes():
    """Masked actions at -1e4 share the last panel: the flow there is a constant shift."""
    logits = np.concatenate([np.random.default_rng(1).normal(size=900), np.full(3, -1e4)])
    laws = ListedLaws((logits - np.log(np.sum(np.exp(logits))))[None])
    basis = basis_of(laws, 16, 20)
    u = np.sort(logits - np.log(np.sum(np.exp(logits))))[::-1][16:]

    def flow(x):
        return np.exp(x) * np.log1p(50 * np.exp(x))

    assert abs(np.sum(basis.weight[0] * flow(basis.nodes[0])) - np.sum(flow(u))) < 1e-13
    assert abs(basis.number[0].sum() - len(u)) < 1e-9
