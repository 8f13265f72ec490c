"""dbt's marts as tables that are kept up to date: what dbt defines is applied to the part that a night changed.

Each mart is defined once, by dbt, over all of history. It is computed here by the same SQL with narrower inputs, where
that gives the same rows:

- of a window ``known_metrics`` has what was said last, so that what was known of it and what is new are all that counts,
  unless something that was said is taken back: then all that was ever said of it;
- of a number ``latest_metrics`` has the best of its windows, so that the windows that changed and the one that was best
  are all that counts, unless that one has changed for the worse: then all windows;
- no row of any mart depends on rows of another model.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import Collection, Mapping
from pathlib import Path

from mlobs_pipelines.engine import dbt, sql
from mlobs_pipelines.engine.duckdb import DuckDBEngine
from mlobs_pipelines.store.files import write_text
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.tables import METRICS, METRICS_KEY

MARTS = ("known_metrics", "latest_metrics", "model_health", "version_comparison")

WINDOW = tuple(name for name in METRICS_KEY if name != "as_of")
"""What identifies a row of ``known_metrics``."""

NUMBER = ("model", "version", "role", "family", "metric", "subject", "segment", "window_days")
"""What identifies a row of ``latest_metrics``."""

UNORDERED = 0.25
"""Share of a month that is over, in a model's ``known_metrics``, that may lie in the order in which it came."""

MONTH = "cast(date_trunc('month', window_end) as date)"


