"""The claims about clipping and entropy, judged by one rule.

`entclip reproduce` makes all of it again.
"""
