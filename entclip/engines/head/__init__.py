"""Parts of the head engine: shared parameters, logits = base + h_t W', in blocks over the vocabulary. Claim T13."""
