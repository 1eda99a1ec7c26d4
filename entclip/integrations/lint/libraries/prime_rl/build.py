"""From the keys of prime-rl to facts, as its source computes them."""

from __future__ import annotations

from dataclasses import replace

from entclip.integrations.lint.facts import TO_ENGINE, Fact, Reader, TrainerConfig, Updates
from entclip.integrations.lint.values import shown

__all__ = ["build"]

_OLD_GROUP = "orchestrator.rollouts_per_example"


def build(read: Reader, evidence: str) -> TrainerConfig:
    """Return what prime-rl computes from its keys."""
    loss, algo = read("trainer.loss.type"), read("orchestrator.algo.type")
    old = _OLD_GROUP in read.values
    kind = {"default": "dppo_tv", "ipo": "ipo", "custom": "custom"}.get(str(loss.value), "unknown")
    low, high = read.bound("trainer.loss.dppo_mask_low"), read.bound("trainer.loss.dppo_mask_high")
    if kind == "ipo":
        low = high = read.bound("trainer.loss.ipo_threshold")
    elif kind in ("custom", "unknown"):
        low = high = Fact(None, loss.key, loss.explicit)
    if algo.value in ("sft", "opd", "opsd"):
        kind, low, high = "unused", Fact(None, algo.key, True), Fact(None, algo.key, True)
    if old and not (kind == "dppo_tv" and (low.explicit or high.explicit)):  # of a loss without these masks
        kind, low, high = "unknown", Fact(None, loss.key), Fact(None, loss.key)
    stale = read.number("orchestrator.max_off_policy_steps")
    late = stale.unknown or stale.value > 0
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
            engine="prime-rl's losses always do",
            stale=f"up to {stale.key} = {shown(stale.value)} versions" if late else "",
            mismatch_only=""
            if late
            else "One update per batch and no stale rollouts (orchestrator.max_off_policy_steps = 0): only the mismatch between "
            "the trainer's and the inference engine's probabilities can reach the mask.",
        ),
        temperature=read.number("orchestrator.train.sampling.temperature"),
        advantage=replace(algo, value="mean" if algo.value == "max_rl" else "none"),
        aggregation=Fact("token-mean", loss.key),
        group_size=read(next((key for key in (own, _OLD_GROUP) if key in read.values), "orchestrator.group_size")),
        assumed="rollouts_per_example is a key of prime-rl up to 0.5, whose loss is not the one known here" if old else "",
        entropy_coef=Fact(0.0, loss.key),
        kl_coef=read.number("trainer.loss.kl_tau") if kind in ("dppo_tv", "ipo") else Fact(0.0, loss.key),
        log_prob_dtype=Fact("unknown", "trainer.model"),
        engine_correction=Fact(TO_ENGINE, loss.key),
    )
