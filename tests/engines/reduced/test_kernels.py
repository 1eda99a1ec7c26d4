"""numba's kernels against numpy's, function by function, and which of them an engine takes."""

import math
import sys

import numpy as np
import pytest

from entclip import SpecError
from entclip.engines.reduced import compiled, fused_sums, kernels
from entclip.engines.reduced.basis import basis_of
from entclip.engines.reduced.engine import ReducedEngine
from entclip.engines.reduced.expected import Conditions, idle_range
from entclip.engines.reduced.initial_laws import ZipfLaw
from entclip.engines.reduced.kernels import NUMPY, kernels_named
from entclip.engines.reduced.searches import IdTable
from entclip.objectives.base import Change, Keep
from entclip.objectives.ce_gppo import CeGppo
from entclip.objectives.cispo import Cispo
from entclip.objectives.clip import Clip
from entclip.objectives.dppo_tv import DppoTv
from entclip.objectives.dual_clip import DualClip
from tests.family import EDGES, members
from tests.seen import changed
from tests.tolerances import IDENTITY

NUMBA = kernels_named("numba")


def _policies(rng, *, room=9, spread=0.3):
    """Five units of 30 nodes and up to 200 tracked actions; some nodes have no weight, some a negative one."""
    units, n, most = 5, 30, 200
    count = rng.integers(100, most, units)
    weight = np.where(rng.random((units, n)) < 0.2, 0.0, rng.normal(1.0, 0.8, (units, n)))
    number = weight * rng.uniform(0.5, 2.0, weight.shape)
    width = n + most + room
    held = np.concatenate([weight, np.arange(width - n) < count[:, None]], axis=1)
    both = []
    logits = rng.normal(0, 2.0, (units, width))
    for x in (logits, logits + spread * rng.normal(size=logits.shape)):
        log_probs = x - np.log(np.sum(held * np.exp(x), axis=1, keepdims=True))
        log_probs[:, n:][held[:, n:] == 0] = -800.0
        both += [log_probs, np.exp(log_probs)]
    return (*both, weight, number, count)


def _spoilt(policies):
    """The same with NaN wherever there is no action: a chunk's room may hold anything."""
    n, count = policies[4].shape[1], policies[6]
    beyond = np.arange(policies[0].shape[1]) >= n + count[:, None]
    return (*(np.where(beyond, np.nan, x) for x in policies[:4]), *policies[4:])


def _close(ours, theirs, terms=1.0):
    np.testing.assert_allclose(ours, theirs, rtol=IDENTITY["float64"], atol=IDENTITY["float64"] * np.max(terms))


@pytest.mark.parametrize("euclidean", [True, False])
@pytest.mark.parametrize("idle", [(0.8, 1.3), (0.0, math.inf), (math.nan, math.nan)])
def test_sums_of_a_policy(euclidean, idle):
    policies = _policies(np.random.default_rng(0))
    want, unit, point = NUMPY.measure(*policies, euclidean, idle)
    got, *at = NUMBA.measure(*_spoilt(policies), euclidean, idle)
    assert np.array_equal(at, [unit, point])
    assert len(unit) == {0.8: len(unit), 0.0: 0}.get(idle[0], 5 * 30 + policies[6].sum())
    assert len(unit) > 0 or idle[0] == 0
    # Absolute terms of the largest sum: those of the trace, over as many actions as there are (natural) or times pi^2.
    terms = {"trace": 1 + np.sum(np.abs(policies[5])) + policies[6].max()}
    for name in want._fields:
        assert np.all(np.isfinite(getattr(want, name)))
        assert euclidean or name not in ("p2", "kappa", "first", "second", "spread", "form") or not np.any(getattr(want, name))
        _close(getattr(got, name), getattr(want, name), 10 * terms.get(name, 1.0))


@pytest.mark.parametrize("size", [0.1, 2.0, 700.0])
def test_steps(size):
    """Up to logits that leave float64's exp."""
    rng = np.random.default_rng(1)
    policies = _policies(rng)
    log_probs, probs, weight, count = policies[0], policies[1], policies[4], policies[6]
    step = size * rng.normal(size=probs.shape)
    if size > 2:  # a node with a negative weight that takes over has no policy
        step[:, :30] = -1.0
    entropy = NUMPY.measure(*policies, True, (0.8, 1.2))[0].entropy
    spoilt = _spoilt(policies)
    with np.errstate(over="ignore", invalid="ignore"):  # as update_chunk, which judges the result
        want = NUMPY.move(log_probs, probs, step, weight, count, entropy)
        got = NUMBA.move(spoilt[0], spoilt[1], step, weight, count, entropy)
    held = np.arange(probs.shape[1]) < 30 + count[:, None]
    scale = 1 + np.abs(step).max()
    _close(np.where(held, got[0], 0), np.where(held, want[0], 0), scale)
    _close(np.where(held, got[1], 0), np.where(held, want[1], 0))
    assert np.all(got[0][~held] == -800)
    assert np.all(got[1][~held] == 0)
    _close(got[2], want[2], scale)
    powers = {"second": 2, "third": 3, "end_third": 3, "variance": 2}
    for name in want[3]._fields:
        _close(getattr(got[3], name), getattr(want[3], name), 10 * scale ** powers.get(name, 1))


