"""The shortest specs, to which each test adds what it is about."""

from __future__ import annotations

from typing import Any

from mlobs_pipelines.spec import ModelSpec, SpecError, parse_spec

BINARY = """\
model: fraud
task: binary
predictions:
  source: data/p.parquet
  id: prediction_id
  time: event_time
  score: fraud_score
labels:
  source: data/l.parquet
  id: prediction_id
  value: is_fraud
  available_at: reported_at
"""
MULTICLASS = """\
model: animals
task: multiclass
predictions:
  source: data/p.parquet
  id: prediction_id
  time: event_time
  scores: {cat: p_cat, dog: p_dog}
"""
REGRESSION = """\
model: bikes
task: regression
predictions:
  source: data/p.parquet
  id: prediction_id
  time: event_time
  prediction: predicted
"""


def parse(text: str, **environment: str) -> ModelSpec:
    return parse_spec(text, file="m.yaml", environment=environment)


def problems(text: str, **environment: str) -> list[str]:
    """What is said of a text; nothing if it is a spec."""
    try:
        parse(text, **environment)
    except SpecError as error:
        return [str(problem) for problem in error.problems]
    return []


def keys(text: str = BINARY, **more: Any) -> dict[str, Any]:
    """A shortest spec as a mapping of Python values, each addition merged into the part it belongs to."""
    given = parse(text).model_dump(exclude_unset=True)
    for name, value in more.items():
        given[name] = {**given[name], **value} if isinstance(given.get(name), dict) else value
    return given
