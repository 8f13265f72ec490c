"""Rows, once -> additive bitemporal profiles."""
