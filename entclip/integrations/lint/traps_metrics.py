"""Traps around the clip: what the logged numbers mean, and what else moves entropy in the same run."""

from __future__ import annotations

from entclip.integrations.lint.facts import TrainerConfig, is_number, shown
from entclip.integrations.lint.liveness import liveness
from entclip.integrations.lint.rules import rule

__all__: list[str] = []

_A = "actor_rollout_ref.actor."


def _alive(config: TrainerConfig) -> bool:
    return liveness(config).alive == "yes"


@rule("merged-clip-metric", "info", "verl", "openrlhf")
def _merged(config: TrainerConfig) -> str | None:
    if config.library.name == "openrlhf":
        return (
            "ppo_clip_ratio adds low and high clip events into one number. Their effects on entropy are opposite, so the width "
            "to "
            "change cannot be read from it: count the two sides yourself, by the sign of the advantage."
        )
    if config.kind != "dual_clip":
        return None
    return (
        "actor/pg_clipfrac adds low and high clip events, and actor/pg_clipfrac_lower is the share of the dual clip, not of "
        "clip-low. The two sides have opposite effects on entropy: count them yourself, in a registered policy loss."
    )


@rule("covariance-clip-metric", "warn", "verl")
def _covariance(config: TrainerConfig) -> str | None:
    if config.kind == "clip_cov":
        return (
            "Under loss_mode = clip_cov, actor/pg_clipfrac is the share that the covariance rule dropped, not the share that the "
            "ratio clip acted on; covariances are taken within a micro-batch, so they change with its size."
        )
    if config.kind == "kl_cov":
        return (
            "loss_mode = kl_cov has no ratio clip and logs no clip fraction: clip_ratio_* do nothing. Its penalty |log r| is "
            "flat at "
            "ratio 1, and tokens are picked within a micro-batch, so they change with its size."
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
        "original "
        "repository's (share 2e-3 for 7B models, coefficient 1). Set both to reproduce a published run."
    )


def _entropy_logged(config: TrainerConfig) -> bool:
    if config.library.name == "openrlhf":
        return config.get("actor.entropy_coef").value is not None
    # verl measures entropy in the pass over the old policy, which bypass mode skips.
    asked = config.library.name == "verl" and (
        config.get(_A + "calculate_entropy").value is True or config.entropy_coef.value != 0
    )
    return config.library.name != "verl" or not config.updates.engine or asked


@rule("entropy-differences", "info")
def _differences(config: TrainerConfig) -> str | None:
    if not _entropy_logged(config):
        return None
    return (
        "Logged entropy is that of the batch before its update, so differences between steps mix the update with a change of "
        "batch: "
        "in a test on TRL 3 of 7 had the wrong sign, up to ten times too large. Evaluate the same states before and after the "
        "step."
    )


@rule("entropy-not-logged", "warn", "verl", "openrlhf")
def _not_logged(config: TrainerConfig) -> str | None:
    if _entropy_logged(config):
        return None
    if config.library.name == "openrlhf":
        return "actor.entropy_coef is unset, so entropy is not computed: --actor.entropy_coef 0 logs it without adding a bonus."
    return (
        "Bypass mode skips the pass over the old policy in which verl measures actor/entropy, and calculate_entropy is False: "
        "set "
        f"{_A}calculate_entropy = True to log it."
    )


@rule("openrlhf-entropy-temperature", "warn", "openrlhf")
def _entropy_temperature(config: TrainerConfig) -> str | None:
    if not is_number(config.temperature.value) or config.temperature.value == 1 or config.get("actor.entropy_coef").value is None:
        return None
    return (
        f"rollout.temperature = {shown(config.temperature.value)} with an entropy metric: up to 0.11.0 OpenRLHF took "
        "log-probabilities "
        "at this temperature but entropy at 1, up to 1.03 nats apart at 0.5. Use 0.11.2 or later, where both are at this "
        "temperature."
    )


@rule("temperature", "info")
def _temperature(config: TrainerConfig) -> str | None:
    if not is_number(config.temperature.value) or config.temperature.value == 1:
        return None
    return (
        f"{config.temperature.key} = {shown(config.temperature.value)}: ratios and entropy are those of logits / temperature, "
        "the "
        "policy that samples. Entropies at different temperatures are not comparable, and the trained model at 1 has another one."
    )


