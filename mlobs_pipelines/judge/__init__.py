"""Metrics -> incidents with causes and recommended actions."""
