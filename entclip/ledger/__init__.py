"""Columns, identities and verdicts of a run; the same for arrays of your own."""
