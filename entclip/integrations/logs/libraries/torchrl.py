"""TorchRL's GRPO loss, as scripts log what it returns."""

from entclip.integrations.logs.names import Alias, LogLibrary, aliases

TORCHRL = LogLibrary(
    name="torchrl",
    title="TorchRL",
    version="0.14.1",
    marks=("loss_objective", "kl_approx", "ess"),
    aliases=(
        *aliases("step", "step", "_step"),
        Alias("clip_fraction", "clip_any", ("merged-sides", "ungated", "padding")),
        *aliases("entropy", "entropy"),
        Alias("kl_approx", "kl_old", ("padding",)),
        *aliases("kl_reference", "kl_to_ref", caveats=("reference-kl",)),
        *aliases("reward", "reward"),
        Alias("loss_objective", "loss"),
        Alias("ess", "effective_samples"),
    ),
    rows="update",
)
