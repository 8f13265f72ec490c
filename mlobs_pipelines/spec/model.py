"""The language of a model's file, as typed models. Every key, its type, default and meaning.

Values are taken verbatim: version ``"3"`` and group ``"None"`` stay strings.
"""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

Task = Literal["binary", "multiclass", "regression"]

_DURATION = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*(s|m|h|d|w)\s*$")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_duration(value: object) -> object:
    """Read ``45d``, ``12h``, ``30m``, ``90s`` or ``2w`` as a timedelta."""
    if isinstance(value, str):
        match = _DURATION.match(value)
        if not match:
            raise ValueError(f"{value!r} is not a duration; write for example 45d, 12h or 30m")
        return timedelta(**{_UNITS[match[2]]: float(match[1])})
    return value


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]


def whole_days(duration: timedelta) -> int:
    """Days until a duration that begins at the end of a day has surely passed, rounded up."""
    return math.ceil(duration / timedelta(days=1))


class SpecModel(BaseModel):
    """Base of every part of a spec: unknown keys are errors, instances are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=False)


class PredictionsSpec(SpecModel):
    """Where the logged predictions are and which column means what."""

    source: str | list[str] = Field(description="File, glob or folder of Parquet, CSV or JSON lines; local or URL.")
    format: str = Field("standard", description="`standard`, or a logged-payload format an ingest reader knows.")
    id: str = Field(description="Column with the id that labels refer to.")
    time: str = Field(description="Column with the time the prediction was made for.")
    score: str | None = Field(None, description="binary: column with the probability of the positive class.")
    scores: dict[str, str] | None = Field(None, description="multiclass: class -> column with its probability.")
    prediction: str | None = Field(None, description="The acted-on class, or the predicted value of a regression.")
    arrived_at: str | None = Field(None, description="Column with the time the row reached the log; default: `time`.")
    version: str | None = Field(None, description="Column with the model version; default: one version, '1'.")
    role: str | None = Field(None, description="Column with production, shadow, canary, …; default: production.")
    latency_ms: str | None = Field(None, description="Column with the request's latency in milliseconds.")
    status: str | None = Field(None, description="Column with the request's status; 400 and above is an error.")
    subject: str | None = Field(None, description="Column naming whom the row is about, for erasure requests.")
    drop: list[str] = Field(default_factory=list, description="Columns that are never stored.")
    hash: list[str] = Field(default_factory=list, description="Columns stored only as a keyed hash.")


class LabelsSpec(SpecModel):
    """Where the labels are, and when each became known."""

    source: str | list[str] = Field(description="File, glob or folder of Parquet, CSV or JSON lines; local or URL.")
    format: str = Field("standard", description="`standard`, or a logged-payload format an ingest reader knows.")
    id: str = Field(description="Column with the prediction's id.")
    value: str = Field(description="Column with the label.")
    available_at: str = Field(description="Column with the time the label became known.")
    mode: Literal["explicit", "positives_only"] = Field(
        "explicit", description="`positives_only`: silence until maturity means negative."
    )
    maturity: Duration = Field(timedelta(days=0), description="After this a missing label is final.")


class FeaturesSpec(SpecModel):
    """Which columns are features; a list left out is inferred from the data."""

    numeric: list[str] | None = None
    categorical: list[str] | None = None
    embedding: list[str] = Field(default_factory=list, description="Columns with float lists of one fixed size.")
    ranges: dict[str, tuple[float | None, float | None]] = Field(
        default_factory=dict, description="Hard limits [low, high], either may be null: outside is a fault."
    )

    @property
    def inferred(self) -> bool:
        """Whether every other column is a feature, by its type."""
        return self.numeric is None and self.categorical is None


class ReferenceSpec(SpecModel):
    """The data that drift is measured against."""

    source: str | list[str] = Field(description="File, glob or folder with the same columns, e.g. the training data.")


class FairnessSpec(SpecModel):
    """The groups that must be treated alike."""

    attributes: list[str] = Field(default_factory=list)
    reference_groups: dict[str, str] = Field(default_factory=dict, description="Default: the largest group.")
    favorable_outcome: str = "1"


class MonitorOverride(SpecModel):
    """A threshold other than the default for some metric, subject or segment."""

    metric: str
    subject: str | None = None
    segment: str | None = None
    warn: float | None = None
    alert: float | None = None


class MonitorsSpec(SpecModel):
    """How closely to look."""

    false_alarms_per_month: float = Field(1.0, gt=0)
    windows: list[Duration] = Field(default_factory=lambda: [timedelta(days=d) for d in (1, 7, 28)])
    min_rows: int = Field(30, ge=2, description="Fewer rows (or labels) than this are insufficient_data.")
    overrides: list[MonitorOverride] = Field(default_factory=list)

    @property
    def window_days(self) -> tuple[int, ...]:
        """Lengths of the windows in days, ascending."""
        return tuple(sorted({whole_days(w) for w in self.windows}))


class RetrainPolicy(SpecModel):
    entrypoint: str | None = Field(None, description="`module:function` that trains a challenger.")
    mode: Literal["off", "approve", "auto"] = "approve"
    cooldown: Duration = timedelta(days=7)


class PromotePolicy(SpecModel):
    mode: Literal["off", "approve", "auto"] = "approve"
    metric: str | None = None
    non_inferiority_margin: float = 0.005
    alpha: float = Field(0.05, gt=0, lt=1)


class PolicySpec(SpecModel):
    """What may be done about it."""

    retrain: RetrainPolicy = Field(default_factory=RetrainPolicy)
    promote: PromotePolicy = Field(default_factory=PromotePolicy)


class RegistrySpec(SpecModel):
    """Where MLflow keeps the model."""

    name: str | None = Field(None, description="Default: the model's name.")
    tracking_uri: str | None = None


class AlertSpec(SpecModel):
    to: str
    severity: Literal["info", "warning", "critical"] = "critical"


Verbatim = Annotated[str, BeforeValidator(lambda v: canonical_class(v))]


def canonical_class(value: Any) -> Any:
    """One spelling for one class: true -> 'true', 1 and 1.0 -> '1', text unchanged."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return value


