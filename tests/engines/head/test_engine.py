"""The head engine against what it must equal: autograd, torch.optim, tables, dense formulas, itself in other blocks."""

import dataclasses

import numpy as np
import pytest
import torch

from entclip import SpecError, run
from entclip.drift.cumulants import directional_derivatives, entropy_gradient
from entclip.engines.accounting import Scheme, account
from entclip.engines.base import Directive
from entclip.engines.head.engine import HeadEngine
from entclip.engines.head.parameters import read_parameters
from entclip.engines.head.samples import draw_actions, draw_uniforms, survivors
from entclip.engines.head.state import normalised
from entclip.engines.samples import Samples, sums_of_slots
from entclip.experiments.experiment import parse_experiment
from entclip.objectives.base import Keep
from entclip.objectives.clip import Clip
from entclip.policies.softmax import log_softmax
from tests.family import members
from tests.tolerances import IDENTITY, assert_within_se, within_se

SPEC = {
    "name": "head",
    "seed": 5,
    "replicas": 3,
    "policy": {"kind": "hidden", "vocab": 40, "contexts": 10, "dim": 6, "sd": 1.0},
    "reward": {"kind": "bernoulli"},
    "advantage": {"kind": "group", "size": 4},
    "update": {"geometry": "euclidean", "learning_rate": 4.0, "batch": 8, "minibatches": 5, "rollouts": 2},
    "arm": [{"name": "both", "low": 0.2, "high": 0.2}],
}
OBJECTIVES = members(0.2)
ADAM = {"optimizer": "adamw", "learning_rate": 0.05, "weight_decay": 0.1, "betas": (0.8, 0.95)}


def spec_of(update=None, **sections):
    return parse_experiment({**SPEC, **sections, "update": SPEC["update"] | (update or {})})


def steps_of(engine, spec, objective=None, directive=None, count=None):
    """States before and after, rollout and entry of every update of a run."""
    state = engine.start(spec, objective or spec.arm[0].build())
    for r in range(spec.update.rollouts):
        state.rollout = r
        state, rollout = engine.roll_out(state)
        for minibatch in rollout.minibatches[:count]:
            new, entry = engine.step(state, rollout, minibatch, directive or Directive())
            yield state, new, rollout, minibatch, entry
            state = new


def dense(state, head=None):
    """log pi and log pi_old of all contexts, (R, T, V), from the parameters by log_softmax."""
    moved = state.head + (state.moved if head is None else head)
    logits = [state.hidden @ w.mT + state.base for w in (moved, state.head.expand_as(state.moved))]
    return tuple(torch.log_softmax(x, -1) for x in logits)


def surrogate(state, moved, rollout, subset, clip):
    """The clipped surrogate as a user writes it: mean over samples, sum over contexts and replicas."""
    log_probs, old = dense(state, moved)
    at = rollout.actions[:, subset]
    ratio = (log_probs[:, subset].gather(-1, at) - old[:, subset].gather(-1, at)).exp()
    advantages = rollout.advantages[:, subset]
    clipped = ratio.clamp(1 - clip.low, 1 + clip.high)
    return torch.minimum(ratio * advantages, clipped * advantages).mean(-1).sum()


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-5)])
def test_gradient_is_that_of_autograd(dtype, tolerance):
    engine, spec = HeadEngine("cpu", dtype, block=130), spec_of()
    clipped = 0.0
    for state, new, rollout, minibatch, entry in steps_of(engine, spec):
        moved = state.moved.clone().requires_grad_()
        surrogate(state, moved, rollout, rollout.subsets[minibatch.index], Clip(0.2, 0.2)).backward()
        got = (new.moved - state.moved) / spec.update.learning_rate
        if dtype == "float32":  # the displacement is stored rounded: compare before that
            assert torch.all((got - moved.grad).abs() <= tolerance * moved.grad.abs().max() + 2 * IDENTITY[dtype])
        else:
            assert torch.all((got - moved.grad).abs() <= tolerance * moved.grad.abs().max())
        clipped += entry.columns["clip_count_low"].sum() + entry.columns["clip_count_high"].sum()
    assert clipped > 10  # the clip has acted


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_is_that_of_torch(name):
    engine, spec = HeadEngine(), spec_of(ADAM | {"optimizer": name})
    u = spec.update
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name]
    head = optimizer = None
    for state, new, rollout, minibatch, _ in steps_of(engine, spec):
        if head is None:
            head = torch.nn.Parameter((state.head + state.moved).clone())
            optimizer = kind([head], lr=u.learning_rate, betas=u.betas, eps=u.eps, weight_decay=u.weight_decay, maximize=True)
        optimizer.zero_grad()
        surrogate(state, head - state.head, rollout, rollout.subsets[minibatch.index], Clip(0.2, 0.2)).backward()
        optimizer.step()
        torch.testing.assert_close(new.head + new.moved, head.detach(), rtol=1e-9, atol=1e-11)


