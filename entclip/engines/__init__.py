"""Simulators under one contract: exact, sampled, reduced, tokens, head, llm."""
