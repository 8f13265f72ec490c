"""A model's YAML file -> one typed, immutable spec."""

from mlobs_pipelines.spec.errors import Problem, SpecError
from mlobs_pipelines.spec.load import expand_variables, load_all, load_spec, parse_spec, resolve_source
from mlobs_pipelines.spec.model import ModelSpec, Task
from mlobs_pipelines.spec.schema import defaults, json_schema, to_yaml

__all__ = [
    "ModelSpec",
    "Problem",
    "SpecError",
    "Task",
    "defaults",
    "expand_variables",
    "json_schema",
    "load_all",
    "load_spec",
    "parse_spec",
    "resolve_source",
    "to_yaml",
]
