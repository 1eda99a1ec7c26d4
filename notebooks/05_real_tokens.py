# %% [markdown]
# # 5. Real next-token distributions, and a vocabulary of 152,000
#
# **Question.** Sixty-four actions are not a language model's vocabulary. Do the theory and the signs survive real next-token
# probabilities, and 151,936 actions?
#
# **Answer.** The theory does, from ten actions to a billion. The signs follow how concentrated the policy is: on a real
# model's tokens clipping at the low bound raises entropy; under Zipf's law over 151,936 tokens it is clipping at the *high*
# bound that raises it, against the slogan.
#
# Runs in about 20 s on a laptop, because the cost does not grow with the vocabulary. To run it: `pip install '.[notebooks]'`,
# then `jupyter lab notebooks/05_real_tokens.ipynb`; to read it, just read on.

# %%
# %matplotlib inline
import pandas as pd

from entclip import load, report, run, snapshot

# %% [markdown]
# ## What a language model's policy looks like
#
# Next-token distributions of SmolLM2-135M (49,152 tokens) in 256 contexts ship with the package. Most are far from uniform
# (log 49,152 = 10.8 nats):

# %%
tokens = snapshot("smollm2-135m")
pd.DataFrame({"entropy (nats)": tokens.entropy, "probability of the likeliest token": tokens.probs.max(axis=-1)}).describe().loc[
    ["min", "25%", "50%", "75%", "max"]
].round(3)

# %% [markdown]
# ## Six clip settings on real tokens
#
# Each of 32 contexts is a table of its own, moved by plain policy-gradient steps: one rollout of 16 updates, coin-flip
# rewards, 8 mirrored pairs. The engine `reduced` simulates exactly what a table of 49,152 probabilities would do, without
# holding one.

# %%
real = run(load("headline_llm", ["replicas=16", "antithetic=true"]), "reduced").summary()
report.table(real)[
    ["control variate", "clip low", "clip low, theory", "clip high", "clip high, theory", "curvature", "curvature, theory"]
]

# %%
report.causes_figure(real)

# %% [markdown]
# - Clipping **at** the low bound raises entropy in every arm that does it. So *raising* eps_low, which makes it rarer, lowers
#   entropy.
# - At the high bound the effect is small: `gap_high` is not far from zero (table below). Where it is negative, clipping *at*
#   the high bound raises entropy, and *raising* eps_high lowers it: both readings turn round together.
# - **Noise is as large as the clips.** Curvature lowers entropy in every arm, without any clip too. A raw entropy curve would
#   show little else.

# %%
pd.DataFrame(real["arms"]).loc[["gap_low", "gap_high", "clip_fraction_low", "clip_fraction_high"]].transpose().astype(
    float
).round(4)

# %% [markdown]
# ## V = 151,936
#
# A Zipf tail over the vocabulary of a Qwen model: 64 contexts, groups of 8 with Bernoulli(.5) rewards, two rollouts of 16
# updates, mirrored pairs (a scaled-down `headline_152k`).

# %%
arms = "arm=[{name='none',objective='none'},{name='low_only',low=0.2,high=inf},{name='high_only',low=1.0,high=0.2}]"
zipf = "policy={kind='zipf',exponent=1.0,vocab=151936,contexts=64}"
large = run(load("headline_152k", ["grid={}", "update.rollouts=2", zipf, arms]), "reduced")
summary = large.summary()
report.table(summary)[
    ["measured", "clip low", "clip low, theory", "clip high", "clip high, theory", "curvature", "curvature, theory", "verdict"]
]

# %%
report.rollouts_figure(large.to_frame("rollouts"), summary=summary)

# %% [markdown]
# Under Zipf with plain steps the likely tokens pass the bounds, `gap_high` is negative, and clip-high **raises** entropy. It
# is trap 1 of [notebook 3](03_naive_bandit.ipynb) at full size. All six arms over thirty rollouts:
# [docs/vocabulary.md](../docs/vocabulary.md).
#
# ## Ten to a billion
#
# The same settings and one learning rate, Zipf over V actions, one rollout. The theory column was computed along each run's
# path.

# %%
ladder = run(
    load(
        "vocab_scale",
        [
            "policy={kind='zipf',exponent=1.0,vocab=10}",
            "grid={'policy.vocab'=[10,1000,100000,1000000000]}",
            "replicas=128",
            "update.rollouts=1",
            arms,
        ],
    ),
    "reduced",
).summary()
report.table(ladder).filter(like="/high_only", axis="index")[
    ["clip high", "clip high, theory", "curvature", "curvature, theory", "verdict"]
]

# %% [markdown]
# Effects fade with V because one step size meets ever smaller probabilities, not because theory fails: every comparison says
# ok.
#
# ## Where this stops
#
# - These are tables: contexts do not share parameters. In a network they do, and the signs can differ: [notebook
#   6](06_language_model.ipynb), [docs/shared_parameters.md](../docs/shared_parameters.md).
# - "Theory" is the expectation along the path that a run took. Third-order effects are reported (remainder), not predicted.
# - Plain gradient steps. Under Adam the books still add up, but there is no expectation to compare with.
#
# ## The conclusion, checked
#
# No arm of any run rejects the theory (a residual beyond 5 standard errors would). The signs: differences from zero in
# standard errors, 5 is the bar.

# %%
high, low = summary["arms"]["high_only"], real["arms"]["low_only"]
z = {
    "real tokens: clip-low raises entropy": low["clip_low"] / low["clip_low_se"],
    "Zipf, V = 151,936: clip-high raises entropy": high["clip_high"] / high["clip_high_se"],
    "noise lowers entropy without a clip": -real["arms"]["none"]["curvature"] / real["arms"]["none"]["curvature_se"],
}
for statement, score in z.items():
    print(f"{statement}: {score:.0f} standard errors")
assert min(z.values()) > 5
assert low["gap_low"] > 0 > high["gap_high"]
assert all(arm["verdict"] != "reject" for s in (real, summary, ladder) for arm in s["arms"].values())
