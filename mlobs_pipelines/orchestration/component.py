"""``type: mlobs_pipelines.MonitoredModel`` in a team's own Dagster project: the keys of a model's file as attributes."""

from __future__ import annotations

import re
from typing import Any

import dagster as dg
import yaml
from pydantic import BaseModel, Field

from mlobs_pipelines.errors import UserError
from mlobs_pipelines.spec.model import ModelSpec, Task
from mlobs_pipelines.store.layout import Home, default_home


class ScaffoldParams(BaseModel):
    """What ``dg scaffold defs mlobs_pipelines.MonitoredModel`` may be told."""

    predictions: str = Field("data/predictions/*.parquet", description="Where the logged predictions are.")
    labels: str | None = Field(None, description="Where the labels are, if any.")
    task: Task = Field("binary", description="binary, multiclass or regression; inferred where the files are there.")


class MonitoredModelScaffolder(dg.Scaffolder[ScaffoldParams]):
    """Writes a ``defs.yaml``: inferred from the data where it is there, else with names to be replaced."""

    @classmethod
    def get_scaffold_params(cls) -> type[ScaffoldParams]:
        """The options of the command."""
        return ScaffoldParams

    def scaffold(self, request: dg.ScaffoldRequest[ScaffoldParams]) -> None:
        """Write ``defs.yaml``; the new folder gives the model its name.

        Raises:
            UserError: a Python instance was asked for.
        """
        if request.scaffold_format != "yaml":
            raise UserError("a MonitoredModel is declared in YAML; leave --format out")
        folder = request.target_path.parent if request.append else request.target_path
        model = re.sub(r"\W+", "_", folder.name, flags=re.ASCII).strip("_") or "model"
        model = model if model[0].isalpha() else f"model_{model}"
        attributes = _inferred(model, request.params) or _placeholders(model, request.params)
        text = yaml.safe_dump(
            {"type": request.type_name, "attributes": attributes}, sort_keys=False, allow_unicode=True
        )
        path = request.target_path if request.append else request.target_path / "defs.yaml"
        with path.open("a" if request.append else "w", encoding="utf-8") as file:
            file.write(("---\n" if request.append else "") + text)


def _inferred(model: str, params: ScaffoldParams) -> dict[str, Any] | None:
    """The keys of a spec that fits the files, or None where they are not there or fit no task."""
    from mlobs_pipelines.ingest.infer import infer_spec
    from mlobs_pipelines.spec.schema import to_yaml

    try:
        spec = infer_spec(params.predictions, params.labels, model=model)
    except UserError:
        return None
    keys: dict[str, Any] = yaml.safe_load(to_yaml(spec, show_defaults=False))
    return keys


def _placeholders(model: str, params: ScaffoldParams) -> dict[str, Any]:
    outputs: dict[Task, dict[str, Any]] = {
        "binary": {"score": "score"},
        "multiclass": {"scores": {"first_class": "first_column", "second_class": "second_column"}},
        "regression": {"prediction": "prediction"},
    }
    keys: dict[str, Any] = {
        "model": model,
        "task": params.task,
        "predictions": {
            "source": params.predictions,
            "id": "prediction_id",
            "time": "event_time",
            **outputs[params.task],
        },
    }
    if params.labels:
        keys["labels"] = {
            "source": params.labels,
            "id": "prediction_id",
            "value": "label",
            "available_at": "available_at",
        }
    return keys


@dg.scaffold_with(MonitoredModelScaffolder)
class MonitoredModel(dg.Component):
    """One monitored model: logged predictions and late labels to judged metrics, every night.

    The attributes are the keys of a model's file, taken verbatim: no template is resolved in them, so version "3"
    and group "None" stay strings. Relative paths and everything that is written are in the home, ``MLOBS_HOME``.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """The spec's own model, which also gives editors their schema."""
        return ModelSpec

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> MonitoredModel:  # noqa: ARG003
        """The component for validated attributes."""
        if not isinstance(attributes, ModelSpec):
            raise TypeError(f"attributes of a MonitoredModel are a spec, not {type(attributes).__name__}")
        return cls(attributes)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The same assets, checks, job and schedule as for a file in the home."""
        from mlobs_pipelines.orchestration.model import build_model

        return build_model(Home(default_home()), self.spec)
