"""An approved retraining -> a challenger in the registry: once, wherever it was interrupted.

The entrypoint of a spec, ``policy.retrain.entrypoint: package.module:function``, is called as::

    train(rows: polars.DataFrame, spec: ModelSpec) -> model

``rows`` are those of :func:`mlobs_pipelines.act.rows.matured_rows`: the logged fields under their own names (features, and
beside them segments and attributes), ``label`` (binary: 1 is the positive class, else 0; multiclass: the class;
regression: the number), ``event_date`` and ``prediction_id``. The model is a fitted estimator with scikit-learn's
interface, taking a pandas frame of features, or an ``mlflow.pyfunc.PythonModel``. Anything that the function raises
fails the decision; it may be called again after the machine went down.
"""

from __future__ import annotations

import datetime as dt
import importlib
import math
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl

from mlobs_pipelines.act.ledger import Ledger, Row, TriesError
from mlobs_pipelines.act.rows import Poisoned, RowsError, known_incidents, matured_days, matured_rows, poisoned
from mlobs_pipelines.act.scoring import LEAST_DAYS
from mlobs_pipelines.errors import UserError
from mlobs_pipelines.ingest.schema import read_schema
from mlobs_pipelines.registry import Registry, RegistryError
from mlobs_pipelines.registry.lineage import Training, register, take_up
from mlobs_pipelines.registry.versions import CHALLENGER
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.files import published
from mlobs_pipelines.store.layout import Home

MOST_DAYS = 365
"""How far back the rows go that a model is trained on."""


class RetrainError(UserError):
    """A model could not be trained: for want of rows, or because its entrypoint failed."""


@dataclass(frozen=True)
class Span:
    """Days to train on, and the days after them, kept for comparing. Both ends included."""

    first: dt.date
    through: dt.date
    compare_first: dt.date
    last: dt.date


def span_of(days: Sequence[dt.date]) -> Span:
    """Split matured days: the newest quarter of them, and at least a week, is kept for comparing.

    Raises:
        RetrainError: fewer than a week would be left to train on.
    """
    days = days[-MOST_DAYS:]
    kept = max(LEAST_DAYS, math.ceil(len(days) / 4))
    if len(days) - kept < LEAST_DAYS:
        raise RetrainError(
            f"labels are final for {len(days)} days; training needs {LEAST_DAYS} days and comparing {kept} more"
        )
    return Span(days[0], days[-kept - 1], days[-kept], days[-1])


def retrain(home: Home, spec: ModelSpec, decision: Row, as_of: dt.date) -> str:
    """Carry out an approved (or interrupted) retraining with what is known at the end of ``as_of``.

    Returns:
        The new version; alias ``challenger`` names it.

    Raises:
        RegistryError: MLflow does not answer; the decision stays as it is, and the next try goes on from there.
        RetrainError: it can't be done; the log says why.
    """
    ledger = Ledger(home, spec.model)
    registry = Registry.open(home, spec, create=True)
    version = take_up(registry, ledger.identity(decision["decision_id"]))
    try:
        if version is None:
            ledger.begin(decision, f"Trains on what is known by {as_of}")
            version = _trained(home, spec, registry, decision, as_of)
        registry.set_alias(CHALLENGER, version)
    except (RetrainError, RowsError, TriesError) as error:
        ledger.turn(decision, "failed", str(error))
        raise RetrainError(str(error)) from error
    except RegistryError as error:
        ledger.wait(decision, f"Waits: {error}")
        raise
    ledger.turn(decision, "done", f"Version {version} is registered as challenger", version=version)
    return version


def _trained(home: Home, spec: ModelSpec, registry: Registry, decision: Row, as_of: dt.date) -> str:
    span = span_of(matured_days(home, spec, as_of))
    left_out = [p for p in poisoned(known_incidents(home, spec.model, as_of)) if _touches(p, span)]
    rows = matured_rows(home, spec, span.first, span.through, as_of, left_out)
    if rows.height < spec.monitors.min_rows:
        raise RetrainError(f"{rows.height} labelled rows are left between {span.first} and {span.through}: too few")
    model = _fitted(spec, rows)
    decision_id = decision["decision_id"]
    dataset = home.lake(spec.model) / "training" / f"{quote(decision_id, safe='')}.parquet"
    with published(dataset) as draft:
        rows.rename({"label": spec.labels.value if spec.labels else "label"}).write_parquet(draft, compression="zstd")
    training = Training(
        name=decision_id,
        decision=Ledger(home, spec.model).identity(decision_id),
        dataset=dataset,
        rows=rows.height,
        label=spec.labels.value if spec.labels else "label",
        params={
            "entrypoint": spec.policy.retrain.entrypoint,
            "trained_from": span.first,
            "trained_through": span.through,
        },
        tags={
            "mlobs.decision_id": decision_id,
            "mlobs.incident_id": decision["incident_id"],
            "mlobs.as_of": str(as_of),
            "mlobs.trained_from": str(span.first),
            "mlobs.trained_through": str(span.through),
            "mlobs.rows": str(rows.height),
            "mlobs.left_out": "; ".join(_said(p) for p in left_out),
        },
    )
    schema = read_schema(home, spec.model)
    features = [name for name, kind in (schema.features if schema else {}).items() if kind != "embedding"]
    with tempfile.TemporaryDirectory() as folder:
        try:
            return register(home, registry, model, rows.select(features).head(5), training, Path(folder))
        except RegistryError:
            raise
        except Exception as error:  # MLflow's flavours raise anything for what they can't store
            raise RetrainError(f"what {spec.policy.retrain.entrypoint} gave can't be stored: {_line(error)}") from error


def _fitted(spec: ModelSpec, rows: pl.DataFrame) -> Any:
    """What the entrypoint makes of the rows."""
    train = entrypoint(spec)
    try:
        model = train(rows, spec)
    except Exception as error:  # the owner's code may raise anything
        raise RetrainError(f"{spec.policy.retrain.entrypoint} failed: {_line(error)}") from error
    if not hasattr(model, "predict"):
        raise RetrainError(f"{spec.policy.retrain.entrypoint} gave {type(model).__name__}, which does not predict")
    return model


def entrypoint(spec: ModelSpec) -> Callable[[pl.DataFrame, ModelSpec], Any]:
    """The function that trains a challenger.

    Raises:
        RetrainError: the spec names none, or what it names can't be imported.
    """
    named = spec.policy.retrain.entrypoint
    if named is None:
        raise RetrainError(f"{spec.model} has no policy.retrain.entrypoint")
    module, _, function = named.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except Exception as error:  # importing runs the owner's code
        raise RetrainError(f"{named} can't be imported by {sys.executable}: {_line(error)}") from error
    if not callable(found):
        raise RetrainError(f"{named} is not a function")
    return found  # type: ignore[no-any-return]


def _touches(p: Poisoned, span: Span) -> bool:
    return p.first <= span.through and p.last >= span.first


def _said(p: Poisoned) -> str:
    days = f"{p.first}" if p.first == p.last else f"{p.first} to {p.last}"
    return f"{days} ({p.segment})" if p.segment else days


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
