"""The triton kernels against the eager ones, on whatever runs them: test_fused.py (interpreter) and gpu/ collect these cases."""

from __future__ import annotations

import pytest
import torch

from entclip.drift.adam import Adam
from entclip.engines.base import Directive
from entclip.engines.tokens.engine import TokensEngine
from entclip.engines.tokens.kernels import fused, reference
from entclip.engines.tokens.kernels.passes import Comparison, Norm, distinct
from entclip.objectives.clip import Clip
from entclip.support.errors import SpecError
from tests.engines.tokens.comparison import assert_same_columns, batches_of, conformance, follow
from tests.engines.tokens.test_reference import tables
from tests.family import EDGES, members
from tests.tolerances import IDENTITY

DEVICE = "cpu" if fused.INTERPRETED else "cuda"
OBJECTIVES = [member for member in (*members(0.1).values(), *EDGES.values()) if fused.knows(member)]
DTYPES = {torch.float64: "float64", torch.float32: "float32"}


def device_tables(**options):
    return tuple(x.to(DEVICE) if isinstance(x, torch.Tensor) else type(x)(*(y.to(DEVICE) for y in x)) for x in tables(**options))


def rounding_bound(logits, norm, dtype):
    """fused.py's bound: eps E_pi[(|x| + 8)(|x| + 1 + H)], (T,)."""
    x = logits.double() - norm.log_z[:, None]
    terms = (x.abs() + 8) * (x.abs() + 1 + norm.entropy[:, None])
    return torch.finfo(dtype).eps * (x.exp() * terms).sum(-1)


def assert_same_sums(ours, theirs, dtype):
    """64 ulps of 4 + |sum|: with |k|, |x| and |log r| of a few nats absolute terms add up to no more, most to far less than 1."""
    assert set(ours) == set(theirs)
    for name, value in theirs.items():
        if name in ("step_max", "step_min"):  # the pass also counts what it did to a slot before its own update
            sign = 1 if name == "step_max" else -1
            assert torch.all(sign * (ours[name] - value) >= -IDENTITY[DTYPES[dtype]]), name
            continue
        error = ((ours[name] - value).abs() / (4 + value.abs())).max()
        assert error <= IDENTITY[DTYPES[dtype]], (name, float(error))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("vocab", [2, 129, 20_001])
def test_measure_is_log_z_and_entropy(vocab, dtype):
    """Rows shorter than a tile, of odd length, and longer than one program's tiles."""
    logits, *_ = device_tables(rows=2, vocab=max(vocab, 20), dtype=dtype, sd=4.0)
    logits = logits[:, :vocab].contiguous()
    ours, exact = fused.measure(logits), reference.measure(logits)
    bound = rounding_bound(logits, exact, dtype)
    assert torch.all((ours.log_z - exact.log_z).abs() <= bound)
    assert torch.all((ours.entropy - exact.entropy).abs() <= bound)


@pytest.mark.parametrize("geometry", ["natural", "euclidean"])
@pytest.mark.parametrize(
    ("objective", "dtype"), [*((o, torch.float64) for o in OBJECTIVES), (Clip(0.1, 0.15), torch.float32)], ids=repr
)
def test_euclidean_step_and_view(objective, geometry, dtype):
    """The same logits, norm and sums as the eager kernel, every objective, in both dtypes."""
    logits, old, slots, pull = device_tables(rows=2, vocab=1100, dtype=dtype)
    norm, old_norm = reference.measure(logits), reference.measure(old)
    view = Comparison(old, old_norm.log_z, objective, geometry, (0.4, 0.3, 0.5, 0.6))
    ours, theirs = logits.clone(), logits.clone()
    after, sums = fused.euclidean_step(ours, norm, slots, pull, view)
    expected, their_sums = reference.euclidean_step(theirs, norm, slots, pull, view)
    assert torch.max(torch.abs(ours.double() - theirs.double())) <= 4 * torch.finfo(dtype).eps * logits.abs().max()
    bound = 2 * rounding_bound(ours, expected, dtype)
    assert torch.all((after.log_z - expected.log_z).abs() <= bound)
    assert torch.all((after.entropy - expected.entropy).abs() <= bound)
    assert_same_sums(sums, their_sums, dtype)


def test_logits_far_from_normalised():
    """log Z = 8,000: as one float32 it would shift every x by up to 2.4e-4, many times the bound."""
    logits, _, slots, pull = device_tables(rows=2, vocab=1100, dtype=torch.float32)
    logits += 8000
    norm = reference.measure(logits)
    after, _ = fused.euclidean_step(logits, norm, slots, pull)
    exact = reference.measure(logits)
    bound = rounding_bound(logits, exact, torch.float32)
    assert torch.all((norm.log_z - norm.log_z.float().double()).abs() > 2 * bound), "the test must have something to see"
    assert torch.all((after.log_z - exact.log_z).abs() <= bound)
    assert torch.all((after.entropy - exact.entropy).abs() <= bound)


def test_look_is_the_pass_without_a_step():
    logits, old, slots, pull = device_tables(rows=2, vocab=1100)
    norm = reference.measure(logits)
    view = Comparison(old, reference.measure(old).log_z, Clip(0.1, 0.15), "natural")
    before = logits.clone()
    look = fused.look(logits, norm, view)
    assert torch.equal(logits, before)
    _, sums = fused.euclidean_step(logits, norm, slots, pull, view)
    assert look.keys() == sums.keys()
    assert all(torch.equal(look[name], sums[name]) for name in sums)


