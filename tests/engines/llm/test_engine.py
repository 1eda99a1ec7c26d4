"""The llm engine: the ledger closes, theory's orders, antithetic pairs, staleness, micro-batches and controls."""

import numpy as np
import pytest
import torch

from entclip import run
from entclip.engines.base import Directive
from entclip.engines.llm import respond, tiny
from entclip.engines.llm.engine import LlmEngine
from entclip.engines.llm.probe import probe_entropy, probe_log_probs
from entclip.engines.llm.replica import load_values, values_of
from entclip.engines.llm.sampling import response_log_probs
from entclip.engines.llm.threads import threads_for
from entclip.objectives.base import CAUSES, Keep
from entclip.policies.softmax import entropy
from tests.engines.llm.columns import columns
from tests.tolerances import assert_within_se

PARTS = (*CAUSES, "momentum", "weight_decay")


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-13), ("float32", 1e-6)])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_ledger_closes(small, dtype, tolerance, optimizer):
    rate = 0.5 if optimizer == "sgd" else 1e-3
    extra = [f"update.optimizer={optimizer}", f"update.learning_rate={rate}"]
    c = columns(small(*extra, *(["update.weight_decay=0.1"] if optimizer == "adamw" else [])), dtype)
    causes = sum(c[name] for name in PARTS if name in c)
    assert np.all(np.abs(causes - c["_inner"]) <= tolerance)
    total = causes + c["curvature"] + c["remainder"]
    assert np.all(np.abs(total - c["measured"]) <= 1e-14)
    np.testing.assert_allclose(c["entropy_before"][1:], c["entropy"][:-1], rtol=0, atol=1e-12 if dtype == "float64" else 0)
    assert np.all(c["clip_count_high"][0] == 0)  # on-policy: every ratio is 1
    assert np.all(c["log_ratio_sq"][0] == 0)
    assert c["clip_count_high"].sum() > 0
    assert c["clip_high"].any()


def test_first_order_error_falls_as_the_square_of_the_rate_and_remainder_faster(small):
    rates = np.array([0.02, 0.01, 0.005])
    first, beyond = [], []
    for rate in rates:
        c = columns(small("update.optimizer=sgd", f"update.learning_rate={rate}"), updates=1)
        first.append(np.abs(c["measured"] - c["_inner"])[0])
        beyond.append(np.abs(c["remainder"])[0])
    # Halving the rate divides them by 4 and by 8, up to a next order that is itself halved.
    for error, power in ((first, 4), (beyond, 8)):
        ratios = np.array(error)[:-1] / np.array(error)[1:]
        assert np.all(np.abs(ratios[1] / power - 1) < 0.1)
        assert np.all(np.abs(ratios[1] / power - 1) < 0.7 * np.abs(ratios[0] / power - 1))


def test_curvature_is_the_second_derivative_along_the_step(small):
    spec = small("update.optimizer=sgd", "update.learning_rate=0.01")
    engine = LlmEngine(dtype="float64")
    state = engine.start(spec, spec.arm[0].build())
    replica = state.replicas[0]
    model, probe = replica.language.model, replica.probe
    model.set_attn_implementation("eager")  # fused kernels have no forward-mode derivative
    state, rollout = engine.roll_out(state)
    start = values_of(model)
    _, entry = engine.step(state, rollout, rollout.minibatches[0], Directive())
    step = {name: value - start[name] for name, value in values_of(model).items()}
    load_values(model, start)

    def along(t):
        moved = {name: start[name] + t * step[name] for name in start}
        total = 0.0
        for block in probe.blocks:

            def logits_of(**inputs):
                return torch.func.functional_call(model, moved, (), inputs)

            total = total + entropy(response_log_probs(logits_of, block, 1.0, torch.float64, full=True)[block.mask]).sum()
        return total / probe.contexts

    zero, one = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
    with engine._arithmetic():
        slope, bend = torch.func.jvp(lambda t: torch.func.jvp(along, (t,), (one,))[1], (zero,), (one,))
        # The central difference is off by the fourth derivative over 24, which a difference of twice the width shows.
        wide = (along(2 * one) - 2 * along(zero) + along(-2 * one)) / 8
    near = entry.columns["curvature"][0]
    fourth = abs(float(wide) - near) / 3
    assert entry.columns["_inner"][0] == pytest.approx(float(slope), rel=1e-9)
    assert abs(near - float(bend) / 2) < 2 * fourth < 0.2 * abs(near)


def test_antithetic_partners_start_with_opposite_first_order_changes(small):
    c = columns(small("update.optimizer=sgd", "replicas=4", "antithetic=true"), updates=1)
    np.testing.assert_allclose(c["unclipped"][0, :2], -c["unclipped"][0, 2:], rtol=1e-9)
    assert np.all(c["unclipped"] != 0)
    assert not np.isclose(*c["unclipped"][0, :2])


