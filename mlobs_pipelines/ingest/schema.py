"""Which delivered columns are features, and of which kind: decided once, on the first night with accepted rows."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from mlobs_pipelines.engine.duckdb import DuckDBEngine
from mlobs_pipelines.ingest.readers import Column, Opened
from mlobs_pipelines.ingest.sources import IngestError, nearest
from mlobs_pipelines.ingest.values import as_text, missing_word, raw_text, type_class
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.files import write_text
from mlobs_pipelines.store.layout import Home

MOST_DISTINCT = 1000
"""Text with more distinct values than this, in more than half of its rows, is a free identifier: no feature."""


@dataclass(frozen=True)
class Schema:
    """``fields`` are all stored columns (features first) and their kind: numeric, categorical or embedding."""

    features: Mapping[str, str]
    fields: Mapping[str, str]
    decided_on: date
    left_out: Mapping[str, str] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)

    def field(self, name: str) -> str:
        """The stored field that a name means, whatever its case: the engine's names know none.

        Raises:
            StopIteration: there is no such field.
        """
        return name if name in self.fields else next(f for f in self.fields if f.lower() == name.lower())

    def known(self, name: str) -> bool:
        """Whether a column of this name was there, or was asked for, when the schema was decided."""
        return name.lower() in {n.lower() for n in (*self.fields, *self.left_out)}


def read_schema(home: Home, model: str) -> Schema | None:
    """The schema that was decided for a model, or None before its first rows."""
    path = home.schema_file(model)
    if not path.exists():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    return Schema(
        found["features"],
        found["fields"],
        date.fromisoformat(found["decided_on"]),
        found.get("left_out", {}),
        found.get("sizes", {}),
    )


def write_schema(home: Home, model: str, schema: Schema) -> None:
    """Publish the schema."""
    content = {
        "features": dict(schema.features),
        "fields": dict(schema.fields),
        "decided_on": schema.decided_on.isoformat(),
        "left_out": dict(schema.left_out),
        "sizes": dict(schema.sizes),
    }
    write_text(home.schema_file(model), json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def standard_columns(spec: ModelSpec) -> set[str]:
    """Columns that mean something else and so are never inferred to be features."""
    p, labels = spec.predictions, spec.labels
    named = {p.id, p.time, p.score, p.prediction, p.arrived_at, p.version, p.role, p.latency_ms, p.status, p.subject}
    named |= set((p.scores or {}).values()) | set(p.drop)
    if labels:
        named |= {labels.value, labels.available_at, labels.id}
    return {n for n in named if n is not None}


def differences(spec: ModelSpec, schema: Schema, columns: Sequence[str]) -> list[str]:
    """What a person should know of the columns of a file that came since: which are new, and which are gone."""
    standard = {n.lower() for n in standard_columns(spec)}
    held = {c.lower() for c in columns}
    new = [c for c in columns if c and not schema.known(c) and c.lower() not in standard]
    gone = sorted({f.lower(): f for f in schema.features if f.lower() not in held}.values())
    said = []
    if new:
        said.append(f"new column{'s' if len(new) > 1 else ''} {_named(new)}, not monitored unless features lists it")
    if gone:
        said.append(f"no column{'s' if len(gone) > 1 else ''} {_named(gone)}, read as missing")
    return said


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(repr(n[:80]) for n in names[:5])
    return shown + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def decide(engine: DuckDBEngine, spec: ModelSpec, files: Sequence[Opened], night: date) -> Schema:
    """The schema by the spec's lists and, for a list left out, by the types and values in ``files``.

    Raises:
        IngestError: a column the spec names as feature, segment or attribute is in none of the files.
    """
    held = _columns(files)
    features, left_out, sizes = _listed(spec, held, files), {}, {}
    explicit = spec.features
    for folded, columns in sorted(held.items(), key=lambda item: _natural(item[0])):
        name = min(c.name for _, c in columns)
        if folded in {n.lower() for n in (*features, *standard_columns(spec))}:
            continue
        if explicit.numeric is not None and explicit.categorical is not None:
            left_out[name] = "not listed"
            continue
        kind, reason = _infer(engine, columns)
        listed_already = explicit.numeric if kind == "numeric" else explicit.categorical
        if kind and listed_already is None:
            features[name] = kind
        else:
            left_out[name] = reason or "not listed"
    for name in explicit.embedding:
        sizes[name] = _size(engine, held[name.lower()])
    fields = dict(features)
    for cut in spec.segment_fields:
        for name in cut:
            _must_exist(name, held, "segments or fairness.attributes", files)
            fields.setdefault(_spelling(name, fields), "categorical")
    return Schema(features, fields, night, left_out, sizes)


def _natural(name: str) -> list[tuple[int, str, int]]:
    """Sort x2 before x10: an order that neither files nor their order can change."""
    parts = re.split(r"([0-9]+)", name)
    return [(1, "", int(part)) if part.isdecimal() else (0, part, 0) for part in parts]


def _spelling(name: str, fields: Mapping[str, str]) -> str:
    return next((f for f in fields if f.lower() == name.lower()), name) if name not in fields else name


def _columns(files: Sequence[Opened]) -> dict[str, list[tuple[Opened, Column]]]:
    """Columns of all files by folded name: the engine's names know no case, so neither may a field's."""
    held: dict[str, list[tuple[Opened, Column]]] = {}
    for opened in files:
        for column in opened.columns:
            if column.name:
                held.setdefault(column.name.lower(), []).append((opened, column))
    return held


def _listed(spec: ModelSpec, held: Mapping[str, object], files: Sequence[Opened]) -> dict[str, str]:
    lists = {
        "numeric": spec.features.numeric,
        "categorical": spec.features.categorical,
        "embedding": spec.features.embedding,
    }
    features: dict[str, str] = {}
    for kind, names in lists.items():
        for name in names or ():
            _must_exist(name, held, f"features.{kind}", files)
            other = next((n for n in features if n.lower() == name.lower()), None)
            if other:
                raise IngestError(f"features.{kind}: column {name!r} is listed as {features[other]} too; keep one")
            features[name] = kind
    return features


def _must_exist(name: str, held: Mapping[str, object], key: str, files: Sequence[Opened]) -> None:
    if name.lower() not in held:
        names = sorted({c.name for opened in files for c in opened.columns})
        raise IngestError(f"{key}: no file of predictions.source has a column {name!r}{nearest(name, names)}")


def _infer(engine: DuckDBEngine, columns: Sequence[tuple[Opened, Column]]) -> tuple[str, str]:
    """(kind, '') of a column, or ('', why it is left out)."""
    classes = {type_class(column.type) for _, column in columns}
    if classes & {"list", "other"}:
        return "", "nested"
    if "time" in classes:
        return "", "a date or time"
    if classes <= {"integer", "float"}:
        return "numeric", ""
    if classes == {"bool"}:
        return "categorical", ""
    return _infer_text(engine, columns)


def _infer_text(engine: DuckDBEngine, columns: Sequence[tuple[Opened, Column]]) -> tuple[str, str]:
    values = " union all ".join(f"select {as_text(c)} as x from {opened.relation}" for opened, c in columns)
    numeric = f"(try_cast(x as double) is not null or {missing_word('x')})"
    ((rows, present, numbers, times, nested, distinct),) = engine.rows(
        f"select count(*), count(x), count(*) filter (where {numeric}), "
        "count(*) filter (where length(x) between 8 and 40 and x similar to '[0-9]{4}-?[0-9]{2}-?[0-9]{2}.*' "
        "and try_cast(x as timestamptz) is not null), count(*) filter (where x[1] in ('{', '[')), "
        f"approx_count_distinct(x) from ({values})"
    )
    if present == 0:
        return "categorical", ""
    if numbers == present and not all(type_class(c.type) == "bool" for _, c in columns):
        return "numeric", ""
    if times == present:
        return "", "a date or time"
    if nested == present:
        return "", "nested"
    if distinct > MOST_DISTINCT and distinct > rows / 2:
        return "", "a free identifier: over 1000 distinct values in more than half of its rows"
    return "categorical", ""


def _size(engine: DuckDBEngine, columns: Sequence[tuple[Opened, Column]]) -> int:
    """The most frequent length of an embedding (the smaller of two equally frequent)."""
    lengths = " union all ".join(
        f"select len(try_cast({raw_text(c) if c.type == 'VARCHAR' else c.at} as double[])) as n from {o.relation}"
        for o, c in columns
    )
    found = engine.rows(f"select n from ({lengths}) where n > 0 group by n order by count(*) desc, n limit 1")
    return int(found[0][0]) if found else 0
