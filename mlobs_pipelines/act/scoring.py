"""Two versions of the registry on the same logged rows: which days are fair to both, and what each says there."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass

import numpy as np
import polars as pl

from mlobs_pipelines.act.rows import RowsError, known_incidents, matured_days, matured_rows, newest_night, poisoned
from mlobs_pipelines.registry import LoadedModel, ModelError, Registry, Version
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.layout import Home

LEAST_DAYS = 7
"""Days that versions are compared on, at the least."""
MOST_DAYS = 91
"""And at the most: the newest."""


@dataclass(frozen=True)
class Window:
    """Days to compare on; ``doubt`` tells why a version may have been trained on them, if it may have been."""

    first: dt.date
    last: dt.date
    doubt: str = ""


def window_of(home: Home, spec: ModelSpec, version: Version, as_of: dt.date) -> Window | dt.date:
    """The matured days on which a version can be judged: those after its training data.

    Returns:
        The window; or, where its training data reach too far for that, the first night that may do.
    """
    days = matured_days(home, spec, as_of)[-MOST_DAYS:]
    through = date_of(version.tags.get("mlobs.trained_through"))
    if through is not None:
        after = [day for day in days if day > through]
        if len(after) < LEAST_DAYS:
            soonest = max([through, *days[-1:]]) + dt.timedelta(days=LEAST_DAYS - len(after) + spec.maturity_days)
            return max(soonest, as_of + dt.timedelta(days=1))
        return Window(after[0], after[-1])
    after = [day for day in days if day > version.created_at.date()]
    if len(after) >= LEAST_DAYS:
        return Window(after[0], after[-1])
    if not days:
        return as_of + dt.timedelta(days=1)
    newest = days[-max(LEAST_DAYS, math.ceil(len(days) / 4)) :]
    doubt = f"version {version.version} has no tag mlobs.trained_through and may have been trained on these rows"
    return Window(newest[0], newest[-1], doubt)


def score_both(
    home: Home,
    spec: ModelSpec,
    champion: str,
    challenger: str,
    *,
    window: Window | None = None,
    as_of: dt.date | None = None,
) -> pl.DataFrame:
    """Score logged rows with two versions of the registry.

    Args:
        home: the installation.
        spec: the model.
        champion: the version that the other is compared with.
        challenger: the other version.
        window: days to score; default: those after the newest of the challenger's training data.
        as_of: labels as believed at the end of this night; default: the newest.

    Returns:
        :func:`~mlobs_pipelines.act.rows.matured_rows` without poisoned ones, with ``score_champion`` and ``score_challenger``
        (binary: probability of the positive class; multiclass: an array in the spec's order; regression: the number).

    Raises:
        RegistryError: MLflow does not answer, or has no such version (ModelError).
        RowsError: there are no labelled rows to compare on.
    """
    registry = Registry.open(home, spec)
    night = as_of or newest_night(home, spec.model)
    if night is None:
        raise RowsError(f"{spec.model} was never run; run it first: mlobs run {spec.model}")
    if window is None:
        version = registry.version(challenger)
        if version is None:
            raise ModelError(f"{registry.name} has no version {challenger} in MLflow")
        found = window_of(home, spec, version, night)
        if isinstance(found, dt.date):
            raise RowsError(f"labels after the training data of version {challenger} are not final before {found}")
        window = found
    bad = poisoned(known_incidents(home, spec.model, night))
    rows = matured_rows(home, spec, window.first, window.last, night, bad)
    if rows.height < spec.monitors.min_rows:
        raise RowsError(
            f"{rows.height} labelled rows between {window.first} and {window.last} are too few to compare on"
        )
    scored = {
        "score_champion": _scores(spec, registry.load(champion), rows),
        "score_challenger": _scores(spec, registry.load(challenger), rows),
    }
    return rows.with_columns(**scored)


def date_of(text: object) -> dt.date | None:
    """A date that someone wrote into a tag, if it is one."""
    try:
        return dt.date.fromisoformat(str(text)[:10])
    except ValueError:
        return None


def _scores(spec: ModelSpec, model: LoadedModel, rows: pl.DataFrame) -> pl.Series:
    found = model.predict(rows)
    kind = pl.Array(pl.Float64, len(spec.classes)) if spec.task == "multiclass" else pl.Float64()
    return pl.Series(np.ascontiguousarray(found), dtype=kind)