def test_mirrored_rewards_are_mirrored_about_their_mean(small):
    for reward, mean in (('{kind="bernoulli"}', 0.5), ('{kind="gaussian", mean=0.3, std=2.0}', 0.3)):
        spec = small("replicas=4", "antithetic=true", f"reward={reward}")
        engine = LlmEngine(dtype="float32")
        state, rollout = engine.roll_out(engine.start(spec, spec.arm[0].build()))
        np.testing.assert_allclose(state.log["reward"][:2] + state.log["reward"][2:], 2 * mean, rtol=1e-12)
        first, second = (rollout.responses[k].advantages for k in (0, 2))
        torch.testing.assert_close(first, -second, rtol=1e-6, atol=1e-6)


def test_pi_old_lags_by_the_staleness(small):
    spec = small("rollout.staleness=2", "update.rollouts=2", "update.learning_rate=1e-3")
    engine = LlmEngine(dtype="float64")
    state = engine.start(spec, spec.arm[0].build())
    state, rollout = engine.roll_out(state)
    model, kept = state.replicas[0].language.model, None
    for minibatch in rollout.minibatches:
        if minibatch.inner_step == 2:
            kept = values_of(model)
        state, _ = engine.step(state, rollout, minibatch, Directive())
    latest = values_of(model)
    state.rollout = 1
    state, rollout = engine.roll_out(state)
    for name, value in values_of(model).items():
        torch.testing.assert_close(value, latest[name], rtol=0, atol=0)
    old = rollout.responses[0].old_log_probs
    load_values(model, kept)
    with torch.no_grad(), engine._arithmetic():
        again = response_log_probs(model, rollout.responses[0].sequences, 1.0, torch.float64)
    torch.testing.assert_close(old, again, rtol=0, atol=1e-12)
    load_values(model, latest)
    _, entry = engine.step(state, rollout, rollout.minibatches[0], Directive())
    assert np.all(entry.columns["log_ratio_sq"] > 0)  # off-policy from the first minibatch on


def test_micro_batches_change_nothing_but_rounding(small):
    whole, parts = columns(small()), columns(small("rollout.micro_batch=5"))
    for name in whole:
        np.testing.assert_allclose(parts[name], whole[name], rtol=1e-7, atol=1e-11, err_msg=name)


def test_skipped_updates_train_all_the_same(small):
    every, third = columns(small("update.minibatches=5"), updates=5), None
    spec = small("update.minibatches=5", "ledger.every=4")
    ledger = run(spec, "llm", dtype="float64")
    third = ledger.to_frame()
    assert third["step"].tolist() == [0, 4]
    assert ledger.summary()["arms"]["both"]["skipped"] == 3
    np.testing.assert_allclose(third["entropy"], every["entropy"].mean(axis=1)[[0, 4]], rtol=1e-9)
    np.testing.assert_allclose(third["clip_high"], every["clip_high"].mean(axis=1)[[0, 4]], rtol=1e-6, atol=1e-12)


SHAPE = ["update.rollouts=3", "replicas=4", "antithetic=true"]


@pytest.fixture(scope="module")
def accounted_throughout(small):
    """Three rollouts with an accounted update each time."""
    return run(small(*SHAPE, "ledger.every=1"), "llm", dtype="float64")


@pytest.mark.parametrize(
    ("every", "counts"), [(3, [(2, 2), (1, 3), (1, 3)]), (5, [(1, 3), (1, 3), (1, 3)]), (8, [(1, 3), (0, 4), (1, 3)])]
)
def test_totals_are_of_the_whole_change_whatever_is_accounted(small, accounted_throughout, every, counts):
    """The same training, accounted at every update and at few: what the run did to entropy is the same."""
    whole, part = accounted_throughout, run(small(*SHAPE, f"ledger.every={every}"), "llm", dtype="float64")
    full, arm = (ledger.summary()["arms"]["both"] for ledger in (whole, part))
    for name in ("measured", "measured_se", "measured_median", "entropy_start", "entropy_end"):
        assert arm[name] == pytest.approx(full[name], rel=1e-9, abs=1e-13), name
    assert (arm["updates"], arm["skipped"]) == tuple(sum(n) for n in zip(*counts, strict=True))
    # What no row accounts for is a line of its own; with it the parts add up.
    parts = [arm[p] for p in (*PARTS, "curvature", "remainder", "unaccounted")]
    assert sum(parts) == pytest.approx(arm["measured"], abs=1e-13)
    accounted = part.to_frame()["measured"].sum()
    assert arm["measured"] - arm["unaccounted"] == pytest.approx(accounted, abs=1e-13)
    assert abs(arm["unaccounted"]) > abs(accounted)
    assert arm["unaccounted_se"] > 0
    rollouts, truth = part.to_frame("rollouts"), whole.to_frame("rollouts")
    for name in ("measured", "measured_se", "entropy_before", "entropy", "reward"):
        np.testing.assert_allclose(rollouts[name], truth[name], rtol=1e-9, atol=1e-13, err_msg=name)
    assert list(zip(rollouts["updates"], rollouts["skipped"], strict=True)) == counts
    sums = rollouts[[*PARTS, "curvature", "remainder", "unaccounted"]].sum(axis=1)
    np.testing.assert_allclose(sums, rollouts["measured"], atol=1e-13)
    assert "unaccounted" not in full
    assert "unaccounted" not in truth


