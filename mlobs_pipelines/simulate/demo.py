"""The demo's world and what is worth asking it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from mlobs_pipelines.simulate.champion import NAME, register_champion
from mlobs_pipelines.simulate.delivery import WorldFacts, deliver
from mlobs_pipelines.simulate.planted import planted
from mlobs_pipelines.simulate.world import World
from mlobs_pipelines.store.layout import Home

MODEL = NAME
DEMO_SEED, DEMO_DAYS, DEMO_PAYMENTS = 7, 60, 2500

DEMO_QUERIES: list[tuple[str, str]] = [
    (
        "The fraud rate of the first week, as it was known week by week: frauds are reported before the rest is confirmed",
        "select as_of, round(value, 4) as fraud_rate, round(lower, 4) as lower, round(upper, 4) as upper, labeled_rows, "
        "status from metrics where metric = 'base_rate' and family = 'performance' and role = 'production' "
        "and version = '' and segment = '' and window_start = '2026-01-01' and window_end = '2026-01-07' "
        "and (as_of - date '2026-01-07') % 7 = 0 order by as_of",
    ),
    (
        "The two versions side by side, on the newest week that both served",
        "select metric, version, role, round(value, 3) as value, round(lower, 3) as lower, round(upper, 3) as upper, "
        "rows, labeled_rows, status from version_comparison where window_days = 7 "
        "and metric in ('roc_auc', 'recall', 'latency_p95') order by metric, version, role",
    ),
    (
        "Where the model tells fraud from the rest worst",
        "select segment, round(value, 3) as roc_auc, round(lower, 3) as lower, round(upper, 3) as upper, labeled_rows, "
        "window_end from latest_metrics where metric = 'roc_auc' and family = 'performance' and role = 'production' "
        "and version = '' and window_days = 7 order by value limit 5",
    ),
]
"""Title and SQL of the queries that the demo ends with."""


def prepare(
    home: Home, *, days: int = DEMO_DAYS, seed: int = DEMO_SEED, progress: Callable[[str], None] | None = None
) -> WorldFacts:
    """Write the demo's world with its faults into a home and register its champion, telling ``progress`` what is done.

    The registration waits for MLflow's import and database, the world for the models' scores: they are made at once.
    """
    tell = progress or (lambda _: None)
    tell(f"simulating {days} days of card payments and two models that score them")
    faults = tuple(p.fault for p in planted())
    world = World(seed=seed, days=days, payments_per_day=DEMO_PAYMENTS, faults=faults)
    champions, sample = world.champions, world.training_sample
    with ThreadPoolExecutor(max_workers=1) as beside:
        registered = beside.submit(register_champion, home, champions, sample)
        facts = deliver(home, world)
        tell("registering the champion in MLflow")
        registered.result()
    return facts
