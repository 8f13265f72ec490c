"""Which nights are due. The clock is an argument."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.layout import Home


def nights_between(first: dt.date, last: dt.date) -> list[dt.date]:
    """Every date from first to last, both included."""
    return [first + dt.timedelta(days=i) for i in range((last - first).days + 1)]


def last_complete_day(spec: ModelSpec, now: dt.datetime) -> dt.date:
    """Yesterday, in the model's timezone."""
    return now.astimezone(ZoneInfo(spec.timezone)).date() - dt.timedelta(days=1)


def first_unfinished(home: Home, model: str) -> dt.date | None:
    """The first night that a run left without metrics, else the one after the last; None before any night was run."""
    taken = home.lake_nights(model, "predictions").all()
    finished = set(home.store_nights("metrics", model).all())
    return next((n for n in taken if n not in finished), taken[-1] + dt.timedelta(days=1)) if taken else None


def nights_due(home: Home, spec: ModelSpec, now: dt.datetime) -> list[dt.date]:
    """Nights that have passed and were not run to their end.

    A model that ran before is due up to yesterday, also where nothing arrived: silence is a finding. A model's
    first run replays what its log holds, from the first arrival to the last.
    """
    yesterday = last_complete_day(spec, now)
    if first := first_unfinished(home, spec.model):
        return nights_between(first, yesterday)
    from mlobs_pipelines.ingest.deliveries import arrival_dates  # the health table asks this module and reads no files

    arrived = arrival_dates(home, spec)
    if not arrived:
        return []
    return nights_between(arrived[0], min(arrived[-1], yesterday))
