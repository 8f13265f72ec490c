"""Wiring: assets, checks, schedules, the nightly job."""
