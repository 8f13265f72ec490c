"""A loaded model as functions of logged features: its prediction, and the scale on which it is explained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

import numpy as np
import polars as pl

from mlobs_pipelines.explain.attribution import Floats

Output = Literal["log_odds", "probability", "value"]
"""What attributions add up to. Of several classes, log-odds are each class's log-probability less their mean."""

CHUNK = 100_000
"""Rows that are predicted at once."""
NEAR = 1e-9
CERTAIN = 20.0
"""Log-odds beyond this are compared as this: the probability has no digits left for them."""


class Loaded(Protocol):
    """A version from the registry."""

    @property
    def model(self) -> Any:
        """The estimator itself, where its flavour has one."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of its inputs."""

    def inputs(self, frame: pl.DataFrame) -> Any:
        """Features under their names -> what ``model`` takes."""

    def predict(self, frame: pl.DataFrame) -> Floats:
        """P(positive) or the predicted number, shape (rows,); of several classes (rows, classes)."""


@dataclass(frozen=True)
class Explained:
    """A loaded model of a task, in units: log-odds and probabilities as they are, numbers by the labels' spread."""

    loaded: Loaded
    task: str
    unit: float = 1.0

    def predicted(self, rows: pl.DataFrame) -> Floats:
        """Probabilities or numbers, shape (rows, outputs)."""
        parts = [np.asarray(self.loaded.predict(part), np.float64) for part in rows.iter_slices(CHUNK)]
        found = np.concatenate(parts) if parts else np.zeros(0)
        return found.reshape(rows.height, -1) / self.unit

    def on(self, output: Output, probe: pl.DataFrame) -> Callable[[pl.DataFrame], Floats] | None:
        """The model's function on a scale, shape (rows, outputs); None where it has none there.

        Log-odds are the model's own decision function where its inverse logit is the predicted probability, for
        that keeps its digits when the probability is all but certain.
        """
        if output != "log_odds":
            return self.predicted if (output == "value") == (self.task == "regression") else None
        if self.task == "regression":
            return None
        predicted = self.predicted(probe)
        if not ((predicted > 0) & (predicted < 1)).all():
            return None
        if self._decides and np.allclose(probability(self._margin(probe)), predicted, rtol=0, atol=NEAR):
            return self._margin
        return lambda rows: log_odds(self.predicted(rows))

    @cached_property
    def _decides(self) -> bool:
        return callable(getattr(self.loaded.model, "decision_function", None))

    def _margin(self, rows: pl.DataFrame) -> Floats:
        model = self.loaded.model
        parts = [
            np.asarray(model.decision_function(self.loaded.inputs(part)), np.float64)
            for part in rows.iter_slices(CHUNK)
        ]
        found = np.concatenate(parts).reshape(rows.height, -1) if parts else np.zeros((0, 1))
        return found - found.mean(axis=1, keepdims=True) if found.shape[1] > 1 else found


def log_odds(probabilities: Floats) -> Floats:
    """Log-odds of one column; of several, each log-probability less their mean. Certain ones are infinite.

    >>> log_odds(np.array([[0.5]]))
    array([[0.]])
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        if probabilities.shape[1] == 1:
            logs: Floats = np.log(probabilities) - np.log1p(-probabilities)
            return logs
        logs = np.log(probabilities)
        centered: Floats = logs - logs.mean(axis=1, keepdims=True)
        return centered


def probability(log_odds: Floats) -> Floats:
    """The inverse of :func:`log_odds`, shape (rows, outputs)."""
    if log_odds.shape[1] == 1:
        one: Floats = 0.5 * (1 + np.tanh(log_odds / 2))
        return one
    raised = np.exp(log_odds - log_odds.max(axis=1, keepdims=True))
    shares: Floats = raised / raised.sum(axis=1, keepdims=True)
    return shares


def gaps(together: Floats, output: Output, predicted: Floats) -> Floats:
    """How far base and attributions, summed, are off what the model predicts, in units; shape (rows, outputs)."""
    with np.errstate(invalid="ignore"):
        if output == "log_odds":
            together, predicted = (np.clip(x, -CERTAIN, CERTAIN) for x in (together, log_odds(predicted)))
        found: Floats = np.abs(together - predicted)
        return found