@pytest.fixture
def one_hot(tmp_path):
    """A head whose contexts have a feature each: a table of logits."""
    rng = np.random.default_rng(3)
    path = tmp_path / "tables.npz"
    np.savez(path, hidden=np.eye(4), head=rng.normal(size=(12, 4)), base=rng.normal(size=12))
    return spec_of(
        {"minibatches": 1, "epochs": 3, "rollouts": 1, "learning_rate": 1.5},
        policy={"kind": "hidden", "path": str(path)},
        weights=[0.5, 1.0, 2.0, 1.5],
    )


@pytest.mark.parametrize("keep", [None, Keep(0.7, 0.9)])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_one_hot_hidden_states_are_tables(one_hot, name, keep):
    engine, objective, rng = HeadEngine(block=30), OBJECTIVES[name], np.random.default_rng(8)
    state, rollout = engine.roll_out(engine.start(one_hot, objective))
    u = one_hot.update
    scheme = Scheme(objective, "euclidean", u.batch, 3 / (u.batch - 1))
    table = state.base.numpy() + state.head.expand_as(state.moved).mT.numpy()  # (R, T, V)
    log_probs = old = log_softmax(table).reshape(12, 12)
    acted = 0.0
    for minibatch in rollout.minibatches:
        taken = rng.integers(0, 12, size=(12, 8))
        advantages = rng.normal(size=(12, 8))
        values = advantages
        if keep is not None:
            key = (0, minibatch.epoch, minibatch.index)
            values = survivors(one_hot, key, keep, torch.as_tensor(advantages).reshape(3, 4, 8)).reshape(12, 8).numpy()
            assert 0 < np.sum(values == 0) < 50
        fresh = dataclasses.replace(minibatch, fresh=True, samples=Samples(taken, advantages))
        state, entry = engine.step(state, rollout, fresh, Directive(keep=keep))
        log_probs, want = account(
            scheme,
            log_probs,
            old,
            sums_of_slots(taken, values, 12),
            rollout.moments,
            learning_rate=u.learning_rate * state.context_weight[:, None],
            keep=keep,
        )
        acted += float(np.abs(want["clip_low"]).sum() + np.abs(want["clip_high"]).sum() + np.abs(want["other"]).sum())
        scale = 1 + want["entropy_before"] + want["_scale"] + np.abs(want["curvature"]) + want["ratio_max"]
        for column, value in want.items():
            if column == "_bound":
                continue
            error = np.abs(entry.columns[column] - value)
            assert np.all(error <= 8 * IDENTITY["float64"] * scale * (8 if "count" in column else 1)), (column, error.max())
        assert np.all(np.abs(want["remainder"]) <= entry.columns["_bound"])
        np.testing.assert_allclose(dense(state)[0].reshape(12, 12), log_probs, rtol=0, atol=1e-12)
    assert (acted > 0) == (name != "none" or keep is not None)


