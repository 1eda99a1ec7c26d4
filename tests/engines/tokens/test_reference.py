"""The eager kernels against the formula files: norms after a pass, sums of a view, the rounding bound of sparse steps, blocks."""

from __future__ import annotations

import pytest
import torch

from entclip.drift.cumulants import directional_derivatives, hessian_form, remainder_bounds
from entclip.drift.steps import expected_step, logit_step
from entclip.engines.tokens.kernels import reference
from entclip.engines.tokens.kernels.passes import EXPECTED, POWERS, RATIO, Comparison, distinct
from entclip.objectives.clip import Clip
from entclip.policies.softmax import centered_kappa, entropy, importance_ratio, log_softmax
from tests.seen import changed, sets
from tests.tolerances import IDENTITY, assert_identity


def tables(rows=4, vocab=300, batch=12, dtype=torch.float64, sd=2.0):
    """Logits, old logits a little apart, slots of repeated actions with pushes, a pull per row."""
    generator = torch.Generator().manual_seed(3)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    logits = (sd * normal(rows, vocab)).to(dtype)
    old = (logits.double() + 0.2 * normal(rows, vocab)).to(dtype)
    actions = torch.randint(0, 20, (rows, batch), generator=generator)
    return logits, old, distinct(actions, 0.3 * normal(rows, batch)), 0.5 * normal(rows)


def dense_push(slots, like):
    return torch.zeros_like(like).scatter_add_(1, slots.actions, slots.push * slots.used)


def test_distinct_adds_up_and_points_back():
    actions = torch.tensor([[5, 2, 5, 7], [1, 1, 1, 1], [3, 2, 1, 0]])
    push = torch.tensor([[1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0]], dtype=torch.float64)
    slots = distinct(actions, push)
    assert slots.count.tolist() == [3, 1, 4]
    assert slots.actions.tolist() == [[2, 5, 7, 2], [1, 1, 1, 1], [0, 1, 2, 3]]
    assert slots.push.tolist() == [[2, 4, 4, 2], [10, 10, 10, 10], [4, 3, 2, 1]]
    assert torch.equal(slots.actions.gather(1, slots.of_sample), actions)


def test_euclidean_step_is_the_policy_gradient_step():
    """From per-action weights, update.logit_step; norm of what is stored; POWERS give the step's moments."""
    logits, old, slots, _ = tables()
    norm = reference.measure(logits)
    lp, old_lp = log_softmax(logits), log_softmax(old)
    assert_identity(norm.entropy, entropy(lp), 1 + entropy(lp))
    weights = dense_push(slots, logits) / importance_ratio(lp, old_lp)
    step = logit_step(weights, lp, old_lp, learning_rate=1.0, geometry="euclidean")
    moved = logits.clone()
    after, sums = reference.euclidean_step(moved, norm, slots, -dense_push(slots, logits).sum(1))
    assert_identity(moved, logits + step, 1 + logits.abs() + step.abs())
    exact = reference.measure(moved)
    assert_identity(after.log_z, exact.log_z, 10 + exact.log_z.abs())
    assert_identity(after.entropy, exact.entropy, 10 + exact.entropy)
    p, k = lp.exp(), lp + entropy(lp)[:, None]
    expected = {"p2": p**2, "p3": p**3, "c2": p**2 * k, "c3": p**3 * k, "c2_abs": (p**2 * k).abs()}
    assert set(sums) == set(POWERS) == set(expected)
    for name, terms in expected.items():
        assert_identity(sums[name], terms.sum(-1), terms.abs().sum(-1))


@pytest.mark.parametrize("geometry", ["natural", "euclidean"])
def test_view_sums_are_what_the_theory_asks(geometry):
    """RATIO by definition; E[e], E[e k], E[e e'] by the quadratic form of the Hessian they are used for (T3, T8)."""
    logits, old, _, _ = tables()
    norm, old_norm = reference.measure(logits), reference.measure(old)
    clip = Clip(0.1, 0.15)
    sums = reference.look(logits, norm, Comparison(old, old_norm.log_z, clip, geometry, (0.4, 0.3, 0.5, 0.6)))
    assert set(sums) == {*POWERS, *RATIO, *EXPECTED, "log_ratio_max"}
    lp, old_lp = log_softmax(logits), log_softmax(old)
    p, ratio = lp.exp(), importance_ratio(lp, old_lp)
    low, high = sets(clip, ratio, old_lp.exp())
    assert_identity(sums["pi_low"], (p * low).sum(-1), 1 + 0 * sums["pi_low"])
    assert_identity(sums["kl"], -(old_lp.exp() * (lp - old_lp)).sum(-1), 1 + 0 * sums["kl"])
    mean_value = 0 if geometry == "natural" else -sums["c2"]
    mass = (p * centered_kappa(lp, geometry) * high).sum(-1)
    assert_identity(sums["value_high"] - mean_value * sums["pi_high"], mass, 1 + 0 * mass)
    gains = changed(clip, ratio, old_lp.exp()).gains
    u, v = (expected_step(g, lp, geometry=geometry) for g in (gains.plus, gains.minus))
    from entclip.engines.tokens.columns import _form

    form = _form(sums, "plus", "minus", natural=geometry == "natural")
    assert_identity(form, hessian_form(lp, u, v), 1 + 0 * form)
    assert form.abs().min() > 1e-6


