"""The reference data, conformed to the same fields as the logged rows; and what a source holds, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from mlobs_pipelines.engine import sql
from mlobs_pipelines.engine.duckdb import DuckDBEngine, Error
from mlobs_pipelines.ingest import protect
from mlobs_pipelines.ingest.columns import required_columns, score_columns
from mlobs_pipelines.ingest.conform import conform_reference
from mlobs_pipelines.ingest.readers import Opened, UnreadableError, damaged, open_file
from mlobs_pipelines.ingest.schema import Schema, decide
from mlobs_pipelines.ingest.sources import Delivered, IngestError, fetch, list_delivered, nearest
from mlobs_pipelines.ingest.workspace import EngineFactory, Workspace
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.layout import Home

REFERENCE_TABLE = "reference_rows"


def read_reference(home: Home, spec: ModelSpec, schema: Schema, engine: DuckDBEngine) -> str | None:
    """Load the rows of ``reference.source`` into the engine; the table's name, or None where the spec has no reference.

    Columns: the lake's outputs (``score``, ``score_i``, ``prediction``), ``failed`` (false), ``invalid_fields``, the
    ``f_`` and ``n_`` fields, and ``label``; null where the reference lacks them. Rows need no id and no time.

    Raises:
        IngestError: the source matches nothing, a file can't be read, or none of the model's fields is in it.
    """
    if spec.reference is None:
        return None
    engine.run(f"drop table if exists {REFERENCE_TABLE}")
    found: set[str] = set()
    with Workspace(home, spec.model) as work:
        for number, file in enumerate(_files(home, "reference", spec.reference.source)):
            try:
                opened = _open(home, spec, "reference", file, engine, work, number)
                query = conform_reference(spec, schema, opened)
                exists = engine.rows(f"select 1 from duckdb_tables() where table_name = {sql.text(REFERENCE_TABLE)}")
                verb = f"insert into {REFERENCE_TABLE} by name" if exists else f"create temp table {REFERENCE_TABLE} as"
                engine.run(f"{verb} {query}")
            except UnreadableError as error:
                raise IngestError(f"reference.source: {file.path} {error}") from error
            except Error as error:
                raise IngestError(f"reference.source: {file.path} {damaged(file.kind, error)}") from error
            found |= {c.name.lower() for c in opened.columns}
    absent = [name for name in schema.features if name.lower() not in found]
    if schema.features and len(absent) == len(schema.features):
        raise IngestError(
            f"reference.source: none of the model's features is in it; {absent[0]!r} is not a column{nearest(absent[0], sorted(found))}"
        )
    return REFERENCE_TABLE


def _files(home: Home, source: str, entries: str | Sequence[str]) -> Sequence[Delivered]:
    listing = list_delivered(home, entries)
    if not listing.files:
        gone = [*listing.missing, *listing.empty]
        raise IngestError(
            f"{source}.source: {gone[0] if gone else '[]'} holds no file; paths are relative to the home folder"
        )
    return listing.files


def _open(
    home: Home, spec: ModelSpec, source: str, file: Delivered, engine: DuckDBEngine, work: Workspace, number: int
) -> Opened:
    try:
        local = fetch(file, work.stage, f"{source}_{number}")
    except OSError as error:
        raise UnreadableError(f"can't be read: {error.strerror or type(error).__name__}") from error
    part = spec.labels if source == "labels" and spec.labels else spec.predictions
    payload = part.format if source != "reference" else "standard"
    opened = open_file(engine, file.kind, local, work.stage, file.table, payload)
    if spec.predictions.hash:
        protect.define_keyed_hash(engine, protect.key(home))
    return protect.protected(opened, spec, id_column=part.id)


@dataclass(frozen=True)
class SourceDescription:
    """What a source holds: its files, its columns with their types, and lines about what is wrong with it."""

    files: tuple[str, ...]
    columns: Mapping[str, str]
    problems: tuple[str, ...]


def describe_source(
    home: Home, spec: ModelSpec, source: str, *, engine_factory: EngineFactory = DuckDBEngine, most_files: int = 20
) -> SourceDescription:
    """Look at a model's 'predictions', 'labels' or 'reference': columns, types, and each problem in one helpful line.

    Only the last ``most_files`` files are opened; dropped columns are not shown.

    Raises:
        IngestError: the source matches nothing, or can't be reached.
    """
    part = {"predictions": spec.predictions, "labels": spec.labels, "reference": spec.reference}[source]
    if part is None:
        raise IngestError(f"model {spec.model} has no {source} section")
    protect.check(spec)
    files = _files(home, source, part.source)
    columns: dict[str, str] = {}
    problems: list[str] = []
    with Workspace(home, spec.model, engine_factory) as work:
        for number, file in enumerate(files[-most_files:]):
            try:
                opened = _open(home, spec, source, file, work.engine, work, number)
            except UnreadableError as error:
                problems.append(f"{source}.source: {file.path} {error}")
                work.alive()
                continue
            for column in opened.columns:
                columns.setdefault(column.name, column.type)
            problems += _missing(spec, source, opened, file)
    if columns:
        problems += _nowhere(spec, source, list(columns))
    return SourceDescription(tuple(f.path for f in files), columns, tuple(problems))


def _missing(spec: ModelSpec, source: str, opened: Opened, file: Delivered) -> list[str]:
    if source == "reference" or not opened.columns:
        return []
    names = [c.name for c in opened.columns]
    required = required_columns(spec, source).items()
    return [f"{key}: {file.path} has no column {c!r}{nearest(c, names)}" for key, c in required if c not in names]


def _nowhere(spec: ModelSpec, source: str, names: list[str]) -> list[str]:
    """Columns the spec names, without which rows can be read, that no file has."""
    p = spec.predictions
    asked: list[tuple[str, str]] = []
    if source == "predictions":
        single = {"prediction": p.prediction, "latency_ms": p.latency_ms, "status": p.status, "subject": p.subject}
        required = {column for _, column in score_columns(spec)}
        asked += [(f"predictions.{key}", name) for key, name in single.items() if name and name not in required]
        asked += [("segments", name) for cut in spec.segments for name in cut]
        asked += [("fairness.attributes", name) for name in spec.fairness.attributes]
    if source != "labels":
        lists = {
            "numeric": spec.features.numeric,
            "categorical": spec.features.categorical,
            "embedding": spec.features.embedding,
        }
        asked += [(f"features.{kind}", name) for kind, listed in lists.items() for name in listed or ()]
        asked += [("features.ranges", name) for name in spec.features.ranges]
    folded = {n.lower() for n in names}
    missing = [(key, name) for key, name in dict.fromkeys(asked) if name.lower() not in folded]
    return [f"{key}: no file of {source}.source has a column {name!r}{nearest(name, names)}" for key, name in missing]


def infer_schema(home: Home, spec: ModelSpec, *, engine_factory: EngineFactory = DuckDBEngine) -> Schema:
    """What the features would be, judging by the first readable file of the predictions: nothing is written.

    Raises:
        IngestError: the source matches nothing, no file can be read, or a column that the spec names is not there.
    """
    why: UnreadableError | None = None
    with Workspace(home, spec.model, engine_factory) as work:
        for number, file in enumerate(_files(home, "predictions", spec.predictions.source)):
            try:
                opened = _open(home, spec, "predictions", file, work.engine, work, number)
                return decide(work.engine, spec, [opened], date.min)
            except UnreadableError as error:
                why = why or error
                work.alive()
    raise IngestError(f"predictions.source: no file can be read: {why}")
