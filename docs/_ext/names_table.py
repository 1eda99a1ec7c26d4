"""The table of names in docs/notation.md, from what `entclip lint` itself reads; `python docs/_ext/names_table.py` prints it."""

from __future__ import annotations

from entclip.integrations.lint.config import read_config
from entclip.integrations.lint.facts import Fact, TrainerConfig
from entclip.integrations.lint.libraries import LIBRARIES
from entclip.integrations.lint.values import shown

# Configurations that set every bound, so that each fact carries the key of its own side.
_SET = {
    "trl": "epsilon: 0.2\nepsilon_high: 0.28\ndelta: 3.0\n",
    "verl": "actor_rollout_ref: {actor: {clip_ratio_low: 0.2, clip_ratio_high: 0.28, clip_ratio_c: 3.0}}\n",
    "openrlhf": "python -m openrlhf.cli.train_ppo_ray --actor.eps_clip_low_high 0.2 0.28 --actor.dual_clip 3\n",
    "prime-rl": "[trainer.loss]\ndppo_mask_low = 0.2\ndppo_mask_high = 0.2\n",
}
_ROWS = {
    "low": "low side",
    "high": "high side",
    "cap": "third bound",
    "objective": "objective",
    "advantage": "advantage",
    "aggregation": "aggregation",
    "group_size": "group size",
    "temperature": "temperature",
    "entropy_coef": "entropy bonus",
    "kl_coef": "KL penalty",
}


def names_table() -> str:
    """Markdown: one column per library, the key of each setting with the library's default in brackets."""
    configs = {name: read_config(text, name) for name, text in _SET.items()}
    titles = [LIBRARIES[name].release for name in configs]
    rows = [f"| | {' | '.join(titles)} |", "|---" * (len(titles) + 1) + "|"]
    rows += [f"| {title} | {' | '.join(_cell(config, part) for config in configs.values())} |" for part, title in _ROWS.items()]
    return "\n".join(rows)


def _cell(config: TrainerConfig, part: str) -> str:
    fact: Fact = getattr(config, part)
    if part in ("cap", "entropy_coef") and fact.key == config.objective.key:
        return "none"
    key = fact.key.removeprefix("actor_rollout_ref.")
    if fact.key not in config.library.defaults:
        return f"`{key}`"
    return f"`{key}` ({shown(config.library.defaults[fact.key])})"


if __name__ == "__main__":
    print(names_table())