@pytest.mark.parametrize(
    "override",
    [
        "ledger.momentum=line",
        "ledger.momentum=cause",
        "ledger.every=3",
        "arm=[{name='a', objective='clip', low=0.01, high=0.01, controller={kind='predictive', sides='both'}}]",
    ],
    ids=["line", "cause", "every", "controller"],
)
def test_an_interrupted_run_resumes_bit_for_bit(small, tmp_path, override):
    """Weights, optimiser, random numbers and what a controller remembers outlive an interruption."""
    spec = small("update.rollouts=3", "update.minibatches=2", "rollout.staleness=1", override)
    whole = run(spec, "llm", dtype="float32")

    class Stop(Exception):
        pass

    def stop(_arm, done, _total):
        if done == 5:
            raise Stop

    with pytest.raises(Stop):
        run(spec, "llm", dtype="float32", out=tmp_path, progress=stop)
    again = run(spec, "llm", dtype="float32", out=tmp_path)
    for kind in ("updates", "rollouts"):
        assert again.to_frame(kind).equals(whole.to_frame(kind))
    assert again.summary() == whole.summary()
    if "controller" in override:
        widths = whole.to_frame("rollouts")["eps_low"].tolist()
        assert widths[0] == pytest.approx(0.01)
        assert widths[2] > 0.011, "the rollout that was interrupted has a width that only what the rule remembers gives"


def test_controls_drop_and_match(small):
    spec = small("update.optimizer=sgd", "update.learning_rate=0.3")
    engine = LlmEngine(dtype="float64")

    def second(directive):
        state = engine.start(spec, spec.arm[0].build())
        state, rollout = engine.roll_out(state)
        state, _ = engine.step(state, rollout, rollout.minibatches[0], Directive())
        _, entry = engine.step(state, rollout, rollout.minibatches[1], directive)
        return entry.columns

    plain, dropped = second(Directive()), second(Directive(keep=Keep(0.5, 0.75)))
    assert np.all(dropped["other"] != 0)
    assert np.all(np.abs(dropped["unclipped"] - plain["unclipped"]) > 0)
    matched = second(Directive(step_variance=float(plain["step_variance"][0]) / 4))
    assert matched["_inner"][0] == pytest.approx(plain["_inner"][0] / 2, rel=1e-9)
    assert matched["clip_high"][0] == pytest.approx(plain["clip_high"][0] / 2, rel=1e-9)
    # Half the step: an eighth of what is beyond second order is left, with a next order that is smaller still.
    assert abs(matched["measured"][0] - plain["_inner"][0] / 2 - plain["curvature"][0] / 4) < abs(plain["remainder"][0]) / 4
    total = sum(matched[c] for c in CAUSES) + matched["curvature"] + matched["remainder"]
    np.testing.assert_allclose(total, matched["measured"], atol=1e-14)


def test_a_drop_of_every_token_of_a_sign_is_finite(small):
    spec = small("update.optimizer=sgd")
    engine = LlmEngine(dtype="float64")
    state, rollout = engine.roll_out(engine.start(spec, spec.arm[0].build()))
    _, entry = engine.step(state, rollout, rollout.minibatches[0], Directive(keep=Keep(0.0, 1.0)))
    assert not entry.columns["count_plus"].any()
    assert entry.columns["measured"].all()


def test_bfloat16_accounts_the_model_after_the_step_and_not_before(small):
    spec = small("update.learning_rate=3e-3", "replicas=8")
    engine = LlmEngine(dtype="bfloat16")
    state, rollout = engine.roll_out(engine.start(spec, spec.arm[0].build()))
    for minibatch in rollout.minibatches[:2]:
        state, entry = engine.step(state, rollout, minibatch, Directive())
        for index, replica in enumerate(state.replicas):
            with engine._arithmetic():
                fresh = probe_entropy(probe_log_probs(replica.language.model, replica.probe))
            # Sums in another order at most; a step of this size moves entropy by a thousand times as much.
            assert entry.columns["entropy"][index] == pytest.approx(fresh, abs=1e-6)
    # Ratios as large as in float32 on average, within standard errors over replicas. Of a single replica no more can be asked
    # than that they are of that size: where rounding changes one sampled token, the rollout is another one.
    single = columns(spec, "float32", updates=2)["log_ratio_sq"][1]
    np.testing.assert_allclose(entry.columns["log_ratio_sq"], single, rtol=0.3)
    relative = entry.columns["log_ratio_sq"] / single
    assert_within_se(relative.mean(), 1.0, relative.std(ddof=1) / np.sqrt(len(relative)))


