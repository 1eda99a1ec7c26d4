# %% [markdown]
# # 8. The published objectives under one theory
#
# **Question.** There are forty objectives that promise something about entropy. What does one of them do, how do they compare,
# and what if you want entropy to stay where it is?
#
# **Answer.** Each is two gains, one for each sign of the advantage, and their difference decides what it does under rewards that
# say nothing: theory says it before anything runs, an enumeration of every outcome agrees to rounding, and samples agree within
# their errors. GPPO's low side turns out to be the clip's turned round, ABC-GRPO adds nothing at all, and a controller that
# knows the drift of its own widths holds entropy where a fixed width does not.
#
# Runs in about 15 s. To run it: `pip install '.[notebooks]'`, then `jupyter lab notebooks/08_the_family.ipynb`; to read it, just
# read on.

# %%
# %matplotlib inline
import pandas as pd

from entclip import Clip, Rademacher, SoftmaxPolicy, expected_entropy_drift, load, objective, run, zipf
from entclip.report.card import card
from entclip.report.contest import contest_figure
from entclip.runs.comparison import compare

# %% [markdown]
# ## 1. One objective, three ways
#
# GPPO is often read as "a clip that keeps the gradient". Its card (`entclip objectives gppo` prints it; all are on [one
# page](../docs/objectives.md)) says what the formula is and what follows from it:

# %%
for field in ("Formula", "Source", "Random reward"):
    print(f"{field}: {card('gppo').fields[field]}")

# %% [markdown]
# A policy over four actions that has already moved away from the one that made the samples, a coin flip for a reward, and one
# natural step. **Predicted:** the formula T5, no samples. **Enumerated:** every outcome of three samples with its probability,
# from the exact engine. **Sampled:** 20,000 independent minibatches, with a standard error.

# %%
shift = [0.3, -0.5, 0.4, -0.4]
settings = [
    "policy={kind='zipf',vocab=4}",
    f"perturbation={{law='array',values={shift}}}",
    "reward={kind='rademacher'}",
    "grid={}",
    "update={geometry='natural',learning_rate=0.1,batch=3,minibatches=1,rollouts=1}",
    "arm=[{name='clip'},{name='gppo',objective='gppo'},{name='abc_grpo',objective='abc_grpo'}]",
]
old = zipf(4)
now = SoftmaxPolicy(old.logits + shift)
exact = run(load("theorem2", settings), "exact").summary()["arms"]
drawn = run(load("theorem2", [*settings, "replicas=20000"]), "sampled").summary()["arms"]
causes = ["clip_low", "clip_high", "other"]

rows = {}
for name in exact:
    terms = expected_entropy_drift(now, Clip(), Rademacher(), old_policy=old, learning_rate=0.1, objective=objective(name))
    for cause in causes:
        errors = drawn[name][cause], drawn[name][f"{cause}_se"]
        rows[name, cause] = (float(getattr(terms, cause)), exact[name][cause], *errors)
three = pd.DataFrame(rows, index=["predicted", "enumerated", "sampled", "standard error"]).T
three.map("{:+.6f}".format)

# %% [markdown]
# - `clip`: the low side raises entropy here, and so does the high side.
# - `gppo`: below the low bound its weight (1 - low) exceeds the ratio, so that a negative sample pushes *harder* than an
#   unclipped one: the low side has the clip's sign turned round. Above the high bound it keeps (1 + high)/r of the weight, so
#   that little is taken away.
# - `abc_grpo`: the clip's two causes are there, and `other`, the sides that PPO leaves open, cancels them: the three add up to
#   0. Its gains are the same for both signs of the advantage, and that alone decides ([T14](../docs/theory.md#t14)).

# %%
three.groupby(level=0, sort=False)[["predicted", "enumerated"]].sum().map("{:+.1e}".format)

# %% [markdown]
# ## 2. Side by side
#
# The same random numbers for all of them, 64 updates: `entclip compare headline --objectives clip,none,gppo` on the command
# line, or `--all`. Differences from the first are paired, and a rank is given only as far as intervals separate.

