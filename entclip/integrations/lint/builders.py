"""From a library's keys to the facts of `facts.TrainerConfig`: one function a library.

What each library computes from its keys was read in its source, at the version that `libraries.py` names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from entclip.integrations.lint.facts import Fact, TrainerConfig, Updates, is_number, shown
from entclip.integrations.lint.libraries import Library, closest_key, flat_openrlhf_flags, is_known, library_named
from entclip.integrations.lint.reading import Source, Unresolved, detect_library, read_source

__all__ = ["config_from", "read_config"]

# Loss names whose bound acts on importance ratios, by library, and what they are here.
_TRL_OBJECTIVES = {
    **dict.fromkeys(("grpo", "bnpo", "dr_grpo", "dapo", "luspo"), "clip"), "cispo": "cispo", "sapo": "sapo", "vespo": "vespo",
}  # fmt: skip
_VERL_OBJECTIVES = {
    "vanilla": "dual_clip", "gspo": "clip", "cispo": "cispo", "sapo": "sapo", "geo_mean": "geo_mean", "clip_cov": "clip_cov",
    "kl_cov": "kl_cov", "gpg": "gpg", "dro": "dro", "dppo_tv": "dppo_tv", "dppo_kl": "dppo_kl", "bypass_mode": "dual_clip",
}  # fmt: skip
# Hydra's own options, which no configuration of verl lists.
_HYDRA = ("config_name", "config_path", "config_dir", "hydra.", "model_engine")
# Keys that name a configuration which is not read here.
_OTHER_FILES = {"trl": ("config",), "verl": ("config_name", "config_path")}
_OPENRLHF_RENAMED = {
    "eps_clip": "actor.eps_clip", "eps_clip_low_high": "actor.eps_clip_low_high", "dual_clip": "actor.dual_clip",
    "policy_loss_type": "actor.policy_loss_type", "entropy_loss_coef": "actor.entropy_coef",
    "train_batch_size": "train.batch_size", "rollout_batch_size": "rollout.batch_size", "max_epochs": "train.max_epochs",
    "n_samples_per_prompt": "rollout.n_samples_per_prompt", "temperature": "rollout.temperature", "top_p": "rollout.top_p",
    "advantage_estimator": "algo.advantage.estimator", "no_advantage_std_norm": "algo.advantage.no_std_norm",
    "init_kl_coef": "algo.kl.init_coef", "use_kl_loss": "algo.kl.use_loss", "async_train": "train.async_enable",
    "vllm_num_engines": "vllm.num_engines", "param_dtype": "ds.param_dtype",
}  # fmt: skip
_A, _R, _C = "actor_rollout_ref.actor.", "actor_rollout_ref.rollout.", "algorithm.rollout_correction."


def read_config(path_or_text: str | Path, library: str | None = None) -> TrainerConfig:
    """A trainer configuration from a file or text; the library is detected where it is not named.

    Raises: ValueError if it cannot be read, no library or more than one fits, or a value that decides has the wrong type.
    """
    source = read_source(path_or_text)
    if library is None:
        return config_from(source, *detect_library(source))
    return config_from(source, library_named(library).name, "named by the caller")


def config_from(source: Source, name: str, evidence: str) -> TrainerConfig:
    """The facts of a source that belongs to a library."""
    library = library_named(name)
    values, renamed = dict(source.values), tuple[str, ...]()
    if name == "openrlhf":
        renamed = tuple(key for key in values if key in flat_openrlhf_flags() and not is_known(name, key))
        values = {_OPENRLHF_RENAMED.get(key, key): value for key, value in values.items()}
    unknown = tuple(
        (key, closest_key(name, key))
        for key in values
        if not is_known(name, key) and key not in renamed and not (name == "verl" and key.startswith(_HYDRA))
    )
    files = tuple(f"{key} = {values[key]}" for key in _OTHER_FILES.get(name, ()) if _is_foreign(key, values))
    config = _BUILDERS[name](_Reader(library, values), evidence)
    return replace(
        config,
        values=values,
        unknown_keys=unknown,
        renamed=renamed,
        elsewhere=(*files, *source.arguments),
        shell_defaults=source.shell_defaults,
    )


def _is_foreign(key: str, values: Mapping[str, Any]) -> bool:
    """Whether a key names a configuration other than those that come with verl, whose defaults are known here."""
    named = str(values.get("config_name", "ppo_trainer")).removesuffix(".yaml")
    shipped = named in ("ppo_trainer", "ppo_megatron_trainer")
    return values.get(key) is not None and not (key.startswith("config_") and shipped and _shipped_path(values))


def _shipped_path(values: Mapping[str, Any]) -> bool:
    return str(values.get("config_path", "config")).removeprefix("./") == "config"


@dataclass(frozen=True)
class _Reader:
    library: Library
    values: Mapping[str, Any]

    def __call__(self, key: str) -> Fact:
        if key in self.values:
            return Fact(self.values[key], key, True)
        return Fact(self.library.defaults[key], key)

    def number(self, key: str, optional: bool = False) -> Fact:
        """A fact that must be a number (or unset, where optional)."""
        fact = self(key)
        if not (fact.unknown or is_number(fact.value) or (optional and fact.value is None)):
            raise ValueError(f"{key} must be a number{' or unset' if optional else ''}, got {fact.value!r}.")
        return fact

    def bound(self, key: str, optional: bool = False) -> Fact:
        """A width: a number at least 0."""
        fact = self.number(key, optional)
        if is_number(fact.value) and not fact.value >= 0:
            raise ValueError(f"{key} must be at least 0, got {fact.value}: it is a width around 1, in [1 - low, 1 + high].")
        return fact

    def count(self, key: str) -> float | None:
        """A positive number, or None where it is unresolved or unset."""
        value = self.number(key, optional=True).value
        if is_number(value) and not (value >= 1 and value == int(value)):
            raise ValueError(f"{key} must be a whole number at least 1, got {value}: updates per rollout are counted with it.")
        return float(value) if is_number(value) else None

    def text(self, *keys: str) -> str:
        return ", ".join(f"{key} = {shown(self(key).value)}" for key in keys)


def _either(first: Fact, second: Fact) -> Fact:
    """The first fact, or the second where the first is unset."""
    return second if first.value is None else first


def _trl(read: _Reader, evidence: str) -> TrainerConfig:
    loss, level = read("loss_type"), read("importance_sampling_level")
    kind = "unknown" if loss.unknown else _TRL_OBJECTIVES.get(str(loss.value), "unknown")
    low = read.bound("epsilon")
    high = _either(read.bound("epsilon_high", optional=True), low)
    if kind == "cispo":
        # An absolute bound on the weight, 1 + high here; there is no lower one.
        low = Fact(1.0, "loss_type", loss.explicit)
        high = replace(high, value=high.value - 1 if is_number(high.value) else high.value)
    elif kind in ("sapo", "vespo"):
        low = high = Fact(None, "loss_type", loss.explicit)
    if kind == "vespo":
        level = Fact("sequence", "loss_type", loss.explicit)
    scale = read("scale_rewards")
    correction = read("vllm_importance_sampling_correction")
    return TrainerConfig(
        library=read.library,
        evidence=evidence,
        objective=loss,
        kind=kind,
        space={"sapo": "none", "vespo": "none", "unknown": "unknown"}.get(kind, "ratio"),
        level=level,
        low=low,
        high=high,
        cap=read.number("delta", optional=True) if kind == "clip" else Fact(None, "delta"),
        updates=_trl_updates(read),
        temperature=read.number("temperature"),
        advantage=replace(scale, value="group" if scale.value is True else "none" if scale.value is False else scale.value),
        aggregation=loss,
        group_size=read("num_generations"),
        entropy_coef=read.number("entropy_coef"),
        kl_coef=read.number("beta"),
        log_prob_dtype=_trl_dtype(read),
        engine_correction=correction if read("use_vllm").value is True else Fact("same engine", "use_vllm"),
    )


def _trl_updates(read: _Reader) -> Updates:
    grad, iterations = read.count("gradient_accumulation_steps"), read.count("num_iterations")
    generation = read("generation_batch_size")
    if read("steps_per_generation").value is None and generation.value is not None:
        device = read("per_device_train_batch_size")
        return Updates(
            None,
            f"generation_batch_size / (per_device_train_batch_size x processes) x num_iterations / gradient_accumulation_steps = "
            f"{shown(generation.value)} / ({shown(device.value)} x processes) x {shown(iterations)} / {shown(grad)}",
        )
    per = grad if read("steps_per_generation").value is None else read.count("steps_per_generation")
    formula = "steps_per_generation x num_iterations / gradient_accumulation_steps"
    if not (grad and per and iterations):
        return Updates(
            None, f"{formula} with {read.text('steps_per_generation', 'num_iterations', 'gradient_accumulation_steps')}"
        )
    # A generation that ends inside an optimiser step is as good as one that ends with it: nothing moved in between.
    count = 1.0 if grad % (per * iterations) == 0 else per * iterations / grad
    return Updates(count, f"{formula} = {shown(per)} x {shown(iterations)} / {shown(grad)}")


def _trl_dtype(read: _Reader) -> Fact:
    if read("cast_lm_head_to_fp32").value is True:
        return Fact("float32", "cast_lm_head_to_fp32", True)
    if read("fp16").value is True:
        return Fact("fp16", "fp16", True)
    half = read("bf16")
    return replace(half, value="float32" if half.value is False else half.value if half.unknown else "bf16")


def _verl(read: _Reader, evidence: str) -> TrainerConfig:
    loss, bypass = read(_A + "policy_loss.loss_mode"), read(_C + "bypass_mode").value is True
    kind = "unknown" if loss.unknown else _VERL_OBJECTIVES.get(str(loss.value), "unknown")
    if bypass:
        # Bypass mode replaces the loss, whatever loss_mode says.
        loss = read(_C + "loss_type")
        kind = {"ppo_clip": "dual_clip", "reinforce": "reinforce"}.get(str(loss.value), "unknown")
    shared = read.bound(_A + "clip_ratio", optional=True)
    low = _either(read.bound(_A + "clip_ratio_low", optional=True), shared)
    high = _either(read.bound(_A + "clip_ratio_high", optional=True), shared)
    bare = kind in ("sapo", "kl_cov", "gpg", "dro", "reinforce")
    if bare:
        low = high = Fact(None, loss.key, loss.explicit)
    spaces = {"geo_mean": "log_ratio", "dppo_tv": "probability", "dppo_kl": "divergence", "unknown": "unknown"}
    estimator, by_std = read("algorithm.adv_estimator"), read("algorithm.norm_adv_by_std_in_grpo")
    grouped = str(estimator.value).startswith("grpo")
    dtype = read(_A + "fsdp_config.dtype")
    capped = kind in ("dual_clip", "dppo_tv", "dppo_kl")
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
        entropy_coef=read.number(_A + "entropy_coeff"),
        kl_coef=_verl_kl(read),
        log_prob_dtype=replace(dtype, value={"bfloat16": "bf16", "float16": "fp16"}.get(str(dtype.value), dtype.value)),
        engine_correction=Fact("ratio to the engine", _C + "bypass_mode", True) if bypass else read(_C + "rollout_is"),
    )


def _verl_updates(read: _Reader, bypass: bool) -> Updates:
    keys = ("data.train_batch_size", _A + "ppo_mini_batch_size", _A + "ppo_epochs")
    train, mini, epochs = (read.count(key) for key in keys)
    formula = "data.train_batch_size / ppo_mini_batch_size x ppo_epochs"
    if not (train and mini and epochs):
        return Updates(None, f"{formula} with {read.text(*keys)}", engine=bypass)
    return Updates(train / mini * epochs, f"{formula} = {shown(train)} / {shown(mini)} x {shown(epochs)}", engine=bypass)


def _verl_kl(read: _Reader) -> Fact:
    in_loss, in_reward = read(_A + "use_kl_loss"), read("algorithm.use_kl_in_reward")
    if in_loss.value is True:
        return read.number(_A + "kl_loss_coef")
    if in_reward.value is True:
        return read.number("algorithm.kl_ctrl.kl_coef")
    return Fact(0.0, in_loss.key, in_loss.explicit)


def _openrlhf(read: _Reader, evidence: str) -> TrainerConfig:
    loss = read("actor.policy_loss_type")
    sequence = loss.value == "gspo"
    low, high = _openrlhf_widths(read)
    cap = read.number("actor.dual_clip", optional=True)
    kind = "unknown" if loss.value not in ("ppo", "gspo") else "clip" if cap.value is None else "dual_clip"
    estimator, no_std = read("algo.advantage.estimator"), read("algo.advantage.no_std_norm")
    whitened = estimator.value in ("gae", "reinforce", "reinforce_baseline") and no_std.value is not True
    correction, engines = read("algo.advantage.is_correction_level"), read("vllm.num_engines")
    return TrainerConfig(
        library=read.library,
        evidence=evidence,
        objective=loss,
        kind=kind,
        space="unknown" if kind == "unknown" else "ratio",
        level=Fact("sequence" if sequence else "token", loss.key, loss.explicit),
        low=low,
        high=high,
        cap=cap,
        updates=_openrlhf_updates(read, sequence and correction.value in ("token", "seq")),
        temperature=read.number("rollout.temperature"),
        advantage=replace(estimator, value="group" if estimator.value == "group_norm" else "batch" if whitened else "none"),
        aggregation=Fact("seq-mean-token-mean", loss.key, True) if sequence else read("actor.loss_agg_mode"),
        group_size=read("rollout.n_samples_per_prompt"),
        entropy_coef=_either(read.number("actor.entropy_coef", optional=True), Fact(0.0, "actor.entropy_coef")),
        kl_coef=read.number("algo.kl.init_coef"),
        log_prob_dtype=read("ds.param_dtype"),
        engine_correction=Fact("same engine", engines.key, engines.explicit) if engines.value in (0, None) else correction,
    )


def _openrlhf_widths(read: _Reader) -> tuple[Fact, Fact]:
    both = read("actor.eps_clip_low_high")
    if both.value is None:
        single = read.bound("actor.eps_clip")
        return single, single
    if both.unknown:
        return both, both
    pair = both.value if isinstance(both.value, list) else [both.value]
    if len(pair) != 2 or not all(isinstance(v, Unresolved) or (is_number(v) and v >= 0) for v in pair):
        raise ValueError(f"actor.eps_clip_low_high takes two widths at least 0, LOW HIGH, got {both.value}.")
    return replace(both, value=pair[0]), replace(both, value=pair[1])


def _openrlhf_updates(read: _Reader, engine: bool) -> Updates:
    keys = ("rollout.batch_size", "rollout.n_samples_per_prompt", "train.batch_size", "train.max_epochs")
    rollout, group, train, epochs = (read.count(key) for key in keys)
    formula = "rollout.batch_size x rollout.n_samples_per_prompt / train.batch_size x train.max_epochs"
    stale = read("train.async_enable").value is True
    if not (rollout and group and train and epochs):
        return Updates(None, f"{formula} with {read.text(*keys)}", engine, stale)
    numbers = f"{shown(rollout)} x {shown(group)} / {shown(train)} x {shown(epochs)}"
    return Updates(rollout * group / train * epochs, f"{formula} = {numbers}", engine, stale)


def _prime_rl(read: _Reader, evidence: str) -> TrainerConfig:
    loss, algo = read("trainer.loss.type"), read("orchestrator.algo.type")
    kind = {"default": "dppo_tv", "ipo": "ipo", "custom": "custom"}.get(str(loss.value), "unknown")
    low, high = read.bound("trainer.loss.dppo_mask_low"), read.bound("trainer.loss.dppo_mask_high")
    if kind == "ipo":
        low = high = read.bound("trainer.loss.ipo_threshold")
    elif kind in ("custom", "unknown"):
        low = high = Fact(None, loss.key, loss.explicit)
    if algo.value in ("sft", "opd", "opsd"):
        kind, low, high = "unused", Fact(None, algo.key, True), Fact(None, algo.key, True)
    stale = read.number("orchestrator.max_off_policy_steps")
    own = "orchestrator.train.source.group_size"
    return TrainerConfig(
        library=read.library,
        evidence=evidence,
        objective=loss,
        kind=kind,
        space={"dppo_tv": "probability", "ipo": "probability", "unused": "none"}.get(kind, "unknown"),
        level=Fact("token", loss.key, loss.explicit),
        low=low,
        high=high,
        cap=Fact(None, loss.key),
        updates=Updates(
            1.0,
            f"one per batch, of rollouts up to orchestrator.max_off_policy_steps = {shown(stale.value)} versions old",
            engine=True,
            stale=stale.unknown or stale.value > 0,
        ),
        temperature=read.number("orchestrator.train.sampling.temperature"),
        advantage=replace(algo, value="mean" if algo.value == "max_rl" else "none"),
        aggregation=Fact("token-mean", loss.key),
        group_size=read(own) if own in read.values else read("orchestrator.group_size"),
        entropy_coef=Fact(0.0, loss.key),
        kl_coef=read.number("trainer.loss.kl_tau") if kind in ("dppo_tv", "ipo") else Fact(0.0, loss.key),
        log_prob_dtype=Fact("unknown", "trainer.model"),
        engine_correction=Fact("ratio to the engine", loss.key),
    )


_BUILDERS = {"trl": _trl, "verl": _verl, "openrlhf": _openrlhf, "prime-rl": _prime_rl}
