"""Findings about the published objectives and controllers: what is computed and what is run for them."""
