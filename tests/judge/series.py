"""Nights of metrics made by hand, and judging them one after the other as the nightly run does."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from mlobs_pipelines.judge.night import Judgement, judge_night
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.tables import INCIDENTS, METRICS, SIGNALS

FIRST = dt.date(2026, 1, 5)  # a Monday


def spec_of(**more: Any) -> ModelSpec:
    """A binary model with labels that are final after a week, cut by country and device."""
    return ModelSpec.model_validate(
        {
            "model": "m",
            "task": "binary",
            "predictions": {"source": "p", "id": "id", "time": "t", "score": "s"},
            "labels": {"source": "l", "id": "id", "value": "v", "available_at": "a", "maturity": "7d"},
            "features": {"numeric": ["amount", "age"], "categorical": []},
            "segments": ["country", "device"],
            "fairness": {"attributes": ["sex"]},
            "monitors": {"windows": ["1d", "7d"]},
            **more,
        }
    )


def day(number: int) -> dt.date:
    return FIRST + dt.timedelta(days=number)


def number(
    night: int,
    family: str,
    metric: str,
    value: float | None,
    *,
    error: float | None = 0.01,
    days: int = 1,
    lag: int = 0,
    **more: Any,
) -> dict[str, Any]:
    """A row of ``metrics``: a value with a standard error, on a window that ends ``lag`` days before the night."""
    end = day(night - lag)
    interval = value is not None and error is not None
    row = {
        "model": "m",
        "version": "",
        "role": "production",
        "family": family,
        "metric": metric,
        "subject": "",
        "segment": "",
        "window_start": end - dt.timedelta(days=days - 1),
        "window_end": end,
        "as_of": day(night),
        "value": value,
        "lower": value - 1.96 * error if interval else None,
        "upper": value + 1.96 * error if interval else None,
        "rows": 1000,
        "labeled_rows": 1000,
        "baseline": None,
        "reference": "training",
        "status": "ok" if value is not None else "insufficient_data",
        "error_bound": 0.0,
        "run_id": "r",
    }
    return row | more


def missing(night: int, rate: float | None, **more: Any) -> dict[str, Any]:
    return number(
        night, "quality", "missing_rate", rate, error=0.002, **{"subject": "amount", "baseline": 0.01, **more}
    )


def drift(night: int, distance: float | None, **more: Any) -> dict[str, Any]:
    return number(night, "drift", "jensen_shannon", distance, error=0.005, **{"subject": "amount", **more})


def auc(night: int, value: float | None, **more: Any) -> dict[str, Any]:
    return number(night, "performance", "roc_auc", value, error=0.005, days=7, lag=7, **{"baseline": 0.9, **more})


def frame(rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=METRICS)


def no_profile(first: dt.date, last: dt.date) -> pl.DataFrame:
    return pl.DataFrame()


def judged(
    nights: Sequence[tuple[int, Sequence[Mapping[str, Any]]]],
    spec: ModelSpec | None = None,
    profile_of: Callable[[dt.date, dt.date], pl.DataFrame] = no_profile,
) -> list[Judgement]:
    """Judge nights, each by number and rows, in order."""
    history, incidents = pl.DataFrame(schema=SIGNALS), pl.DataFrame(schema=INCIDENTS)
    found = []
    for night, rows in nights:
        judgement = judge_night(frame(rows), history, incidents, spec or spec_of(), day(night), profile_of)
        history, incidents = pl.concat([history, judgement.signals]), judgement.incidents
        found.append(judgement)
    return found


def story(
    values: Sequence[float | None], make: Callable[..., dict[str, Any]] = missing, **more: Any
) -> list[Judgement]:
    """Judge a single number's nights."""
    return judged([(night, [make(night, value, **more)]) for night, value in enumerate(values)])


def ends(judgements: Sequence[Judgement]) -> pl.DataFrame:
    """Every incident as the last night that knows it left it."""
    rows = pl.concat([j.incidents for j in judgements])
    return (
        rows.sort("as_of").unique("incident_id", keep="last", maintain_order=True).sort("opened_as_of", "incident_id")
    )
