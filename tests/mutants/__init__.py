"""Mutation testing of the formula files: python -m tests.mutants."""
