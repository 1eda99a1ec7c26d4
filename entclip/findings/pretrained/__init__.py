"""A pretrained language model under random rewards, antithetic pair by antithetic pair."""
