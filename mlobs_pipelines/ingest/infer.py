"""A first spec, guessed from the data: which column is the id, the time, the score, the label."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlobs_pipelines.engine.duckdb import DuckDBEngine, Error
from mlobs_pipelines.ingest.readers import Column, Opened, UnreadableError, damaged, open_file
from mlobs_pipelines.ingest.sources import Delivered, IngestError, fetch, list_delivered
from mlobs_pipelines.ingest.values import as_number, as_text, as_time, type_class
from mlobs_pipelines.ingest.workspace import Workspace
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.layout import Home

MOST_CLASSES = 50
"""More distinct labels than this, all numbers, are a regression's."""
_SAMPLE = 100_000

_NAMES: dict[str, Sequence[str]] = {
    "id": (
        r"prediction_?id",
        r"request_?id",
        r"event_?id",
        r"inference_?id",
        r"transaction_?id",
        r"uuid",
        r"id",
        r".*_id",
        r".*id",
    ),
    "time": (
        r"event_?time",
        r"predict(ed|ion)_?(at|time)",
        r"timestamp",
        r"event_?ts",
        r"ts",
        r"time",
        r"date_?time",
        r".*_time",
        r".*_at",
        r".*_ts",
        r"date",
        r".*_date",
        r"t",
    ),
    "arrived_at": (r"logged_?at", r"arrived_?at", r"ingested_?at", r"received_?at", r"created_?at"),
    "score": (
        r"score",
        r"prob(ability)?",
        r"p",
        r"proba",
        r".*_score",
        r"(predicted_)?prob.*",
        r"score_.*",
        r"p_.*",
        r"y_?(score|prob|proba)",
        r"prediction",
    ),
    "value": (
        r"prediction",
        r"predicted(_value)?",
        r"y_?(pred|hat)",
        r"pred",
        r"forecast",
        r"estimate",
        r"predicted_.*",
        r".*_pred(iction)?",
        r".*prediction.*",
    ),
    "version": (r"model_?version", r"version"),
    "role": (r"role", r"deployment_role", r"variant"),
    "prediction": (r"decision", r"predicted_?class", r"predicted_?label", r"prediction", r"y_?pred"),
    "latency_ms": (r"latency_?ms", r"latency", r"duration_?ms"),
    "status": (r"status_?code", r"status", r"http_status"),
    "label": (
        r"label",
        r"target",
        r"y",
        r"outcome",
        r"y_?true",
        r"actual",
        r"ground_?truth",
        r"class",
        r"is_.*",
        r".*_label",
        r"value",
    ),
    "available_at": (
        r"available_?at",
        r"reported_?at",
        r"label(ed|led)?_?(at|time)",
        r"known_?at",
        r"observed_?at",
        r".*_at",
        r".*_time",
        r"timestamp",
        r"time",
        r"date",
        r".*_date",
        r"at",
    ),
}


def infer_spec(predictions_file: str | Path, labels_file: str | Path | None = None) -> ModelSpec:
    """A spec for logged predictions and labels, its columns guessed by name and content, its task by the labels.

    Relative paths are relative to the current folder; the spec's sources are as given, made absolute.

    Raises:
        IngestError: something can't be guessed; one line says what to do.
    """
    with tempfile.TemporaryDirectory() as scratch, Workspace(Home(Path(scratch)), "init") as work:
        engine = work.engine
        source, predictions = _open(work, "predictions", predictions_file)
        target, labels = _open(work, "labels", labels_file) if labels_file else (None, None)
        return _guess(engine, source, predictions, target, labels)


def _open(work: Workspace, source: str, path: str | Path) -> tuple[str, Opened]:
    entry = str(path) if "://" in str(path) or "#" in str(path) else str(Path(path).absolute())
    listing = list_delivered(Home(Path.cwd()), entry)
    if not listing.files:
        raise IngestError(f"{source}: {path} is not there, or holds no file that can be read")
    file: Delivered = listing.files[-1]
    try:
        local = fetch(file, work.stage, source)
        opened = open_file(work.engine, file.kind, local, work.stage, file.table)
        work.engine.run(f"create temp table look_{source} as select * from {opened.relation} limit {_SAMPLE}")
    except UnreadableError as error:
        raise IngestError(f"{source}: {path} {error}") from error
    except Error as error:
        raise IngestError(f"{source}: {path} {damaged(file.kind, error)}") from error
    except OSError as error:
        raise IngestError(f"{source}: {path} can't be read: {error.strerror or type(error).__name__}") from error
    return entry, Opened(opened.columns, f"look_{source}")


