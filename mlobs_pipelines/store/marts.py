"""dbt's marts as tables that are kept up to date: what dbt defines is applied to the part that a night changed.

Each mart is defined once, by dbt, over all of history. It is computed here by the same SQL with narrower inputs, where
that gives the same rows:

- a window's number in ``known_metrics`` is what was said of it last, so what was known before and what is new are all
  that counts, unless something that was said is taken back;
- a row of ``latest_metrics`` is the best of its windows, so the best of those that did not change and the ones that did
  are all that counts, unless a window lost the place it had;
- no mart of one model looks at another's rows.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from pathlib import Path

from mlobs_pipelines.engine import dbt, sql
from mlobs_pipelines.engine.duckdb import DuckDBEngine
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.tables import METRICS

MARTS = ("known_metrics", "latest_metrics", "model_health", "version_comparison")

NUMBER = ("model", "version", "role", "family", "metric", "subject", "segment", "window_days")
"""What identifies a row of ``latest_metrics``."""


def definitions(home: Home, database: Path, working: Path) -> dict[str, str]:
    """The marts' SQL as dbt compiles it, over tables of ``"warehouse"."main"``.

    Raises:
        DbtError: dbt refused.
    """
    dbt.run_dbt(("compile", "--select", "marts"), dbt.environment(home, database, working))
    (folder,) = (working / "target" / "compiled").glob("*/models/marts")
    return {mart: (folder / f"{mart}.sql").read_text(encoding="utf-8") for mart in MARTS}


def over(definition: str, inputs: Mapping[str, str]) -> str:
    """A mart's SQL that reads ``inputs`` (table -> SQL of rows with its columns) in the place of those tables."""
    for table, rows in inputs.items():
        name = f'"warehouse"."main"."{table}"'
        if name not in definition:
            raise ValueError(f"the mart does not read {table}")
        definition = definition.replace(name, f"({rows})")
    return definition


class Marts:
    """The marts in the database that ``engine`` has attached as ``warehouse``, with their definitions beside them."""

    def __init__(self, engine: DuckDBEngine) -> None:
        self._engine = engine
        self._definitions = dict(engine.rows("select mart, definition from warehouse.publishing.marts"))

    @staticmethod
    def create(engine: DuckDBEngine, found: Mapping[str, str]) -> None:
        """Make the marts' tables, and keep their definitions."""
        engine.run("create table warehouse.publishing.marts (mart varchar, definition varchar)")
        for mart, definition in found.items():
            engine.run(f"insert into warehouse.publishing.marts values ({sql.text(mart)}, {sql.text(definition)})")
            engine.run(f"create table warehouse.{mart} as {definition}")

    def first_window(self, model: str, nights: Collection[dt.date]) -> dt.date | None:
        """The first day that some nights' numbers are about, back to where the order of ``known_metrics`` begins anew."""
        found = self._engine.rows(
            "select cast(date_trunc('month', min(window_end)) as date) from warehouse.metrics "
            f"where model = {sql.text(model)} and as_of in ({dates(nights)})"
        )
        return found[0][0] if found else None

    def bring_numbers_up_to_date(
        self, model: str, since: dt.date, came: Collection[dt.date], *, taken_back: bool
    ) -> None:
        """After ``metrics`` changed: compute a model's numbers anew.

        Args:
            model: the model.
            since: no window that ended earlier has changed.
            came: the nights with rows that are new.
            taken_back: rows were removed, too.
        """
        self._know(model, since, came, taken_back=taken_back)
        if not self._choose_latest(model, since):
            self._choose_latest(model, dt.date.min)
        self._compute("version_comparison", {"known_metrics": _rows("known_metrics", of([model]))})
        self._put("version_comparison", of([model]))

    def bring_health_up_to_date(self, models: Collection[str]) -> None:
        """After anything changed for some models."""
        if models:
            read = ("models", "runs", "incidents", "known_metrics", "latest_metrics")
            self._compute("model_health", {table: _rows(table, of(models)) for table in read})
            self._put("model_health", of(models))

    def _know(self, model: str, since: dt.date, came: Collection[dt.date], *, taken_back: bool) -> None:
        changed = f"{of([model])} and window_end >= date '{since}'"
        if taken_back:
            said = _rows("metrics", changed)
        else:
            new = _rows("metrics", f"{of([model])} and as_of in ({dates(came)})")
            said = f"select {', '.join(METRICS)} from ({_rows('known_metrics', changed)}) union all {new}"
        self._compute("known_metrics", {"metrics": said})
        self._put("known_metrics", changed)

    def _choose_latest(self, model: str, since: dt.date) -> bool:
        """Tell whether the windows since then, and what was latest before, are enough to know."""
        earlier = f"{of([model])} and window_end < date '{since}'"
        later = f"{of([model])} and window_end >= date '{since}'"
        windows = f"{_rows('known_metrics', later)} union all by name {_rows('latest_metrics', earlier)}"
        self._compute("latest_metrics", {"known_metrics": windows})
        same = " and ".join(f"was.{name} = now.{name}" for name in NUMBER)
        lost = self._engine.rows(
            f"select 1 from ({_rows('latest_metrics', later)}) as was where not exists "
            f"(select 1 from computed as now where {same} and now.is_final >= was.is_final) limit 1"
        )
        if lost and since > dt.date.min:
            return False
        self._put("latest_metrics", of([model]))
        return True

    def _compute(self, mart: str, inputs: Mapping[str, str]) -> None:
        """What the mart has of these inputs, aside, for they may be of the mart itself."""
        self._engine.run(f"create or replace temp table computed as {over(self._definitions[mart], inputs)}")

    def _put(self, mart: str, where: str) -> None:
        self._engine.run(
            f"delete from warehouse.{mart} where {where}; insert into warehouse.{mart} select * from computed"
        )


def _rows(table: str, where: str) -> str:
    return f"select * from warehouse.{table} where {where}"


def of(models: Collection[str]) -> str:
    """SQL for rows of some models."""
    return f"model in ({', '.join(map(sql.text, sorted(models)))})"


def dates(nights: Collection[dt.date]) -> str:
    """SQL for a list of dates."""
    return ", ".join(f"date '{night}'" for night in sorted(nights))
