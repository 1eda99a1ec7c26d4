"""From the keys of verl to facts, as its source computes them."""

from __future__ import annotations

from dataclasses import replace

from entclip.integrations.lint.facts import TO_ENGINE, Fact, Reader, TrainerConfig, Updates, either

__all__ = ["build"]

# What came with verl 0.3, as clip_ratio_low and clip_ratio_high did.
_SINCE_0_3 = (
    "clip_ratio_low",
    "clip_ratio_high",
    "clip_ratio_c",
    "loss_agg_mode",
    "policy_loss.",
    "rollout_correction.",
    "use_kl_in_reward",
    "norm_adv_by_std_in_grpo",
    "calculate_entropy",
    "calculate_log_probs",
    "fsdp_config.dtype",
    "use_fused_kernels",
    "multi_turn",
)
_PRIME = "data.n_samples"
_A, _R, _C = "actor_rollout_ref.actor.", "actor_rollout_ref.rollout.", "algorithm.rollout_correction."
_KINDS = {
    "vanilla": "dual_clip",
    "gspo": "clip",
    "cispo": "cispo",
    "sapo": "sapo",
    "geo_mean": "geo_mean",
    "clip_cov": "clip_cov",
    "kl_cov": "kl_cov",
    "gpg": "gpg",
    "dro": "dro",
    "dppo_tv": "dppo_tv",
    "dppo_kl": "dppo_kl",
    "bypass_mode": "dual_clip",
}


def build(read: Reader, evidence: str) -> TrainerConfig:
    """Return what verl computes from its keys."""
    # The fully asynchronous trainer's own configuration switches bypass mode on.
    async_, given = "fully_async" in read.command, read(_C + "bypass_mode")
    loss, bypass = read(_A + "policy_loss.loss_mode"), given.value is True or (async_ and not given.explicit)
    old = _up_to_0_2(read)
    kind = "unknown" if loss.unknown else _KINDS.get(str(loss.value), "unknown")
    if bypass:
        # Bypass mode replaces the loss, whatever loss_mode says.
        loss = read(_C + "loss_type")
        kind = {"ppo_clip": "dual_clip", "reinforce": "reinforce"}.get(str(loss.value), "unknown")
    shared = read.bound(_A + "clip_ratio", optional=True)
    low = shared if old else either(read.bound(_A + "clip_ratio_low", optional=True), shared)
    high = shared if old else either(read.bound(_A + "clip_ratio_high", optional=True), shared)
    if old:
        kind = "clip"
    bare = kind in ("sapo", "kl_cov", "gpg", "dro", "reinforce")
    if bare:
        low = high = Fact(None, loss.key, loss.explicit)
    spaces = {"geo_mean": "log_ratio", "dppo_tv": "probability", "dppo_kl": "divergence", "unknown": "unknown"}
    estimator, by_std = read("algorithm.adv_estimator"), read("algorithm.norm_adv_by_std_in_grpo")
    grouped = str(estimator.value).startswith("grpo")
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
        updates=_updates(read, bypass),
        temperature=read.number(_R + "temperature"),
        advantage=replace(by_std, value="group" if by_std.value is True else "none") if grouped else estimator,
        aggregation=read(_A + "loss_agg_mode"),
        group_size=read(_PRIME) if _PRIME in read.values else read(_R + "n"),
        entropy_coef=coefficient,
        kl_coef=_verl_kl(read),
        log_prob_dtype=read.half(_A + "fsdp_config.dtype"),
        engine_correction=Fact(TO_ENGINE, _C + "bypass_mode", True) if bypass else _correction(read),
        # Entropy is measured in the pass over the old policy, which bypass mode skips.
        entropy_logged=not bypass or read(_A + "calculate_entropy").value is True or coefficient.value != 0,
        unread=() if old else _unread(kind, bare),
        assumed="clip_ratio alone is set, as up to verl 0.2 it was both widths, without a dual clip" if old else "",
    )


def _correction(read: Reader) -> Fact:
    """Importance weights, or the rejection of samples that are too far from the engine's probabilities."""
    weights, rejection = read(_C + "rollout_is"), read(_C + "rollout_rs")
    return rejection if weights.value is None and rejection.value is not None else weights


def _up_to_0_2(read: Reader) -> bool:
    """Whether nothing but clip_ratio is set of what says how wide the clip is, and no key is newer."""
    newer = any(part in key for key in read.values for part in _SINCE_0_3)
    return read.values.get(_A + "clip_ratio") is not None and not newer


def _updates(read: Reader, bypass: bool) -> Updates:
    engine = f"{_C}bypass_mode = True" if bypass else ""
    if "fully_async" in read.command:
        return _async_updates(read, engine)
    stale = ""
    if "one_step_off" in read.command:
        stale = "one version, by the one-step-off trainer"
    elif (mode := read.values.get("trainer.v1.trainer_mode", "sync")) not in ("sync", None):
        stale = f"trainer.v1.trainer_mode = {mode}"
    # PRIME's fork counts responses, not prompts.
    over = ("data.train_batch_size", *([_PRIME] if _PRIME in read.values else []))
    return read.updates(over, _A + "ppo_mini_batch_size", (_A + "ppo_epochs",), plain=_A, engine=engine, stale=stale)


def _async_updates(read: Reader, engine: str) -> Updates:
    keys = ("async_training.require_batches", "async_training.trigger_parameter_sync_step")
    found = read.updates(keys, engine=engine, stale=read.text("async_training.staleness_threshold"))
    return replace(found, formula=f"per weight sync: {found.formula}")


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