@pytest.mark.parametrize("update", [{}, ADAM, ADAM | {"optimizer": "adam"}])
def test_columns_are_those_of_the_dense_formulas(update):
    """Claim T13: every cause is Cov_pi(s, d) with d the logit step that this cause alone makes."""
    spec = spec_of(update)
    engine = HeadEngine(block=100)
    for state, new, rollout, minibatch, entry in steps_of(engine, spec):
        log_probs, old = (x.numpy() for x in dense(state))
        after = dense(new)[0].numpy()
        step = (state.hidden @ (new.moved - state.moved).mT).numpy()
        c = {k: v.reshape(3, 10) for k, v in entry.columns.items()}
        derivative = directional_derivatives(log_probs, step)
        np.testing.assert_allclose(c["_inner"], derivative.first, atol=1e-13)
        np.testing.assert_allclose(c["curvature"], derivative.second / 2, atol=1e-13)
        np.testing.assert_allclose(c["step_variance"], derivative.variance, atol=1e-13)
        ends = [np.abs(d.third) for d in (derivative, directional_derivatives(after, step))]
        rounding = IDENTITY["float64"] * (1 + c["entropy_before"] + c["_scale"] + np.abs(c["curvature"]))
        bound = (np.maximum(*ends) + np.abs(ends[0] - ends[1])) / 6 + rounding
        settled = np.abs(c["remainder"]) <= bound
        assert settled.sum() > 20
        np.testing.assert_allclose(c["_bound"][settled], bound[settled], atol=1e-13)
        entropy = [-np.sum(np.exp(x) * x, -1) for x in (log_probs, after)]
        np.testing.assert_allclose(c["measured"], entropy[1] - entropy[0], atol=1e-13)
        np.testing.assert_allclose(c["entropy"], entropy[1], atol=1e-12)
        log_ratio = log_probs - old
        np.testing.assert_allclose(c["kl"], -np.sum(np.exp(old) * log_ratio, -1), atol=1e-13)
        causes = _dense_causes(state, rollout, rollout.subsets[minibatch.index], spec.update)
        slope = entropy_gradient(log_probs)
        for cause, head_step in causes.items():
            want = np.sum(slope * (state.hidden.numpy() @ np.swapaxes(head_step, -1, -2)), -1)
            np.testing.assert_allclose(c[cause], want, atol=1e-13, err_msg=cause)
        if update == {}:
            _check_expected(c, state, rollout, rollout.subsets[minibatch.index], slope)


def _samples(state, rollout, subset):
    log_probs, old = (x.numpy()[:, subset] for x in dense(state))
    actions, advantages = rollout.actions.numpy()[:, subset], rollout.advantages.numpy()[:, subset]
    ratio = np.exp(np.take_along_axis(log_probs - old, actions, -1))
    return np.exp(log_probs), np.exp(log_probs - old), actions, advantages, ratio


def _dense_causes(state, rollout, subset, u):
    """Head steps (R, V, d) of clip(.2, .2) by cause, sample by sample."""
    probs, _, actions, advantages, ratio = _samples(state, rollout, subset)
    weights = {
        "unclipped": ratio * advantages,
        "clip_low": np.where((advantages < 0) & (ratio < 0.8), -ratio * advantages, 0),
        "clip_high": np.where((advantages > 0) & (ratio > 1.2), -ratio * advantages, 0),
    }
    hidden = state.hidden.numpy()[subset]
    gradients = {}
    for cause, w in weights.items():
        onehot = np.eye(40)[actions]  # (R, n, B, V)
        logit = np.mean(w[..., None] * (onehot - probs[:, :, None, :]), axis=2)
        gradients[cause] = np.einsum("rnv,nd->rvd", logit, hidden)
    if u.optimizer == "sgd":
        return {c: u.learning_rate * g for c, g in gradients.items()}
    head, (b1, b2), t = (state.head + state.moved).numpy(), u.betas, state.updates + 1
    m, v = state.first.numpy(), state.second.numpy()
    decay = u.weight_decay * head
    total = sum(gradients.values()) - (decay if u.optimizer == "adam" else 0)
    v = b2 * v + (1 - b2) * total**2
    p = u.learning_rate / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + u.eps)
    out = {c: p * (1 - b1) * g for c, g in gradients.items()} | {"momentum": p * b1 * m}
    out["weight_decay"] = -u.learning_rate * decay if u.optimizer == "adamw" else -p * (1 - b1) * decay
    return out


