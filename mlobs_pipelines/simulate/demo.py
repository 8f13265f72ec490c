"""The demo's world and what is worth asking it."""

from __future__ import annotations

from collections.abc import Callable

from mlobs_pipelines.simulate.champion import register_champion
from mlobs_pipelines.simulate.delivery import WorldFacts, write_world
from mlobs_pipelines.store.layout import Home

DEMO_SEED, DEMO_DAYS, DEMO_PAYMENTS = 7, 60, 2500

DEMO_QUERIES: list[tuple[str, str]] = []
"""Title and SQL of the queries that the demo ends with."""


def prepare(home: Home, progress: Callable[[str], None]) -> WorldFacts:
    """Write the demo's world into a home and register its champion, telling ``progress`` what is being done."""
    progress("training two models and simulating 60 days of card payments")
    facts = write_world(home, seed=DEMO_SEED, days=DEMO_DAYS, payments_per_day=DEMO_PAYMENTS)
    progress("registering the champion in MLflow")
    register_champion(home, facts.world.champions, facts.world.training_sample)
    return facts
