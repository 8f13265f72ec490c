"""A small world with known faults."""
