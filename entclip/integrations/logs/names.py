"""What a logged name means: quantities, the libraries' names for them, and what a name does not say.

Nothing outside `libraries/` asks for a library by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["CAVEATS", "OF_UPDATES", "QUANTITIES", "Alias", "LogLibrary", "aliases", "plain_name"]

# What a column can be, and how a reader is told. Shares of clip events are per token and count an event only where the sign of
# the advantage lets the clip act, unless they end in _any.
QUANTITIES: dict[str, str] = {
    "step": "training step",
    "episodes": "responses so far",
    "rollout": "rollout",
    "inner_step": "update within a rollout",
    "batch": "number of the batch",
    "clip_low": "low-side clip share",
    "clip_high": "high-side clip share",
    "clip_merged": "clip share, both sides",
    "clip_low_any": "share below the band, whatever the advantage",
    "clip_high_any": "share above the band, whatever the advantage",
    "clip_any": "share outside the band, whatever the advantage",
    "clip_width": "clip width",
    "dual_clip": "dual-clip share",
    "low_extreme": "smallest low-side share of a response",
    "high_extreme": "largest high-side share of a response",
    "entropy": "entropy",
    "entropy_extreme": "extreme entropy of a response",
    "entropy_quantile": "quantile of the tokens' entropies",
    "held": "share of tokens whose weight is held at its bound",
    "kl_old": "mean of log(pi_old/pi)",
    "kl_old_k3": "mean of r - 1 - log r",
    "kl_old_k2": "half the mean square of the log-ratio",
    "kl_reference": "KL to the reference policy",
    "kl_engine": "KL between trainer and sampling engine",
    "kl_engine_k3": "r - 1 - log r against the sampling engine",
    "ratio_mean": "mean ratio",
    "log_ratio_rms": "root mean square of the log-ratio",
    "log_ratio_mean": "mean log-ratio",
    "mask_low": "low-side share of the probability mask",
    "mask_high": "high-side share of the probability mask",
    "mask": "share of the probability mask",
    "ratio_mean_engine": "mean ratio to the sampling engine",
    "ratio_std_engine": "standard deviation of the ratio to the sampling engine",
    "ratio_extreme_engine": "extreme ratio to the sampling engine",
    "chi2_engine": "mean square of the ratio to the sampling engine, less 1",
    "log_prob_gap_engine": "mean |log-probability of trainer less that of engine|",
    "prob_gap_engine": "mean |probability of trainer less that of engine|",
    "rejected": "share of tokens that are rejected for their ratio to the sampling engine",
    "reward": "reward",
    "reward_std": "standard deviation of the reward",
    "flat_groups": "share of groups whose rewards are all equal",
    "length": "length of a response",
    "truncated": "share of responses that were cut off",
    "entropy_coef": "weight of the entropy bonus",
    "effective_samples": "effective sample size",
    "loss": "policy loss",
    "grad_norm": "norm of the gradient",
    "rate": "learning rate",
    "epochs_done": "epochs so far",
    "measured": "entropy change of the update on the same states",
}

# A row that has none of these, such as an episode's reward or an evaluation, is no update.
OF_UPDATES = frozenset(QUANTITIES) - frozenset(
    (
        "step",
        "episodes",
        "rollout",
        "inner_step",
        "batch",
        "reward",
        "reward_std",
        "flat_groups",
        "length",
        "truncated",
        "rate",
        "epochs_done",
        "rejected",
    )
)

# What is said where a name misleads.
CAVEATS: dict[str, str] = {
    "merged-sides": "adds the two sides, whose effects on entropy are opposite",
    "dual-clip-name": "is the share of the dual clip (A < 0 and a ratio above the cap), not of the low side",
    "ungated": "counts every ratio outside the band, also where the sign of the advantage keeps the gradient: about twice the "
    "share that loses it",
    "gate-unknown": "does not say whether it looks at the sign of the advantage: if it does not, half of it loses its gradient",
    "held-weight": "is the share of tokens whose weight is held at its bound: they keep their gradient, none is dropped",
    "padding": "is a mean over all positions, padding included",
    "extremes": "is an extreme over responses of their own shares, not a share of tokens",
    "means-of-means": "averages shares of micro-batches and ranks without their token counts",
    "means-once": "averages shares of micro-batches and ranks without their token counts before version 0.9.9",
    "reference-kl": "is the distance to the reference policy: it does not measure how far the policy moved from the one in the "
    "ratio",
    "engine-kl": "is the mismatch between trainer and sampling engine plus staleness, not the size of the updates",
    "truncation-share": "is the share of responses cut at the length limit and has nothing to do with the clip",
    "negated-entropy": "is minus the entropy",
    "loss-mode-entropy": "is aggregated as the loss is (loss_agg_mode): with a sum over tokens it is about entropy times length",
    "mean-of-responses": "is a mean over responses of their own means, unless calculate_per_token_loss is set: short responses "
    "weigh as much as long ones",
    "sampled-entropy": "is estimated from the sampled tokens alone, each weighed by the ratio to the sampling engine: it "
    "scatters more than an entropy of whole distributions, and engine mismatch is in it",
    "sampled-surprisal": "is the mean of -log pi of the sampled tokens: it estimates the entropy, scatters more, and is as large "
    "on average only on-policy at temperature 1. From a rollout's second update on it is a cross-entropy, above the old policy's "
    "entropy by the KL, and holds what training does to these very tokens",
    "response-means": "is a mean over responses of their own means: tokens of short ones weigh more",
    "entropy-extremes": "is an extreme over responses of their own mean entropies, not the batch's entropy",
    "entropy-threshold": "is a quantile of the tokens' entropies: tokens below it carry no gradient, and clip shares count them",
    "truncated-weights": "is of weights that are cut off at a cap: the mean may be below 1 for that alone",
    "entropy-temperature": "is taken at temperature 1 before version 0.11.2, log-probabilities at the sampling temperature",
    "probability-mask": "is the share of a mask on changes of probability, not of a ratio clip: it acts on frequent tokens",
    "last-epoch": "is a mean over the last epoch only, the one farthest from the old policy",
    "last-minibatch": "is that of the last minibatch only, the one farthest from the old policy",
}


@dataclass(frozen=True)
class Alias:
    """A name and what it is. caveats: keys of CAVEATS that hold for it; scale: what makes the logged number the quantity."""

    name: str
    quantity: str
    caveats: tuple[str, ...] = ()
    scale: float = 1.0


@dataclass(frozen=True)
class LogLibrary:
    """The names that a library logs, as of a version.

    Attributes:
        marks: names that only its logs have; two joined by " & " where only both together are its own.
        aliases: in order of preference: of two that are the same quantity the first that is there is read.
        rows: what a row is: "update" (one update, if it logs every one) or "rollout" (a mean over all updates of a rollout).
        ratio_to: the policy in the ratio: "old" (the trainer's own: the first update of a rollout has ratio 1) or "engine".
        tokens: whether actions are tokens of a language model, so that entropies are per token and no density's.
        passes: from a configuration to how many consecutive rows are one batch, None if that cannot be told.
        configs: names in lint of the libraries whose runs log these names, its own first; empty where lint reads none.
    """

    name: str
    title: str
    version: str
    marks: tuple[str, ...]
    aliases: tuple[Alias, ...]
    rows: Literal["update", "rollout"]
    ratio_to: Literal["old", "engine"] = "old"
    tokens: bool = True
    passes: Callable[[Mapping[str, Any]], int | None] | None = None
    configs: tuple[str, ...] = ()


def plain_name(name: str) -> str:
    """Return a logged name in lower case and without the prefix that a tracker puts before it."""
    name = name.strip().lower()
    return name.removeprefix("train/").removeprefix("metrics/")


def aliases(quantity: str, *names: str, caveats: Iterable[str] = (), scale: float = 1.0) -> tuple[Alias, ...]:
    """Return an alias for each name of one quantity."""
    return tuple(Alias(name, quantity, tuple(caveats), scale) for name in names)
