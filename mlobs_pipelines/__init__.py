"""Observability for models in production: logged predictions and late labels -> judged metrics -> action."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlobs_pipelines.orchestration.component import MonitoredModel

__version__ = "0.1.0"
__all__ = ["MonitoredModel", "__version__"]


def __getattr__(name: str) -> object:
    """``mlobs_pipelines.MonitoredModel``, which needs Dagster, is imported when it is asked for."""
    if name == "MonitoredModel":
        from mlobs_pipelines.orchestration.component import MonitoredModel

        return MonitoredModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Names that tools may look up; Dagster finds the component here."""
    return sorted({*globals(), *__all__})
