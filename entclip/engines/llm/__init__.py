"""GRPO on a causal language model with the entropy ledger inside: tasks, the tiny default model, generation, probes, causes."""
