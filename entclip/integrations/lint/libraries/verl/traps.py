"""Traps that only verl has, or that it has in its own way."""

from __future__ import annotations

from entclip.integrations.lint.facts import Fact, TrainerConfig, stated
from entclip.integrations.lint.rules import rule
from entclip.integrations.lint.values import shown

__all__: list[str] = []

_A = "actor_rollout_ref.actor."


def _beaten(config: TrainerConfig) -> tuple[Fact, list[Fact]]:
    """clip_ratio, and the sides whose own width wins over it and is another one."""
    shared = config.get(_A + "clip_ratio")
    sides = [config.get(_A + "clip_ratio_low"), config.get(_A + "clip_ratio_high")]
    winning = [side for side in sides if side.value is not None and side.value != shared.value]
    return shared, winning if config.space != "none" and not config.assumed and shared.explicit else []


@rule("verl-clip-ratio-dead", "error", "verl")
def _dead(config: TrainerConfig) -> str | None:
    shared, winning = _beaten(config)
    if all(side.explicit for side in winning):
        return None
    return (
        f"clip_ratio = {shown(shared.value)} is not read: clip_ratio_low and clip_ratio_high win, and both are 0.2 unless set "
        f"({stated(*winning)}). Set these two instead, or set them to null to make clip_ratio count."
    )


@rule("width-unused", "info", "verl")
def _unused(config: TrainerConfig) -> str | None:
    shared, winning = _beaten(config)
    if not winning or not all(side.explicit for side in winning):
        return None
    return f"clip_ratio = {shown(shared.value)} is not used, as {stated(*winning)} is set: it can be left out."


@rule("verl-loss-replaced", "error", "verl")
def _replaced(config: TrainerConfig) -> str | None:
    asked = config.get(_A + "policy_loss.loss_mode")
    if not config.updates.engine or not asked.explicit or asked.value in ("vanilla", "bypass_mode"):
        return None
    return (
        f"algorithm.rollout_correction.bypass_mode = True replaces the loss by bypass_mode: loss_mode = {asked.value} is never "
        "used. Drop one of the two."
    )


@rule("covariance-clip-metric", "warn", "verl")
def _covariance(config: TrainerConfig) -> str | None:
    if config.kind == "clip_cov":
        return (
            "Under loss_mode = clip_cov, actor/pg_clipfrac is the share that the covariance rule dropped, not the share that "
            "the ratio clip acted on; covariances are taken within a micro-batch, so they change with its size."
        )
    if config.kind == "kl_cov":
        return (
            "loss_mode = kl_cov has no ratio clip and logs no clip fraction: clip_ratio_* do nothing. Its penalty |log r| is "
            "flat at ratio 1, and tokens are picked within a micro-batch, so they change with its size."
        )
    return None


@rule("kl-cov-defaults", "warn", "verl")
def _kl_cov(config: TrainerConfig) -> str | None:
    share, coefficient = config.get(_A + "policy_loss.kl_cov_ratio"), config.get(_A + "policy_loss.ppo_kl_coef")
    left = [fact for fact in (share, coefficient) if not fact.explicit]
    if config.kind != "kl_cov" or not left:
        return None
    return (
        f"{', '.join(f'{fact.key} = {shown(fact.value)}' for fact in left)} by default: verl's defaults are a tenth of the "
        "original repository's (share 2e-3 for 7B models, coefficient 1). Set both to reproduce a published run."
    )


@rule("verl-entropy-default", "info", "verl")
def _entropy_default(config: TrainerConfig) -> str | None:
    if config.entropy_coef.explicit:
        return None
    return (
        f"{config.entropy_coef.key} is not set: it is 0 in {config.library.release}, but was 0.001 in early versions, and runs "
        "that grew in entropy were put down to it. Set it, so that the run does not depend on the version."
    )


@rule("dynamic-batch-entropy", "info", "verl")
def _dynamic(config: TrainerConfig) -> str | None:
    if config.get(_A + "use_dynamic_bsz").value is not True:
        return None
    return (
        "use_dynamic_bsz = True: verl 0.4.0 logged entropy in the wrong order under dynamic batching (about 0.6 for 1.0). "
        "On-policy, entropy must equal the mean of -log pi of the sampled tokens: check it once."
    )


@rule("merged-clip-metric", "info", "verl", common=True)
def _merged(config: TrainerConfig) -> str | None:
    if config.kind != "dual_clip" or config.doubtful:
        return None
    return (
        "actor/pg_clipfrac adds low and high clip events, and actor/pg_clipfrac_lower is the share of the dual clip, not of "
        "clip-low. The two sides have opposite effects on entropy: count them yourself, in a registered policy loss."
    )


@rule("entropy-not-logged", "warn", "verl")
def _not_logged(config: TrainerConfig) -> str | None:
    if config.entropy_logged:
        return None
    return (
        "Bypass mode skips the pass over the old policy in which verl measures actor/entropy, and calculate_entropy is False: "
        f"set {_A}calculate_entropy = True to log it."
    )


@rule("singleton-group", "error", "verl")
def _singleton(config: TrainerConfig) -> str | None:
    by_group = config.advantage.key.endswith("norm_adv_by_std_in_grpo")
    if config.group_size.value != 1 or not by_group or config.doubtful:
        return None
    return (
        "rollout.n = 1 with adv_estimator = grpo: verl takes mean 0 and deviation 1 for a group of one, so the advantage is "
        "the raw reward, with no baseline and never negative for 0/1 rewards: the low side then cannot clip. Set rollout.n to "
        "8 or more."
    )


@rule("verl-clip-ratio-version", "warn", "verl")
def _version(config: TrainerConfig) -> str | None:
    if not config.assumed:
        return None
    return (
        f"{config.assumed}, which is taken for granted. From verl 0.3 on clip_ratio is not read: both widths are then 0.2 unless "
        "clip_ratio_low and clip_ratio_high are set, and the dual clip at 3 is on. Set these two to be sure."
    )


@rule("no-baseline", "warn", "verl")
def _no_baseline(config: TrainerConfig) -> str | None:
    if config.group_size.value != 1 or config.advantage.value != "rloo":
        return None
    return (
        f"adv_estimator = rloo with {config.group_size.key} = 1: the baseline is the mean of the others' rewards, and there are "
        "no others, so the advantage is the raw reward. Set it to 4 or more."
    )
