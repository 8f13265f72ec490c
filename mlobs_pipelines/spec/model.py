"""The language of a model's file, as typed models. Every key, its type, default and meaning.

Values are taken verbatim: version ``"3"`` and group ``"None"`` stay strings. What one key demands of another is
in :mod:`mlobs_pipelines.spec.consistency`.
"""

from __future__ import annotations

import itertools
import re
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from mlobs_pipelines.spec.consistency import inconsistencies
from mlobs_pipelines.spec.cron import check_cron
from mlobs_pipelines.spec.retention import Retention
from mlobs_pipelines.spec.values import (
    ClassName,
    Column,
    Duration,
    Entrypoint,
    Finite,
    Group,
    Source,
    Text,
    Timezone,
    Verbatim,
    WholeDays,
    canonical_class,
    parse_duration,
    whole_days,
)

__all__ = [
    "AlertSpec",
    "Engine",
    "ExplainSpec",
    "FairnessSpec",
    "FeaturesSpec",
    "LabelsSpec",
    "ModelSpec",
    "MonitorOverride",
    "MonitorsSpec",
    "PolicySpec",
    "PredictionsSpec",
    "PromotePolicy",
    "ReferenceSpec",
    "RegistrySpec",
    "RetrainPolicy",
    "SpecModel",
    "Task",
    "canonical_class",
    "parse_duration",
    "whole_days",
]

Task = Literal["binary", "multiclass", "regression"]
Mode = Literal["off", "approve", "auto"]
Engine = Literal["duckdb", "spark"]

ONBOARDING_NIGHTS = 28
"""Without reference data, the first nights that arrived are the reference."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")


class SpecModel(BaseModel):
    """Base of every part of a spec: unknown keys are errors, instances are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=False, hide_input_in_errors=True)
    called: ClassVar[str] = "a spec"
    """What errors call a whole file of this language."""


class PredictionsSpec(SpecModel):
    """Where the logged predictions are and which column means what."""

    source: Source = Field(
        description="File, glob or folder of Parquet, CSV or JSON lines, or a list of them; local or URL."
    )
    format: Text = Field("standard", description="`standard`, or a logged-payload format an ingest reader knows.")
    id: Column = Field(description="Column with the id that labels refer to.")
    time: Column = Field(description="Column with the time the prediction was made for.")
    score: Column | None = Field(None, description="binary: column with the probability of the positive class.")
    scores: dict[ClassName, Column] | None = Field(
        None, description="multiclass: class -> column with its probability, every class of the model."
    )
    prediction: Column | None = Field(
        None, description="Column with the acted-on class, where it is logged; regression: with the predicted value."
    )
    arrived_at: Column | None = Field(
        None, description="Column with the time the row reached the log; default: `time`."
    )
    version: Column | None = Field(None, description="Column with the model version; default: one version, '1'.")
    role: Column | None = Field(None, description="Column with production, shadow, canary, …; default: production.")
    latency_ms: Column | None = Field(None, description="Column with the request's latency in milliseconds.")
    status: Column | None = Field(None, description="Column with the request's status; 400 and above is an error.")
    subject: Column | None = Field(None, description="Column naming whom the row is about, for erasure requests.")
    drop: list[Column] = Field([], description="Columns that are never stored.")
    hash: list[Column] = Field([], description="Columns stored only as a keyed hash.")


class LabelsSpec(SpecModel):
    """Where the labels are, and when each became known."""

    source: Source = Field(
        description="File, glob or folder of Parquet, CSV or JSON lines, or a list of them; local or URL."
    )
    format: Text = Field("standard", description="`standard`, or a logged-payload format an ingest reader knows.")
    id: Column = Field(description="Column with the prediction's id.")
    value: Column = Field(description="Column with the label.")
    available_at: Column = Field(description="Column with the time the label became known.")
    mode: Literal["explicit", "positives_only"] = Field(
        "explicit", description="`positives_only` (binary): silence until maturity means negative."
    )
    maturity: Duration = Field(
        timedelta(0), description="After this a missing label is final, e.g. 45d.", json_schema_extra={"default": "0d"}
    )


class FeaturesSpec(SpecModel):
    """Which columns are features; a list left out is inferred from the data."""

    numeric: list[Column] | None = Field(
        None, description="Columns with numbers; default: every other column of a numeric type."
    )
    categorical: list[Column] | None = Field(
        None, description="Columns with categories; default: every other column of a text or boolean type."
    )
    embedding: list[Column] = Field([], description="Columns with float lists of one fixed size.")
    ranges: dict[Column, tuple[Finite | None, Finite | None]] = Field(
        {}, description="Numeric feature -> hard limits [low, high], either may be null: outside is a fault."
    )

    @property
    def inferred(self) -> bool:
        """Whether every other column is a feature, by its type."""
        return self.numeric is None and self.categorical is None


