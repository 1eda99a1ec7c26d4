"""Forecasts without simulation: mean field, neutral clips, noise, phase maps."""
