"""Profiles -> metrics with intervals, over any window, as known on any night."""