# %%
tables = load("headline", ["policy.contexts=48", "policy.floor=0.5", "update.minibatches=32", "update.rollouts=2", "replicas=2"])
names = ("clip", "none", "abc_grpo", "cispo_trl", "gppo", "ce_gppo", "sapo", "repo_r", "entropy_bonus", "positive_weight")
contest = compare(tables, {name: objective(name) for name in names})
found = contest.summary()
contest_figure(found)

# %%
columns = {
    "change": "change",
    "difference": "against clip",
    "difference_half_width": "+-",
    "rank_best": "best",
    "rank_worst": "worst",
}
ranking = pd.DataFrame(found["comparison"]).set_index("objective")
ranking[list(columns)].rename(columns=columns).round({"change": 4, "against clip": 4, "+-": 4})

# %% [markdown]
# `abc_grpo`, `cispo_trl` and `none` fall alike: what moves them is the noise of the steps, which no gain of 1 takes away.
# `repo_r` and `entropy_bonus` push on every update, whatever the ratio is. More entropy is not better in itself: under a reward
# that can be learned the same objectives are on [another table](../docs/how-to-choose.md).
#
# ## 3. A controller
#
# A fixed width is neutral for one policy at best. A controller sets the widths anew before every rollout; `predictive` takes the
# drift of its own widths from the ledger of the rollout before it and solves for the wanted change, `pi` goes by the entropy
# alone.

# %%
arms = (
    "{name='fixed'}, {name='pi',low=0.2,high=0.2,controller={kind='pi'}}, "
    "{name='predictive',low=0.2,high=0.2,controller={kind='predictive',sides='both'}}"
)
held = run(load("headline", [f"arm=[{arms}]", "policy.contexts=24", "replicas=2", "update.minibatches=32", "update.rollouts=8"]))
steps = held.to_frame("rollouts")
target = steps["entropy_before"].iloc[0]
off = (steps.set_index(["rollout", "arm"])["entropy"] - target).unstack("arm")[["fixed", "pi", "predictive"]]
axes = off.plot(figsize=(4.5, 2.8), style=["-o", "--s", ":^"], color=["#555555", "#0072b2", "#d55e00"], markersize=4)
axes.axhline(0, color="0.8", zorder=0)
axes.set(xlabel="rollout", ylabel="entropy - target (nats)", title="Entropy held by its widths")
legend = axes.legend(title=None, frameon=False, fontsize=8)

# %% [markdown]
# The widths that were in force, and whether some width had the wanted change (`can_hold`):

# %%
steps[steps["arm"] == "predictive"].set_index("rollout")[["eps_low", "eps_high", "can_hold", "entropy"]].round(3)

# %% [markdown]
# ## Where this stops
#
# - These are tables with natural steps from spread-out policies. The sign of either side of a clip is that of its gap
#   ([T6](../docs/theory.md#t6)), and so is the sign that GPPO turns round; [findings](../docs/findings.md) has other policies.
# - Under a reward that depends on the action no width holds entropy and learns: the controller then stands still and says so
#   ([controllers](../docs/controllers.md)).
# - In a language model there is no formula for the expectation; the ledger still splits what happened ([notebook
#   6](06_language_model.ipynb), [notebook 9](09_inside_trl.ipynb)).
#
# ## The conclusion, checked
#
# Prediction and enumeration agree to 1e-12 nats, samples within five standard errors; GPPO's low side has the other sign;
# ABC-GRPO adds up to 0; and the controller's mean distance from the target after a third of the run is below half of both
# others'.

# %%
assert (three["predicted"] - three["enumerated"]).abs().max() < 1e-12
assert ((three["sampled"] - three["predicted"]).abs() <= 5 * three["standard error"] + 1e-12).all()
assert three["predicted"]["clip", "clip_low"] > 0 > three["predicted"]["gppo", "clip_low"]
assert abs(three["predicted"]["abc_grpo"].sum()) < 1e-15
late = off.loc[3:].abs().mean()
assert late["predictive"] < min(late["fixed"], late["pi"]) / 2
assert all(ranking.loc[name, "rank_worst"] < ranking.loc["clip", "rank_best"] for name in ("repo_r", "entropy_bonus"))