def test_slopes_do_not_depend_on_where_moments_are_taken():
    """Central moments are those about any point; `move` takes the mean at the start of the step, also for its end."""
    log_probs, probs, *_, weight, _, count = (x[0] for x in _policies(np.random.default_rng(8)))
    end = 30 + int(count)
    w = np.concatenate([weight, np.ones(len(probs) - 30)])
    d = np.random.default_rng(9).normal(size=len(probs))
    mean = float(np.sum((w * probs * d)[:end]))
    at_mean, elsewhere = (fused_sums._slopes(log_probs, probs, d, w, end, x) for x in (mean, mean - 1.5))
    _close(elsewhere, at_mean, 100)
    _close(at_mean[0], 1)


@pytest.mark.parametrize("points", [2, 9])
def test_the_largest_third_derivative(points):
    rng = np.random.default_rng(2)
    policies = _policies(rng)
    step = rng.normal(size=policies[0].shape)
    arguments = (step, policies[4], policies[6], points)
    want, got = NUMPY.largest_third(policies[0], *arguments), NUMBA.largest_third(_spoilt(policies)[0], *arguments)
    for a, b in zip(got, want, strict=True):
        _close(a, b, 10 * np.abs(step).max() ** 3)
    assert np.all(want[1] < want[0])


def test_units_do_not_see_each_other():
    """The same bits alone, among others, and with more room."""
    policies = _policies(np.random.default_rng(3))
    wide = [np.concatenate([x, np.full((5, 70), np.nan)], axis=1) for x in policies[:4]]
    together = NUMBA.measure(*policies, True, (0.8, 1.2))[0]
    roomy = NUMBA.measure(*wide, *policies[4:], True, (0.8, 1.2))[0]
    alone = [NUMBA.measure(*(np.ascontiguousarray(x[i : i + 1]) for x in policies), True, (0.8, 1.2))[0] for i in range(5)]
    assert np.array_equal(together, roomy)
    assert np.array_equal(together, np.concatenate(alone, axis=1))


@pytest.mark.parametrize("own", [NUMPY, NUMBA], ids=["numpy", "numba"])
def test_samples_of_one_action_are_added_up(own):
    rng = np.random.default_rng(4)
    points, advantages = rng.integers(0, 6, (3, 16)), rng.choice([-1.5, -0.25, 0.0, 1.0], (3, 16))
    unit, point, plus, minus, n_plus, n_minus = own.added_up(points, advantages)
    assert np.array_equal(np.lexsort((point, unit)), np.arange(len(unit)))
    found = set(zip(unit.tolist(), point.tolist(), strict=True))
    assert found == {(i, c) for i in range(3) for c in points[i].tolist()}
    for k, (i, c) in enumerate(zip(unit, point, strict=True)):
        a = advantages[i][points[i] == c]
        assert (plus[k], minus[k]) == (a[a > 0].sum() / 16, -a[a < 0].sum() / 16)
        assert (n_plus[k], n_minus[k]) == ((a > 0).sum(), (a < 0).sum())
    advantages[1, 3] = np.nan
    assert np.isnan(own.added_up(points, advantages)[2]).sum() == 1


def test_searches():
    rng = np.random.default_rng(5)
    for dtype in (np.int32, np.int64):
        ids = np.stack([rng.permutation(10_000)[:300] * 2**17 for _ in range(4)]).astype(dtype)
        count = np.array([300, 0, 120, 299])
        one, two = (IdTable.of(ids, count, own.insert) for own in (NUMPY, NUMBA))
        row = np.repeat(np.arange(4), 300)
        wanted = np.where(np.arange(300) < count[:, None], np.arange(300), -1).reshape(-1)
        for table in (one, two):
            for own in (NUMPY, NUMBA):
                slot = own.find(table.keys, table.slots, row, ids.reshape(-1).astype(np.int64))
                assert np.array_equal(slot, wanted)
    for rows in (1, 5):
        table = np.sort(rng.integers(0, 20, (rows, 33)).astype(float), axis=1)
        row, value = rng.integers(0, rows, 500), rng.integers(-1, 21, 500).astype(float)
        assert np.array_equal(NUMBA.last_at_most(table, row, value), NUMPY.last_at_most(table, row, value))


