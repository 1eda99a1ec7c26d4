"""An experiment is data: its sections, overrides, loading, where a run starts."""
