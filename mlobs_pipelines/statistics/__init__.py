"""Counts -> statistics with intervals and bounds: pure functions over NumPy arrays."""
