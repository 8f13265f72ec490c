"""Incidents and people's words → decisions, and their deeds: alerts, retraining, comparison, promotion, roll-back."""
