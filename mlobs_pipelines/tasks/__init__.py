"""What differs between binary, multiclass and regression models: one object a task."""

from __future__ import annotations

from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.tasks.binary import Binary
from mlobs_pipelines.tasks.multiclass import Multiclass
from mlobs_pipelines.tasks.regression import Regression

Task = Binary | Multiclass | Regression

TASKS: dict[str, type[Task]] = {"binary": Binary, "multiclass": Multiclass, "regression": Regression}


def task_of(spec: ModelSpec) -> Task:
    """The task object of a spec."""
    return TASKS[spec.task](spec)


HEADLINE: dict[str, str] = {"binary": "roc_auc", "multiclass": "accuracy", "regression": "root_mean_squared_error"}
"""The one number of a model of each task: what decides where the policy names no metric."""
