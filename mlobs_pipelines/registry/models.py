"""A version's files -> a model that predicts in the task's terms, whatever library it was made with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from mlobs_pipelines.registry.connection import ModelError
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.spec.values import canonical_class

Floats = npt.NDArray[np.float64]

AT_ONCE = 200_000
"""Rows that are scored at a time."""

_WHOLE = {"integer", "long"}
_REAL = {"double", "float"}


@dataclass(frozen=True)
class LoadedModel:
    """A version that can predict.

    ``model`` is what MLflow gave: an estimator of scikit-learn's interface or, for other flavours, a pyfunc. ``columns``
    are the names of its inputs in order.
    """

    version: str
    model: Any
    columns: tuple[str, ...]
    kinds: dict[str, str]
    score: Callable[[Any], Floats]

    def predict(self, frame: pl.DataFrame) -> Floats:
        """What the model says of each row of logged features; columns are matched by name, others are passed over.

        Returns:
            binary: probability of the positive class, shape (n,); multiclass: probabilities, shape (n, classes), in
            the spec's order; regression: the predicted number, shape (n,).

        Raises:
            ModelError: a column is missing, the model refuses the rows, or what it says is no such thing.
        """
        rows = self.inputs(frame)
        parts = []
        for start in range(0, max(len(rows), 1), AT_ONCE):
            part = rows.iloc[start : start + AT_ONCE]
            try:
                found = np.asarray(self.score(part), dtype=np.float64)
            except ModelError:
                raise
            except Exception as error:  # a model's own code may raise anything
                line = " ".join(str(error).split())[:300]
                raise ModelError(
                    f"version {self.version} refuses the logged rows ({type(error).__name__}: {line})"
                ) from error
            if found.shape[:1] != (len(part),) or not np.isfinite(found).all():
                raise ModelError(f"version {self.version} does not give one finite number for each row and class")
            parts.append(found)
        return np.concatenate(parts)

    def inputs(self, frame: pl.DataFrame) -> Any:
        """The rows as the pandas frame that ``model`` takes: its columns in its order, in the types it was trained on."""
        lacking = [name for name in self.columns if name not in frame.columns]
        if lacking:
            raise ModelError(
                f"version {self.version} needs columns that are not logged as features: {', '.join(lacking[:10])}"
            )
        return frame.select([_typed(frame[name], self.kinds.get(name, "")) for name in self.columns]).to_pandas()


def load_folder(folder: Path, spec: ModelSpec, version: str) -> LoadedModel:
    """The model in a folder that MLflow wrote: with scikit-learn's interface where it has one, else as a pyfunc.

    Raises:
        ModelError: its classes are not those of the spec.
    """
    from mlflow.models import Model

    card = Model.load(str(folder))
    signature = card.get_input_schema()
    named = signature is not None and signature.has_input_names()
    inputs = list(signature.inputs) if named and signature is not None else []
    kinds = {str(i.name): getattr(i.type, "name", "") for i in inputs}
    estimator = _estimator(folder, card.flavors)
    if estimator is not None:
        names = list(kinds) or [str(n) for n in getattr(estimator, "feature_names_in_", [])]
        return LoadedModel(version, estimator, _columns(names, spec), kinds, _from_estimator(estimator, spec, version))
    import mlflow.pyfunc

    function = mlflow.pyfunc.load_model(str(folder))
    return LoadedModel(version, function, _columns(list(kinds), spec), kinds, _from_pyfunc(function, spec, version))


def _columns(names: Sequence[str], spec: ModelSpec) -> tuple[str, ...]:
    """The model's own inputs, else the spec's features."""
    found = tuple(names) or (*(spec.features.numeric or ()), *(spec.features.categorical or ()))
    if not found:
        raise ModelError("the model says nothing of its inputs: log it with a signature, or list features in the spec")
    return found


def _estimator(folder: Path, flavors: dict[str, Any]) -> Any | None:
    """What was logged, where it has scikit-learn's interface; None where only a pyfunc does."""
    import importlib

    for flavor in ("sklearn", "xgboost", "lightgbm"):
        if flavor not in flavors:
            continue
        try:
            found = importlib.import_module(f"mlflow.{flavor}").load_model(str(folder))
        except ImportError:
            continue
        if hasattr(found, "predict_proba") or hasattr(found, "get_params"):
            return found
    return None


def _from_estimator(model: Any, spec: ModelSpec, version: str) -> Callable[[Any], Floats]:
    if spec.task == "regression":
        return lambda rows: np.asarray(model.predict(rows), dtype=np.float64).reshape(len(rows))
    if not hasattr(model, "predict_proba"):
        raise ModelError(f"version {version} gives no probabilities (it has no predict_proba)")
    known = [str(canonical_class(_plain(c))) for c in model.classes_]
    places = _places(known, spec, version)
    if spec.task == "binary":
        return lambda rows: np.asarray(model.predict_proba(rows), dtype=np.float64)[:, places[0]]
    return lambda rows: np.asarray(model.predict_proba(rows), dtype=np.float64)[:, places]


def _from_pyfunc(model: Any, spec: ModelSpec, version: str) -> Callable[[Any], Floats]:
    """A pyfunc gives a number a row, or a column for each class; named columns are matched to classes."""

    def score(rows: Any) -> Floats:
        said = model.predict(rows)
        named = [str(canonical_class(_plain(c))) for c in said.columns] if hasattr(said, "columns") else []
        values = np.asarray(said, dtype=np.float64)
        if spec.task == "multiclass":
            if set(spec.classes) <= set(named):
                return values[:, _places(named, spec, version)]
            if values.shape == (len(rows), len(spec.classes)):
                return values
            raise ModelError(f"version {version} does not give one probability for each of the spec's classes")
        if values.ndim == 2 and values.shape[1] == 2 and spec.task == "binary":
            return values[:, named.index(spec.positive_class) if spec.positive_class in named else 1]
        return values.reshape(len(rows))

    return score


def _places(known: Sequence[str], spec: ModelSpec, version: str) -> list[int]:
    """Where the wanted classes stand among those of a model."""
    wanted = [spec.positive_class] if spec.task == "binary" else list(spec.classes)
    lacking = [c for c in wanted if c not in known]
    if lacking:
        raise ModelError(
            f"version {version} knows the classes {', '.join(known[:10])}, not {', '.join(lacking[:10])} of the spec"
        )
    return [known.index(c) for c in wanted]


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _typed(column: pl.Series, kind: str) -> pl.Series:
    """A logged feature in the type of a model's signature; the lake has numbers as floats, all else as text."""
    if kind in _WHOLE and column.dtype.is_numeric():
        return column.cast(pl.Int64) if column.null_count() == 0 and bool(column.is_finite().all()) else column
    if kind == "boolean" and column.dtype == pl.String:
        return column.replace_strict({"true": True, "false": False}, default=None, return_dtype=pl.Boolean)
    if kind in _REAL and column.dtype.is_numeric():
        return column.cast(pl.Float64)
    if kind == "datetime" and column.dtype == pl.String:
        return column.str.to_datetime(strict=False).cast(pl.Datetime("ns"))
    return column