class ModelSpec(SpecModel):
    """One monitored model: what it logs, what its labels are, what to watch."""

    model: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,62}$")
    task: Task
    owner: str | None = None
    timezone: str = "UTC"
    schedule: str = "0 2 * * *"
    predictions: PredictionsSpec
    labels: LabelsSpec | None = None
    features: FeaturesSpec = Field(default_factory=FeaturesSpec)
    reference: ReferenceSpec | None = None
    positive_class: Verbatim = "1"
    threshold: list[float] = Field(default_factory=lambda: [0.5], description="Operating point, or several.")
    segments: list[list[str]] = Field(default_factory=list, description="Columns, or lists of columns to cross.")
    fairness: FairnessSpec = Field(default_factory=FairnessSpec)
    monitors: MonitorsSpec = Field(default_factory=MonitorsSpec)
    policy: PolicySpec = Field(default_factory=PolicySpec)
    registry: RegistrySpec = Field(default_factory=RegistrySpec)
    alerts: list[AlertSpec] = Field(default_factory=list)

    @field_validator("threshold", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return value if isinstance(value, list) else [value]

    @field_validator("segments", mode="before")
    @classmethod
    def _column_or_columns(cls, value: Any) -> Any:
        return [[v] if isinstance(v, str) else v for v in value] if isinstance(value, list) else value

    @model_validator(mode="after")
    def _outputs_fit_the_task(self) -> ModelSpec:
        p = self.predictions
        needed = {"binary": ("score", p.score), "multiclass": ("scores", p.scores), "regression": ("prediction", p.prediction)}
        key, given = needed[self.task]
        if not given:
            raise ValueError(f"predictions.{key} is needed for task {self.task}")
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
