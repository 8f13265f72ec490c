"""A Dagster instance for one run in this process that nobody can look up afterwards.

Dagster's own ephemeral instance writes each event into a database in memory, 4 ms each: of a run of many nights, most of
what Dagster takes. The run's result has its events all the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from dagster import DagsterInstance, EventLogEntry
from dagster._core.instance.types import InstanceType
from dagster._core.launcher.sync_in_memory_run_launcher import SyncInMemoryRunLauncher
from dagster._core.run_coordinator import DefaultRunCoordinator
from dagster._core.storage.event_log import InMemoryEventLogStorage
from dagster._core.storage.noop_compute_log_manager import NoOpComputeLogManager
from dagster._core.storage.root import TemporaryLocalArtifactStorage
from dagster._core.storage.runs import InMemoryRunStorage


class UnkeptEventLog(InMemoryEventLogStorage):
    """An event log that stays empty."""

    def store_event(self, event: EventLogEntry) -> None:
        """Let an event go."""

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Let events go."""


def unrecorded_instance() -> DagsterInstance:
    """As ``DagsterInstance.ephemeral()``, but with an event log that stays empty."""
    return DagsterInstance(
        instance_type=InstanceType.EPHEMERAL,
        local_artifact_storage=TemporaryLocalArtifactStorage(),  # type: ignore[no-untyped-call]
        run_storage=InMemoryRunStorage(),
        event_storage=UnkeptEventLog(),
        compute_log_manager=NoOpComputeLogManager(),
        run_coordinator=DefaultRunCoordinator(),
        run_launcher=SyncInMemoryRunLauncher(),
    )
