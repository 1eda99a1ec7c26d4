"""The findings: which claims about clipping and entropy hold, where, by one rule. `entclip reproduce` makes all of it again."""
