# %% [markdown]
# # 7. Should I worry about my own run?
#
# **Question.** You have a GRPO configuration, or a run whose entropy does something odd. Is your clip doing anything, on
# which side, and was it the clip?
#
# **Answer.** Often the clip does nothing at all: with one update per rollout every ratio is 1. `entclip lint` says so from
# the configuration, and which setting means which bound; for a run, `ledger_from_arrays` splits its entropy change by cause.
#
# Runs in about 10 s and needs no trainer. To run it: `pip install '.[notebooks]'`, then `jupyter lab
# notebooks/07_my_own_run.ipynb`; to read it, just read on. Put your own configuration and arrays into the cells.

# %%
# %matplotlib inline
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from entclip import Clip, SoftmaxPolicy, ledger_from_arrays, load, neutral_clip, report, run, snapshot
from entclip.drift.steps import logit_step
from entclip.integrations.lint import convert, lint, read_config
from entclip.ledger.folder import read_frame, read_summary
from entclip.objectives.base import View, weight

scratch = TemporaryDirectory()
folder = Path(scratch.name)

# %% [markdown]
# ## 1. Lint the configuration
#
# A TRL configuration as people write them: DAPO's widths, and gradient accumulation to fit the memory.

# %%
(folder / "grpo.yaml").write_text("""\
model_name_or_path: Qwen/Qwen2.5-1.5B
loss_type: dapo
epsilon: 0.2
epsilon_high: 0.28
num_generations: 8
per_device_train_batch_size: 16
gradient_accumulation_steps: 4
steps_per_generation: 4
num_iterations: 1
beta: 0.0
learning_rate: 1.0e-6
""")
trl = lint(read_config(folder / "grpo.yaml", "trl"))
print(trl.to_text(everything=True))

# %% [markdown]
# **The clip is inert.** All four accumulation steps make one update, and the first update of a rollout never clips, so both
# epsilons are decoration. (On the command line: `entclip lint grpo.yaml`.) With `steps_per_generation: 16` a rollout makes
# four updates:

# %%
text = (folder / "grpo.yaml").read_text().replace("steps_per_generation: 4", "steps_per_generation: 16")
alive = lint(read_config(text, "trl"))
print(f"Clip alive: {alive.liveness.alive}. {alive.liveness.reason}\n\n{alive.bias.text}")

# %% [markdown]
# Now verl. Its documentation calls `clip_ratio` the clip range; somebody sets it to .28:

# %%
(folder / "run.sh").write_text("""\
python3 -m verl.trainer.main_ppo \\
    algorithm.adv_estimator=grpo \\
    data.train_batch_size=512 \\
    actor_rollout_ref.actor.ppo_mini_batch_size=128 \\
    actor_rollout_ref.actor.clip_ratio=0.28 \\
    actor_rollout_ref.actor.loss_agg_mode=token-mean \\
    actor_rollout_ref.rollout.n=8 \\
    actor_rollout_ref.actor.use_kl_loss=False
""")
verl = lint(read_config(folder / "run.sh"))
found = pd.DataFrame(verl.to_json()["findings"]).set_index("id")
print(pd.DataFrame(verl.to_json()["bounds"]).T[["value", "key", "explicit"]].to_string(), "\n")
print(found.loc["verl-clip-ratio-dead", "message"])

# %% [markdown]
# The bounds in force are .2 and .2. All traps are explained in [docs/lint.md](../docs/lint.md).
#
# ## 2. The same clip in another notation
#
# Epsilons are widths in one library and bounds in the next:

# %%
print(convert(alive.config, "verl"), convert(Clip(0.2, 0.28), "openrlhf"), convert(verl.config, "trl"), sep="\n\n")

# %% [markdown]
# ## 3. Which way, and what would be neutral?
#
# How to read the two sides is in lint's words above: a wider bound is less clipping there, and the gaps, a fact about the policy
# that a configuration cannot tell, have to be positive.
#
# Where the two sides balance depends on everything else in the configuration. For a table with groups of 8, coin-flip
# rewards, and eps_high = .28:

# %%
setting = ["update.rollouts=1", "advantage={kind='group',size=8}", "reward={kind='bernoulli',p=0.5}", "update.learning_rate=0.2"]
points = neutral_clip(load("headline", setting), highs=(0.28,))
pd.DataFrame(points).set_index("high")[["usual", "drift_usual", "low", "slope", "by_rate"]].round(4)

