"""What entclip puts into verl, run by verl 0.9.1's own code: make verl, in an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
import verl
from tensordict import TensorDict
from verl.trainer.ppo.core_algos import POLICY_LOSS_REGISTRY, get_policy_loss_fn
from verl.utils import tensordict_utils as tu
from verl.utils.metric import Metric
from verl.workers.config import ActorConfig
from verl.workers.config.actor import PolicyLossConfig
from verl.workers.utils import losses

from entclip.integrations.verl.sums import PREFIX, objective_of, pooled, sums
from entclip.ledger.from_samples import ledger_from_samples
from entclip.objectives.base import CAUSES
from entclip.report.samples import samples_means
from tests.integrations.test_verl import _ragged

PADDED = partial(torch.nan_to_num, nan=0.0)


def _config(**options):
    return ActorConfig(strategy="fsdp", rollout_n=1, ppo_micro_batch_size_per_gpu=1, **options)


def test_this_is_the_version_that_was_read_and_the_plugin_came_by_itself():
    assert verl.__version__ == "0.9.1"
    assert "entclip_vanilla" in POLICY_LOSS_REGISTRY


@pytest.mark.parametrize("mode", ["token-mean", "seq-mean-token-sum", "seq-mean-token-mean", "seq-mean-token-sum-norm"])
def test_loss_and_gradient_are_vanillas_and_counts_are_verls(mode):
    for seed in range(50):
        old, new, advantages, mask = _ragged(seed)
        config = _config(clip_ratio_low=0.1, clip_ratio_high=0.2, clip_ratio_c=1.3)
        made = []
        for name in ("vanilla", "entclip_vanilla"):
            inner = PADDED(new).requires_grad_()
            loss, metrics = get_policy_loss_fn(name)(PADDED(old), inner, advantages, mask, mode, config, None)
            loss.backward()
            made.append((loss.detach(), inner.grad, metrics))
        assert torch.equal(made[0][0], made[1][0])
        assert torch.equal(made[0][1], made[1][1])
        found = made[1][2]
        both, tokens = found["entclip/clip_low"] + found["entclip/clip_high"], found["entclip/tokens"]
        assert both / tokens == pytest.approx(found["actor/pg_clipfrac"], abs=1e-6)
        assert found["entclip/clip_other"] / tokens == pytest.approx(found["actor/pg_clipfrac_lower"], abs=1e-6)
        assert -found["entclip/log_ratio"] / tokens == pytest.approx(found["actor/ppo_kl"], abs=1e-5)


def _worker_batch(seed=0, rows=6, vocab=11):
    """A micro-batch as verl's workers hold it, without padding, and the logits of the model at its tokens."""
    g = torch.Generator().manual_seed(seed)
    prompts, lengths = torch.randint(1, 4, (rows,), generator=g), torch.randint(1, 7, (rows,), generator=g)
    logits = [2 * torch.randn((int(p + n), vocab), generator=g) for p, n in zip(prompts, lengths, strict=True)]
    ids = [torch.randint(vocab, (len(x),), generator=g) for x in logits]

    def nested(parts):
        return torch.nested.nested_tensor(parts, layout=torch.jagged)

    log_pi = [torch.log_softmax(x, -1) for x in logits]
    pairs = list(zip(log_pi, ids, strict=True))
    next_token = [x.gather(-1, torch.roll(t, -1)[:, None])[:, 0] for x, t in pairs]  # at each place, of the token after it
    out = {
        "log_probs": nested(next_token),
        "entropy": nested([-(x.exp() * x).sum(-1) for x in log_pi]),
        "sum_pi_squared": nested([(2 * x).exp().sum(-1) for x in log_pi]),
        "sum_pi_squared_log_pi": nested([((2 * x).exp() * x).sum(-1) for x in log_pi]),
    }
    taken = [x[p - 1 : p - 1 + n] for x, p, n in zip(next_token, prompts.tolist(), lengths.tolist(), strict=True)]
    old = [x + 0.3 * torch.randn(x.shape, generator=g) for x in taken]
    old = [torch.clamp(x, max=-1e-3) for x in old]
    advantages = [torch.full((len(x),), float(torch.randn((), generator=g))) for x in old]
    data = TensorDict(
        {
            "prompts": nested([t[:p] for t, p in zip(ids, prompts.tolist(), strict=True)]),
            "responses": nested([t[p:] for t, p in zip(ids, prompts.tolist(), strict=True)]),
            "response_mask": nested([torch.ones(len(x), dtype=torch.int64) for x in old]),
            "old_log_probs": nested(old),
            "advantages": nested(advantages),
        },
        batch_size=[rows],
    )
    tu.assign_non_tensor(data, dp_size=1, batch_num_tokens=int(lengths.sum()), global_batch_size=rows)
    states = [
        [part[p - 1 : p - 1 + n] for part, p, n in zip(out[k].unbind(), prompts.tolist(), lengths.tolist(), strict=True)]
        for k in ("entropy", "sum_pi_squared", "sum_pi_squared_log_pi")
    ]
    return out, data, (taken, old, advantages), states


