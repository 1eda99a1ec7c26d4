"""Symbolic proofs of the claims T1 to T17. `python -m theory` proves all of them; nothing here imports entclip."""