def _guess(
    engine: DuckDBEngine, source: str, predictions: Opened, target: str | None, labels: Opened | None
) -> ModelSpec:
    used: set[str] = set()
    shared = {c.name for c in labels.columns} if labels else None
    id_ = _pick(engine, predictions, "id", used, fits=_is_id, prefer=shared)
    time = _pick(engine, predictions, "time", used, fits=_is_time)
    part: dict[str, Any] = {
        "source": source,
        "id": _found(id_, "predictions", "id", predictions),
        "time": _found(time, "predictions", "time", predictions),
    }
    found: dict[str, Any] = {}
    classes: list[str] = []
    if labels is not None and target is not None:
        found, classes = _labels(engine, labels, target, part["id"])
    for key, fits in (
        ("arrived_at", _is_time),
        ("version", _is_any),
        ("role", _is_any),
        ("latency_ms", _is_number),
        ("status", _is_any),
    ):
        column = _pick(engine, predictions, key, used, fits=fits)
        if column:
            part[key] = column
    spec: dict[str, Any] = {"model": _model_name(source), "predictions": part}
    spec |= _task(engine, predictions, part, classes, used)
    if found:
        spec["labels"] = found
    return ModelSpec.model_validate(spec)


def _labels(engine: DuckDBEngine, labels: Opened, target: str, id_name: str) -> tuple[dict[str, Any], list[str]]:
    """The labels part, and the distinct labels (none where they are numbers without end)."""
    used: set[str] = set()
    id_ = id_name if labels.column(id_name) else _pick(engine, labels, "id", used, fits=_is_id)
    used.add(id_ or "")
    available = _pick(engine, labels, "available_at", used, fits=_is_time)
    value = _pick(engine, labels, "label", used, fits=_is_any)
    rest = [c.name for c in labels.columns if c.name not in used]
    value = value or (rest[0] if len(rest) == 1 else None)
    part = {
        "source": target,
        "id": _found(id_, "labels", "id", labels),
        "value": _found(value, "labels", "value", labels),
        "available_at": _found(available, "labels", "available_at", labels),
    }
    column = labels.column(part["value"])
    if column is None:
        return part, []
    rows = engine.rows(
        f"select distinct {as_text(column)} from {labels.relation} where {column.at} is not null order by 1 limit {MOST_CLASSES + 1}"
    )
    return part, [str(row[0]) for row in rows if row[0] is not None]