class ReferenceSpec(SpecModel):
    """The data that drift is measured against."""

    source: Source = Field(
        description="File, glob or folder with the columns of the predictions, e.g. the training data; its labels "
        "under the name of labels.value."
    )


class FairnessSpec(SpecModel):
    """The groups that must be treated alike."""

    attributes: list[Column] = Field([], description="Columns whose groups are compared; they need not be features.")
    reference_groups: dict[Column, Group] = Field(
        {}, description="Attribute -> group that the others are compared with; default: the largest group."
    )
    favorable_outcome: Verbatim = Field(
        "1", description="Class that is good for the person; default: the positive class."
    )


class MonitorOverride(SpecModel):
    """A threshold other than the default for some metric, subject or segment."""

    metric: Text = Field(description="Name of the metric, e.g. psi or roc_auc.")
    subject: Text | None = Field(None, description="Feature, output or attribute; default: all of them.")
    segment: Text | None = Field(None, description="Segment, e.g. country=DE; default: all of them.")
    warn: Finite | None = Field(None, description="Value from which the status is warn.")
    alert: Finite | None = Field(None, description="Value from which the status is alert.")


class MonitorsSpec(SpecModel):
    """How closely to look."""

    false_alarms_per_month: Finite = Field(
        1.0, gt=0, description="Expected alerts in a month in which nothing is wrong, over all of the model's metrics."
    )
    windows: list[WholeDays] = Field(
        [timedelta(days=d) for d in (1, 7, 28)],
        min_length=1,
        description="Lengths of the windows that are measured, each in whole days.",
        json_schema_extra={"default": ["1d", "7d", "28d"]},
    )
    min_rows: int = Field(30, ge=2, description="Fewer rows (or labels) than this are insufficient_data.")
    overrides: list[MonitorOverride] = Field(
        [], description="Thresholds other than the defaults, by metric, subject or segment."
    )

    @property
    def window_days(self) -> tuple[int, ...]:
        """Lengths of the windows in days, ascending."""
        return tuple(sorted({whole_days(w) for w in self.windows}))


class RetrainPolicy(SpecModel):
    """Whether and how a challenger is trained."""

    entrypoint: Entrypoint | None = Field(None, description="`package.module:function` that trains a challenger.")
    mode: Mode = Field("approve", description="off: never; approve: when a person agrees; auto: at once.")
    cooldown: Duration = Field(
        timedelta(days=7), description="Least time between two trainings.", json_schema_extra={"default": "7d"}
    )


class PromotePolicy(SpecModel):
    """When a challenger takes the champion's place."""

    mode: Mode = Field("approve", description="off: never; approve: when a person agrees; auto: at once.")
    metric: Text | None = Field(None, description="Metric that decides; default: the task's main one.")
    non_inferiority_margin: Finite = Field(
        0.005, ge=0, description="How much worse in that metric a challenger may be and still count as no worse."
    )
    alpha: Finite = Field(0.05, gt=0, lt=1, description="Level of the test that decides.")


class PolicySpec(SpecModel):
    """What may be done about it."""

    retrain: RetrainPolicy = Field(RetrainPolicy(), description="Training of a challenger.")
    promote: PromotePolicy = Field(PromotePolicy(), description="Promotion of a challenger to champion.")


class RegistrySpec(SpecModel):
    """Where MLflow keeps the model."""

    name: Text | None = Field(None, description="Name of the registered model; default: the model's name.")
    tracking_uri: Text | None = Field(
        None, description="MLflow's tracking server; default: MLFLOW_TRACKING_URI, else the home's own."
    )


class ExplainSpec(SpecModel):
    """How many rows are explained by SHAP, where the registry has the version that served them."""

    mode: Literal["on", "off"] = Field("on", description="off: no model is ever loaded to be explained.")
    rows: int = Field(500, ge=50, le=10_000, description="Most rows of a night that are explained.")
    background: int = Field(
        100, ge=10, le=1000, description="Rows of the reference that stand for features left out, fixed for a version."
    )


class AlertSpec(SpecModel):
    """Who is told of incidents."""

    to: Text = Field(description="Any channel URL that the notification library knows.")
    severity: Literal["info", "warning", "critical"] = Field(
        "critical", description="Least severity of the incidents that are sent."
    )


def _model_name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(
            f"{value!r} can't be a model's name; write up to 63 letters, digits and underscores, a letter first"
        )
    return value


def _ascending(value: list[float]) -> list[float]:
    if any(not 0 < t < 1 for t in value):
        raise ValueError("an operating point lies between 0 and 1, neither included")
    if any(a >= b for a, b in itertools.pairwise(value)):
        raise ValueError("operating points must ascend, each given once")
    return value


