"""Policies as tables: replicas in numpy, and every outcome with its probability."""