def definitions(home: Home, database: Path, working: Path) -> dict[str, str]:
    """The marts' SQL as dbt compiles it, over tables of ``"warehouse"."main"``: the same in every home, and so kept
    beside the parsed project. A new home would wait for a dbt that does nothing else.

    Raises:
        DbtError: dbt refused.
    """
    kept = dbt.manifest(home).with_name("marts.json")
    with contextlib.suppress(FileNotFoundError, ValueError):
        found: dict[str, str] = json.loads(kept.read_text(encoding="utf-8"))
        return found
    dbt.run_dbt(("compile", "--select", "marts"), dbt.environment(home, database, working))
    (folder,) = (working / "target" / "compiled").glob("*/models/marts")
    found = {mart: (folder / f"{mart}.sql").read_text(encoding="utf-8") for mart in MARTS}
    with contextlib.suppress(OSError):  # another person's folder that can only be read, or a full disk
        write_text(kept, json.dumps(found))
    return found


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
        engine.run(f"create or replace temp table changed as select {', '.join(WINDOW)} from warehouse.metrics limit 0")

    @staticmethod
    def create(engine: DuckDBEngine, found: Mapping[str, str]) -> None:
        """Make the marts' tables, and keep their definitions."""
        engine.run(
            "create table warehouse.publishing.marts (mart varchar, definition varchar); "
            "create table warehouse.publishing.ordered (model varchar, month date, as_of date)"
        )
        for mart, definition in found.items():
            engine.run(f"insert into warehouse.publishing.marts values ({sql.text(mart)}, {sql.text(definition)})")
            engine.run(f"create table warehouse.{mart} as {definition}")

    def fill(self) -> None:
        """Compute all marts of an empty database from all of its tables."""
        for mart in MARTS:  # the later ones read the earlier ones
            self._engine.run(f"delete from warehouse.{mart}; insert into warehouse.{mart} {self._definitions[mart]}")
        self._engine.run(
            "delete from warehouse.publishing.ordered; insert into warehouse.publishing.ordered "
            f"select model, {MONTH}, max(as_of) from warehouse.known_metrics group by all"
        )

    def note_changed(self, model: str, nights: Collection[dt.date]) -> None:
        """Before some nights' rows leave ``metrics``, and after others came: the windows that they are about change."""
        self._engine.run(
            f"insert into changed select distinct {', '.join(WINDOW)} from warehouse.metrics "
            f"where {of([model])} and as_of in ({sql.dates(nights)})"
        )

    def bring_numbers_up_to_date(self, model: str, came: Collection[dt.date], *, taken_back: bool) -> None:
        """Compute anew what depends on the windows that changed; ``came``: the nights with rows that are new."""
        ((since,),) = self._engine.rows("select min(window_end) from changed")
        if since is not None:
            self._know(model, since, came, taken_back=taken_back)
            self._choose_latest(model)
            self._compute("version_comparison", {"known_metrics": _rows("known_metrics", of([model]))})
            self._put("version_comparison", of([model]))
            self._keep_in_order(model, since, max(came, default=since))
        self._engine.run("delete from changed")

    def bring_health_up_to_date(self, models: Collection[str]) -> None:
        """After anything changed for some models."""
        if models:
            read = ("models", "runs", "incidents", "known_metrics", "latest_metrics")
            self._compute("model_health", {table: _rows(table, of(models)) for table in read})
            self._put("model_health", of(models))

    def _know(self, model: str, since: dt.date, came: Collection[dt.date], *, taken_back: bool) -> None:
        windows = f"{of([model])} and window_end >= {sql.date(since)} and {_among('changed', WINDOW)}"
        if taken_back:
            said = _rows("metrics", windows)
        else:
            new = _rows("metrics", f"{of([model])} and as_of in ({sql.dates(came)})")
            said = f"select {', '.join(METRICS)} from ({_rows('known_metrics', windows)}) union all {new}"
        self._compute("known_metrics", {"metrics": said})
        self._put("known_metrics", windows)

    def _choose_latest(self, model: str) -> None:
        concerned = f"{of([model])} and ({_among('new_known_metrics', NUMBER)} or {_among('changed', WINDOW)})"
        others = f"{concerned} and not {_among('changed', WINDOW)}"
        windows = f"select * from new_known_metrics union all by name {_rows('latest_metrics', others)}"
        self._compute("latest_metrics", {"known_metrics": windows})
        lost = self._engine.rows(
            f"select 1 from warehouse.latest_metrics as mine where {concerned} and not exists (select 1 from new_latest_metrics "
            f"as b where {_same(NUMBER)} and (b.is_final, b.window_end) >= (mine.is_final, mine.window_end)) limit 1"
        )
        if lost:
            concerned = of([model])
            self._compute("latest_metrics", {"known_metrics": _rows("known_metrics", concerned)})
        self._put("latest_metrics", concerned)

    def _keep_in_order(self, model: str, since: dt.date, last: dt.date) -> None:
        """Rows that came lie at the end of the table. A month is put in order when it is over, and again where much of it
        was restated since: a row is moved about once, and a night moves no more than the months that are due."""
        new = dict(self._engine.rows(f"select {MONTH}, count(*) from new_known_metrics group by all"))
        known = (
            f"select {MONTH} as month, as_of from warehouse.known_metrics where {of([model])} "
            f"and window_end >= {sql.date(since.replace(day=1))} and window_end < {sql.date(last.replace(day=1))}"
        )
        for month, rows, as_of, unordered in self._engine.rows(
            "select month, count(*), max(known.as_of), "
            "count(*) filter (known.as_of > coalesce(ordered.as_of, date '-infinity')) "
            f"from ({known}) as known left join (from warehouse.publishing.ordered where {of([model])}) as ordered "
            "using (month) group by month"
        ):
            if unordered <= UNORDERED * rows:
                continue
            if new.get(month, 0) < rows:  # else all of them came now, in order
                mine = f"{of([model])} and window_end between {sql.date(month)} and last_day({sql.date(month)})"
                self._compute(
                    "known_metrics", {"metrics": f"select {', '.join(METRICS)} from ({_rows('known_metrics', mine)})"}
                )
                self._put("known_metrics", mine)
            self._engine.run(
                f"delete from warehouse.publishing.ordered where {of([model])} and month = {sql.date(month)}; "
                f"insert into warehouse.publishing.ordered values ({sql.text(model)}, {sql.date(month)}, {sql.date(as_of)})"
            )

    def _compute(self, mart: str, inputs: Mapping[str, str]) -> None:
        """What the mart has of these inputs, aside, for they may be of the mart itself."""
        self._engine.run(f"create or replace temp table new_{mart} as {over(self._definitions[mart], inputs)}")

    def _put(self, mart: str, where: str) -> None:
        self._engine.run(
            f"delete from warehouse.{mart} as mine where {where}; insert into warehouse.{mart} select * from new_{mart}"
        )


def _rows(table: str, where: str) -> str:
    return f"select * from warehouse.{table} as mine where {where}"


def _among(others: str, columns: Collection[str]) -> str:
    """SQL for rows of ``mine`` that are the same in some columns as one of ``others``."""
    return f"exists (select 1 from {others} as b where {_same(columns)})"


def _same(columns: Collection[str]) -> str:
    return " and ".join(f"mine.{name} is not distinct from b.{name}" for name in columns)


def of(models: Collection[str]) -> str:
    """SQL for rows of some models."""
    return f"model in ({', '.join(map(sql.text, sorted(models)))})"
