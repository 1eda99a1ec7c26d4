"""Reward laws, and the exact moments of the advantages they give (T7)."""
