"""The demo's world and what is worth asking it."""

from __future__ import annotations

from collections.abc import Callable

from mlobs_pipelines.simulate.champion import NAME, register_champion
from mlobs_pipelines.simulate.delivery import WorldFacts, write_world
from mlobs_pipelines.store.layout import Home

MODEL = NAME
DEMO_SEED, DEMO_DAYS, DEMO_PAYMENTS = 7, 60, 2500

DEMO_QUERIES: list[tuple[str, str]] = []
"""Title and SQL of the queries that the demo ends with."""


def prepare(
    home: Home, *, days: int = DEMO_DAYS, seed: int = DEMO_SEED, progress: Callable[[str], None] | None = None
) -> WorldFacts:
    """Write the demo's world into a home and register its champion, telling ``progress`` what is being done."""
    tell = progress or (lambda _: None)
    tell(f"simulating {days} days of card payments and two models that score them")
    facts = write_world(home, seed=seed, days=days, payments_per_day=DEMO_PAYMENTS)
    tell("registering the champion in MLflow")
    register_champion(home, facts.world.champions, facts.world.training_sample)
    return facts