def _columns_each(value: Any) -> Any:
    return [[v] if isinstance(v, str) else v for v in value] if isinstance(value, list) else value


_POINT = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
_COLUMN = {"type": "string", "minLength": 1}

Threshold = Annotated[
    list[Finite],
    BeforeValidator(lambda v: v if isinstance(v, list) else [v]),
    Field(min_length=1),
    AfterValidator(_ascending),
    WithJsonSchema({"anyOf": [_POINT, {"type": "array", "items": _POINT, "minItems": 1}]}),
]
Segments = Annotated[
    list[Annotated[list[Column], Field(min_length=1, max_length=3)]],
    BeforeValidator(_columns_each),
    WithJsonSchema(
        {
            "type": "array",
            "items": {"anyOf": [_COLUMN, {"type": "array", "items": _COLUMN, "minItems": 1, "maxItems": 3}]},
        }
    ),
]


class ModelSpec(SpecModel):
    """One monitored model: what it logs, what its labels are, what to watch."""

    model: Annotated[
        str, AfterValidator(_model_name), WithJsonSchema({"type": "string", "pattern": f"^{_NAME.pattern}$"})
    ] = Field(description="Name of the model: the file's name without .yaml.")
    task: Task = Field(description="What the model predicts: one of two classes, of several, or a number.")
    owner: Text | None = Field(None, description="Who answers for the model, e.g. an e-mail address.")
    timezone: Timezone = Field("UTC", description="Timezone of the model's dates and its schedule, e.g. Europe/Berlin.")
    schedule: Annotated[str, AfterValidator(check_cron)] = Field(
        "0 2 * * *", description="When the nightly run starts: a cron schedule of five fields, in `timezone`."
    )
    engine: Engine | None = Field(
        None, description="What joins and counts rows; default: the home's engine, which is duckdb where none is set."
    )
    predictions: PredictionsSpec = Field(description="The logged predictions.")
    labels: LabelsSpec | None = Field(None, description="The labels; without them performance can't be measured.")
    features: FeaturesSpec = Field(FeaturesSpec(), description="The features; default: inferred from the data.")
    reference: ReferenceSpec | None = Field(
        None, description=f"What drift is measured against; default: the first {ONBOARDING_NIGHTS} days that arrived."
    )
    positive_class: ClassName = Field("1", description="binary: the class that `score` is the probability of.")
    threshold: Threshold = Field([0.5], description="binary: operating point, or several, ascending.")
    segments: Segments = Field([], description="Columns, or lists of up to three columns to cross.")
    fairness: FairnessSpec = Field(FairnessSpec(), description="Groups that must be treated alike.")
    monitors: MonitorsSpec = Field(
        MonitorsSpec(), description="Windows, thresholds and how many false alarms are borne."
    )
    policy: PolicySpec = Field(PolicySpec(), description="What may be done about a finding.")
    registry: RegistrySpec = Field(RegistrySpec(), description="Name and place of the model in MLflow.")
    explain: ExplainSpec = Field(ExplainSpec(), description="Which rows are explained by SHAP.")
    alerts: list[AlertSpec] = Field([], description="Who is told of incidents.")
    retention: Retention = Field(
        {}, description="Table -> for how long a night's rows are kept; default: the home's retention, else for good."
    )

    _from_environment: dict[tuple[str | int, ...], tuple[str, str]] = PrivateAttr(default_factory=dict)
    """Key path -> (text as written, text with variables expanded): secrets are printed as they were written."""

    @model_validator(mode="after")
    def _keys_agree(self) -> ModelSpec:
        found = inconsistencies(self)
        if found:
            text = "; ".join(f"{'.'.join(map(str, path))}: {message}" for path, message in found)
            raise PydanticCustomError("inconsistent", "{text}", {"text": text, "found": found})
        return self

    @model_validator(mode="after")
    def _positive_is_favorable(self) -> ModelSpec:
        """Where nothing else is said, the positive class is the favorable outcome."""
        if self.task == "binary" and "favorable_outcome" not in self.fairness.model_fields_set:
            fairness = self.fairness.model_copy(update={"favorable_outcome": self.positive_class})
            fairness.model_fields_set.discard("favorable_outcome")
            self.__dict__["fairness"] = fairness
        return self

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes of a multiclass model in the order the spec lists them; empty for other tasks."""
        return tuple(self.predictions.scores or ())

    @property
    def segment_fields(self) -> tuple[tuple[str, ...], ...]:
        """Every cut to keep: the segments, then the fairness attributes, each once."""
        cuts = [tuple(s) for s in self.segments] + [(a,) for a in self.fairness.attributes]
        return tuple(dict.fromkeys(cuts))

    @property
    def maturity_days(self) -> int:
        """Days after a window's last day until its labels are final."""
        return whole_days(self.labels.maturity) if self.labels else 0