@pytest.mark.parametrize("per_panel", [1, 8, 20])
def test_interpolation(per_panel):
    law = ZipfLaw(5000, 1.0)
    basis = basis_of(law, 40, per_panel)
    rng, units, queries = np.random.default_rng(6), 3, 400
    u = rng.uniform(law.log_prob(np.zeros(1), np.array([4999])), law.log_prob(np.zeros(1), np.array([40])), queries)
    u[:20] = basis.nodes[0, rng.integers(0, basis.nodes.shape[1], 20)]  # hits
    unit, row = rng.integers(0, units, queries), np.zeros(queries, dtype=np.int64)
    nodes = (basis.nodes, basis.edges, per_panel, row, u)
    values = rng.normal(size=(units, basis.nodes.shape[1]))
    _close(NUMBA.flow(values, unit, *nodes), NUMPY.flow(values, unit, *nodes), 10)
    number, weight = np.tile(basis.number, (units, 1)), np.tile(basis.weight, (units, 1))
    kept = number.copy(), weight.copy()
    terms = np.abs(number).max() + np.abs(weight).max()
    for got, want, before in zip(
        NUMBA.leave(number, weight, unit, *nodes), NUMPY.leave(number, weight, unit, *nodes), kept, strict=True
    ):
        _close(got, want, terms)
        assert np.abs(want - before).max() > 0.5
    assert np.array_equal(kept, (number, weight)), "an earlier chunk holds these"


MEMBERS = [*members(0.1).values(), *EDGES.values(), DualClip(0.1, 0.3, 3.0), DppoTv(0.2)]
IDLE = [member for member in MEMBERS if not math.isnan(member.idle[0])]


@pytest.mark.parametrize("objective", IDLE, ids=repr)
def test_nothing_happens_within_the_idle_range(objective):
    low, high = idle_range(Conditions(objective, "euclidean", 8, 0.0, None, np.ones(1), None))
    rng = np.random.default_rng(7)
    inside = rng.uniform(low, min(high, 5.0), 10_000)
    ratio = np.concatenate([inside, [x for x in (low, high) if math.isfinite(x) and x > 0]])
    old = np.minimum(np.concatenate([rng.random(len(ratio) - 1), [1.0]]), 1 / ratio)  # no probability is above 1
    change = changed(objective, ratio, old)
    assert all(np.all(gain == 1) for gain in change.gains)
    assert not np.any(change.low | change.high)
    if isinstance(objective, Clip | Cispo | CeGppo | DualClip):  # and it is no narrower than it need be
        for beyond in ([low * (1 - 1e-12)] if low > 0 else []) + ([high * (1 + 1e-12)] if high < math.inf else []):
            change = changed(objective, np.array([beyond]), np.array([0.1]))
            assert change.low[0] or change.high[0] or min(change.gains)[0] != 1
    keep = Conditions(objective, "euclidean", 8, 0.0, None, np.ones(1), Keep(0.5, 0.5))
    assert all(x != x for x in idle_range(keep)), "a drop changes every gain"


def test_an_objective_of_ones_own_is_looked_at_everywhere():
    class Mine(Clip):
        def change(self, view):
            change = super().change(view)
            return Change.of(change.gains.plus / 2, change.gains.minus / 2, change.low, change.high)

    assert not Mine().hard
    assert Mine().width == math.inf
    assert all(x != x for x in idle_range(Conditions(Mine(), "euclidean", 8, 0.0, None, np.ones(1), None)))


def test_kernels_are_named(monkeypatch):
    assert ReducedEngine().kernels == "numba"
    assert ReducedEngine(kernels="numpy").kernels == "numpy"
    with pytest.raises(SpecError, match='choose "numpy" or "numba"'):
        ReducedEngine(kernels="cuda")
    monkeypatch.setitem(sys.modules, "numba", None)
    assert ReducedEngine().kernels == "numpy"
    with pytest.raises(SpecError, match=r"pip install '\.\[fast\]'"):
        ReducedEngine(kernels="numba")

    def broken(name):
        raise ImportError("Numba needs NumPy 2.5 or less")

    monkeypatch.setattr(kernels, "import_module", broken)
    assert kernels_named(None) is NUMPY
    with pytest.raises(SpecError, match=r"Numba needs NumPy 2\.5 or less"):
        kernels_named("numba")


def test_functions_compile_where_nothing_can_be_kept(monkeypatch):
    caching = pytest.importorskip("numba.core.caching")
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    assert compiled.compiled(lambda x: x + 1)(2) == 3