def test_ppo_loss_with_the_sums_of_each_state_has_exact_parts():
    import entclip.integrations.verl.states as states_module

    out, data, arrays, states = _worker_batch()
    loss_mode = PolicyLossConfig(loss_mode="entclip_vanilla")
    config = _config(clip_ratio_low=0.1, clip_ratio_high=0.2, calculate_entropy=True, policy_loss=loss_mode)
    assert losses.ppo_loss is states_module.state_ppo_loss
    plain, _ = states_module._plain(config, dict(out), data.clone())
    loss, metrics = losses.ppo_loss(config, out, data)
    assert torch.equal(loss, plain)
    assert all(isinstance(metrics[name], Metric) for name in metrics if name.startswith(PREFIX))
    logged = {name: metrics[name].aggregate() for name in metrics if name.startswith(PREFIX)}
    found = pooled(logged, len(arrays[0]))
    names = ("entropy", "sum_pi_sq", "sum_pi_sq_log_pi")
    frame = ledger_from_samples(*arrays, None, objective_of(config), **dict(zip(names, states, strict=True)))
    means = samples_means(frame)
    for cause in CAUSES:
        assert found[f"state_dH_{cause}"] == pytest.approx(means[cause], rel=1e-5, abs=1e-7)
        assert found[f"logit_dH_{cause}"] == pytest.approx(means[f"euclidean_{cause}"], rel=1e-5, abs=1e-7)
    assert (frame["clip_low"] != 0).any()


def test_averages_of_verl_over_micro_batches_and_ranks_pool_to_the_whole():
    batches = [_ragged(seed, rows=4) for seed in range(6)]
    entropy = [torch.rand(batch[0].shape) for batch in batches]
    config = _config()
    each = [sums(objective_of(config), *b, states={"entropy": e}) for b, e in zip(batches, entropy, strict=True)]
    logged = {}
    for name in each[0]:
        ranks = [Metric("mean") for _ in range(2)]
        for index, piece in enumerate(each):
            ranks[index // 3].append(piece[name])
        logged[name] = Metric.aggregate_dp(ranks)
    joined = (torch.cat(x) for x in zip(*batches, strict=True))
    whole = sums(objective_of(config), *joined, states={"entropy": torch.cat(entropy)})
    responses = int(whole["responses"])
    ours, theirs = pooled(whole, responses), pooled(logged, responses)
    own = [name for name in ours if not name.startswith("dH_")]
    assert np.allclose([ours[n] for n in own], [theirs[n] for n in own], rtol=1e-10, atol=0)


def test_without_plugins_verl_starts_without_entclip():
    code = "import verl, sys; sys.exit('entclip' in sys.modules)"
    environment = os.environ | {"VERL_USE_EXTERNAL_PLUGINS": "none"}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
