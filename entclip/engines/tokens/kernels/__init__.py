"""One pass over the vocabulary per update: eager, reference and triton."""