@rule("truncated-sampling", "warn", "trl", "verl", "openrlhf")
def _truncated(config: TrainerConfig) -> str | None:
    prefix = {"trl": "", "verl": "actor_rollout_ref.rollout.", "openrlhf": "rollout."}[config.library.name]
    off = {"top_p": (1,), "top_k": (0, -1), "min_p": (0,)}
    names = {"trl": ("top_p", "top_k", "min_p"), "verl": ("top_p", "top_k"), "openrlhf": ("top_p",)}[config.library.name]
    found = [(config.get(prefix + name), off[name]) for name in names]
    cuts = [fact for fact, neutral in found if is_number(fact.value) and fact.value not in neutral]
    if not cuts:
        return None
    return (
        f"{', '.join(f'{fact.key} = {shown(fact.value)}' for fact in cuts)}: tokens are drawn from a truncated policy, but "
        "ratios and "
        "entropy are those of the full one. Rare tokens, which the low side acts on, are never sampled; theory here assumes "
        "top-p 1."
    )


@rule("trl-liger", "warn", "trl")
def _liger(config: TrainerConfig) -> str | None:
    keys = [key for key in ("use_liger_kernel", "use_liger_loss") if config.values.get(key) is True]
    if not keys:
        return None
    return (
        f"{keys[0]} = True: TRL's fused Liger loss (1.10 and before) logs one merged clip_ratio and no entropy, and refuses an "
        "entropy "
        f"bonus; {config.library.release} applies Liger's layer kernels only, logs both, and deprecates the key. Check which "
        "one runs."
    )


@rule("trl-clip-extremes", "info", "trl")
def _extremes(config: TrainerConfig) -> str | None:
    if not _alive(config) or config.kind != "clip":
        return None
    return (
        "clip_ratio/low_min and clip_ratio/high_max are extremes over completions of a per-completion share, not over tokens: "
        "use "
        "low_mean and high_mean, which are shares of tokens."
    )


@rule("trl-dapo-scale", "info", "trl")
def _dapo(config: TrainerConfig) -> str | None:
    count = config.updates.count
    if config.objective.value not in ("dapo", "cispo") or count is None or count <= 1:
        return None
    return (
        f"loss_type = {config.objective.value} with several updates per generation: before the rescaling that 1.16.0 has (1.10 "
        "had not) "
        "the loss was smaller by gradient_accumulation_steps / steps_per_generation, exactly where the clip acts. AdamW hides "
        "most "
        "of it, SGD does not: compare runs of one version."
    )


@rule("advantage-scale", "info")
def _advantage(config: TrainerConfig) -> str | None:
    offsets = {"trl": "ddof 1, +1e-4", "verl": "ddof 1, +1e-6", "openrlhf": "ddof 1, +1e-9"}
    if config.advantage.value == "group":
        return (
            f"Advantages are divided by the group's standard deviation ({offsets[config.library.name]}): the clip's effect "
            "scales "
            "with M = E|A|/2 (T7: .43 instead of .22 for G = 8, p = .5), and easy and hard prompts weigh alike. Offsets differ "
            "by "
            "library; the paper divides by nothing."
        )
    if config.advantage.value == "batch":
        return (
            f"Advantages are divided by a standard deviation over the batch ({config.advantage.key}): the clip's effect then "
            "scales "
            "with the spread of the other prompts' rewards, and so does M of T6."
        )
    return None


@rule("singleton-group", "error")
def _singleton(config: TrainerConfig) -> str | None:
    if config.group_size.value != 1:
        return None
    if config.library.name == "prime-rl" and config.objective.value != "custom" and config.kind != "unused":
        if config.values.get("orchestrator.algo.type", "grpo") == "rae":
            return None
        return (
            f"{config.group_size.key} = 1: a reward minus its own mean is 0, so no token has an advantage. Set it to 8 or more."
        )
    if config.library.name == "trl":
        return "num_generations = 1: TRL refuses groups of one, whose advantage is 0. Set it to 2 or more."
    if config.library.name == "verl" and config.advantage.key.endswith("norm_adv_by_std_in_grpo"):
        return (
            "rollout.n = 1 with adv_estimator = grpo: verl takes mean 0 and deviation 1 for a group of one, so the advantage "
            "is the raw "
            "reward, with no baseline and never negative for 0/1 rewards: the low side then cannot clip. Set rollout.n to 8 or "
            "more."
        )
    if config.library.name == "openrlhf" and config.values.get("algo.advantage.estimator") in (
        "rloo", "reinforce_baseline", "group_norm", "dr_grpo",
    ):  # fmt: skip
        return "rollout.n_samples_per_prompt = 1 with a group estimator: OpenRLHF refuses it, every advantage would be 0."
    return None


@rule("entropy-bonus", "info", "trl", "verl", "openrlhf")
def _bonus(config: TrainerConfig) -> str | None:
    value = config.entropy_coef.value
    if not is_number(value) or value == 0:
        return None
    size = "1e-2 exploded and 5e-3 was stable in published runs" if value > 0 else "a negative bonus pushes entropy down"
    return (
        f"{config.entropy_coef.key} = {shown(value)} adds an entropy bonus: it moves entropy whatever the clip does ({size}). "
        "Switch it "
        "off to see the clip's effect, or account for it on a line of its own."
    )


