"""prime-rl's trainer: its ratio is to the inference engine's probabilities, and its mask bounds changes of probability."""

from entclip.integrations.logs.names import LogLibrary, aliases

_MASK = ("probability-mask",)

PRIME_RL = LogLibrary(
    name="prime-rl",
    title="prime-rl",
    version="0.8.0",
    marks=(
        "is_masked/mean",
        "is_masked_low/mean",
        "is_masked_high/mean",
        "mismatch_kl/mean",
        "mismatch_kl/all/mean",
        "mismatch kl",
        "entropy/all/mean",
        "entropy/mean",
    ),
    aliases=(
        *aliases("step", "step", "progress/step", "_step"),
        *aliases("mask_low", "is_masked_low/mean", "is_masked_low/all/mean", caveats=_MASK),
        *aliases("mask_high", "is_masked_high/mean", "is_masked_high/all/mean", caveats=_MASK),
        *aliases("mask", "is_masked/mean", "is_masked/all/mean", caveats=_MASK),
        *aliases("entropy", "entropy/all/mean", "entropy/mean", "entropy"),
        *aliases("kl_engine_k3", "mismatch_kl/all/mean", "mismatch_kl/mean", "mismatch kl", caveats=("engine-kl",)),
        *aliases("loss", "loss/mean", "loss"),
        *aliases("grad_norm", "optim/grad_norm", "grad. norm"),
        *aliases("rate", "optim/lr", "lr"),
        *aliases("reward", "reward/all/mean", "reward/mean", "reward"),
        *aliases("length", "seq_len/all/mean", "seq_len/mean"),
    ),
    rows="rollout",
    ratio_to="engine",
    configs=("prime-rl",),
)
