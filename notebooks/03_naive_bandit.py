# %% [markdown]
# # 3. Why a naive bandit shows the opposite
#
# **Question.** You wrote a softmax bandit in twenty lines, with coin-flip rewards and a clip, and clipping at the high bound
# *raised* entropy; or entropy fell with no clip at all. Is the paper wrong, or your code?
#
# **Answer.** Neither. On a table with plain policy-gradient steps the *common* actions move most and are clipped, so the sign
# turns round, as the theorem's own condition says it must; and sampling noise moves entropy by itself, as much as the clip
# does.
#
# You will see four traps, each with the measurement that exposes it. Runs in about 25 s. To run it: `pip install
# '.[notebooks]'`, then `jupyter lab notebooks/03_naive_bandit.ipynb`; to read it, just read on.

# %%
# %matplotlib inline
import math

import pandas as pd
from scipy.stats import f as f_law

from entclip import load, measure_noise, report, run

# %% [markdown]
# ## Trap 1: which actions reach the bound
#
# The same policies, rewards and widths (.2/.2) under two step rules. *Euclidean* is the plain policy gradient, what a
# twenty-line bandit does. *Natural* divides each step by the action's probability. V = 64 actions, one rollout of 64 updates,
# 256 repetitions, three policies: uniform, Zipf's law, and one dominant action.

# %%
policies = "[{kind='uniform',vocab=64}, {kind='zipf',exponent=1.0,vocab=64}, {kind='peaked',logit=5.0,vocab=64}]"
signs = load("sign_map", [f"grid.policy={policies}"])
cases = {f"{case.policy.kind}, {case.update.geometry}": case for _, case in signs.cases()}
summaries = {name: run(case).summary() for name, case in cases.items()}
pd.DataFrame(
    {
        name: {
            "gap_low": round(summary["arms"]["low_only"]["gap_low"], 3),
            "clip low (nats)": report.table(summary).loc["low_only", "clip low"],
            "gap_high": round(summary["arms"]["high_only"]["gap_high"], 3),
            "clip high (nats)": report.table(summary).loc["high_only", "clip high"],
        }
        for name, summary in summaries.items()
    }
).transpose()

# %% [markdown]
# Standard errors are in the last digits. The gap is the entropy value of the clipped actions minus the average; the paper's
# signs (clip low +, clip high -) go with positive gaps. Look at Zipf: with natural steps both gaps are positive and clip-high
# lowers entropy; with euclidean steps `gap_high` is negative and clip-high **raises** it. With a dominant action both step
# rules give the paper's signs. Theory, with the same gap in it, is beside each bar (diamonds). Plain policy gradient from
# Zipf:

# %%
report.causes_figure(summaries["zipf, euclidean"])

# %% [markdown]
# The same with natural steps; only the step rule differs:

# %%
report.causes_figure(summaries["zipf, natural"])

# %% [markdown]
# Why: how far noise carries an action depends on its probability, in opposite ways. Root mean square of log(π/π_old) at the
# end of an unclipped rollout (bounds: log 0.8 = -.22 and log 1.2 = +.18):

# %%
noise = {name: measure_noise(cases[name]) for name in ("zipf, natural", "zipf, euclidean")}
pd.DataFrame({name: law.to_frame().set_index("prob")["rms"].round(3) for name, law in noise.items()}).rename_axis("π_old")

# %% [markdown]
# Natural: rare actions move most and are clipped. Euclidean: common ones. (In a language model it is neither: the noise is
# nearly the same for all tokens, see [notebook 6](06_language_model.ipynb).) How the border between the signs runs is a map:
# [docs/maps.md](../docs/maps.md).
#
# **Read both ways.** Where gap_high > 0, clipping *at* the high bound lowers entropy and *raising* eps_high raises it. Where
# gap_high < 0, as in the euclidean Zipf bandit, both sentences turn round. The same holds at the low bound with the opposite
# directions.
#
# ## Trap 2: entropy moves with no clip and no signal
#
# One update per rollout: every ratio is 1, nothing can be clipped, rewards are coin flips. Entropy still moves, by sampling
# noise at second order ("curvature"), and theory knows how much (T9):

# %%
noise_only = run(load("noise_only")).summary()
report.table(noise_only)[["control variate", "curvature", "curvature, theory", "verdict"]]