@pytest.mark.parametrize("frozen", [False, True])
def test_tied_and_frozen_weights_close_the_ledger(small, monkeypatch, frozen):
    monkeypatch.setitem(tiny._SHAPE, "tie_word_embeddings", True)
    if frozen:
        whole = tiny.tiny_model

        def partly(*, trained):
            model = whole(trained=trained)
            model.model.embed_tokens.weight.requires_grad_(False)
            return model

        monkeypatch.setattr("entclip.engines.llm.language.tiny_model", partly)
    spec = small("replicas=1", "update.learning_rate=1e-3", "update.weight_decay=0.1")
    engine = LlmEngine(dtype="float64")
    state, rollout = engine.roll_out(engine.start(spec, spec.arm[0].build()))
    replica = state.replicas[0]
    model = replica.language.model
    assert model.lm_head.weight is model.model.embed_tokens.weight

    def entropy_at(values):
        load_values(model, values)
        with engine._arithmetic():
            return probe_entropy(probe_log_probs(model, replica.probe))

    for minibatch in rollout.minibatches[:2]:
        before = values_of(model)
        state, entry = engine.step(state, rollout, minibatch, Directive())
        after, c = values_of(model), {name: float(value[0]) for name, value in entry.columns.items()}
        assert all(torch.equal(after[n], before[n]) == (frozen and "embed" in n) for n in after)
        assert abs(sum(c[name] for name in PARTS if name in c) - c["_inner"]) < 1e-13
        at, down = entropy_at(before), entropy_at({name: 2 * before[name] - after[name] for name in after})
        up = entropy_at(after)
        assert abs(c["measured"] - (up - at)) < 1e-13
        assert abs(c["curvature"] - (up - 2 * at + down) / 2) < 1e-13 < abs(c["curvature"])


def test_small_steps_are_first_order(small):
    from scipy.stats import linregress

    c = columns(small("update.learning_rate=2e-5", "update.minibatches=8"), updates=8)
    line = linregress(c["_inner"].ravel(), c["measured"].ravel())
    assert abs(line.slope - 1) < 0.1
    assert line.rvalue**2 > 0.99


def test_probe_blocks_shrink_with_the_vocabulary(small, monkeypatch):
    whole = columns(small(), updates=1)
    monkeypatch.setattr(respond, "_PROBE_LOGITS", 2 * 6 * 64)
    engine, spec = LlmEngine(dtype="float64"), small()
    state = engine.start(spec, spec.arm[0].build())
    assert [len(block.ids) for block in state.replicas[0].probe.blocks] == [2, 2]
    parts = columns(spec, updates=1)
    for name in ("measured", "curvature", "pi_low", "unclipped"):
        np.testing.assert_allclose(parts[name], whole[name], rtol=1e-9, atol=1e-12, err_msg=name)


def test_the_noise_law_of_a_model_is_that_of_its_probe_contexts(small):
    from entclip.prediction.noise_table import measure_noise

    table = measure_noise(small("replicas=3"))
    assert table.count.sum() > 3 * 20 * 64 * 0.9  # nearly every token of every context, bins with two replicas only
    engine = LlmEngine(dtype="float32")
    spec = small("replicas=3")
    state, rollout = engine.roll_out(engine.start(spec, spec.arm[0].build()))
    old, new = engine.distributions(state, rollout)
    np.testing.assert_array_equal(old, new)  # nothing has moved yet
    np.testing.assert_allclose(np.exp(old).reshape(3, -1, 64).sum(-1), 1, rtol=1e-5)


def test_a_small_model_keeps_to_one_thread_whatever_torch_has(small, monkeypatch):
    """The ledger is then the same, and a busy machine does not make its threads wait for each other."""
    from entclip.engines.llm import engine as module

    inside = []
    update = module.update
    monkeypatch.setattr(module, "update", lambda *args: (inside.append(torch.get_num_threads()), update(*args))[1])
    spec = small("update.minibatches=2", "replicas=1")
    alone = run(spec, "llm", dtype="float32").to_frame()
    torch.set_num_threads(2)
    assert run(spec, "llm", dtype="float32").to_frame().equals(alone)
    assert torch.get_num_threads() == 2
    assert inside == [1] * 4
    with threads_for(torch.nn.Linear(1, 10**7 + 1, bias=False)):
        assert torch.get_num_threads() == 2
