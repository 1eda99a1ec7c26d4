"""What entclip puts into verl, on CPU tensors and without verl: counts, sums, pooling, and the function that is registered.

verl's own code is met by tests/integrations/verl_own.py, in an environment of its own: make verl.
"""

from __future__ import annotations

import importlib
import math
import sys
import types
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from entclip.integrations.verl.sums import objective_of, pooled, sums  # noqa: E402
from entclip.ledger.from_samples import ledger_from_samples  # noqa: E402
from entclip.objectives.base import CAUSES  # noqa: E402
from entclip.objectives.dual_clip import DualClip  # noqa: E402
from entclip.report.samples import samples_means  # noqa: E402

DUAL = DualClip(0.1, 0.2, 1.3)


class Config(SimpleNamespace):
    """An ActorConfig as the loss reads it."""

    def get(self, name, default):
        return getattr(self, name, default)


CONFIG = Config(clip_ratio=0.5, clip_ratio_low=0.1, clip_ratio_high=None, clip_ratio_c=1.3)


def _ragged(seed, rows=8, length=12, spread=0.4, dtype=torch.float32):
    """old log pi, log pi, advantages, mask; rubbish where the mask is 0."""
    g = torch.Generator().manual_seed(seed)
    old = -torch.rand((rows, length), generator=g, dtype=torch.float64) * 3 - 0.01
    new = torch.clamp(old + spread * torch.randn(old.shape, generator=g, dtype=torch.float64), max=0)
    lengths = torch.randint(0, length + 1, (rows, 1), generator=g)
    lengths[0] = length
    mask = torch.arange(length) < lengths
    advantages = torch.randn((rows, 1), generator=g, dtype=torch.float64)
    advantages[-1] = 0.0
    junk = torch.full_like(old, float("nan"))
    old, new = (torch.where(mask, x, junk) for x in (old, new))
    return old.to(dtype), new.to(dtype), advantages.to(dtype).expand(rows, length), mask


def _brute(old, new, advantages, mask, low, high, cap):
    """Counts by going through the tokens and asking which of the loss's terms won."""
    count = {"clip_low": 0, "clip_high": 0, "clip_other": 0, "tokens": 0}
    for o, n, a, m in zip(*(x.flatten().tolist() for x in (torch.zeros_like(new), new - old, advantages, mask)), strict=True):
        if not m:
            continue
        count["tokens"] += 1
        r = math.exp(n - o)
        plain, clipped = -a * r, -a * min(max(r, 1 - low), 1 + high)
        if clipped > plain:
            count["clip_low" if a < 0 else "clip_high"] += 1
        if a < 0 and max(plain, clipped) > -a * cap:
            count["clip_other"] += 1
    return count


def test_counts_are_those_of_a_loop_over_a_thousand_ragged_batches():
    seen = dict.fromkeys(("clip_low", "clip_high", "clip_other"), 0)
    for seed in range(1000):
        batch = _ragged(seed, rows=4, length=6, dtype=torch.float64)
        found, loop = sums(DUAL, *batch), _brute(*batch, 0.1, 0.2, 1.3)
        assert {name: found[name] for name in loop} == loop, seed
        seen = {name: seen[name] + loop[name] for name in seen}
    assert min(seen.values()) > 1000


@pytest.mark.parametrize("states", [False, True])
def test_pooled_sums_are_the_ledger_of_samples(states):
    old, new, advantages, mask = _ragged(3)
    signs = {"entropy": 1, "sum_pi_squared": 1, "sum_pi_squared_log_pi": -1}  # numbers that such sums may have
    extra = {name: sign * torch.rand(old.shape) for name, sign in signs.items()}
    found = pooled(sums(DUAL, old, new, advantages, mask, states=extra if states else None), int(mask.any(-1).sum()))
    given = dict(zip(("entropy", "sum_pi_sq", "sum_pi_sq_log_pi"), extra.values(), strict=True)) if states else {}
    means = samples_means(ledger_from_samples(new, old, advantages, mask, DUAL, **given))
    kinds = {"state_dH_": "", "logit_dH_": "euclidean_"} if states else {"dH_": ""}
    for kind, name in kinds.items():
        for cause in CAUSES:
            assert found[kind + cause] == pytest.approx(means[name + cause], rel=1e-5, abs=1e-7)
            assert found[f"{kind}{cause}_se"] == pytest.approx(means[f"{name}{cause}_se"], rel=1e-5, abs=1e-7)
    for name in ("log_ratio_mean", "log_ratio_rms", *(f"clip_fraction_{side}" for side in ("low", "high", "other"))):
        assert found[name] == pytest.approx(means[name], rel=1e-5, abs=1e-7)


def test_averages_over_micro_batches_of_unequal_size_pool_to_the_whole():
    old, new, advantages, mask = _ragged(5, rows=9)
    entropy = {"entropy": torch.rand(old.shape)}
    whole = sums(DUAL, old, new, advantages, mask, states=entropy)
    pieces = [
        sums(DUAL, *(x[part] for x in (old, new, advantages, mask)), states={"entropy": entropy["entropy"][part]})
        for part in (slice(0, 1), slice(1, 5), slice(5, 9))
    ]
    averaged = {name: float(np.mean([piece[name] for piece in pieces])) for name in whole}
    responses = int(mask.any(-1).sum())
    one, many = pooled(whole, responses), pooled(averaged, responses)
    own = [name for name in one if not name.startswith("dH_")]  # whose baseline is each micro-batch's own
    assert {name: many[name] for name in own} == pytest.approx({name: one[name] for name in own}, rel=1e-12)
    shares = np.mean([piece["clip_low"] / piece["tokens"] for piece in pieces])
    assert abs(shares - one["clip_fraction_low"]) > 1e-3, "an average of shares is another number"


