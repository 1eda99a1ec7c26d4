"""Parts of the reduced engine: tabular policy gradient whose cost does not grow with the vocabulary.

Every action that was never sampled follows one smooth flow of its initial log-probability, so a few nodes of that flow stand for
all of them; sampled actions are tracked one by one. initial_laws.py: laws that are never listed; basis.py: nodes and
their weights; chunk.py: units with their tracked actions; sampling.py: exact draws; update.py: the ledger's columns as weighted
sums. The inner loops (searches.py, basis.py, point_sums.py) exist twice: in numpy, and compiled by numba
where it is installed (kernels.py).
"""
