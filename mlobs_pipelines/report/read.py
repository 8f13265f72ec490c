"""All that pages read: ``results.duckdb``, open for the time of one page, and the log as it is now."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from functools import cached_property
from types import TracebackType
from typing import Any, Self

import polars as pl

from mlobs_pipelines.engine import sql
from mlobs_pipelines.engine.duckdb import Error, ReadOnlyDuckDB
from mlobs_pipelines.spec.errors import SpecError
from mlobs_pipelines.spec.load import load_spec
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.journal import decisions
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.nights import patiently
from mlobs_pipelines.store.people import with_people
from mlobs_pipelines.store.read import StoreError
from mlobs_pipelines.store.tables import CAUSES, INCIDENTS

Row = dict[str, Any]

KEY = ("role", "version", "family", "metric", "subject", "segment")


class Results:
    """What the store concluded; where nothing was run yet, every answer is empty."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._database: ReadOnlyDuckDB | None = None
        self._incidents: dict[str | None, list[Row]] = {}

    def __enter__(self) -> Self:
        if self.home.results.exists():
            try:
                self._database = ReadOnlyDuckDB(self.home.results)
            except Error as error:
                raise StoreError(" ".join(str(error).split())[:300]) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._database is not None:
            self._database.__exit__(kind, error, trace)

    def frame(self, query: str, schema: pl.Schema | None = None) -> pl.DataFrame:
        """The answer to a query.

        Raises:
            StoreError: the snapshot was made by another version, which lacks a table or a column.
        """
        if self._database is None:
            return pl.DataFrame(schema=schema)
        try:
            return pl.DataFrame(self._database.table(query), schema=schema)
        except Error as error:
            raise StoreError(f"{' '.join(str(error).split())[:300]}; run: mlobs run MODEL") from None

    def rows(self, query: str) -> list[Row]:
        """The answer to a query, as dictionaries."""
        return self.frame(query).to_dicts()

    @cached_property
    def models(self) -> list[str]:
        """Every model: those with a file and those of which something was concluded."""
        filed = {p.stem for p in self.home.models.glob("*.yaml") if not p.name.startswith(".")}
        return sorted(filed | {row["model"] for row in self.rows("select model from models")})

    @cached_property
    def log(self) -> pl.DataFrame:
        """Rows of the log of decisions, in order."""
        return decisions(self.home)

    def incidents(self, model: str | None = None) -> list[Row]:
        """Each incident once, with what people said of it up to now, ``evidence`` read; the worst and newest first."""
        if model not in self._incidents:
            where = f" where model = {sql.text(model)}" if model is not None else ""
            frame = with_people(self.frame(f"select * from incidents{where}", INCIDENTS), self.log)
            rows = [{**row, "evidence": _document(row["evidence"])} for row in frame.iter_rows(named=True)]
            self._incidents[model] = sorted(rows, key=_worst_first)
        return self._incidents[model]

    def open_incidents(self) -> list[Row]:
        """Incidents of all models that no night found over, without ``evidence``; the worst and newest first."""
        query = "select * replace ('' as evidence) from incidents where resolved_as_of is null"
        frame = with_people(self.frame(query, INCIDENTS), self.log)
        return sorted(frame.iter_rows(named=True), key=_worst_first)

    def entries(self, model: str) -> list[Row]:
        """A model's rows of the log, in order."""
        return self.log.filter(pl.col("model") == model).to_dicts()

    def causes(self, incident_id: str) -> list[Row]:
        """First suspects of an incident, by rank."""
        where = f"where incident_id = {sql.text(incident_id)}"
        return self.frame(f"select * from causes {where} order by rank", CAUSES).to_dicts()

    def health(self, model: str | None = None) -> dict[str, Row]:
        """The mart ``model_health``, by model."""
        where = f" where model = {sql.text(model)}" if model is not None else ""
        return {row["model"]: row for row in self.rows(f"select * from model_health{where}")}

    def role(self, model: str) -> str:
        """The role that a model is judged in: production, where there is any."""
        found = self.rows(
            f"select distinct role from latest_metrics where model = {sql.text(model)} and version = '' "
            "order by case when role = 'production' then 0 else 1 end, role limit 1"
        )
        return str(found[0]["role"]) if found else "production"

    def windows(
        self,
        model: str,
        where: Mapping[str, str | Iterable[str]],
        days: int | None = None,
        *,
        since: dt.date | None = None,
    ) -> list[Row]:
        """Of every window of the chosen numbers what was said last, in order of their ends.

        Args:
            model: the model.
            where: column -> value, or values any of which it may have.
            days: length of the windows; None: all.
            since: first end of a window.
        """
        length = f"and window_days = {days}" if days else ""
        later = f"and window_end >= {sql.date(since)}" if since else ""
        chosen = f"model = {sql.text(model)} {_chosen(where)} {length} {later}"
        return self.rows(
            f"select {', '.join(KEY)}, window_start, window_end, as_of, value, lower, upper, rows, labeled_rows, "
            f"baseline, reference, status from known_metrics where {chosen} order by window_end"
        )

    def signals(
        self, model: str, where: Mapping[str, str | Iterable[str]], *, since: dt.date | None = None
    ) -> list[Row]:
        """What numbers were on each night, and what was expected of them."""
        later = f"and as_of >= {sql.date(since)}" if since else ""
        return self.rows(
            f"select * from signals where model = {sql.text(model)} {_chosen(where)} {later} order by as_of"
        )

    def profile(self, model: str, feature: str, segment: str, role: str, first: dt.date, last: dt.date) -> pl.DataFrame:
        """Rows of a feature by event date and bin, of what arrived on some nights."""
        stored = self.home.lake_nights(model, "feature_profile")
        if not stored.between(first, last):
            return pl.DataFrame(schema={"event_date": pl.Date(), "bin": pl.Int64(), "rows": pl.Int64()})
        mine = (pl.col("feature") == feature) & (pl.col("segment") == segment) & (pl.col("role") == role)

        def read() -> pl.DataFrame:
            frames = [
                rows.filter(mine).select("event_date", "bin", "rows")
                for rows in stored.frames(stored.between(first, last))
            ]
            return pl.concat(frames).group_by("event_date", "bin").agg(pl.col("rows").sum()).collect()

        return patiently(read)

    def refused(self, model: str, *, since: dt.date) -> pl.DataFrame:
        """Refused rows by night, what they were to be, and reason; columns night, source, reason, rows."""
        frames = [
            pl.read_parquet(self.home.quarantine_file(model, night), columns=["source", "reason"])
            .group_by("source", "reason")
            .agg(rows=pl.len().cast(pl.Int64))
            .with_columns(night=pl.lit(night))
            for night in self.home.quarantine_nights(model).between(since, dt.date.max)
        ]
        schema = {"source": pl.String(), "reason": pl.String(), "rows": pl.Int64(), "night": pl.Date()}
        return pl.concat(frames) if frames else pl.DataFrame(schema=schema)

    def spec(self, model: str) -> ModelSpec | None:
        """The model's file, if it can be read."""
        path = self.home.spec_file(model)
        try:
            return load_spec(path) if path.exists() else None
        except SpecError:
            return None


def _chosen(where: Mapping[str, str | Iterable[str]]) -> str:
    """SQL for columns that have a value, or any of some values."""
    found = ""
    for name, value in where.items():
        values = [value] if isinstance(value, str) else sorted(value)
        found += f" and {name} in ({', '.join(sql.text(v) for v in values) or 'null'})"
    return found


_SEVERITY = {"critical": 0, "warning": 1, "info": 2}
_STATE = {"open": 0, "acknowledged": 1, "silenced": 2, "resolved": 3}


def _worst_first(row: Row) -> tuple[bool, int, int, int, str]:
    over = row["state"] == "resolved"
    newest = -(row["opened_as_of"] or dt.date.min).toordinal()
    severity = _SEVERITY.get(row["severity"], 3)
    state = _STATE.get(row["state"], 0)
    return (over, 0 if over else state // 2, 0 if over else severity, newest, row["incident_id"])


def _document(text: str | None) -> Row:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