def _task(
    engine: DuckDBEngine, predictions: Opened, part: dict[str, Any], classes: list[str], used: set[str]
) -> dict[str, Any]:
    numeric = all(re.fullmatch(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", c) for c in classes)
    score = _pick(engine, predictions, "score", used, fits=_is_probability)
    if len(classes) > 2 and not (numeric and len(classes) > MOST_CLASSES):
        scores = {c: name for c in classes if (name := _score_of(predictions, c))}
        if len(scores) == len(classes):
            part["scores"] = scores
            _also_acted(engine, predictions, part, used | set(scores.values()))
            return {"task": "multiclass"}
        if not numeric:
            missing = next(c for c in classes if c not in scores)
            raise IngestError(
                f"the labels have {len(classes)} classes, but no column of the predictions is the score of class {missing!r}; write predictions.scores by hand"
            )
    if score and len(classes) <= 2:
        part["score"] = score
        _also_acted(engine, predictions, part, used)
        return {"task": "binary"} | _positive(classes)
    value = _pick(engine, predictions, "value", used, fits=_is_number)
    if value and (numeric or not classes):
        part["prediction"] = value
        return {"task": "regression"}
    names = ", ".join(repr(c.name) for c in predictions.columns[:12])
    raise IngestError(
        f"no column of the predictions looks like a score between 0 and 1 or a predicted value; there are {names}: write predictions.score by hand"
    )


def _also_acted(engine: DuckDBEngine, predictions: Opened, part: dict[str, Any], used: set[str]) -> None:
    acted = _pick(engine, predictions, "prediction", used, fits=_is_any)
    if acted:
        part["prediction"] = acted


def _positive(classes: list[str]) -> dict[str, Any]:
    """The positive class: 1 or true where that is one of two, else the rarer-sounding by name, else the last."""
    folded = {c.lower(): c for c in classes}
    if folded.keys() <= {"0", "1", "true", "false"}:
        return {}
    known = next(
        (folded[n] for n in ("yes", "y", "positive", "fraud", "bad", "default", "churn", "spam") if n in folded),
        classes[-1],
    )
    return {"positive_class": known}


def _score_of(predictions: Opened, name: str) -> str | None:
    wanted = {
        form.format(name).lower()
        for form in ("{}", "score_{}", "p_{}", "prob_{}", "proba_{}", "probability_{}", "{}_score", "{}_prob")
    }
    return next(
        (
            c.name
            for c in predictions.columns
            if c.name.lower() in wanted and type_class(c.type) in ("float", "integer", "text")
        ),
        None,
    )


def _pick(
    engine: DuckDBEngine, opened: Opened, key: str, used: set[str], *, fits: Any, prefer: set[str] | None = None
) -> str | None:
    """The column whose name fits a key best and whose content does too; it is then used."""
    best: tuple[float, int, str] | None = None
    for position, column in enumerate(opened.columns):
        rank = next(
            (i for i, pattern in enumerate(_NAMES[key]) if re.fullmatch(pattern, column.name, re.IGNORECASE)), None
        )
        if rank is None or column.name in used:
            continue
        # An id that labels have too is the one they refer to, whatever else looks like an id.
        order = rank - 100 if prefer and column.name in prefer else rank
        if (best is None or (order, position, column.name) < best) and fits(engine, opened, column):
            best = (order, position, column.name)
    if best is None:
        return None
    used.add(best[2])
    return best[2]


def _found(column: str | None, source: str, key: str, opened: Opened) -> str:
    if column is None:
        names = ", ".join(repr(c.name) for c in opened.columns[:12])
        raise IngestError(
            f"{source}: no column looks like the {key.replace('_', ' ')}; there are {names}: write {source}.{key} by hand"
        )
    return column


def _is_any(engine: DuckDBEngine, opened: Opened, column: Column) -> bool:  # noqa: ARG001
    return type_class(column.type) not in ("list", "other", "time")


def _is_id(engine: DuckDBEngine, opened: Opened, column: Column) -> bool:
    if type_class(column.type) not in ("integer", "text"):
        return False
    ((rows, distinct),) = engine.rows(f"select count(*), approx_count_distinct({column.at}) from {opened.relation}")
    return bool(distinct * 2 > rows)


def _is_time(engine: DuckDBEngine, opened: Opened, column: Column) -> bool:
    ((rows, read),) = engine.rows(f"select count({column.at}), count({as_time(column)}) from {opened.relation}")
    return bool(rows and read >= rows * 0.9)


def _is_number(engine: DuckDBEngine, opened: Opened, column: Column) -> bool:
    ((rows, read),) = engine.rows(f"select count({column.at}), count({as_number(column).value}) from {opened.relation}")
    return bool(rows and read >= rows * 0.9)


def _is_probability(engine: DuckDBEngine, opened: Opened, column: Column) -> bool:
    if not _is_number(engine, opened, column):
        return False
    number = as_number(column).value
    ((low, high, distinct),) = engine.rows(
        f"select min({number}), max({number}), approx_count_distinct({number}) from {opened.relation}"
    )
    # Zeros and ones alone are decisions, not scores.
    return low is not None and 0 <= low <= high <= 1 and (distinct > 2 or low not in (0, 1) or high not in (0, 1))


def _model_name(source: str) -> str:
    stem = Path(source.rsplit("#", maxsplit=1)[-1]).name.split(".")[0]
    name = re.sub(r"[^A-Za-z0-9_]+", "_", stem).strip("_")[:63]
    return name if name and name[0].isalpha() else f"model_{name}"[:63].rstrip("_")