# %% [markdown]
# `drift_usual` is the predicted entropy change per rollout (nats) at the usual eps_low, `low` the neutral one. **Do not copy
# the number** into a language model's configuration: take the direction, and how far it moves with eps_low (`slope`) and with
# the learning rate (`by_rate`).
#
# ## 4. Account for one update of your own
#
# `ledger_from_arrays` needs logits before and after one update on the same tokens, log π_old, the actions, advantages, a
# mask, and the clip; numpy or torch. **Replace this cell by your arrays.** Here a stand-in: next-token distributions of a
# real model, moved a little away from the policy that sampled, and one clipped policy-gradient step.

# %%
rng = np.random.default_rng(0)
old = snapshot("smollm2-135m", contexts=128)
before = old.logits + rng.normal(0, 0.25, old.logits.shape)
actions = np.argmax(old.logits + rng.gumbel(size=old.logits.shape), axis=-1)
advantages = rng.choice([-1.0, 1.0], len(actions))
clip, eta = Clip(0.2, 0.28), 0.1

now, taken = SoftmaxPolicy(before), actions[:, None]
old_log_probs = np.take_along_axis(old.log_probs, taken, axis=-1)[:, 0]
seen = View.of(np.take_along_axis(now.log_probs, taken, axis=-1)[:, 0], old_log_probs)
weights = np.zeros_like(before)
np.put_along_axis(weights, taken, (weight(clip, seen, advantages) / seen.ratio)[:, None], axis=-1)
after = before + logit_step(weights, now.log_probs, old.log_probs, learning_rate=eta, geometry="euclidean")

# %%
books = ledger_from_arrays(before, after, old_log_probs, actions, advantages, np.ones(len(actions)), clip)
books[
    ["measured", "first_order", "curvature", "remainder", "unclipped", "clip_low", "clip_high", "clipped_low", "clipped_high"]
].sum()

# %% [markdown]
# Sums over 128 tokens. `measured` = `first_order` + `curvature` + `remainder`, in nats. The causes `unclipped`, `clip_low`
# and `clip_high` are per unit learning rate; their ratios say which side of the clip moved entropy, and which way. Under
# plain gradient steps causes times learning rate are the first order. 128 tokens are far too few to read a sign from: average
# over many updates, and give an error.
#
# Inside a training loop the ledger does this at every update: [notebook 6](06_language_model.ipynb).
#
# ## 5. Save a run and report it
#
# With `out=` a run is kept in a folder, and resumes if it is interrupted. manifest.json lists the other files with their
# checksums; readers check it. The same from a shell: `entclip run headline --set policy.contexts=32 --out results/mine` and
# `entclip report results/mine`.

# %%
run(load("headline", ["policy.contexts=32", "update.rollouts=2"]), out=folder / "mine")
print(*sorted(path.name for path in (folder / "mine").glob("[!.]*")), sep="\n")

# %%
saved = read_summary(folder / "mine")
report.rollouts_figure(read_frame(folder / "mine", "rollouts"), arms=["both", "tight_low"], summary=saved)

# %%
page = report.html(folder / "mine")
(folder / "mine" / "report.html").write_text(page)
print(f"report.html: {len(page) / 1000:.0f} kB, self-contained")
report.table(saved)[["measured", "clip low", "clip high", "curvature", "verdict"]]

# %% [markdown]
# ## Where this stops
#
# - Lint reads one file: what a shell, another file or the trainer's code sets, it lists as unknown. Defaults are those of the
#   versions it names.
# - A sign from a configuration is a first-order statement for random rewards. With a real reward the clip's part comes on top
#   of the reward's own, usually larger, effect.
# - If your entropy collapses while `clip_fraction` is 0, it is not the clip.
#
# ## The conclusion, checked
#
# Lint's answers, and books that close: per token, within 1e-12 nats (float64 rounding of sums over 49,152 terms, each below 1
# in size).

# %%
assert trl.liveness.alive == "no"
assert alive.liveness.alive == "yes"
assert (verl.config.low.value, verl.config.high.value) == (0.2, 0.2)
assert "clip_ratio_high=0.28" in convert(alive.config, "verl")
assert points[0].low is not None
gap = books["measured"] - books[["first_order", "curvature", "remainder"]].sum(axis=1)
split = books["first_order"] - eta * books[["unclipped", "clip_low", "clip_high", "other"]].sum(axis=1)
assert abs(gap).max() < 1e-12
assert abs(split).max() < 1e-12
assert books["clipped_low"].any()
assert books["clipped_high"].any()
scratch.cleanup()
