"""Traps that only SkyRL has."""

from __future__ import annotations

from entclip.integrations.lint.facts import TrainerConfig, stated
from entclip.integrations.lint.rules import rule

__all__: list[str] = []

_FRACTION = "trainer.algorithm.kl_cov.kl_cov_frac"


@rule("kl-cov-defaults", "warn", "skyrl")
def _kl_cov(config: TrainerConfig) -> str | None:
    if config.kind != "kl_cov" or config.values.get(_FRACTION) is not None:
        return None
    return (
        f"{stated(config.get(_FRACTION))}: the share of tokens that get the penalty, a hundred times the original repository's "
        "(k_percent 0.2 is 0.2 %, 2e-3). Set it to 0.002 to reproduce a published run."
    )


@rule("covariance-clip-metric", "warn", "skyrl")
def _covariance(config: TrainerConfig) -> str | None:
    if config.kind == "clip_cov":
        return (
            "Under policy_loss_type = clip_cov, clip_ratio is the share that the covariance rule dropped, not the share that the "
            "ratio clip acted on; covariances are taken within a micro-batch, so they change with its size."
        )
    if config.kind == "kl_cov":
        return (
            "policy_loss_type = kl_cov has no ratio clip and logs clip_ratio = 0. Its penalty |log r| is flat at "
            "ratio 1, and tokens are picked within a micro-batch, so they change with its size."
        )
    return None
