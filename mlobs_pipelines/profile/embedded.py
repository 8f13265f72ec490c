"""Profiles without a database in between: row groups -> numbers -> sums, on every core, in memory that one batch bounds.

It counts what the SQL of ``sums.py`` counts, to the same integers, in about the time that reading the columns takes.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mlobs_pipelines.engine import sql
from mlobs_pipelines.engine.duckdb import DuckDBEngine
from mlobs_pipelines.engine.threads import workers
from mlobs_pipelines.ingest.segments import value_text
from mlobs_pipelines.profile.batches import (
    Facts,
    Loaded,
    arrived,
    coded_dates,
    coded_names,
    labelled,
    labelled_rows,
)
from mlobs_pipelines.profile.cells import OTHERS, Coded
from mlobs_pipelines.profile.counting import Counter, Item, Placed, Rows
from mlobs_pipelines.profile.kernels import Bins, Ints, add_rows, add_values, by_row
from mlobs_pipelines.profile.plan import LATENCY, Feature, Plan, output_columns
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.tasks.base import OCTAVE_BINS, SQUARE_BITS, STANDARD_LIMIT, Output

KEYS = ("arrival_date", "event_date", "version", "role")
AHEAD = 2
"""Batches that wait for each worker."""
MOST_TEXTS = 100_000
"""Texts of a field's values that a worker remembers."""


def count(engine: DuckDBEngine, home: Home, plan: Plan, nights: Sequence[dt.date]) -> list[Rows]:
    """What arrived on the nights, counted; cells hold numbers of ``Plan.names``."""
    model = plan.spec.model
    return [
        *_counted(plan, arrived(home, model, nights), labels=False),
        *_counted(plan, labelled(engine, home, model, nights), labels=True),
    ]


def count_reference(plan: Plan, rows: Callable[[], Iterable[pa.Table]]) -> list[Rows]:
    """Rows of predictions with their labels in a column ``label``, counted: arrived, and labelled. They are asked for twice."""
    return [
        *_counted(plan, map(Loaded, rows()), labels=False),
        *_counted(plan, labelled_rows(rows()), labels=True),
    ]


def _counted(plan: Plan, batches: Iterable[Facts], *, labels: bool) -> list[Rows]:
    most = workers()
    local = threading.local()
    made: list[_Worker] = []

    def work(batch: Facts) -> None:
        if not hasattr(local, "worker"):
            local.worker = _Worker(plan, labels=labels)
            made.append(local.worker)
        local.worker.add(batch)

    pending = iter(batches)
    with ThreadPoolExecutor(most) as pool:
        futures = [pool.submit(work, batch) for batch in islice(pending, most * AHEAD)]
        while futures:
            futures.pop(0).result()
            futures += [pool.submit(work, batch) for batch in islice(pending, 1)]
        return [rows for found in pool.map(_Worker.end, made) for rows in found]