def test_rows_of_many_programs_and_many_slots():
    """V beyond one program's tiles, more slots than a sparse program takes at once, actions in every tile."""
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn(2, 20_001, generator=generator, dtype=torch.float64).to(DEVICE)
    actions = torch.randint(0, 20_001, (2, 1500), generator=generator).to(DEVICE)
    slots = distinct(actions, 0.2 * torch.randn(2, 1500, generator=generator, dtype=torch.float64).to(DEVICE))
    pull = torch.tensor([0.7, -2.0], dtype=torch.float64, device=DEVICE)
    ours, theirs, norm = logits.clone(), logits.clone(), reference.measure(logits)
    after, sums = fused.euclidean_step(ours, norm, slots, pull)
    expected, their_sums = reference.euclidean_step(theirs, norm, slots, pull)
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-14)
    assert torch.allclose(after.entropy, expected.entropy, rtol=0, atol=1e-12)
    assert torch.allclose(after.error, expected.error, rtol=1e-6)
    assert_same_sums(sums, their_sums, torch.float64)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("decay", "coupled"), [(0.0, False), (0.1, False), (0.1, True)])
def test_adam_step(decay, coupled, dtype):
    logits, old, slots, pull = device_tables(rows=2, vocab=700, dtype=dtype)
    norm, old_norm = reference.measure(logits), reference.measure(old)
    generator = torch.Generator().manual_seed(6)
    m = (0.01 * torch.randn(logits.shape, generator=generator)).to(DEVICE, dtype)
    v = (0.01 * torch.rand(logits.shape, generator=generator)).to(DEVICE, dtype)
    adam = Adam(torch.full_like(pull, 0.01), 0.9, 0.95, 1e-6, decay, coupled, 3)
    view = Comparison(old, old_norm.log_z, Clip(0.1, 0.1), "euclidean")
    ours, theirs = ([x.clone() for x in (logits, m, v)] for _ in range(2))
    after, sums, prices = fused.adam_step(*ours, norm, slots, pull, adam, view)
    expected, their_sums, their_prices = reference.adam_step(*theirs, norm, slots, pull, adam, view)
    eps = torch.finfo(dtype).eps
    for a, b in zip(ours, theirs, strict=True):
        assert torch.max(torch.abs(a.double() - b.double())) <= 16 * eps * (1 + logits.abs().max())
    assert torch.all((after.entropy - expected.entropy).abs() <= 2 * rounding_bound(ours[0], expected, dtype))
    assert_same_sums(sums, their_sums, dtype)
    assert torch.allclose(prices * slots.used, their_prices * slots.used, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("geometry", "objective", "dtype"), [("natural", "clip", "float32"), ("euclidean", "dual_clip", "float64")]
)
def test_engine_on_fused_kernels(geometry, objective, dtype):
    """Every ledger column with the numpy engine's, through the fused kernels."""
    experiment = conformance(geometry, objective, "group")
    engine = TokensEngine(device=DEVICE, dtype=dtype, kernels="fused")
    for ours, theirs in follow(engine, experiment, batches_of(experiment)):
        assert_same_columns(ours.columns, theirs.columns, experiment.update.learning_rate, dtype)


def test_objectives_that_the_kernels_do_not_hold_go_through_the_reference():
    """Refused where the kernels were asked for by name; otherwise the columns are the numpy engine's."""
    experiment = conformance("euclidean", "flexible", "group")
    objective = experiment.arm[0].build()
    with pytest.raises(SpecError, match="kernels = 'fused' does not hold the objective 'flexible': leave kernels out"):
        TokensEngine(device=DEVICE, kernels="fused").start(experiment, objective)
    engine = TokensEngine(device=DEVICE, kernels="fused")
    engine._fixed = False  # as on a GPU without a choice
    for ours, theirs in follow(engine, experiment, batches_of(experiment)):
        assert_same_columns(ours.columns, theirs.columns, experiment.update.learning_rate, "float64")


def test_unknown_objectives_and_bad_tables_are_refused():
    logits, old, slots, pull = device_tables()
    norm = reference.measure(logits)

    class Mine(Clip):
        pass

    with pytest.raises(ValueError, match="not Mine"):
        fused.look(logits, norm, Comparison(old, norm.log_z, Mine(), "euclidean"))
    with pytest.raises(ValueError, match="contiguous"):
        fused.sparse_step(torch.randn(300, 4, dtype=torch.float64, device=DEVICE).T, Norm(*(x[:4] for x in norm)), slots)
    assert pull.shape == norm.log_z.shape


@pytest.mark.parametrize("dtype", DTYPES)
def test_steps_that_move_the_mass_to_and_fro_are_measured_again(dtype):
    """Pull and push of tens of nats: what the engine keeps of log Z and H is within its stated rounding of what is stored."""
    experiment = conformance("euclidean", "clip", "group")
    experiment = experiment.model_copy(update={"update": experiment.update.model_copy(update={"learning_rate": 100.0})})
    engine = TokensEngine(device=DEVICE, dtype=DTYPES[dtype], kernels="fused")
    state, rollout = engine.roll_out(engine.start(experiment, experiment.arm[0].build()))
    for minibatch in rollout:
        state, _ = engine.step(state, rollout, minibatch, Directive())
        exact = reference.measure(state.logits)
        allowed = (1 + exact.entropy) * (1e-12 + 4 * torch.finfo(dtype).eps * (1 + exact.entropy))
        assert torch.all((state.norm.entropy - exact.entropy).abs() <= allowed)
        assert torch.all((state.norm.log_z - exact.log_z).abs() <= allowed)
