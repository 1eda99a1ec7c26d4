"""From the keys of SkyRL to facts: skyrl/train/config/config.py and skyrl/backends/skyrl_train/utils/ppo_utils.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from entclip.integrations.lint.facts import TO_ENGINE, Fact, Reader, TrainerConfig, Updates, either
from entclip.integrations.lint.values import shown

__all__ = ["DEFAULTS", "build"]

_A, _T, _S = "trainer.algorithm.", "trainer.", "generator.sampling_params."
DEFAULTS: dict[str, Any] = {
    _A + "eps_clip_low": 0.2,
    _A + "eps_clip_high": 0.2,
    _A + "clip_ratio_c": 3.0,
    _A + "policy_loss_type": "regular",
    _A + "loss_reduction": "token_mean",
    _A + "advantage_estimator": "grpo",
    _A + "grpo_norm_by_std": True,
    _A + "advantage_batch_normalize": False,
    _A + "use_kl_loss": True,
    _A + "use_kl_in_reward": False,
    _A + "kl_loss_coef": 0.001,
    _A + "use_entropy_loss": False,
    _A + "entropy_loss_coef": 0.01,
    _A + "temperature": None,
    _A + "off_policy_correction.tis_ratio_type": None,
    _A + "off_policy_correction.sequence_mask_metric": None,
    _A + "cispo.cispo_eps_clip_low": 1.0,
    _A + "cispo.cispo_eps_clip_high": 4.0,
    _A + "cispo.cispo_anchor": "old",
    _A + "dppo.dppo_type": "binary_tv",
    _A + "dppo.delta_low": 0.2,
    _A + "dppo.delta_high": 0.2,
    _A + "sapo.tau_pos": 1.0,
    _A + "sapo.tau_neg": 1.05,
    _A + "kl_cov.kl_cov_frac": 0.2,
    _T + "train_batch_size": 1024,
    _T + "policy_mini_batch_size": 256,
    _T + "update_epochs_per_batch": 1,
    _T + "bf16": True,
    _T + "fully_async.enabled": False,
    _T + "fully_async.max_staleness_steps": 4,
    "generator.n_samples_per_prompt": 5,
    _S + "temperature": 1.0,
    _S + "top_p": 1.0,
    _S + "top_k": -1,
    _S + "min_p": 0.0,
}
_KINDS = {
    "regular": "clip",
    "dual_clip": "dual_clip",
    "gspo": "clip",
    "clip_cov": "clip_cov",
    "kl_cov": "kl_cov",
    "cispo": "cispo",
    "sapo": "sapo",
    "dppo": "dppo_tv",
    "rollout_is": "custom",
    "cross_entropy": "custom",
    "importance_sampling": "custom",
}
_SPACES = {
    "sapo": "none",
    "kl_cov": "none",
    "dppo_tv": "probability",
    "dppo_kl": "divergence",
    "custom": "unknown",
    "unknown": "unknown",
}
_WIDTHS = {"cispo": ("cispo.cispo_eps_clip_low", "cispo.cispo_eps_clip_high")} | dict.fromkeys(
    ("dppo_tv", "dppo_kl"), ("dppo.delta_low", "dppo.delta_high")
)


def build(read: Reader, evidence: str) -> TrainerConfig:
    """Return what SkyRL computes from its keys."""
    loss, size = read(_A + "policy_loss_type"), read("generator.n_samples_per_prompt")
    kind = "unknown" if loss.unknown else _KINDS.get(str(loss.value), "unknown")
    if kind == "dppo_tv" and read(_A + "dppo.dppo_type").value == "binary_kl":
        kind = "dppo_kl"
    bare = kind in ("sapo", "kl_cov", "custom", "unknown")
    low, high = (read.bound(_A + key) for key in _WIDTHS.get(kind, ("eps_clip_low", "eps_clip_high")))
    kl = read(_A + "use_kl_loss").value is True or read(_A + "use_kl_in_reward").value is True
    bonus = read(_A + "use_entropy_loss")
    half, updates = read(_T + "bf16"), _updates(read, kind)
    return TrainerConfig(
        library=read.library,
        evidence=evidence,
        objective=loss,
        kind=kind,
        space=_SPACES.get(kind, "ratio"),
        level=replace(loss, value="sequence" if loss.value == "gspo" else "token"),
        low=replace(loss, value=None) if bare else low,
        high=replace(loss, value=None) if bare else high,
        cap=read.number(_A + "clip_ratio_c") if kind == "dual_clip" else Fact(None, _A + "clip_ratio_c"),
        updates=updates,
        temperature=either(read.number(_A + "temperature", optional=True), read.number(_S + "temperature")),
        advantage=_advantage(read),
        aggregation=read(_A + "loss_reduction"),
        group_size=size,
        entropy_coef=read.number(_A + "entropy_loss_coef") if bonus.value is True else replace(bonus, value=0.0),
        kl_coef=read.number(_A + "kl_loss_coef") if kl else replace(read(_A + "use_kl_loss"), value=0.0),
        log_prob_dtype=replace(half, value="bf16" if half.value is True else "float32" if half.value is False else half.value),
        engine_correction=replace(loss, value=TO_ENGINE) if updates.engine else _correction(read),
        alone="SkyRL takes mean 0 and deviation 1 for a group of one, so the advantage is the raw reward, with no baseline"
        if size.value == 1 and read(_A + "advantage_estimator").value == "grpo"
        else "",
        unread=_unread(kind),
    )


def _correction(read: Reader) -> Fact:
    """A mask on sequences, or weights: either corrects for the engine."""
    key = _A + "off_policy_correction."
    return either(read(key + "sequence_mask_metric"), read(key + "tis_ratio_type"))


def _advantage(read: Reader) -> Fact:
    batch, estimator, scaled = (read(_A + k) for k in ("advantage_batch_normalize", "advantage_estimator", "grpo_norm_by_std"))
    if batch.value is True:
        return replace(batch, value="batch")
    return replace(scaled, value="group" if scaled.value is True else "none") if estimator.value == "grpo" else estimator


def _updates(read: Reader, kind: str) -> Updates:
    async_ = read(_T + "fully_async.enabled").value is True
    anchored = kind == "cispo" and read(_A + "cispo.cispo_anchor").value == "rollout"
    engine = f"{_A}cispo.cispo_anchor = rollout" if anchored else "DPPO takes the engine's log-probabilities where it has them"
    return read.updates(
        (_T + "train_batch_size",),
        _T + "policy_mini_batch_size",
        (_T + "update_epochs_per_batch",),
        engine=engine if anchored or kind.startswith("dppo") else "",
        stale=f"up to trainer.fully_async.max_staleness_steps = {shown(read(_T + 'fully_async.max_staleness_steps').value)}"
        if async_
        else "",
    )


def _unread(kind: str) -> tuple[str, ...]:
    widths = (_A + "eps_clip_low", _A + "eps_clip_high")
    cap = () if kind in ("dual_clip", "custom", "unknown") else (_A + "clip_ratio_c",)
    return cap if kind in ("clip", "dual_clip", "clip_cov", "custom", "unknown") else (*widths, *cap)