# %% [markdown]
# From a uniform policy noise lowers entropy; from a peaked one, with natural steps, it raises it. So "entropy fell, hence the
# clip lowered it" is no argument, and neither is "clipped minus unclipped", because clipping changes the noise too. The
# ledger separates the two.
#
# ## Trap 3: is it the clip, or what comes with it?
#
# Clipping also throws samples away and makes steps smaller. Two controls without any clip: drop as many samples **at
# random**, or scale every step to the **same size** (KL). If one of them did what the clip does, the clip would not be the
# cause.

# %%
controls = run(load("controls", ["policy.contexts=48"])).summary()
report.table(controls).filter(items=["measured", "control variate", "clip low", "clip high", "curvature", "verdict"])

# %% [markdown]
# "Control variate" is the measured total with the noise of its parts replaced by their theory along the path: same mean,
# smaller error. `tight_low` (eps_low = .1) rises; both of its controls fall with the unclipped run.
#
# ## Trap 4: one run proves nothing
#
# Under random rewards the unclipped gradient takes a random walk, larger than any clip effect. *Antithetic pairs* cancel it:
# run twice with the same samples and mirrored rewards (heads for tails), and average. The same number of runs, euclidean
# Zipf:

# %%
plain = cases["zipf, euclidean"]
paired = plain.model_copy(update={"antithetic": True})
errors = {
    "independent": summaries["zipf, euclidean"]["arms"]["both"],
    "antithetic pairs": run(paired).summary()["arms"]["both"],
}
pd.DataFrame(
    {
        name: {c: report.with_error(arm[c], arm[f"{c}_se"]) for c in ("measured", "unclipped", "clip_high")}
        for name, arm in errors.items()
    }
)

# %% [markdown]
# ## Where this stops
#
# - Tables, one context each: in a network all contexts share parameters, and noise is spread differently
#   ([docs/shared_parameters.md](../docs/shared_parameters.md), [notebook 6](06_language_model.ipynb)).
# - The signs belong to a policy, a step rule and a step size together, not to the clip alone. Only the gaps decide.
#
# ## The conclusion, checked
#
# Differences in standard errors, with 5 as the bar. For trap 3 also: whatever random drops do, with 5 standard errors on top,
# is less than what the clip does, less 5. For trap 4: the ratio of two variances, whose 99.99 % interval must lie above 1.

# %%
natural, euclidean = (summaries[name]["arms"]["high_only"] for name in ("zipf, natural", "zipf, euclidean"))
uniform, zipf = (
    noise_only["arms"][next(n for n in noise_only["arms"] if n.startswith(p))]
    for p in ("uniform,update:natural", "zipf:1,update:natural")
)
tight, dropped, none = (controls["arms"][name] for name in ("tight_low", "tight_low_dropped", "none"))
effect, effect_se = tight["measured"] - dropped["measured"], math.hypot(tight["measured_se"], dropped["measured_se"])
control, control_se = dropped["measured"] - none["measured"], math.hypot(dropped["measured_se"], none["measured_se"])
z = {
    "natural Zipf: clip-high lowers entropy": -natural["clip_high"] / natural["clip_high_se"],
    "euclidean Zipf: clip-high raises entropy": euclidean["clip_high"] / euclidean["clip_high_se"],
    "noise alone lowers entropy (uniform, natural)": -uniform["measured"] / uniform["measured_se"],
    "noise alone raises entropy (Zipf, natural)": zipf["measured"] / zipf["measured_se"],
    "clip-low does what random drops do not": effect / effect_se,
}
for statement, score in z.items():
    print(f"{statement}: {score:.0f} standard errors")
ratio = (errors["independent"]["measured_se"] / errors["antithetic pairs"]["measured_se"]) ** 2
units = [arm["units"] - 1 for arm in errors.values()]
print(f"antithetic pairs: variance of the mean smaller by a factor of {ratio:.0f}")

assert min(z.values()) > 5
assert abs(control) + 5 * control_se < effect - 5 * effect_se
assert euclidean["gap_high"] < 0 < natural["gap_high"]
assert ratio / f_law.ppf(0.9999, *units) > 1
assert all(arm["verdict"] != "reject" for s in (*summaries.values(), noise_only, controls) for arm in s["arms"].values())
