"""What is counted of a model's rows: features and outputs with their bins, segments with their values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlobs_pipelines.engine import sql
from mlobs_pipelines.ingest.schema import Schema
from mlobs_pipelines.profile.cells import OTHERS, Names
from mlobs_pipelines.profile.counting import Item
from mlobs_pipelines.profile.kernels import Binner, Bins, Floats
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.tasks import task_of
from mlobs_pipelines.tasks.base import OCTAVE_BINS, Output, bins_from, octave_bin

ARRIVED = ("rows", "score", "value", "value_sq")
LABELED = ("labeled", "label", "loss", "loss_sq")
"""Sums of a feature's bins: of predictions that arrived, and of labels that did."""

LATENCY = "latency_bin"


@dataclass(frozen=True)
class Feature:
    """A feature: its column in the lake, its own bins (number ``own``), and how a value is placed in them."""

    name: str
    column: str
    own: int
    frozen: bool
    binner: Binner | None
    vocabulary: pa.Array | None
    known: Bins | None
    coarse: Bins | None
    center: float
    unit: float
    low: float | None
    high: float | None

    @staticmethod
    def of(spec: ModelSpec, name: str, kind: str, frozen: Mapping[str, Any] | None) -> Feature:
        """A feature of a kind, with its frozen bins; before there are any, all its values are one bin."""
        column = ("n_" if kind == "embedding" else "f_") + name
        low, high = spec.features.ranges.get(name, (None, None))
        if kind == "categorical":
            of = frozen or {"vocabulary": [], "rare": []}
            values = pa.array([*of["vocabulary"], *of["rare"]], pa.string())
            rare = len(of["vocabulary"])
            known = np.minimum(np.arange(len(values)), rare).astype(np.int32)
            return Feature(name, column, rare + 1, bool(frozen), None, values, known, None, 0, 1, low, high)
        edges = frozen["edges"] if frozen else []
        coarse = bins_from(edges, frozen["coarse"]).astype(np.int32) if frozen else None
        center, unit = (frozen["center"], frozen["unit"]) if frozen else (0.0, 1.0)
        binner = Binner.of(edges)
        return Feature(name, column, len(edges) + 1, bool(frozen), binner, None, None, coarse, center, unit, low, high)

    def of_numbers(self, x: Floats) -> Bins:
        """Places of numbers, such as ``Binner`` takes, among the feature's bins; that of NaN is the one for missing values."""
        if self.binner is None:
            raise TypeError(f"{self.name} holds categories")
        return self.binner(x, self.own)

    def of_categories(self, values: pa.DictionaryArray) -> Bins:
        """Places of categories: in the vocabulary, rare, unseen or missing."""
        index = pc.index_in(values.dictionary, value_set=self.vocabulary)
        found = index.to_numpy(zero_copy_only=False)
        if self.known is None:
            raise TypeError(f"{self.name} holds numbers")
        unseen = self.own + 2
        table = np.full(len(found) + 1, unseen, np.int32)
        seen = ~np.isnan(found.astype(np.float64))
        table[:-1][seen] = self.known[found[seen].astype(np.intp)]
        table[-1] = self.own
        codes = values.indices.fill_null(len(found)) if values.null_count else values.indices
        place: Bins = table[codes.to_numpy(zero_copy_only=False)]
        return place


def output_columns(spec: ModelSpec) -> list[str]:
    """Columns of the lake that outputs and sums are made of."""
    return {
        "binary": ["score", "prediction"],
        "multiclass": [*(f"score_{i}" for i in range(len(spec.classes))), "prediction"],
        "regression": ["prediction"],
    }[spec.task]


@dataclass(frozen=True)
class Plan:
    """What is counted of a model's facts. ``admitted`` are the values of segment fields, by the name the spec gives them."""

    spec: ModelSpec
    schema: Schema
    bins: Mapping[str, Any] | None
    admitted: Mapping[str, Sequence[str]]
    names: Names = field(default_factory=Names)
    """Of versions and roles."""

    @cached_property
    def features(self) -> list[Feature]:
        frozen = self.bins["features"] if self.bins else {}
        return [Feature.of(self.spec, name, kind, frozen.get(name)) for name, kind in self.schema.features.items()]

    @cached_property
    def outputs(self) -> list[Output]:
        return task_of(self.spec).outputs(self.bins) if self.bins else []

    @cached_property
    def output_binners(self) -> dict[int, Binner]:
        return {i: Binner.of(output.edges) for i, output in enumerate(self.outputs) if output.edges is not None}

    @cached_property
    def cuts(self) -> list[tuple[str, ...]]:
        return [tuple(cut) for cut in self.spec.segment_fields]

    @cached_property
    def values(self) -> dict[str, list[str]]:
        """The values of each segment field as segments name them."""
        fields = dict.fromkeys(name for cut in self.cuts for name in cut)
        return {name: [*OTHERS, *self.admitted.get(name, ())] for name in fields}

    @property
    def stages(self) -> list[sql.Stage]:
        """Columns that the sums are made of, for facts with the model's stored columns."""
        return [*(task_of(self.spec).stages(self.bins) if self.bins else []), *octave_bin(LATENCY, "latency_ms")]

    def sums_of_row(self, *, labels: bool) -> dict[str, str]:
        """SQL over a fact with its stages for what every feature's bin keeps of a row, by the name of the sum."""
        if not self.bins:
            return {}
        of = task_of(self.spec).row_sums(self.bins)
        return {"label": of.label, "loss": of.loss, "loss_sq": of.loss_sq} if labels else {"score": of.score}

    def items(self, *, labels: bool) -> list[Item]:
        """Everything that is counted of predictions that arrived, or of labels."""
        found = []
        for feature in self.features:
            sums = LABELED if labels else (ARRIVED if feature.binner else ARRIVED[:2])[: None if feature.frozen else 1]
            if feature.frozen or not labels:
                found.append(Item.of_feature("feature_profile", feature.name, feature.own, sums, feature.coarse))
            if not labels and (feature.low is not None or feature.high is not None):
                found.append(Item("quality_profile", feature.name, np.array([0]), ("out_of_range",)))
        for output in self.outputs:
            of = output.at_label if labels else output.at_prediction
            if of:
                numbers = np.arange(len(output.edges) + 1) if output.edges is not None else np.array(output.numbers)
                found.append(Item("output_profile", output.name, numbers, tuple(of)))
        if not labels:
            found.append(Item("traffic_profile", "", np.array(OCTAVE_BINS), ("rows", "failed")))
        return found
