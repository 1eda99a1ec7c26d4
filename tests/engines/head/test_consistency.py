"""The head engine against itself: other blocks, running normalisers, a packed state, draws, pairs, controls, bfloat16."""

import numpy as np
import pytest
import torch

from entclip import SpecError, run
from entclip.engines.base import Directive
from entclip.engines.head.engine import HeadEngine
from entclip.engines.head.products import batched
from entclip.engines.head.samples import draw_actions, draw_uniforms, survivors
from entclip.engines.head.state import normalised
from entclip.experiments.experiment import parse_experiment
from entclip.objectives.base import Keep
from tests.engines.head.runs import ADAM, SPEC, dense, spec_of, steps_of
from tests.tolerances import IDENTITY


@pytest.mark.parametrize("update", [{}, ADAM])
def test_blocks_do_not_matter(update):
    spec = spec_of(update)
    runs = [list(steps_of(HeadEngine(block=b), spec)) for b in (3 * 10 * 7, 3 * 10 * 40)]
    for (_, a, _, _, x), (_, b, _, _, y) in zip(*runs, strict=True):
        assert a.width == 7
        assert b.width == 40
        torch.testing.assert_close(a.moved, b.moved, rtol=1e-11, atol=1e-13)
        for name in x.columns:
            np.testing.assert_allclose(x.columns[name], y.columns[name], rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_running_normalisers_are_those_of_the_parameters(dtype):
    for _, new, *_ in steps_of(HeadEngine("cpu", dtype), spec_of()):
        log_z, entropy = normalised(new)
        tolerance = 4 * IDENTITY[dtype] * (1 + entropy.max())
        assert torch.all((new.log_z - log_z).abs() <= tolerance)
        assert torch.all((new.entropy - entropy).abs() <= tolerance)


@pytest.mark.parametrize("update", [{}, ADAM])
def test_a_packed_state_goes_on_bit_for_bit(update):
    engine, spec = HeadEngine(), spec_of(update)
    *_, (_, state, *_) = steps_of(engine, spec)
    again = engine.unpack(engine.start(spec, spec.arm[0].build()), engine.pack(state))
    state.rollout = again.rollout = 2
    for a, b in zip(engine.roll_out(state), engine.roll_out(again), strict=True):
        pair = (a.actions, b.actions) if hasattr(a, "actions") else (a.head, b.head)
        assert torch.equal(*pair)
    (first, books), (second, same) = (
        engine.step(s, r, r.minibatches[0], Directive()) for s, r in (engine.roll_out(x) for x in (state, again))
    )
    assert torch.equal(first.moved, second.moved)
    assert all(np.array_equal(books.columns[k], same.columns[k]) for k in books.columns)


def test_actions_follow_the_distribution_function():
    spec = spec_of()
    engine = HeadEngine(block=100)
    state, rollout = engine.roll_out(engine.start(spec, spec.arm[0].build()))
    passed = np.cumsum(np.exp(dense(state)[1].numpy()), -1)
    uniforms = draw_uniforms(spec, 0, 10)
    assert np.array_equal(rollout.actions.numpy(), np.sum(passed[..., None, :] <= uniforms[..., None], -1))
    top = draw_actions(torch.ones(1, 1, 2, dtype=torch.float64), [(slice(0, 3), torch.full((1, 1, 3), 0.3333))])
    assert top.tolist() == [[[2, 2]]]  # rounding leaves the sum below 1


def test_a_drop_takes_each_sign_at_its_own_rate():
    advantages = torch.tensor([1.0, -1.0]).repeat(3, 4, 4)
    kept = survivors(spec_of(), (0, 0, 0), Keep(1.0, 0.0), advantages)
    assert torch.equal(kept, advantages.clamp(min=0))


def test_antithetic_partners_mirror_the_first_update():
    spec = parse_experiment({**SPEC, "replicas": 4, "antithetic": True})
    _, _, _, _, entry = next(steps_of(HeadEngine(), spec))
    unclipped = entry.columns["unclipped"].reshape(4, 10)
    assert np.all(unclipped[:2] == -unclipped[2:])
    assert np.any(unclipped[0] != unclipped[1])


def test_standard_errors_run_over_replicas():
    spec = parse_experiment({**SPEC, "replicas": 6, "antithetic": True})
    ledger = run(spec, "head")
    arm = ledger.arms["both"]
    assert arm.summary()["units"] == 3
    per_replica = arm.totals["measured"]
    assert per_replica.shape == (6,)
    pairs = (per_replica[:3] + per_replica[3:]) / 2
    assert np.isclose(arm.summary()["measured_se"], np.std(pairs, ddof=1) / np.sqrt(3), rtol=1e-12)
    assert np.isclose(arm.summary()["measured"], per_replica.mean(), rtol=1e-9)
    assert all(arm.summary()[f"expected_{c}"] is not None for c in ("clip_low", "curvature"))
    # Independent units are fewer than those that draw samples: what was clipped is counted over all of them.
    entries = [entry for *_, entry in steps_of(HeadEngine(), spec)]
    for side in ("low", "high"):
        events = sum(entry.columns[f"clip_count_{side}"].sum() for entry in entries)
        assert events > 0
        assert np.isclose(arm.summary()[f"clip_events_{side}"], events, rtol=1e-9)


def test_a_long_path_is_looked_at_whole():
    """Steps so long that the third derivative at the ends of the path does not bound what lies between."""
    spec = spec_of({"learning_rate": 60.0, "rollouts": 1})
    wide = 0
    for *_, entry in steps_of(HeadEngine(block=200), spec):
        c = entry.columns
        assert np.all(np.abs(c["remainder"]) <= c["_bound"])
        wide += int(np.sum(np.abs(c["measured"]) > 0.3))
    assert wide > 0


def test_bfloat16_products():
    policy = {**SPEC["policy"], "products": "bfloat16"}
    spec, full = spec_of({"rollouts": 1}, policy=policy), spec_of({"rollouts": 1})
    with pytest.raises(SpecError, match="run it with dtype float32"):
        HeadEngine().start(spec, spec.arm[0].build())
    for (before, _, _, _, a), (*_, b) in zip(
        steps_of(HeadEngine("cpu", "float32"), spec), steps_of(HeadEngine("cpu", "float64"), full), strict=True
    ):
        assert a.precision == 2**-7
        if before.updates == 0:
            assert np.all(a.columns["ratio_max"] == 1)  # the first minibatch of a rollout is exactly on-policy
            # Two rounded factors: 2^-8 each of terms whose absolute sum is _scale; measured sees the rounded policy itself.
            error = np.abs(a.columns["unclipped"] - b.columns["unclipped"])
            assert np.all(error <= 2**-6 * (b.columns["_scale"] + np.abs(b.columns["unclipped"])) * 4)
            assert np.any(error > 0)
    run(spec, "head", dtype="float32")


def test_controls_take_the_step_size_of_what_they_are_like():
    arms = [
        {"name": "both", "low": 0.2, "high": 0.2},
        {"name": "kl", "objective": "none", "control": {"kind": "match_kl", "like": "both"}},
        {"name": "drop", "objective": "none", "control": {"kind": "drop", "like": "both"}},
    ]
    ledger = run(spec_of(arm=arms), "head")
    like, matched, dropped = (ledger.arms[name].rows for name in ("both", "kl", "drop"))
    assert np.allclose([r["step_variance"] for r in matched], [r["step_variance"] for r in like], rtol=1e-9)
    assert "expected_clip_low" not in matched[0]  # the rate depends on the samples
    lost = sum(a["count_plus"] + a["count_minus"] for a in like) - sum(b["count_plus"] + b["count_minus"] for b in dropped)
    assert lost > 0


@pytest.mark.parametrize(
    "leads", [((), ()), ((1,), ()), ((), (1,)), ((3,), ()), ((), (3,)), ((3,), (1,)), ((1,), (3,)), ((3,), (3,))]
)
def test_products_of_any_leading_axes_as_one_batch(leads):
    """A GPU's product takes three axes; the head engine multiplies by heads with and without an axis of replicas."""
    generator = torch.Generator().manual_seed(0)
    left, right = leads
    a, b = (torch.randn(shape, generator=generator) for shape in ((*left, 4, 5), (*right, 5, 6)))
    torch.testing.assert_close(batched(torch.bmm, a, b), a @ b, rtol=1e-6, atol=1e-6)
