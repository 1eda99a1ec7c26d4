# %% [markdown]
# # 1. What clipping does to entropy
#
# **Question.** PPO and GRPO stop the gradient of a token once its probability has moved too far from the policy that sampled
# it. Does this clip move the policy's entropy by itself, even when the reward carries no information at all?
#
# **Answer.** Yes: clipping *at the low bound* raises entropy, clipping *at the high bound* lowers it. In this experiment each
# effect is many standard errors from zero, and each is as large as theory says.
#
# Runs in about 20 s. To run it: `pip install '.[notebooks]'`, then `jupyter lab notebooks/01_what_clipping_does.ipynb`.
# Nothing needs to be run to read it: tables and figures are stored in the file.

# %%
# %matplotlib inline
import math

from entclip import load, predict, report, run

# %% [markdown]
# ## The experiment
#
# 128 contexts, each a table of 64 action probabilities. Rewards are coin flips, so no action is better than any other. Five
# rollouts; from each, 64 updates with natural-gradient steps. Six arms share everything, random numbers included, except the
# clip widths `eps_low` and `eps_high` (the ratio is kept in [1 - eps_low, 1 + eps_high]; `eps_low = 1` and `eps_high = inf`
# switch a side off).

# %%
experiment = load("headline", ["policy.contexts=128"])
{arm.name: (arm.low, arm.high) if arm.objective == "clip" else "no clip" for arm in experiment.arm}

# %%
ledger = run(experiment)
summary = ledger.summary()
report.table(summary)

# %% [markdown]
# **How to read the table.** Entropy changes over the whole run, in nats; the standard error is in the last digits, so
# -.0340(6) is -.0340 ± .0006. The change that was measured is split into parts that add up to it, checked at every update:
# what the unclipped gradient did, what clipping at the low bound did, what clipping at the high bound did, curvature (the
# second-order effect of sampling noise), and a small remainder. "Theory" is what is expected along the path that the run
# took, given the policies it visited; it is not a forecast (for that see [notebook 4](04_predict.ipynb)).
#
# - `low_only` and `tight_low` clip at the low bound only: the clip term is positive.
# - `high_only` clips at the high bound only: negative.
# - `both` clips at both: two large terms of opposite sign, which nearly cancel.
# - `none` falls too, although nothing is clipped: that is curvature. So a falling entropy curve alone proves nothing about
#   the clip ([notebook 3](03_naive_bandit.ipynb)).

# %%
report.causes_figure(summary)

# %% [markdown]
# Rollout by rollout the parts accumulate:

# %%
report.rollouts_figure(ledger.to_frame("rollouts"), arms=["both", "clip_higher", "tight_low"], summary=summary)

# %% [markdown]
# ## The same signs, read twice
#
# Two sentences that sound contradictory say the same:
#
# | | what the clip does | what turning the knob does |
# |---|---|---|
# | low bound | clipping **at** it drops downward pushes: entropy rises | **raising** eps_low: less such clipping, less entropy |
# | high bound | clipping **at** it drops upward pushes: entropy falls | **raising** eps_high: less such clipping, more entropy |
#
# Known as clip-higher: the arm `clip_higher` above is `both` with eps_high raised from .2 to .28, and it ends higher.
#
# ## Try other widths
#
# What one rollout is predicted to do, without simulating it. A static table first; sliders below where the notebook runs.

# %%
report.table(predict(load("headline", ["update.rollouts=1"])).summary())

# %%
try:
    from ipywidgets import FloatSlider, interact
except ImportError:
    print("The sliders need ipywidgets: pip install '.[notebooks]'")
else:
    settings = "arm=[{{name='yours',low={},high={}}}]", "update.learning_rate={}", "update.rollouts=1"
    interact(
        lambda eps_low, eps_high, learning_rate: report.causes_figure(
            predict(
                load("headline", [settings[0].format(eps_low, eps_high), settings[1].format(learning_rate), settings[2]])
            ).summary()
        ),
        eps_low=FloatSlider(0.2, min=0.05, max=1.0, step=0.05, continuous_update=False),
        eps_high=FloatSlider(0.2, min=0.05, max=1.0, step=0.05, continuous_update=False),
        learning_rate=FloatSlider(0.1, min=0.02, max=0.2, step=0.02, continuous_update=False),
    )

# %% [markdown]
# ## Where this stops
#
# - The signs are those of two numbers in every ledger: `gap_low` and `gap_high`, the entropy value of the clipped actions
#   relative to the average. They are positive here. Other policies and other step rules have negative ones ([notebook
#   3](03_naive_bandit.ipynb)), and the condition is part of the theorem ([T6](../docs/theory.md#t6), [notebook
#   2](02_theory_in_ten_minutes.ipynb)).
# - These are tables of probabilities, no network. [Notebook 6](06_language_model.ipynb) is about a language model.
# - The effects are small next to what a real reward does to entropy.
#
# ## The conclusion, checked
#
# Each statement is a difference from zero, in standard errors; 5 is the bar. The gaps must be positive, and no arm may reject
# the theory.

# %%
arms = summary["arms"]
z = {
    "clip-low raises entropy": arms["low_only"]["clip_low"] / arms["low_only"]["clip_low_se"],
    "clip-high lowers entropy": -arms["high_only"]["clip_high"] / arms["high_only"]["clip_high_se"],
    "tight_low: total rises": arms["tight_low"]["measured"] / arms["tight_low"]["measured_se"],
    "high_only: total falls": -arms["high_only"]["measured"] / arms["high_only"]["measured_se"],
    # The arms share their random numbers; errors are added as if they did not, which makes this one too careful.
    "raising eps_high raises entropy": (arms["clip_higher"]["measured"] - arms["both"]["measured"])
    / math.hypot(arms["clip_higher"]["measured_se"], arms["both"]["measured_se"]),
}
for statement, score in z.items():
    print(f"{statement}: {score:.0f} standard errors")
assert min(z.values()) > 5
assert all(arm["verdict"] != "reject" for arm in arms.values())
assert arms["both"]["gap_low"] > 0
assert arms["both"]["gap_high"] > 0
