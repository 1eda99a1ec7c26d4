"""verl 0.9.1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from entclip.integrations.lint.libraries.verl import traps
from entclip.integrations.lint.libraries.verl.build import build
from entclip.integrations.lint.libraries.verl.defaults import DEFAULTS
from entclip.integrations.lint.libraries.verl.write import write
from entclip.integrations.lint.library import Library

__all__ = ["VERL", "traps"]

_ACTOR, _ROLLOUT = "actor_rollout_ref.actor.", "actor_rollout_ref.rollout."
# Users extend these with + keys: another library's settings, or a reward's own.
_OPEN_GROUPS = frozenset(
    (
        "override_config",
        "override_transformer_config",
        "override_ddp_config",
        "env_vars",
        "reward_kwargs",
        "teacher_models",
        "turbo_config",
    )
)


def _other_files(values: Mapping[str, Any]) -> list[str]:
    """Keys that name a configuration other than those that come with verl, whose defaults are known here."""
    named = str(values.get("config_name", "ppo_trainer")).removesuffix(".yaml")
    path = str(values.get("config_path", "config")).removeprefix("./")
    shipped = named in ("ppo_trainer", "ppo_megatron_trainer") and path == "config"
    return [key for key in ("config_name", "config_path") if values.get(key) is not None and not shipped]


VERL = Library(
    name="verl",
    title="verl",
    version="0.9.1",
    defaults=DEFAULTS,
    entry=r"(verl|recipe)\.[\w.]*(main_\w+|fully_async_main|sft_trainer)",
    package=__name__,
    build=build,
    write=write,
    losses=(
        "vanilla",
        "dppo_tv",
        "dppo_kl",
        "gspo",
        "sapo",
        "gpg",
        "clip_cov",
        "kl_cov",
        "geo_mean",
        "dro",
        "cispo",
        "bypass_mode",
    ),
    deciding=("actor_rollout_ref.", "algorithm.adv_estimator", "algorithm.rollout_correction."),
    other_work=r"main_(generation|eval)|sft",
    more_updates="set ppo_mini_batch_size below data.train_batch_size, or ppo_epochs above 1",
    std_offset="ddof 1, +1e-6",
    truncation={_ROLLOUT + "top_p": (1,), _ROLLOUT + "top_k": (0, -1)},
    wrong_for_sequences=("token-mean", "token-sum"),
    right_for_sequences=f"{_ACTOR}loss_agg_mode = seq-mean-token-mean",
    sapo_keys=(_ACTOR + "tau_pos", _ACTOR + "tau_neg"),
    precise="set fsdp_config.dtype to float16, which rounds eight times finer",
    cap_note=" verl's vanilla loss has no way to switch it off but a large value.",
    open_groups=_OPEN_GROUPS,
    free_prefixes=("config_name", "config_path", "config_dir", "hydra.", "model_engine"),
    other_files=_other_files,
)
