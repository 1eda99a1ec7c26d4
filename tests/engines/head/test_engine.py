"""The head engine's gradient, optimisers and columns against autograd, torch.optim, tables and dense formulas."""

import dataclasses

import numpy as np
import pytest
import torch

from entclip.drift.cumulants import directional_derivatives, entropy_gradient
from entclip.engines.accounting import Scheme, account
from entclip.engines.base import Directive
from entclip.engines.head.engine import HeadEngine
from entclip.engines.head.samples import survivors
from entclip.engines.samples import Samples, sums_of_slots
from entclip.objectives.base import Keep
from entclip.objectives.clip import Clip
from entclip.policies.softmax import log_softmax
from tests.engines.head.runs import ADAM, dense, spec_of, steps_of
from tests.family import members
from tests.tolerances import IDENTITY

OBJECTIVES = members(0.2)


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
    for cause, w in {"unclipped": np.zeros_like(ratio), "clip_low": m * (ratio < 0.8), "clip_high": -m * (ratio > 1.2)}.items():
        push = probs * (w - np.sum(probs * w, -1, keepdims=True))
        step = 4.0 * np.einsum("tn,rnv->rtv", hidden @ hidden[subset].T, push)
        np.testing.assert_allclose(columns[f"expected_{cause}"], np.sum(slope * step, -1), atol=1e-13, err_msg=cause)
