"""Experiments about language models, run by TRL's GRPOTrainer: entclip llm --backend trl."""
