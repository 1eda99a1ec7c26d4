# %% [markdown]
# # 9. Inside TRL
#
# **Question.** My trainer prints an entropy, and it moves. How much of that is the clip, on which side, and how much is the
# optimiser?
#
# **Answer.** Three lines beside TRL's own put a ledger into `GRPOTrainer`. It measures entropy on fixed contexts before and after
# every update and splits the change by cause, with a remainder that is printed and not assumed. In the run below most of the
# change is not the clip's.
#
# Runs in about 25 s on one core, most of it for imports. To run it: `pip install '.[trl,notebooks]'` in entclip's checkout, then
# `jupyter lab notebooks/09_inside_trl.ipynb`; to read it, just read on. Nothing is downloaded.

# %%
# %matplotlib inline
import logging
import math
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from entclip import report
from entclip.integrations.trl import EntropyLedger  # where TRL is missing, this line says how to install it
from entclip.ledger.folder import read_frame, read_summary
from entclip.rewards import coin_flip

warnings.filterwarnings("ignore")  # TRL and transformers warn of their own future
import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, PrinterCallback
from transformers.utils import logging as transformers_logging
from trl import GRPOConfig, GRPOTrainer

transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()
logging.disable(logging.WARNING)

scratch = TemporaryDirectory()
folder = Path(scratch.name)

# %% [markdown]
# ## The run
#
# A Llama of one layer over 32 words, so that it trains in seconds; yours is larger, and nothing below changes. The reward is
# `entclip.rewards.coin_flip`: no completion is better than another, so whatever moves entropy is the update rule's own doing.

# %%
words = {"<pad>": 0, "<eos>": 1} | {f"w{i}": i + 2 for i in range(30)}
splitter = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
splitter.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=splitter, pad_token="<pad>", eos_token="<eos>", padding_side="left")
torch.manual_seed(0)
sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "initializer_range": 0.3}
model = LlamaForCausalLM(LlamaConfig(vocab_size=32, max_position_embeddings=64, pad_token_id=0, eos_token_id=1, **sizes))
prompts = Dataset.from_dict({"prompt": [f"w{i % 30} w{3 * i % 30}" for i in range(64)]})

# %% [markdown]
# Twenty updates, four of them on each generation (`steps_per_generation`): the first has ratios of 1, and only the other three
# can clip. With one update per generation both epsilons would be decoration ([notebook 7](07_my_own_run.ipynb)).

# %%
settings = GRPOConfig(
    output_dir=str(folder / "trl"),
    max_steps=20,
    num_generations=8,
    per_device_train_batch_size=32,
    steps_per_generation=4,
    max_completion_length=8,
    epsilon=0.1,
    epsilon_high=0.15,
    learning_rate=1e-3,
    lr_scheduler_type="constant",
    logging_steps=1,
    report_to=[],
    save_strategy="no",
    use_cpu=True,
    bf16=False,
    disable_tqdm=True,
    seed=0,
)
trainer = GRPOTrainer(model=model, args=settings, processing_class=tokenizer, reward_funcs=coin_flip, train_dataset=prompts)
trainer.remove_callback(PrinterCallback)  # a line of numbers for every update, which are looked at below

# %% [markdown]
# The ledger. `every=1` accounts for every update; the default, one in seventeen, costs little ([what it
# costs](../docs/in-trl.md#what-it-costs)).

# %%
ledger = EntropyLedger(folder / "books", every=1)
ledger.attach(trainer)
trained = trainer.train()
print(f"{trained.global_step} updates")

# %% [markdown]
# ## What moved entropy
#
# The folder is that of any run of entclip: `entclip ledger` and `entclip report` read it, and so do these lines.

# %%
summary = read_summary(folder / "books")
report.table(summary)

# %%
report.causes_figure(summary)

# %% [markdown]
# - **measured** is the entropy of fixed contexts (the first completions) before and after every update, summed up. TRL's own
#   `entropy` is that of each minibatch, of other contexts every time: its differences are no changes of the policy.
# - **unclipped, clip low, clip high**: what the step would have done without a clip, and what either side took back of it, each
#   through AdamW's preconditioner as it was.
# - **momentum** is what earlier minibatches left in the first moment. Under a random reward the unclipped part has no expectation
#   of either sign, and momentum carries it on.
# - **norm clip** is what clipping the norm of the gradient (`max_grad_norm`) took from or gave to all of them.
# - **curvature** and **remainder** are what the first order does not say. The remainder is computed, so it is part of the answer.
#
# One run has no standard error: these are the numbers of this run, not a law. For signs with errors see [notebook
# 6](06_language_model.ipynb).

# %% [markdown]
# ## Update by update
#
# `inner_step` counts the updates of a generation. In its first update nothing can be clipped.

# %%
rows = read_frame(folder / "books", "updates")
columns = ["clip_fraction_low", "clip_fraction_high", "pi_low", "pi_high", "gap_low", "gap_high", "log_ratio_rms", "measured"]
rows.groupby("inner_step")[columns].mean().round(4)

# %% [markdown]
# A gap is the entropy value of the clipped tokens less the average: where gap_low is positive, clipping at the low bound raises
# entropy, where gap_high is positive, clipping at the high bound lowers it ([T6](../docs/theory.md#t6)).
#
# TRL counts clipped tokens, too. Its counts and the ledger's are the same at every update, since both look at the same tokens:

# %%
logs = pd.DataFrame([entry for entry in trainer.state.log_history if "loss" in entry])
shares = pd.DataFrame(
    {
        "low, TRL": logs["clip_ratio/low_mean"],
        "low, ledger": rows["clip_fraction_low"],
        "high, TRL": logs["clip_ratio/high_mean"],
        "high, ledger": rows["clip_fraction_high"],
    }
)
shares.iloc[4:12].round(4)

# %% [markdown]
# What `report_to` sends to W&B or TensorBoard has the same numbers under `entclip/`:

# %%
sorted(name for name in logs if name.startswith("entclip/"))

# %% [markdown]
# ## Where this stops
#
# - One run of twenty updates on a model that knows nothing: it shows how the ledger is read, and what it says about this run.
# - Under Liger's kernels or Unsloth the logits are hidden, and the ledger refuses ([TRL](../docs/in-trl.md)). For a loop of your
#   own there is [the same ledger](../docs/in-torch.md), for verl [a plug-in](../docs/in-verl.md).
# - Gradient noise in a real run is large: average over many updates before you read a sign.
#
# ## The conclusion, checked
#
# The parts add up to what was measured in float32 arithmetic: 1e-6 nats at every update. The entropy at the end is that at the
# start and every change on the way. Nothing was clipped in first updates, both sides in later ones, and TRL counts the same.

# %%
parts = ["unclipped", "clip_low", "clip_high", "other", "momentum", "weight_decay", "norm_clip", "curvature", "remainder"]
present = [part for part in parts if part in rows]
assert (rows[present].sum(axis=1) - rows["measured"]).abs().max() < 1e-6
assert math.isclose(rows["entropy_before"].iloc[0] + rows["measured"].sum(), rows["entropy"].iloc[-1], abs_tol=1e-6)
first = rows["inner_step"] == 0
clipped = ["clip_fraction_low", "clip_fraction_high"]
assert (rows.loc[first, clipped] == 0).all(axis=None)
assert (rows.loc[~first, clipped].sum() > 0).all()
assert (shares["low, TRL"] - shares["low, ledger"]).abs().max() < 1e-6
assert (shares["high, TRL"] - shares["high, ledger"]).abs().max() < 1e-6
assert abs(summary["arms"]["run"]["remainder"]) < 0.2 * rows["measured"].abs().sum()
scratch.cleanup()
