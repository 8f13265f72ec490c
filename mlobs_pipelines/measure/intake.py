"""What happened on the way in: duplicates, refused rows, and how fresh the data is."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from mlobs_pipelines.measure.groups import Ints
from mlobs_pipelines.measure.history import Facts, column, days
from mlobs_pipelines.measure.windows import Cells
from mlobs_pipelines.statistics.intervals import Estimate, Floats, estimate, proportion
from mlobs_pipelines.store.tables import EPOCH

COUNTS = ("delivered", "duplicates", "quarantined")


@dataclass(frozen=True)
class Intake:
    """Rows of the lake's table ``intake`` as numbers. A role or version that could not be read is ``''``."""

    labels: np.typing.NDArray[np.bool_]
    version: list[str]
    role: list[str]
    day: Ints
    arrival: Ints
    counts: dict[str, Ints]
    latest: Floats
    """Hours from 1970-01-01 UTC to the latest event accepted; -inf for none."""

    @staticmethod
    def of(frame: pl.DataFrame) -> Intake:
        """Encode the table."""
        if frame.height == 0:
            none = np.zeros(0, np.int64)
            return Intake(
                none.astype(np.bool_), [], [], none, none, dict.fromkeys(COUNTS, none), none.astype(np.float64)
            )
        latest = frame["latest_event_time"].cast(pl.Datetime("us")).dt.epoch("us").cast(pl.Float64)
        return Intake(
            (frame["source"] == "labels").to_numpy(),
            frame["version"].to_list(),
            frame["role"].to_list(),
            days(frame, "event_date"),
            days(frame, "arrival_date"),
            {name: column(frame, name) for name in COUNTS},
            latest.fill_null(-np.inf).to_numpy() / 3.6e9,
        )

    def concerning(self, version: str, role: str) -> np.typing.NDArray[np.bool_]:
        """Rows of a version (``''``: of all) in a role; those of an unknown role concern every role."""
        mine = [(version in ("", v)) and r in ("", role) for v, r in zip(self.version, self.role, strict=True)]
        return np.array(mine, dtype=np.bool_)

    def facts(self, mine: np.typing.NDArray[np.bool_]) -> Facts:
        """On which nights something came in about which days."""
        none = np.zeros(int(mine.sum()), np.int64)
        return Facts.of(self.arrival[mine], none, self.day[mine])

    def over(self, mine: np.typing.NDArray[np.bool_], cells: Cells, night: int) -> tuple[dict[str, Ints], Floats]:
        """Counts of each window, and the latest event in hours."""
        known = mine & (self.arrival <= night)
        day = self.day[known]
        order = np.argsort(day, kind="stable")
        day = day[order]
        first, last = np.searchsorted(day, cells.start), np.searchsorted(day, cells.end, side="right")
        counts = {}
        for name, x in self.counts.items():
            upto = np.concatenate([[0], np.cumsum(x[known][order])])
            counts[name] = upto[last] - upto[first]
        latest = self.latest[known][order]
        newest = np.array([latest[a:b].max(initial=-np.inf) for a, b in zip(first, last, strict=True)])
        return counts, newest


def freshness(newest: Floats, end: Ints, timezone: str) -> Estimate:
    """Hours from the latest event to the end of the window's last day in the model's timezone."""
    zone = ZoneInfo(timezone)
    distinct, place = np.unique(end, return_inverse=True)
    closes = [
        dt.datetime.combine(EPOCH + dt.timedelta(days=int(d) + 1), dt.time(), tzinfo=zone).timestamp() / 3600
        for d in distinct
    ]
    hours = np.array(closes)[place] - newest
    return estimate(np.where(np.isfinite(hours), hours, np.nan))


def rates(counts: dict[str, Ints]) -> dict[str, Estimate]:
    """Shares of what was delivered."""
    return {
        "duplicate_rate": proportion(counts["duplicates"], counts["delivered"]),
        "quarantined_rate": proportion(counts["quarantined"], counts["delivered"]),
    }