def _check_expected(columns, state, rollout, subset, slope):
    """T5 through shared parameters: M+ = M- = E|A|/2 of a group of 4 Bernoulli(.5) rewards."""
    probs, ratio, *_ = _samples(state, rollout, subset)
    m = 0.5 * 0.5 * 3 / 4
    hidden = state.hidden.numpy()
    for cause, w in {
        "unclipped": np.zeros_like(ratio), "clip_low": m * (ratio < 0.8), "clip_high": -m * (ratio > 1.2)
    }.items():  # fmt: skip
        push = probs * (w - np.sum(probs * w, -1, keepdims=True))
        step = 4.0 * np.einsum("tn,rnv->rtv", hidden @ hidden[subset].T, push)
        np.testing.assert_allclose(columns[f"expected_{cause}"], np.sum(slope * step, -1), atol=1e-13, err_msg=cause)


@pytest.mark.parametrize("scale", ["none", "std"])
def test_expected_curvature_is_that_of_every_outcome(scale):
    """T8 where contexts move each other: half the mean of d' Hess d over all 36^3 minibatches of three contexts."""
    spec = spec_of(
        {"batch": 2, "minibatches": 1, "rollouts": 1},
        policy={"kind": "hidden", "vocab": 3, "contexts": 3, "dim": 2, "sd": 1.0},
        advantage={"kind": "group", "size": 2, "scale": scale},
        reward={"kind": "bernoulli", "p": 0.3},
        weights=[0.5, 1.0, 1.5],
        replicas=2,
    )
    engine = HeadEngine(block=8)
    state, _ = engine.roll_out(engine.start(spec, spec.arm[0].build()))
    moved = torch.as_tensor(np.random.default_rng(1).normal(size=state.moved.shape))
    log_z, entropy = normalised(dataclasses.replace(state, moved=moved))
    state = dataclasses.replace(state, moved=moved, log_z=log_z, entropy=entropy)
    # Samples of the step do not matter to the expectation; those of the rollout are of pi_old, as it assumes.
    state, rollout = dataclasses.replace(state), engine.roll_out(dataclasses.replace(state, moved=torch.zeros_like(moved)))[1]
    _, entry = engine.step(state, rollout, rollout.minibatches[0], Directive())
    log_probs, old = (x.numpy() for x in dense(state))
    ratio, probs = np.exp(log_probs - old), np.exp(log_probs)
    assert np.any(ratio < 0.8)
    assert np.any(ratio > 1.2)
    pair = np.stack(np.meshgrid(*[range(3)] * 2, *[range(2)] * 2, indexing="ij"), -1).reshape(-1, 4)
    actions, rewards = pair[:, :2], pair[:, 2:]
    centred = rewards - rewards.mean(1, keepdims=True)
    sd = np.std(rewards, axis=1, ddof=1, keepdims=True)
    advantages = centred if scale == "none" else np.divide(centred, sd, out=np.zeros(centred.shape), where=sd > 0)
    chance = np.prod(np.where(rewards, 0.3, 0.7), axis=1)
    got = entry.columns["expected_curvature"].reshape(2, 3)
    for replica in range(2):
        means, weight = [], []
        for s in range(3):
            r = ratio[replica, s][actions]
            clipped = ((advantages > 0) & (r > 1.2)) | ((advantages < 0) & (r < 0.8))
            u = np.where(clipped, 0.0, r * advantages)
            means.append(np.mean(u[..., None] * (np.eye(3)[actions] - probs[replica, s]), axis=1))  # (36, V)
            weight.append(chance * np.prod(np.exp(old[replica, s])[actions], axis=1))
        hidden = state.hidden.numpy()
        kernel = hidden @ hidden.T * np.array([0.5, 1.0, 1.5])
        joint = np.einsum("i,j,k->ijk", *weight)
        for t in range(3):
            a, b, c = (kernel[t, s] * means[s] for s in range(3))
            step = 4.0 * (a[:, None, None] + b[:, None] + c)
            second = directional_derivatives(log_probs[replica, t], step).second
            want, size = np.sum(joint * second) / 2, np.sum(joint * np.abs(second)) / 2
            assert abs(got[replica, t] - want) <= 64 * IDENTITY["float64"] * size


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


