"""Work of the libraries that is no policy gradient: supervised and preference losses, reward models, generation.

It is refused by its name: none of it has a ratio of the policy to the one that sampled, and so no ratio clip. What says so is the
program that is started, a class of a Python script, or the settings themselves.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from entclip.integrations.lint.libraries import LIBRARIES

__all__ = ["of_class", "of_program", "of_script", "of_settings", "refusal"]

_KINDS = {
    "SFT": "supervised fine-tuning (SFT), whose loss is the likelihood of given answers",
    "DPO": "DPO, whose loss compares pairs of given answers",
    "KTO": "KTO, whose loss weighs given answers by whether they are wanted",
    "ORPO": "ORPO, whose loss compares the odds of pairs of given answers",
    "CPO": "CPO (SimPO among its losses), which compares pairs of given answers",
    "preferences": "work on preferences, DPO or a reward model, whose loss compares pairs of given answers",
    "BCO": "BCO, whose loss classifies given answers",
    "online DPO": "online DPO, which samples pairs of answers and compares them by DPO's loss",
    "Nash-MD": "Nash-MD, which samples pairs of answers and has a loss of preferences",
    "XPO": "XPO, which samples pairs of answers and compares them by a loss of DPO's kind",
    "GKD": "distillation, whose loss is a divergence from a teacher",
    "reward model": "the training of a reward model, which is no policy",
    "PRM": "the training of a process reward model, which is no policy",
    "pretraining": "pretraining, whose loss is the likelihood of given text",
    "generation": "generation or evaluation, not training",
}
# Words of programs, classes and settings, in lower case.
_WORDS = {
    **dict.fromkeys(("sft", "finetune", "fsdp_sft"), "SFT"),
    **dict.fromkeys(("dpo", "ipo"), "DPO"),
    **dict.fromkeys(("online_dpo", "onlinedpo"), "online DPO"),
    **dict.fromkeys(("nash_md", "nashmd"), "Nash-MD"),
    **dict.fromkeys(("cpo", "simpo"), "CPO"),
    **dict.fromkeys(("gkd", "kd", "minillm", "distill", "distillation"), "GKD"),
    **dict.fromkeys(("rm", "reward", "reward_model", "reward_modeling"), "reward model"),
    **dict.fromkeys(("pt", "pretrain", "pretraining"), "pretraining"),
    **dict.fromkeys(("generation", "eval", "infer", "rollout", "deploy", "export", "sample"), "generation"),
    **{word: word.upper() for word in ("kto", "orpo", "bco", "xpo", "prm")},
}
_PROGRAM = re.compile(
    r"(?:^|\s|/)(?:trl\.scripts\.(\w+)|trl\s+(\w+)|openrlhf\.cli\.train_(\w+)|verl\.[\w.]*?(sft)_trainer\w*"
    r"|(?:verl|recipe)\.[\w.]*?main_(generation|eval)\w*|(?:swift|megatron)\s+(\w+))(?=\s|$)"
)
# A script of a policy gradient, whatever else is in its name.
_POLICY = {"grpo", "ppo", "rloo", "gspo", "dapo", "rl", "reinforce", "rlvr"}
_LOSS_KEYS = ("loss_type", "dpo_loss_type", "pref_loss", "preference_loss")
_LOSSES = {
    **dict.fromkeys(("sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard", "discopop"), "DPO"),
    **dict.fromkeys(("aot", "aot_pair", "aot_unpaired", "apo_zero", "apo_down", "sigmoid_norm", "dpo"), "DPO"),
    **dict.fromkeys(("kto", "apo_zero_unpaired"), "KTO"),
    **dict.fromkeys(("simpo", "alphapo"), "CPO"),
    **dict.fromkeys(("nll", "dft", "sft"), "SFT"),
    "orpo": "ORPO",
}
_KIND_KEYS = ("rlhf_type", "rl", "stage", "trainer_type", "train_type", "training_type")
_KEYS = {
    **dict.fromkeys(("precompute_ref_log_probs", "f_divergence_type", "reference_free", "rpo_alpha", "ld_alpha"), "DPO"),
    **dict.fromkeys(("desirable_weight", "undesirable_weight"), "KTO"),
    **dict.fromkeys(("simpo_gamma", "cpo_alpha"), "CPO"),
    **dict.fromkeys(("packing", "completion_only_loss", "assistant_only_loss", "dataset_text_field", "max_seq_length"), "SFT"),
    "center_rewards_coefficient": "reward model",
    "step_separator": "PRM",
    "seq_kd": "GKD",
}

_DATA = ("dataset", "dataset_name", "train_dataset", "dataset_path")
_PAIRS = re.compile(r"binarized|preference|pairwise|hh-rlhf|(?<![a-z])dpo(?![a-z])")


def refusal(evidence: str, kind: str) -> str:
    """Return the sentence that refuses work of a kind."""
    why = "" if kind in ("generation", "reward model", "PRM") else " and takes no ratio to the policy that sampled"
    return f"this is {_KINDS[kind]}{why} ({evidence}): there is no ratio clip in it."


def of_program(line: str) -> tuple[str, str]:
    """Return the words of a command that start such work, and its kind; both empty where none do."""
    for match in _PROGRAM.finditer(line):
        word = next(group for group in match.groups() if group is not None)
        if word in _WORDS:
            return match[0].strip(" /"), _WORDS[word]
    return "", ""


def of_script(command: str) -> str:
    """Return the kind of work that a script is for by its name, dpo.py or run_sft.py, empty where the name does not say."""
    name = command.rpartition("/")[2].lower()
    if not name.endswith(".py"):
        return ""
    parts = re.split(r"[\W_]+", name.removesuffix(".py"))
    pairs = ["_".join(pair) for pair in pairwise(parts)]
    return "" if _POLICY.intersection(parts) else next((_WORDS[word] for word in (*pairs, *parts) if word in _WORDS), "")


def of_class(name: str) -> str:
    """Return the kind of work that a class is for by its name, DPOConfig or SFTTrainer, empty for any other.

    A GenerationConfig says nothing: a training samples, too.
    """
    match = re.fullmatch(r"(\w+?)(Config|Trainer|TrainingArguments)", name)
    kind = "" if match is None else _WORDS.get(match[1].lower(), "")
    return "" if kind == "generation" else kind


def of_settings(values: Mapping[str, Any], *, started: bool) -> tuple[str, str]:
    """Return the setting that says what other work this is, and its kind; both empty where none does.

    A loss, a key or data of preferences says so only where no key of a policy gradient stands beside it: there it is a slip.
    started: whether a command of a policy gradient is known, so that only a setting that chooses the work counts.
    """
    for key, value in values.items():
        if key.rpartition(".")[2] in _KIND_KEYS and isinstance(value, str) and value.lower() in _WORDS:
            return f"{key} = {value}", _WORDS[value.lower()]
    if started or any(_decides(key) for key in values):
        return "", ""
    for key, value in values.items():
        losses = [str(each).lower() for each in (value if isinstance(value, list) else [value])]
        kinds = [_LOSSES[loss] for loss in losses if loss in _LOSSES]
        if key.rpartition(".")[2] in _LOSS_KEYS and kinds and len(kinds) == len(losses):
            return f"{key} = {value}", next((kind for kind in kinds if kind != "SFT"), "SFT")
    for key in values:
        group, last = key.partition(".")[0], key.rpartition(".")[2]
        if last in _KEYS or (group in ("dpo", "sft") and "." in key):
            return f"a configuration with {key}", _KEYS.get(last) or group.upper()
    for key, value in values.items():
        if key.rpartition(".")[2] in _DATA and isinstance(value, str) and _PAIRS.search(value.lower()):
            return f"{key} = {value}", "preferences"
    return "", ""


def _decides(key: str) -> bool:
    """Whether a key is one of a policy gradient."""
    last = key.rpartition(".")[2]
    return last not in (*_LOSS_KEYS, *_KIND_KEYS) and any(library.decides(key) for library in LIBRARIES.values())
