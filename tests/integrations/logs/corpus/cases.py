"""The corpus: a situation, how it was logged, and the right answer of every claim, from the truth of the simulation.

`python -m tests.integrations.logs.corpus.cases` writes the files again.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from entclip.integrations.diagnose import Diagnosis, diagnose
from tests.integrations.logs.corpus.always import Labels
from tests.integrations.logs.corpus.case import DOWN, UP, Case, case
from tests.integrations.logs.corpus.newer import NEWER
from tests.integrations.logs.corpus.writers import Rows

__all__ = ["CASES", "FOLDER", "Case", "answered"]

FOLDER = Path(__file__).parent / "files"


_K16 = {"updates": 16, "rollouts": 12, "tokens": 4000}
_TOO_SMALL = {"cause": ("clip-too-small", "covariance", "side-unknown"), "change": (*DOWN, "not-enough")}
_NEVER: dict[str, Labels] = {
    "entropy": ("unlogged",),
    "names": ("merged-sides", "means-of-means", "dual-clip-name", "truncation-share", "impossible"),
    "differences": (),
    "change": (),
    "cause": (),
}
_COULD: Labels = ("clip-could", "open", "side-unknown")
_NOT_ENTROPY: dict[str, Labels] = {"entropy": (), "entropy-size": ("summed",), "change": (), "cause": ()}
_SMALL_FALL: Labels = ("clip-too-small", "covariance")
_NOT = {"change": (*DOWN, "not-enough")}
_NO = {"clip": ("none",), "inner-steps": (), "cause": ("not-the-clip", "covariance"), "change": ()}


def _named(rows: Rows, **values: float) -> Rows:
    return [row | values for row in rows]


def _summed(rows: Rows) -> Rows:
    return [row | {"entropy": row["entropy"] * row["length"]} for row in rows]


def _broken(rows: Rows) -> Rows:
    return [row | ({"entropy": float("nan")} if i % 7 == 3 else {}) for i, row in enumerate(rows)]


def _broke(rows: Rows) -> Rows:
    """A policy that is lost two thirds of the way: no metric of an update is a number from there on."""
    lost = {name: float("nan") for name in ("entropy", "clip_low", "clip_high", "clip_any", "dual", "kl", "kl3", "ratio")}
    return [row | (lost if i >= len(rows) * 2 / 3 else {}) for i, row in enumerate(rows)]


def _unlogged(rows: Rows) -> Rows:
    return _named(rows, entropy=float("nan"))


def _dipped(rows: Rows) -> Rows:
    return [row | {"entropy": row["entropy"] * (0.3 if 0.35 < i / len(rows) < 0.65 else 1)} for i, row in enumerate(rows)]


def _late(rows: Rows) -> Rows:
    """A first half in which no ratio leaves the band, as in a warm-up of the learning rate."""
    none = {"clip_low": 0.0, "clip_high": 0.0, "clip_any": 0.0}
    return [row | (none if i < len(rows) / 2 else {}) for i, row in enumerate(rows)]


def _density(rows: Rows) -> Rows:
    """Six actions of a Gaussian policy: entropies that fall below 0."""
    return [row | {"entropy": 6 * row["entropy"] - 3} for row in rows]


def _above_one(rows: Rows) -> Rows:
    return [row | {"clip_low": row["clip_low"] * 100} for row in rows]


_TRL_K4 = "epsilon: 0.2\nnum_generations: 8\ngradient_accumulation_steps: 1\nsteps_per_generation: 4"
_TRL_ONCE = "epsilon: 0.2\nnum_generations: 8\ngradient_accumulation_steps: 4"
_TRL_SAME = "epsilon: 0.2\nnum_generations: 8\ngradient_accumulation_steps: 1\nsteps_per_generation: 1\nnum_iterations: 4"
_VERL_K4 = (
    "data.train_batch_size=512 actor_rollout_ref.actor.ppo_mini_batch_size=128 actor_rollout_ref.actor.clip_ratio_low=0.2 "
    "actor_rollout_ref.actor.clip_ratio_high=0.2"
)

_SWIFT = (
    "swift rlhf --rlhf_type grpo --model m --num_generations 8 --epsilon 0.2 --steps_per_generation 4 "
    "--gradient_accumulation_steps 1"
)
_LOSS = "actor_rollout_ref.actor.policy_loss.loss_mode"
_ENGINE: dict[str, Labels] = {"inner-steps": ("engine",), "change": (), "ceiling": ()}

CASES: tuple[Case, ...] = (
    # A clip that acts, entropy steady: every library and form
    case("alive.trl.jsonl"),
    case("alive.trl.json"),
    case("alive.trl.log"),
    case("alive.trl4.jsonl"),
    case("alive.verl.log"),
    case("alive.verl.jsonl"),
    case("alive.verl.csv"),
    case("alive.openrlhf.log"),
    case("alive.openrlhf.jsonl"),
    case("alive.prime.jsonl", first=0.1),
    case("alive.prime.log", first=0.1, right={"clip": ("unknown",), "inner-steps": (), "names": ("engine-kl",)}),
    case("alive.sb3.csv"),
    case("alive.sb3.txt"),
    case("alive.sb3.tfevents"),
    case("alive.cleanrl.tfevents"),
    case("alive.cleanrl.csv"),
    case("alive.torchrl.jsonl"),
    case("alive.plain.csv"),
    case("sixteen.trl.jsonl", right={"inner-steps": ("sawtooth", "16")}, **_K16),
    case("eight.trl.json", updates=8, rollouts=16, right={"inner-steps": ("sawtooth", "8")}),
    case("two.trl.log", updates=2, rollouts=40, right={"inner-steps": ("sawtooth", "2")}),
    case("alive.verl.tfevents"),
    case("alive.trl.tfevents"),
    case("alive.slime.log"),
    case("alive.percent.csv"),
    case("alive.script.csv"),
    case("episodes.cleanrlepisodes.tfevents"),
    case("again.verlagain.log", end=0.35, sigma=0.06, rollouts=30, right=_TOO_SMALL),
    case("swift.trl.jsonl", _SWIFT),
    case("alive.skyrl.jsonl"),
    case("alive.skyrlearlier.jsonl"),
    case("collapse.skyrl.jsonl", start=0.9, end=0.2, sigma=0.07, rollouts=10, right=_TOO_SMALL),
    case("alive.trlppo.jsonl"),
    case("alive.trlppolater.json"),
    case(
        "collapse.trlppo.jsonl",
        start=0.9,
        end=0.2,
        sigma=0.07,
        rollouts=10,
        right={**_TOO_SMALL, "change": ("raise-width", "not-enough")},
    ),
    # The newest row first; steps that are counted anew in every epoch
    case("alive.trlreversed.jsonl"),
    case(
        "rises.plainreversed.csv",
        end=1.4,
        sigma=0.08,
        right={"clip": ("high",), "cause": _SMALL_FALL, "change": (*UP, "not-enough")},
    ),
    case("collapse.epochs.csv", start=0.8, end=0.2, rollouts=60, right={"cause": ("clip-could", "open", "side-unknown")}),
    case("collapse.epochsalone.csv", start=0.8, end=0.2, rollouts=60, right={"cause": ("clip-could", "open", "side-unknown")}),
    case("alive.nemo.jsonl"),
    case("alive.nemo.csv"),
    case("falls.nemo.jsonl", start=0.8, end=0.5),
    case("alive.trlranks.jsonl"),
    case("alive.plainranks.csv"),
    case("alive.verlvalidated.log", rollouts=30),
    case("alive.commas.csv"),
    case("rises.commas.csv", end=1.4, sigma=0.08, right={"clip": ("high",), "cause": _SMALL_FALL, "change": (*UP, "not-enough")}),
    case("alive.trl3.jsonl"),
    case("late.trl.jsonl", None, _late, right={"clip": ("both", "part-time")}),
    # A configuration that says what the share is of
    case("engine.verl.jsonl", f"{_VERL_K4} algorithm.rollout_correction.bypass_mode=True", first=0.1, right=_ENGINE),
    case(
        "covariance.verl.jsonl", f"{_VERL_K4} {_LOSS}=clip_cov", right={"clip": ("covariance",), "inner-steps": (), "change": ()}
    ),
    case("penalty.verl.jsonl", f"{_VERL_K4} {_LOSS}=kl_cov", sigma=0.001, right=_NO | {"cause": ()}),
    case(
        "one-update.verl.jsonl",
        "data.train_batch_size=128 actor_rollout_ref.actor.ppo_mini_batch_size=128",
        updates=1,
        first=0.1,
        right={"inner-steps": ("first-not-zero",)},
    ),
    case("weights.trlcispo.jsonl", right={"change": ()}),
    # The last row alone, which is the first update of a rollout
    case("summary.trllast.json", right={"entropy": (), "differences": (), "change": ()}),
    # Entropy that went and came back, and that of a density, of which there is no half
    case("dip.verl.jsonl", None, _dipped, right={"entropy": ("returns",), "change": ()}),
    case("dip.trl.jsonl", None, _dipped, right={"entropy": ("returns",), "change": ()}),
    case("density.sb3.csv", None, _density, start=0.9, end=0.3, right={"entropy": ("falls",)}),
    case("density.cleanrl.csv", None, _density, start=0.8, end=0.2, right={"entropy": ("falls",)}),
    # A clip that never acts
    case("inert.trl.jsonl", updates=1, rollouts=60, right=_NO | {"cause": ()}),
    case("inert-config.trl.jsonl", _TRL_ONCE, updates=1, rollouts=60, right=_NO | {"cause": ()}),
    case("inert.verl.log", updates=1, rollouts=40, right=_NO | {"cause": ()}),
    case("inert-falls.verl.jsonl", updates=1, rollouts=40, end=0.4, right=_NO),
    case("inert-falls.openrlhf.log", updates=1, rollouts=40, end=0.2, right=_NO),
    case("inert-rises.trl.json", updates=1, rollouts=60, end=1.1, right=_NO),
    case("inert.sb3.csv", updates=1, rollouts=40, right=_NO | {"cause": ()}),
    case("tiny-steps.trl.jsonl", _TRL_K4, sigma=0.02, right=_NO | {"cause": ()}),
    # One side
    case("low.trl.jsonl", high=9.0, right={"clip": ("low",)}),
    case("high.trl.json", low=0.999, right={"clip": ("high",)}),
    case("low.plain.csv", high=9.0, right={"clip": ("low",)}),
    case("high.plain.csv", low=0.999, right={"clip": ("high",)}),
    case("hard-prompts.trl.jsonl", positive=0.1, right={"clip": ("low",)}),
    case("easy-prompts.trl.log", positive=0.9, right={"clip": ("high",)}),
    # Collapse under a true reward: the low side's share six times the high side's. It is not the low side's doing.
    case(
        "collapse-low.trl.jsonl",
        positive=0.03,
        start=0.7,
        end=0.1,
        reward=(0.2, 0.6),
        sigma=0.09,
        right={"clip": ("low",), "cause": (*_SMALL_FALL, "low-side-holds-up"), **_NOT},
    ),
    case(
        "collapse-low.trl.json",
        _TRL_K4,
        positive=0.03,
        start=0.9,
        end=0.2,
        reward=(0.2, 0.6),
        sigma=0.09,
        right={"clip": ("low",), "cause": (*_SMALL_FALL, "low-side-holds-up"), **_NOT},
    ),
    case(
        "collapse-low.plain.csv",
        positive=0.03,
        start=0.6,
        end=0.1,
        reward=(0.2, 0.6),
        sigma=0.09,
        right={"clip": ("low",), "cause": (*_SMALL_FALL, "low-side-holds-up"), **_NOT},
    ),
    case(
        "collapse-high.trl.log",
        start=0.8,
        end=0.15,
        reward=(0.3, 0.7),
        sigma=0.08,
        right={"clip": ("high",), "cause": _SMALL_FALL, **_NOT},
    ),
    case("collapse.verl.log", start=0.7, end=0.1, reward=(0.3, 0.7), sigma=0.07, rollouts=10, right=_TOO_SMALL),
    case(
        "collapse.verl.jsonl",
        _VERL_K4,
        start=0.7,
        end=0.1,
        reward=(0.3, 0.7),
        sigma=0.07,
        rollouts=12,
        right=_TOO_SMALL,
    ),
    case("collapse.openrlhf.jsonl", start=0.9, end=0.2, sigma=0.07, rollouts=10, right=_TOO_SMALL),
    case("collapse.prime.jsonl", start=0.7, end=0.1, first=0.1, right={"cause": ("unbounded",)}),
    case("collapse.sb3.csv", start=1.2, end=0.2),
    case("collapse.cleanrl.csv", start=1.2, end=0.2),
    case("falls.cleanrl.tfevents", start=1.2, end=0.8),
    # Entropy rises
    case("rises.trl.jsonl", end=1.4, sigma=0.08, right={"clip": ("high",), "cause": _SMALL_FALL, "change": (*UP, "not-enough")}),
    case(
        "bonus.trl.json",
        _TRL_K4 + "\nentropy_coef: 0.01",
        end=1.4,
        sigma=0.08,
        right={"clip": ("high",), "cause": ("clip-too-small", "bonus"), "change": ("lower-bonus", *UP, "not-enough")},
    ),
    case("rises.sb3.txt", end=1.4),
    case("rises.plain.csv", end=1.4, sigma=0.08, right={"clip": ("high",), "cause": _SMALL_FALL, "change": (*UP, "not-enough")}),
    # The clip could have done it: large noise, a small change, all on one side
    case(
        "could.trl.jsonl",
        low=0.999,
        sigma=0.4,
        rollouts=60,
        start=0.7,
        end=0.62,
        scatter=0.01,
        right={"clip": ("high",), "cause": ("clip-could", "open")},
    ),
    case(
        "could.plain.csv",
        high=9.0,
        sigma=0.4,
        rollouts=60,
        start=0.7,
        end=0.78,
        scatter=0.01,
        right={"clip": ("low",), "cause": ("clip-could", "open")},
    ),
    case("noisy.trl.jsonl", scatter=0.25, right={"entropy": ("unclear",), "change": ()}),
    case("noisy.sb3.csv", scatter=0.25, right={"entropy": ("unclear",), "change": (), "cause": ()}),
    # Shares near and above their ceiling
    case("ceiling.trl.jsonl", low=0.0003, high=0.0004, sure=0.0, right={"ceiling": ("near",)}),
    case("ceiling.verl.jsonl", _VERL_K4, low=0.0003, high=0.0004, sure=0.0, right={"ceiling": ("near",)}),
    case("ceiling.plain.csv", low=0.003, high=0.003, sure=0.0, right={"ceiling": ("near",)}),
    case("above.verl.jsonl", _VERL_K4, low=0.003, high=0.003, sure=0.0, first=0.4, right={"ceiling": ("above",)}),
    # Ratios with a bias
    case(
        "kept-mass.plain.csv",
        shift=-0.16,
        first=0.05,
        sure=0.2,
        right={"clip": ("low",), "inner-steps": ("first-not-zero",), "bias": ("ratio-below-one",)},
    ),
    case("kept-mass.verl.jsonl", shift=0.12, first=0.05, sure=0.2, right={"bias": ("ratio-above-one", "or-training")}),
    case("biased.cleanrl.csv", shift=-0.1, first=0.05, sure=0.2, right={"bias": ("ratio-below-one", "or-training")}),
    case("precision.trl.jsonl", _TRL_K4, first=0.15, right={"inner-steps": ("first-not-zero",)}),
    # Flat groups
    case("flat.trl.jsonl", flat=0.8, right={"flat-groups": ("many",)}),
    case(
        "flat.trl.json",
        flat=0.7,
        end=0.2,
        sigma=0.08,
        right={"clip": ("high",), "flat-groups": ("many",), "cause": _SMALL_FALL, **_NOT},
    ),
    # Metrics that are not what they say
    case("summed.verl.log", None, _summed, right=_NOT_ENTROPY),
    case("summed.verl.csv", None, _summed, start=0.7, end=0.2, right=_NOT_ENTROPY),
    case("broke.trl.jsonl", None, _broke, right={"broken": ("no-number",)}),
    case("broke.verl.log", None, _broke, start=0.8, end=0.5, right={"broken": ("no-number",), "cause": _COULD}),
    case("broke.plainreversed.csv", None, _broke, right={"broken": ("no-number",)}),
    case("broke.sb3.csv", None, _broke, right={"broken": ("no-number",)}),
    case("never.verl.jsonl", None, _unlogged, right=_NEVER),
    case("contradicted.trl.jsonl", _TRL_K4.replace("generation: 4", "generation: 16"), right={"config": ("contradicted",)}),
    case("off.trl.jsonl", f"{_TRL_K4}\nepsilon_high: 1.0e+9", right={"config": ("contradicted",)}),
    case("nan.trl.jsonl", None, _broken, right={"gaps": ("no-number-in-rows",)}),
    case(
        "percent.trl.jsonl",
        None,
        _above_one,
        sigma=0.3,
        right={"clip": ("percent",), "inner-steps": (), "names": ("reference-kl", "impossible"), "change": ()},
    ),
    # One batch several times: differences are read
    case("same.trl.jsonl", _TRL_SAME, right={"differences": ("read",)}),
    *NEWER,
)


@cache
def answered(name: str) -> Diagnosis:
    """The diagnosis of a case, made once."""
    (found,) = (each for each in CASES if each.name == name)
    return diagnose(FOLDER / name, config=found.config)


def main() -> None:
    """Write the files."""
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.iterdir():
        old.unlink()
    for each in CASES:
        (FOLDER / each.name).write_bytes(each.data())


if __name__ == "__main__":
    main()
