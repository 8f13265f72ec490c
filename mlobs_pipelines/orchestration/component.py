"""``type: mlobs_pipelines.MonitoredModel`` in a team's own Dagster project: the keys of a model's file as attributes."""

from __future__ import annotations

import re
import textwrap
from typing import Any

import dagster as dg
import yaml
from pydantic import BaseModel, ConfigDict, Field

from mlobs_pipelines.errors import UserError
from mlobs_pipelines.spec.load import parse_spec
from mlobs_pipelines.spec.model import ModelSpec, Task
from mlobs_pipelines.spec.schema import json_schema, to_yaml
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
        spec = _inferred(model, request.params) or _placeholders(model, request.params)
        keys = textwrap.indent(to_yaml(spec, show_defaults=False), "  ")
        text = f"type: {request.type_name}\nattributes:\n{keys}"
        path = request.target_path if request.append else request.target_path / "defs.yaml"
        with path.open("a" if request.append else "w", encoding="utf-8") as file:
            file.write(("---\n" if request.append else "") + text)


def _inferred(model: str, params: ScaffoldParams) -> ModelSpec | None:
    """The spec that fits the files, or None where they are not there or fit no task."""
    from mlobs_pipelines.ingest.infer import infer_spec

    try:
        return infer_spec(params.predictions, params.labels).model_copy(update={"model": model})
    except UserError:
        return None


def _placeholders(model: str, params: ScaffoldParams) -> ModelSpec:
    outputs: dict[Task, dict[str, Any]] = {
        "binary": {"score": "score"},
        "multiclass": {"scores": {"first_class": "first_column", "second_class": "second_column"}},
        "regression": {"prediction": "prediction"},
    }
    predictions = {"source": params.predictions, "id": "prediction_id", "time": "event_time", **outputs[params.task]}
    labels = {"source": params.labels, "id": "prediction_id", "value": "label", "available_at": "available_at"}
    return ModelSpec.model_validate(
        {
            "model": model,
            "task": params.task,
            "predictions": predictions,
            **({"labels": labels} if params.labels else {}),
        }
    )


class Attributes(BaseModel):
    """Attributes as Dagster's own YAML reader sees them: only looked at for their schema."""

    model_config = ConfigDict(extra="allow")

    @classmethod
    def model_json_schema(cls, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The schema of a model's file, for `dg check yaml` and editors."""
        del args, kwargs
        return json_schema()


@dg.scaffold_with(MonitoredModelScaffolder)
class MonitoredModel(dg.Component):
    """One monitored model: logged predictions and late labels to judged metrics, every night.

    The attributes are the keys of a model's file. They are read as such a file is: every scalar is the text that was
    written, ``${NAME}`` is expanded and no template is resolved, so version "3" and group "None" stay strings.
    Relative paths and everything that is written are in the home, ``MLOBS_HOME``.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec

    @classmethod
    def get_model_cls(cls) -> type[BaseModel]:
        """What Dagster checks the attributes with; the spec's own reader does so again, and says more."""
        return Attributes

    @classmethod
    def load(cls, attributes: BaseModel | None, context: dg.ComponentLoadContext) -> MonitoredModel:
        """The component for the attributes that stand in the file being loaded.

        Raises:
            SpecError: they are no spec; each problem names its line and key.
        """
        del attributes  # values as YAML guesses them; the text is read instead
        folder = context.component_path
        file = folder.file_path if folder.file_path.is_file() else folder.file_path / "defs.yaml"
        index = folder.instance_key if isinstance(folder.instance_key, int) else 0
        return cls(parse_spec(attributes_text(file.read_text(encoding="utf-8"), index), file=file))

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The same assets, checks, jobs, schedule and sensors as for a file in the home, and one that sends its alerts."""
        from mlobs_pipelines.orchestration.alerts import outbox_sensor
        from mlobs_pipelines.orchestration.model import build_model

        home, spec = Home(default_home()), self.spec
        sender = [outbox_sensor(home, [spec], name=f"{spec.model}_alerts")] if spec.alerts else []
        return dg.Definitions.merge(build_model(home, spec), dg.Definitions(sensors=sender))


def attributes_text(text: str, index: int) -> str:
    """The attributes of a file's n-th document as a text of their own, each on the line it has in the file."""
    documents = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
    for key, value in documents[index].value:
        if key.value == "attributes":
            start, end = value.start_mark, value.end_mark
            return str("\n" * start.line + " " * start.column + text[start.index : end.index])
    return ""