@pytest.mark.parametrize("mode", ["token-mean", "seq-mean-token-mean"])
def test_tokens_count_as_in_the_loss(mode):
    old, new, advantages, mask = _ragged(7, dtype=torch.float64)
    given = torch.rand(old.shape, dtype=torch.float64)
    found = pooled(sums(DUAL, old, new, advantages, mask, mode, given, {"entropy": torch.ones_like(given)}), 8)
    r = torch.exp(torch.where(mask, new - old, 0.0))
    value = torch.where(mask, r * advantages * (-new - 1) * given, 0.0)
    lengths = mask.sum(-1)
    mean = (
        value.sum() / mask.sum() if mode == "token-mean" else (value.sum(-1) / lengths.clamp(min=1)).sum() / (lengths > 0).sum()
    )
    assert found["state_dH_unclipped"] == pytest.approx(float(mean), rel=1e-12)


def _verl(monkeypatch):
    """As much of verl as the plug-in imports, written for this test: its registry, and its vanilla loss."""
    registry = {}

    def register_policy_loss(name):
        return lambda function: registry.setdefault(name, function)

    def compute_policy_loss_vanilla(old, new, advantages, mask, mode, config, weights):
        ratio = torch.exp(new - old)
        low, high = config.clip_ratio_low, config.clip_ratio if config.clip_ratio_high is None else config.clip_ratio_high
        worse = torch.maximum(-advantages * ratio, -advantages * ratio.clamp(1 - low, 1 + high))
        capped = torch.where(advantages < 0, torch.minimum(worse, -advantages * config.clip_ratio_c), worse)
        return torch.where(mask, capped, 0.0).sum() / mask.sum(), {"actor/pg_clipfrac": 0.5}

    module = types.ModuleType("verl.trainer.ppo.core_algos")
    module.register_policy_loss, module.compute_policy_loss_vanilla = register_policy_loss, compute_policy_loss_vanilla
    for name in ("verl", "verl.trainer", "verl.trainer.ppo"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.delitem(sys.modules, "entclip.integrations.verl.plugin", raising=False)
    importlib.import_module("entclip.integrations.verl.plugin")
    return registry


def test_the_registered_loss_is_verls_with_more_to_log(monkeypatch):
    function = _verl(monkeypatch)["entclip_vanilla"]
    old, new, advantages, mask = _ragged(11, dtype=torch.float64)
    inner = torch.where(mask, new, -1.0).requires_grad_()
    outer = torch.where(mask, old, -1.0)
    loss, metrics = function(outer, inner, advantages, mask, "token-mean", CONFIG, None)
    loss.backward()
    assert metrics["actor/pg_clipfrac"] == 0.5
    assert all(isinstance(value, float) for value in metrics.values())
    assert not [name for name in metrics if "min" in name or "max" in name], "verl would take a minimum or maximum of it"
    # The gradient that the loss has is minus the sum of the causes' weights over tokens: what is logged is of this loss.
    frame = ledger_from_samples(inner, outer, advantages, mask, DualClip(0.1, 0.5, 1.3), entropy=torch.full_like(inner, 50.0))
    weights = (frame[list(CAUSES)].sum(axis=1) / (frame["surprisal"] - 50)).to_numpy() / len(frame)
    assert np.allclose(-inner.grad[mask].numpy(), weights, rtol=0, atol=1e-15)
    assert metrics["entclip/clip_other"] == frame["clipped_other"].sum() > 0
    assert metrics["entclip/clip_high"] == frame["clipped_high"].sum() > 0


def test_widths_are_read_as_verl_reads_them():
    assert objective_of(CONFIG) == DualClip(0.1, 0.5, 1.3)
    assert objective_of(Config(clip_ratio=0.01, clip_ratio_low=0.2, clip_ratio_high=0.28)) == DualClip(0.2, 0.28, 3.0)


def test_a_log_of_another_loss_is_refused():
    with pytest.raises(ValueError, match="the log has no entclip/tokens: it is not of a run with loss_mode = entclip_vanilla"):
        pooled({"actor/pg_clipfrac": 0.1}, 8)
    with pytest.raises(ValueError, match="no token counted in this update"):
        pooled(sums(DUAL, *(x * 0 for x in _ragged(0)[:3]), torch.zeros(8, 12)), 8)


def test_a_log_that_lacks_a_number_or_has_nan_is_refused():
    logged = sums(DUAL, *_ragged(0))
    for name in ("clip_low", "log_ratio_sq", "dH_other_cross"):
        with pytest.raises(ValueError, match=f"the log has no entclip/{name}: "):
            pooled({key: value for key, value in logged.items() if key != name}, 8)
        with pytest.raises(ValueError, match=f"entclip/{name} of the log is nan: .* Leave it out"):
            pooled(logged | {name: float("nan")}, 8)
    count = int(logged["responses"])
    for responses in (0, -3, count - 1, count + 0.5):
        said = rf"responses = {responses}, and a micro-batch has {count} on average: .* rollout\.n"
        with pytest.raises(ValueError, match=said):
            pooled(logged, responses)
