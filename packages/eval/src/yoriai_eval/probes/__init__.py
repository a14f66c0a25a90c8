"""Probes: why a model behaves as it does."""