@pytest.mark.parametrize(
    ("update", "sections", "message"),
    [
        ({"geometry": "natural"}, {}, "a head moves by the gradient in its parameters"),
        ({"minibatch": "shuffled"}, {}, "subsets of contexts"),
        ({"minibatches": 11}, {}, "11 subsets of 10 contexts"),
        ({}, {"reward": {"kind": "table", "values": [0.0, 1.0] * 20}}, "rewards that ignore the action"),
        ({}, {"policy": {"kind": "uniform", "contexts": 10}}, "has no shared parameters"),
        ({"rollouts": 1}, {"perturbation": {"law": "flat"}}, "which shared parameters cannot"),
        ({}, {"replicas": 10**9}, "GiB"),
        ({}, {"policy": {"kind": "hidden", "path": "nowhere.npz"}}, "cannot be read: No such file"),
    ],
)
def test_what_the_engine_refuses(update, sections, message):
    with pytest.raises(SpecError, match=message):
        run(spec_of(update, **sections), "head")


def test_sizes_come_from_one_place():
    with pytest.raises(SpecError, match="brings its own sizes"):
        spec_of(policy={"kind": "hidden", "path": "x.npz", "vocab": 5})


@pytest.mark.parametrize("engine", ["sampled", "exact"])
def test_tabular_engines_refuse_shared_parameters(engine):
    with pytest.raises(SpecError, match='run it on the engine "head"'):
        run(spec_of(), engine)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a device")
def test_cuda_without_a_device():
    with pytest.raises(SpecError, match="sees no CUDA device"):
        HeadEngine("cuda")
    with pytest.raises(SpecError, match="runs on cpu or cuda"):
        HeadEngine("tpu")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"hidden": np.ones((2, 3))}, "not `hidden`"),
        ({"hidden": np.ones((2, 3)), "head": np.ones((5, 4))}, "with the same d"),
        ({"hidden": np.ones((2, 3)), "head": np.ones((5, 3)), "base": np.ones(4)}, "expected \\(V,\\)"),
        ({"hidden": np.full((2, 3), np.nan), "head": np.ones((5, 3))}, "NaN"),
        ({"hidden": np.full((2, 3), 1e10), "head": np.ones((5, 3))}, "beyond 1e"),
        ({"hidden": np.ones(()), "head": np.ones(())}, "with the same d"),
        ({"hidden": np.ones((0, 3)), "head": np.ones((5, 3))}, "at least one context and one dimension"),
        ({"hidden": np.ones((2, 0)), "head": np.ones((5, 0))}, "at least one context and one dimension"),
        ({"hidden": np.ones((2, 3)), "head": np.ones((0, 3))}, "V >= 2"),
        (
            {"hidden": np.array([["a"]]), "head": np.ones((5, 3))},
            "expected real numbers. Make one with `entclip snapshot --hidden",
        ),
    ],
)
def test_files_that_do_not_fit(tmp_path, arrays, message):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(SpecError, match=message):
        read_parameters(str(tmp_path / "x.npz"))
    np.savez(tmp_path / "y.npz", hidden=np.ones((2, 3)), head=np.ones((5, 3)))
    with pytest.raises(SpecError, match="use at most that many"):
        read_parameters(str(tmp_path / "y.npz"), 3)


@pytest.mark.statistical
def test_causes_scatter_around_their_expectation():
    """T5 through shared parameters, over replicas; the same residuals with the two clips swapped are rejected."""
    spec = spec_of({"rollouts": 1, "learning_rate": 6.0}, replicas=2000)
    arm = run(spec, "head").arms["both"]
    summary, totals = arm.summary(), arm.totals
    for cause, other in (
        ("clip_low", "clip_high"), ("clip_high", "clip_low"), ("unclipped", "clip_high"), ("curvature", "unclipped")
    ):  # fmt: skip
        se = summary[f"residual_{cause}_se"]
        assert_within_se(summary[cause], summary[f"expected_{cause}"], se)
        swapped = totals[cause] - totals[f"expected_{other}"]
        assert not within_se(swapped.mean(), 0.0, np.std(swapped, ddof=1) / np.sqrt(len(swapped)))


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
