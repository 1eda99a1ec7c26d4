"""What the log of each library always has, whatever happened: labels of claims by the first part of a writer's name."""

from __future__ import annotations

__all__ = ["ALWAYS", "Labels"]

Labels = tuple[str, ...]
_MERGED = ("merged-sides", "means-of-means")
# What a library's log always has.
ALWAYS: dict[str, dict[str, Labels]] = {
    "trl": {"clip": ("both",), "inner-steps": ("sawtooth", "4"), "names": ("reference-kl",), "flat-groups": ("few",)},
    "trl4": {"clip": ("both",), "inner-steps": ("averaged",), "names": ("reference-kl",), "flat-groups": ("few",)},
    "verl": {
        "clip": ("merged",),
        "inner-steps": ("averaged",),
        "names": (*_MERGED, "dual-clip-name", "loss-mode-entropy", "truncation-share"),
    },
    "openrlhf": {
        "clip": ("merged",),
        "inner-steps": ("averaged",),
        "names": ("merged-sides", "means-once", "entropy-temperature", "reference-kl"),
    },
    "prime": {"clip": ("mask",), "inner-steps": ("engine",), "names": ("probability-mask", "engine-kl")},
    "sb3": {
        "clip": ("ungated",),
        "inner-steps": ("averaged",),
        "names": ("merged-sides", "ungated", "negated-entropy", "last-epoch"),
    },
    "cleanrl": {"clip": ("ungated",), "inner-steps": ("averaged",), "names": ("merged-sides", "ungated", "last-minibatch")},
    "torchrl": {"clip": ("ungated",), "inner-steps": ("sawtooth", "4"), "names": ("merged-sides", "ungated", "padding")},
    "plain": {"clip": ("both",), "inner-steps": ("sawtooth", "4")},
    "percent": {"clip": ("both",), "inner-steps": ("sawtooth", "4")},
    "script": {"clip": ("merged",), "inner-steps": ("unknown",), "names": ("merged-sides", "gate-unknown")},
    "slime": {
        "clip": ("merged",),
        "inner-steps": ("sawtooth", "4"),
        "names": ("merged-sides", "reference-kl", "mean-of-responses"),
    },
    "trlcispo": {"clip": ("held",), "names": ("held-weight", "reference-kl"), "flat-groups": ("few",)},
    "trllast": {"clip": ("unknown",), "names": ("reference-kl",), "flat-groups": ("few",)},
}
ALWAYS |= {
    "verlagain": ALWAYS["verl"],
    "cleanrlepisodes": ALWAYS["cleanrl"],
    "skyrl": {"clip": ("merged",), "inner-steps": ("averaged",), "names": _MERGED},
    "nemo": {"clip": ("unknown",), "names": ("sampled-entropy", "engine-kl")},
    "trlppo": {"clip": ("merged",), "inner-steps": ("averaged",), "names": (*_MERGED, "reference-kl")},
    "trlppolater": {"clip": ("merged",), "inner-steps": ("averaged",), "names": (*_MERGED, "reference-kl", "padding")},
    "trlranks": ALWAYS["trl"],
    "trlreversed": ALWAYS["trl"],
    "plainreversed": ALWAYS["plain"],
    "epochs": ALWAYS["script"],
    "epochsalone": ALWAYS["script"],
    "plainranks": ALWAYS["plain"],
    "verlvalidated": ALWAYS["verl"],
    "commas": ALWAYS["plain"],
    "trl3": ALWAYS["trl4"],
}
ALWAYS["skyrlearlier"] = ALWAYS["skyrl"]
ALWAYS["swift"] = ALWAYS["trl"] | {"names": ("reference-kl", "means-of-means", "response-means", "entropy-extremes")}
ALWAYS["easyr1"] = ALWAYS["verl"] | {"names": (*_MERGED, "dual-clip-name", "sampled-surprisal", "truncation-share")}
ALWAYS["verlold"] = ALWAYS["verlkept"] = ALWAYS["verl"] | {"names": (*ALWAYS["verl"]["names"], "engine-kl", "truncated-weights")}
ALWAYS["areal"] = {"clip": ("merged",), "inner-steps": ("averaged",), "names": ("merged-sides",)}
ALWAYS["roll"] = ALWAYS["areal"] | {"names": (*_MERGED, "ungated", "response-means")}
ALWAYS["openinstruct"] = ALWAYS["areal"] | {"names": ("merged-sides", "response-means", "reference-kl")}