@dataclass
class _Worker:
    """One thread's counter, and an engine for what is said in SQL about a row."""

    plan: Plan
    labels: bool
    engine: DuckDBEngine = field(init=False)
    counter: Counter = field(init=False)

    def __post_init__(self) -> None:
        self.engine = DuckDBEngine(threads=1, ordered=True)
        plan = self.plan
        items = plan.items(labels=self.labels)
        self.items = {(item.table, item.name): item for item in items}
        self.counter = Counter(plan.cuts, plan.values, items)
        self.fields = {name: plan.schema.field(name) for name in plan.values}
        self.number = {name: {v: i for i, v in enumerate(values)} for name, values in plan.values.items()}
        categorical = [f.column for f in plan.features if f.vocabulary is not None]
        of_segments = {f"f_{name}": plan.schema.fields[name] for name in self.fields.values()}
        self.categories = list(
            dict.fromkeys(["version", "role", *categorical, *(c for c, k in of_segments.items() if k == "categorical")])
        )
        self.label_type = pa.float64() if plan.spec.task == "regression" else pa.string()
        self.narrow = [*KEYS, "failed", "latency_ms", "invalid_fields", *output_columns(plan.spec)]
        self.columns = list(dict.fromkeys([*self.narrow, *of_segments, *(f.column for f in plan.features)]))
        self.planned = cache(self._planned)
        self.texts: dict[str, dict[Any, str]] = {}

    def end(self) -> list[Rows]:
        """All that it counted."""
        self.engine.close()
        return self.counter.rows()

    def _planned(self, facts: pa.Schema, *, latency: bool) -> Callable[[pa.Table], pa.Table]:
        """The numbers that outputs and sums need of each row of facts, in the rows' order; a column is named by its SQL."""
        plan = self.plan
        wanted = list(plan.sums_of_row(labels=self.labels).values())
        for output in plan.outputs:
            sums = output.at_label if self.labels else output.at_prediction
            if sums:
                wanted += [output.of, *(of for of in sums.values() if of != "1")]
        if latency:
            wanted.append(LATENCY)
        # What is a column already need not go through SQL.
        listed = ", ".join(f"{of} as {sql.name(of)}" for of in dict.fromkeys(wanted) if of not in facts.names)
        stages = sql.needed(plan.stages, wanted)
        return self.engine.planned(lambda of: f"select {listed or '1'} from {sql.staged(of, stages)}", facts)

    def add(self, batch: Facts) -> None:
        """Count one batch."""
        table = batch.read(self.columns, self.categories)
        rows = batch.labels.rows if batch.labels else None
        if rows is not None and len(rows) == table.num_rows and np.array_equal(rows, np.arange(len(rows))):
            rows = None  # every row has one label
        narrow = table.select(self.narrow)
        if rows is not None:
            narrow = narrow.take(pa.array(rows))
        placed = self.counter.place(self._keys(narrow, batch), self._segments(table, rows))
        failed = narrow.column("failed").to_numpy()
        label = batch.labels.label if batch.labels else pa.nulls(narrow.num_rows, self.label_type)
        narrow = narrow.append_column("label", label)
        latency = not self.labels and narrow.column("latency_ms").null_count < narrow.num_rows
        numbers = self.planned(narrow.schema, latency=latency)(narrow)
        for of in dict.fromkeys(output.of for output in self.plan.outputs):
            if of in narrow.column_names:
                numbers = numbers.append_column(of, narrow.column(of))
        sign = batch.labels.sign.astype(np.int64) if batch.labels else np.ones(narrow.num_rows, np.int64)
        if not batch.labels:
            self._traffic(numbers, placed, failed)
        served = np.flatnonzero(~failed) if failed.any() else None
        if served is not None:
            placed, sign = placed[served], sign[served]
            numbers = numbers.take(pa.array(served))
            rows = served if rows is None else rows[served]
        invalid = self._invalid(narrow.column("invalid_fields"), served)
        self._outputs(numbers, placed, sign)
        # The sums of a feature's bins begin with these; those of its own values come after.
        weights = _weights(numbers, ["1", *self.plan.sums_of_row(labels=self.labels).values()], sign)
        for feature in self.plan.features:
            self._feature(feature, table.column(feature.column), rows, placed, weights, invalid.get(feature.name))

    def _keys(self, narrow: pa.Table, batch: Facts) -> list[Coded]:
        names = self.plan.names
        event = coded_dates(narrow.column("event_date").combine_chunks())
        version, role = (coded_names(_one(narrow.column(key)), names) for key in ("version", "role"))
        if batch.labels:
            return [Coded.of(batch.labels.arrival), event, version, role]
        return [coded_dates(narrow.column("arrival_date").combine_chunks()), event, version, role]

    def _segments(self, table: pa.Table, rows: npt.NDArray[np.intp] | None) -> dict[str, Coded]:
        found = {}
        for name, stored in self.fields.items():
            column = _one(table.column(f"f_{stored}"))
            if not isinstance(column, pa.DictionaryArray):
                column = column.dictionary_encode()
            texts = self._texts(column.dictionary, stored)
            number = self.number[name]
            meaning = np.array([number.get(text, OTHERS.index("(other)")) for text in texts] + [0], np.int64)
            codes = column.indices.fill_null(len(texts)).to_numpy() if column.null_count else column.indices.to_numpy()
            # Many values are '(other)': numbered by what they mean, not by value.
            distinct, place = np.unique(meaning, return_inverse=True)
            of_row = place[codes]
            found[name] = Coded(of_row if rows is None else of_row[rows], distinct)
        return found

    def _texts(self, values: pa.Array, stored: str) -> list[str]:
        """A field's values as segments name them. Batches have most of them in common: each is asked for once."""
        known = self.texts.get(stored, {})
        if len(known) > MOST_TEXTS:
            known = {}
        listed = values.to_pylist()
        unknown = [value for value in listed if value not in known]
        if unknown:
            self.engine.register("values_of_field", pa.table({f"f_{stored}": pa.array(unknown, values.type)}))
            text = value_text(stored, self.plan.schema.fields[stored])
            named = self.engine.rows(f"select {text} from values_of_field")
            known |= {value: str(name) for value, (name,) in zip(unknown, named, strict=True)}
        self.texts[stored] = known
        return [known[value] for value in listed]

    def _invalid(self, fields: pa.ChunkedArray, served: npt.NDArray[np.intp] | None) -> dict[str, npt.NDArray[np.intp]]:
        """For each field, which of the served rows had something that could not be conformed."""
        if fields.null_count == len(fields):
            return {}
        self.engine.register("invalid_of_batch", pa.table({"invalid_fields": fields}))
        found = self.engine.table(
            "select row, field from (select row, unnest(json_keys(invalid_fields)) as field from "
            "(select row_number() over () - 1 as row, invalid_fields from invalid_of_batch) where invalid_fields is not null)"
        )
        row, field_ = found.column("row").to_numpy(), _one(found.column("field")).dictionary_encode()
        codes = field_.indices.to_numpy()
        if served is not None:
            at = np.searchsorted(served, row)
            kept = (at < len(served)) & (served[np.minimum(at, len(served) - 1)] == row)
            row, codes = at[kept], codes[kept]
        return {name: row[codes == i] for i, name in enumerate(field_.dictionary.to_pylist())}

    def _traffic(self, numbers: pa.Table, placed: Placed, failed: npt.NDArray[np.bool_]) -> None:
        item = self.items["traffic_profile", ""]
        weights = np.column_stack([np.ones(len(failed), np.int64), failed.astype(np.int64)])
        logged = LATENCY in numbers.column_names
        bins = _octave_places(_one(numbers.column(LATENCY))) if logged else np.zeros(len(failed), np.int32)
        self.counter.add(item, bins, placed, partial(add_rows, weights=weights))

    def _outputs(self, numbers: pa.Table, placed: Placed, sign: Ints) -> None:
        for i, output in enumerate(self.plan.outputs):
            item = self.items.get(("output_profile", output.name))
            if item is None:
                continue
            place, kept = self._output_places(i, output, _one(numbers.column(output.of)))
            sums = output.at_label if self.labels else output.at_prediction
            weights = _weights(numbers, sums.values(), sign)
            if kept is None:
                self.counter.add(item, place, placed, partial(add_rows, weights=weights))
            else:
                self.counter.add(item, place, placed[kept], partial(add_rows, weights=weights[kept]))

    def _output_places(self, i: int, output: Output, of: pa.Array) -> tuple[Bins, npt.NDArray[np.intp] | None]:
        """Place of each row's bin, and which rows have one, where not all do."""
        kept = None
        if of.null_count:
            kept = np.flatnonzero(of.is_valid().to_numpy(zero_copy_only=False))
            of = of.drop_null()
        if output.edges is not None:
            return self.plan.output_binners[i](of.to_numpy(), 0), kept
        if output.numbers == OCTAVE_BINS:
            return _octave_places(of), kept
        return of.to_numpy().astype(np.int32) - np.int32(output.numbers[0]), kept

    def _feature(
        self,
        feature: Feature,
        column: pa.ChunkedArray,
        rows: npt.NDArray[np.intp] | None,
        placed: Placed,
        weights: Ints,
        invalid: npt.NDArray[np.intp] | None,
    ) -> None:
        item = self.items.get(("feature_profile", feature.name))
        values = _one(column)
        x = None
        if feature.binner is None:
            place = feature.of_categories(values)
            place = place if rows is None else place[rows]
        else:
            x = values.to_numpy(zero_copy_only=False)
            x = x if rows is None else x[rows]
            place = feature.of_numbers(x)
        if invalid is not None:
            place[invalid] = np.where(place[invalid] == feature.own, feature.own + 1, place[invalid])
        if item is not None:
            add = partial(add_rows, weights=weights)
            if x is not None and feature.frozen and not self.labels:
                add = partial(
                    add_values,
                    weights=weights,
                    x=x,
                    center=feature.center,
                    unit=feature.unit,
                    limit=STANDARD_LIMIT,
                    parts=2.0**SQUARE_BITS,
                )
            self.counter.add(item, place, placed, add)
        ranged: Item | None = self.items.get(("quality_profile", feature.name))
        if ranged is not None and x is not None:
            low, high = (np.nan if limit is None else limit for limit in (feature.low, feature.high))
            outside = ((x < low) | (x > high)).astype(np.int64)
            self.counter.add(
                ranged, np.zeros(len(x), np.int32), placed, partial(add_rows, weights=outside[:, np.newaxis])
            )


def _weights(numbers: pa.Table, sums: Iterable[str], sign: Ints) -> Ints:
    """What a row adds to sums, shape (rows, sums): columns of whole numbers, 0 where they are null, by its sign."""
    listed = list(sums)
    columns = np.ones((len(listed), len(sign)), np.int64)
    for into, of in zip(columns, listed, strict=True):
        if of != "1":
            column = numbers.column(of)
            into[:] = (column.fill_null(0) if column.null_count else column).to_numpy()
    return by_row(columns, sign)


def _one(column: pa.ChunkedArray) -> pa.Array:
    """A column's one chunk."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _octave_places(bins: pa.Array) -> Bins:
    """Places of logarithmic bins among all there are; null is ``ABSENT``."""
    number = (bins.fill_null(OCTAVE_BINS[0]) if bins.null_count else bins).to_numpy().astype(np.int32)
    first = OCTAVE_BINS[2]
    return np.where(number >= first, number - first + 2, np.where(number == OCTAVE_BINS[1], 1, 0)).astype(np.int32)