@rule("verl-entropy-default", "info", "verl")
def _entropy_default(config: TrainerConfig) -> str | None:
    if config.entropy_coef.explicit:
        return None
    return (
        f"{config.entropy_coef.key} is not set: it is 0 in {config.library.release}, but was 0.001 in early versions, and runs "
        "that grew "
        "in entropy were put down to it. Set it, so that the run does not depend on the version."
    )


@rule("adaptive-entropy-target", "warn", "trl")
def _adaptive(config: TrainerConfig) -> str | None:
    target = config.get("entropy_target")
    if config.get("use_adaptive_entropy").value is not True or not is_number(target.value) or target.value > 0.2:
        return None
    return (
        f"use_adaptive_entropy with entropy_target = {shown(target.value)}: the bonus is applied only at or below the target, "
        "which a "
        "model reaches on collapse only. Set it near the entropy seen early in training."
    )


@rule("kl-term", "info")
def _kl(config: TrainerConfig) -> str | None:
    value = config.kl_coef.value
    if not is_number(value) or value == 0:
        return None
    default = "" if config.kl_coef.explicit else " (the library's default)"
    what = (
        "penalises the squared log-ratio to the sampling policy"
        if config.library.name == "prime-rl"
        else "pulls the policy to a reference"
    )
    return (
        f"{config.kl_coef.key} = {shown(value)}{default} {what}: a force on entropy beside the clip's. The paper's runs have "
        "none; set "
        "it to 0 to attribute a change of entropy to the clip."
    )


@rule("engine-mismatch", "warn", "trl", "verl", "openrlhf")
def _mismatch(config: TrainerConfig) -> str | None:
    if config.engine_correction.value not in (False, None, "off"):
        return None
    return (
        f"Rollouts come from an inference engine and {config.engine_correction.key} = {shown(config.engine_correction.value)}: "
        "its "
        "probabilities differ from the trainer's, and nothing corrects the gradient for it. The ratio does not see this mismatch."
    )


@rule("low-precision-log-probs", "warn", "trl", "verl", "openrlhf")
def _precision(config: TrainerConfig) -> str | None:
    if config.log_prob_dtype.value != "bf16":
        return None
    default = "" if config.log_prob_dtype.explicit else " by default"
    fix = {
        "trl": "set cast_lm_head_to_fp32 (untied heads) or bf16: false",
        "verl": "set fsdp_config.dtype to float16, which rounds eight times finer",
        "openrlhf": "logits are cast to float32 only after the head",
    }[config.library.name]
    return (
        f"The model runs in {config.log_prob_dtype.value}{default}: rounded log-probabilities bias the ratio upward, which "
        "acts like a "
        f"clip that lowers entropy (2603.11682: full precision turned a collapse into growth). For entropy work {fix}."
    )


@rule("dynamic-batch-entropy", "info", "verl")
def _dynamic(config: TrainerConfig) -> str | None:
    if config.get(_A + "use_dynamic_bsz").value is not True:
        return None
    return (
        "use_dynamic_bsz = True: verl 0.4.0 logged entropy in the wrong order under dynamic batching (about 0.6 for 1.0). "
        "On-policy, "
        "entropy must equal the mean of -log pi of the sampled tokens: check it once."
    )


@rule("negative-sequence-mask", "info", "trl")
def _sequence_mask(config: TrainerConfig) -> str | None:
    threshold = config.get("off_policy_mask_threshold")
    if threshold.value is None:
        return None
    return (
        f"off_policy_mask_threshold = {shown(threshold.value)} drops whole sequences with A < 0 that moved far: a second "
        "low-side clip, "
        "which raises entropy where the clip's low side does, and which no clip_ratio metric counts."
    )


@rule("entropy-quantile-mask", "info", "trl")
def _quantile(config: TrainerConfig) -> str | None:
    quantile = config.get("top_entropy_quantile")
    if not is_number(quantile.value) or quantile.value >= 1:
        return None
    return (
        f"top_entropy_quantile = {shown(quantile.value)} keeps the loss on the tokens of highest entropy only: it raises "
        "entropy by "
        "itself (highest at 0.2 in the paper), so runs with and without it do not isolate the clip."
    )


@rule("settings-elsewhere", "warn", "trl", "verl", "openrlhf")
def _elsewhere(config: TrainerConfig) -> str | None:
    if not config.elsewhere:
        return None
    return (
        f"{', '.join(config.elsewhere)}: not read here, so what is called a default may be set there. Lint the resolved "
        "configuration "
        "(verl prints it at start; TRL saves it with the run), or a script with these arguments written out."
    )
