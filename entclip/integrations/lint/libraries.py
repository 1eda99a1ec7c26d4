"""The four libraries: version, known keys, and the defaults of the keys that decide what a clip does.

The key lists are in `keys/`, one file a library, each headed by the version that it was taken from. Defaults are those of the
same version. A library not in `LIBRARIES` has no table, and a key not in its list is reported, never guessed.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

__all__ = ["LIBRARIES", "Library", "closest_key", "flat_openrlhf_flags", "is_known", "known_keys", "library_named"]


_TRL: dict[str, Any] = {
    "epsilon": 0.2, "epsilon_high": None, "delta": None, "loss_type": "dapo", "importance_sampling_level": "token",
    "num_iterations": 1, "steps_per_generation": None, "generation_batch_size": None, "gradient_accumulation_steps": 1,
    "per_device_train_batch_size": 8, "num_generations": 8, "temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": None,
    "scale_rewards": "group", "beta": 0.0, "entropy_coef": 0.0, "use_adaptive_entropy": False, "entropy_target": 0.2,
    "top_entropy_quantile": 1.0, "off_policy_mask_threshold": None, "use_vllm": False,
    "vllm_importance_sampling_correction": True,
    "bf16": None, "fp16": False, "cast_lm_head_to_fp32": False, "sapo_temperature_pos": 1.0, "sapo_temperature_neg": 1.05,
}  # fmt: skip

_ACTOR = "actor_rollout_ref.actor."
_ROLLOUT = "actor_rollout_ref.rollout."
_CORRECTION = "algorithm.rollout_correction."
_VERL: dict[str, Any] = {
    _ACTOR + "clip_ratio": 0.2, _ACTOR + "clip_ratio_low": 0.2, _ACTOR + "clip_ratio_high": 0.2,
    _ACTOR + "clip_ratio_c": 3.0, _ACTOR + "policy_loss.loss_mode": "vanilla", _ACTOR + "loss_agg_mode": "token-mean",
    _ACTOR + "ppo_mini_batch_size": 256, _ACTOR + "ppo_epochs": 1, _ACTOR + "entropy_coeff": 0,
    _ACTOR + "calculate_entropy": False, _ACTOR + "use_kl_loss": False, _ACTOR + "kl_loss_coef": 0.001,
    _ACTOR + "tau_pos": 1.0, _ACTOR + "tau_neg": 1.05, _ACTOR + "use_dynamic_bsz": False,
    _ACTOR + "policy_loss.kl_cov_ratio": 0.0002, _ACTOR + "policy_loss.ppo_kl_coef": 0.1,
    _ACTOR + "fsdp_config.dtype": "bfloat16",
    _ROLLOUT + "temperature": 1.0, _ROLLOUT + "top_p": 1, _ROLLOUT + "top_k": -1, _ROLLOUT + "n": 1,
    "data.train_batch_size": 1024, "algorithm.adv_estimator": "gae", "algorithm.norm_adv_by_std_in_grpo": True,
    "algorithm.use_kl_in_reward": False, "algorithm.kl_ctrl.kl_coef": 0.001,
    _CORRECTION + "bypass_mode": False, _CORRECTION + "rollout_is": None, _CORRECTION + "loss_type": "ppo_clip",
}  # fmt: skip

_OPENRLHF: dict[str, Any] = {
    "actor.eps_clip": 0.2, "actor.eps_clip_low_high": None, "actor.dual_clip": None, "actor.policy_loss_type": "ppo",
    "actor.loss_agg_mode": "token-mean", "actor.entropy_coef": None, "train.batch_size": 128, "train.max_epochs": 1,
    "train.async_enable": False, "rollout.batch_size": 1024, "rollout.n_samples_per_prompt": 1, "rollout.temperature": 1.0,
    "rollout.top_p": 1.0, "algo.advantage.estimator": "gae", "algo.advantage.no_std_norm": False,
    "algo.advantage.is_correction_level": "off", "algo.kl.init_coef": 0.01, "algo.kl.use_loss": False,
    "ds.param_dtype": "bf16", "vllm.num_engines": None,
}  # fmt: skip

_PRIME_RL: dict[str, Any] = {
    "trainer.loss.type": "default", "trainer.loss.dppo_mask_low": 0.2, "trainer.loss.dppo_mask_high": 0.2,
    "trainer.loss.ipo_threshold": 0.1, "trainer.loss.kl_tau": 1e-3,
    "orchestrator.algo.type": "grpo", "orchestrator.max_off_policy_steps": 8, "orchestrator.group_size": 1,
    "orchestrator.train.sampling.temperature": 1.0,
}  # fmt: skip


# Groups of verl that users extend with + keys: another library's settings, or a reward's own.
_OPEN_PARTS = frozenset(
    {
        "override_config",
        "override_transformer_config",
        "override_ddp_config",
        "env_vars",
        "reward_kwargs",
        "teacher_models",
        "turbo_config",
    }
)


@dataclass(frozen=True)
class Library:
    """A library as entclip knows it: the version of its keys and defaults, and the command that identifies it.

    entry: how its training command is named in a script, as a regular expression; what follows it are its options.
    """

    name: str
    title: str
    version: str
    defaults: dict[str, Any]
    entry: str
    keys_file: str

    @property
    def release(self) -> str:
        return f"{self.title} {self.version}"


LIBRARIES = {
    library.name: library
    for library in (
        Library("trl", "TRL", "1.16.0", _TRL, r"trl\s+grpo", "trl.txt"),
        Library("verl", "verl", "0.9.1", _VERL, r"(verl|recipe)\.[\w.]*main_\w+", "verl.txt"),
        Library("openrlhf", "OpenRLHF", "0.11.2", _OPENRLHF, r"openrlhf\.cli\.train_ppo_ray", "openrlhf.txt"),
        Library("prime-rl", "prime-rl", "0.8.0", _PRIME_RL, r"(uv run )?rl\s+@", "prime-rl.txt"),
    )
}


def library_named(name: str) -> Library:
    """The table of one library; ValueError for a name that has none."""
    if name not in LIBRARIES:
        raise ValueError(f"unknown library {name!r}: choose one of {', '.join(LIBRARIES)}.")
    return LIBRARIES[name]


@cache
def _listed(file: str) -> frozenset[str]:
    """Keys of a list in `keys/`: `group: name name ...`, `-` for keys without a group, indented lines go on."""
    text = (resources.files(__package__) / "keys" / file).read_text()
    keys, group = set(), ""
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        words = line.split()
        if not line.startswith(" "):
            group, words = words[0].removesuffix(":"), words[1:]
        keys |= {word if group == "-" else f"{group}.{word}" for word in words}
    return frozenset(keys)


def known_keys(name: str) -> frozenset[str]:
    """Every key of a library's configuration, dotted; `group.*` where anything below a group is accepted."""
    return _listed(library_named(name).keys_file)


def flat_openrlhf_flags() -> frozenset[str]:
    """The flags of OpenRLHF before 0.11, which have no group: `eps_clip` where 0.11 has `actor.eps_clip`."""
    return _listed("openrlhf_flat.txt")


@cache
def _groups(name: str) -> tuple[frozenset[str], frozenset[str]]:
    keys = known_keys(name)
    opened = frozenset(key.removesuffix(".*") for key in keys if key.endswith(".*"))
    return opened, frozenset(".".join(key.split(".")[:n]) for key in keys for n in range(1, key.count(".") + 1))


def is_known(name: str, key: str) -> bool:
    """Whether a library's list has the key, a group of that name, or an open group above it."""
    opened, groups = _groups(name)
    parts = key.split(".")
    if name == "verl" and not _OPEN_PARTS.isdisjoint(parts):
        return True
    return key in known_keys(name) or key in groups or any(".".join(parts[:n]) in opened for n in range(1, len(parts)))


def closest_key(name: str, key: str) -> str | None:
    """The known key most like an unknown one, or None if nothing is near."""
    found = difflib.get_close_matches(key, sorted(known_keys(name)), n=1, cutoff=0.75)
    return found[0] if found else None
