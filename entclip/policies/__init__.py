"""Softmax policies: named laws, sequences, snapshots of language models."""
