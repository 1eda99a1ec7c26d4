"""From the keys of verl to facts, as its source computes them."""

from __future__ import annotations

from dataclasses import replace

from entclip.integrations.lint.facts import Fact, Reader, TrainerConfig, Updates, either
from entclip.integrations.lint.values import shown

__all__ = ["build"]

_A, _R, _C = "actor_rollout_ref.actor.", "actor_rollout_ref.rollout.", "algorithm.rollout_correction."
_KINDS = {
    "vanilla": "dual_clip", "gspo": "clip", "cispo": "cispo", "sapo": "sapo", "geo_mean": "geo_mean", "clip_cov": "clip_cov",
    "kl_cov": "kl_cov", "gpg": "gpg", "dro": "dro", "dppo_tv": "dppo_tv", "dppo_kl": "dppo_kl", "bypass_mode": "dual_clip",
}  # fmt: skip


def build(read: Reader, evidence: str) -> TrainerConfig:
    """What verl computes from its keys."""
    loss, bypass = read(_A + "policy_loss.loss_mode"), read(_C + "bypass_mode").value is True
    kind = "unknown" if loss.unknown else _KINDS.get(str(loss.value), "unknown")
    if bypass:
        # Bypass mode replaces the loss, whatever loss_mode says.
        loss = read(_C + "loss_type")
        kind = {"ppo_clip": "dual_clip", "reinforce": "reinforce"}.get(str(loss.value), "unknown")
    shared = read.bound(_A + "clip_ratio", optional=True)
    low = either(read.bound(_A + "clip_ratio_low", optional=True), shared)
    high = either(read.bound(_A + "clip_ratio_high", optional=True), shared)
    bare = kind in ("sapo", "kl_cov", "gpg", "dro", "reinforce")
    if bare:
        low = high = Fact(None, loss.key, loss.explicit)
    spaces = {"geo_mean": "log_ratio", "dppo_tv": "probability", "dppo_kl": "divergence", "unknown": "unknown"}
    estimator, by_std = read("algorithm.adv_estimator"), read("algorithm.norm_adv_by_std_in_grpo")
    grouped = str(estimator.value).startswith("grpo")
    dtype = read(_A + "fsdp_config.dtype")
    capped = kind in ("dual_clip", "dppo_tv", "dppo_kl")
    coefficient = read.number(_A + "entropy_coeff")
    return TrainerConfig(
        library=read.library,
        evidence=evidence,
        objective=loss,
        kind=kind,
        space="none" if bare else spaces.get(kind, "ratio"),
        level=Fact("sequence" if loss.value == "gspo" else "token", loss.key, loss.explicit),
        low=low,
        high=high,
        cap=read.number(_A + "clip_ratio_c") if capped else Fact(None, _A + "clip_ratio_c"),
        updates=_verl_updates(read, bypass),
        temperature=read.number(_R + "temperature"),
        advantage=replace(by_std, value="group" if by_std.value is True else "none") if grouped else estimator,
        aggregation=read(_A + "loss_agg_mode"),
        group_size=read(_R + "n"),
        entropy_coef=coefficient,
        kl_coef=_verl_kl(read),
        log_prob_dtype=replace(dtype, value={"bfloat16": "bf16", "float16": "fp16"}.get(str(dtype.value), dtype.value)),
        engine_correction=Fact("ratio to the engine", _C + "bypass_mode", True) if bypass else read(_C + "rollout_is"),
        # Entropy is measured in the pass over the old policy, which bypass mode skips.
        entropy_logged=not bypass or read(_A + "calculate_entropy").value is True or coefficient.value != 0,
        unread=_unread(kind, bare),
    )


def _verl_updates(read: Reader, bypass: bool) -> Updates:
    keys = ("data.train_batch_size", _A + "ppo_mini_batch_size", _A + "ppo_epochs")
    train, mini, epochs = (read.count(key) for key in keys)
    formula = "data.train_batch_size / ppo_mini_batch_size x ppo_epochs"
    engine = f"{_C}bypass_mode = True" if bypass else ""
    stale = read.values.get("trainer.v1.trainer_mode", "sync") not in ("sync", None)
    if not (train and mini and epochs):
        return Updates(None, f"{formula} with {read.text(*keys)}", engine, stale)
    return Updates(train / mini * epochs, f"{formula} = {shown(train)} / {shown(mini)} x {shown(epochs)}", engine, stale)


def _verl_kl(read: Reader) -> Fact:
    in_loss, in_reward = read(_A + "use_kl_loss"), read("algorithm.use_kl_in_reward")
    if in_loss.value is True:
        return read.number(_A + "kl_loss_coef")
    if in_reward.value is True:
        return read.number("algorithm.kl_ctrl.kl_coef")
    return Fact(0.0, in_loss.key, in_loss.explicit)


def _unread(kind: str, bare: bool) -> tuple[str, ...]:
    widths = (_A + "clip_ratio", _A + "clip_ratio_low", _A + "clip_ratio_high") if bare else ()
    return widths if kind in ("dual_clip", "dppo_tv", "dppo_kl", "unknown") else (*widths, _A + "clip_ratio_c")