def test_sparse_steps_stay_within_their_bound():
    """300 natural-sized steps: log Z and H against a full pass stay within the stated error, which grows step by step."""
    logits, _, slots, _ = tables(rows=3, vocab=1000)
    norm = reference.measure(logits)
    bounds = []
    for sign in (1, -1) * 150:
        norm = reference.sparse_step(logits, norm, slots._replace(push=sign * slots.push))
        bounds.append(norm.error.clone())
    exact = reference.measure(logits)
    allowance = IDENTITY["float64"] * (1 + exact.entropy)  # of the full pass itself
    assert torch.all((norm.log_z - exact.log_z).abs() <= norm.error + allowance)
    assert torch.all((norm.entropy - exact.entropy).abs() <= (1 + exact.entropy) * norm.error + allowance)
    assert torch.all(bounds[-1] > bounds[0])
    assert torch.all(bounds[-1] < 1e-11)


def test_a_sparse_step_that_removes_the_mass_reports_it():
    """One action holds all but 1e-9 of the mass and loses it: what is left is known to 1e-7 only, and the bound says so."""
    logits = torch.full((1, 5000), -30.0, dtype=torch.float64)
    logits[0, 7] = 0.0
    norm = reference.measure(logits)
    after = reference.sparse_step(logits, norm, distinct(torch.tensor([[7]]), torch.tensor([[-60.0]], dtype=torch.float64)))
    exact = reference.measure(logits)
    assert after.error > 1e-7
    assert (after.log_z - exact.log_z).abs() <= after.error


def test_float32_tables_are_read_exactly():
    """What a float32 table stores is what its norm is of, after a pass and after a sparse step."""
    logits, _, slots, pull = tables(dtype=torch.float32)
    after, _ = reference.euclidean_step(logits, reference.measure(logits), slots, pull)
    exact = reference.measure(logits)
    assert_identity(after.entropy, exact.entropy, 10 + exact.entropy)
    assert torch.max(torch.abs(after.log_z - exact.log_z)) < 1e-13


def test_moments_of_a_step_from_powers():
    """The sums that plain_columns uses give Var and H'' of u + c pi, T3's by directional_derivatives."""
    from entclip.engines.accounting import Scheme
    from entclip.engines.tokens.columns import plain_columns, take

    logits, old, slots, pull = tables()
    norm, old_norm = reference.measure(logits), reference.measure(old)
    lp, old_lp = log_softmax(logits), log_softmax(old)
    step = dense_push(slots, logits) + pull[:, None] * lp.exp()
    view = Comparison(old, old_norm.log_z, Clip(), "euclidean")
    after, sums = reference.euclidean_step(logits.clone(), norm, slots, pull, view)
    picked = slots.actions
    taken = take(Clip(), lp.gather(1, picked), old_lp.gather(1, picked), slots.push, None)
    scheme = Scheme(Clip(), "euclidean", picked.shape[1], 0.0)
    columns = plain_columns(
        scheme, norm, after, sums, taken, slots, lp.gather(1, picked), pull, torch.ones_like(pull), logits.shape[1], 1e-16, None
    )
    slope = directional_derivatives(lp, step)
    for name, value in (("_inner", slope.first), ("curvature", slope.second / 2), ("step_variance", slope.variance)):
        assert_identity(columns[name], value, 1 + value.abs())
    assert torch.all(columns["_bound"] >= remainder_bounds(step)[1]), "the range must be an upper bound"
    assert torch.all(columns["_scale"] >= (step * lp.exp() * (lp + entropy(lp)[:, None])).abs().sum(-1) * (1 - 1e-12))
