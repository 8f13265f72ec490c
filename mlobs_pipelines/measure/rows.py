"""Numbers -> rows of the store's table ``metrics``."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from mlobs_pipelines.measure.groups import Groups, Ints
from mlobs_pipelines.measure.windows import Cells
from mlobs_pipelines.statistics.intervals import Estimate, Floats
from mlobs_pipelines.store.tables import METRICS

OK, PROVISIONAL, INSUFFICIENT = 0, 1, 2
STATUSES = ["ok", "provisional", "insufficient_data"]


class Words:
    """Texts as numbers, in order of first use."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def __getitem__(self, text: str) -> int:
        return self.numbers.setdefault(text, len(self.numbers))

    def ranked(self) -> tuple[list[str], Ints]:
        """The texts in ascending order, and each number's place in it."""
        ordered = sorted(self.numbers)
        place = {text: i for i, text in enumerate(ordered)}
        return ordered, np.array([place[text] for text in self.numbers], dtype=np.int64)


@dataclass
class MetricRows:
    """Collects the rows of one night, many at a time.

    ``cells`` are the night's windows; rows are added for places among them. ``rows_of`` and ``labeled_of`` say how
    many predictions and labelled predictions each window holds.
    """

    groups: Groups
    cells: Cells
    night: int
    maturity: int
    min_rows: int
    rows_of: Ints
    labeled_of: Ints
    aliased: npt.NDArray[np.bool_]
    """Whether a window of all versions is also that of its role's only version."""
    words: Words = field(default_factory=Words)
    parts: list[dict[str, npt.NDArray[np.generic]]] = field(default_factory=list)

    def add(
        self,
        at: Ints,
        family: str,
        metric: str,
        subject: str | list[str],
        estimate: Estimate,
        *,
        need: Ints | None,
        labels: bool = False,
        baseline: Floats | None = None,
        rows: Ints | None = None,
        version: int | None = None,
    ) -> None:
        """Add a metric of the windows ``at``.

        The estimate's arrays have shape (windows,), or (windows, subjects) where ``subject`` is a list; so has
        ``need``, the rows compared with ``min_rows`` (None: any number will do). ``version`` replaces the windows'.
        """
        if len(at) == 0 or (isinstance(subject, list) and not subject):
            return
        shape = estimate.value.shape
        many = len(subject) if isinstance(subject, list) else 1

        def spread(x: npt.ArrayLike | None, fill: float = np.nan) -> Floats:
            if x is None:
                return np.full(at.size * many, fill)
            return np.broadcast_to(np.asarray(x, dtype=np.float64), shape).reshape(-1)

        def counts(x: Ints | None, default: Ints) -> Ints:
            if x is None:
                return np.repeat(default[at], many)
            return np.broadcast_to(x.reshape(x.shape + (1,) * (len(shape) - x.ndim)), shape).reshape(-1)

        places = np.repeat(at, many)
        value, base = spread(estimate.value), spread(baseline)
        known = np.isfinite(value)
        if need is not None:
            known = known & (counts(need, need) >= self.min_rows)
        young = self.night < self.cells.end[places] + self.maturity if labels else np.zeros(len(places), np.bool_)
        subjects = [self.words[s] for s in subject] if isinstance(subject, list) else [self.words[subject]]
        group = self.cells.group[places]
        self.parts.append(
            {
                "cell": places,
                "version": self.groups.version[group] if version is None else np.full(len(places), version),
                "role": self.groups.role[group],
                "segment": self.groups.segment[group],
                "family": np.full(len(places), self.words[family]),
                "metric": np.full(len(places), self.words[metric]),
                "subject": np.tile(np.array(subjects, dtype=np.int64), len(at)),
                "value": np.where(known, value, np.nan),
                "lower": np.where(known, spread(estimate.lower), np.nan),
                "upper": np.where(known, spread(estimate.upper), np.nan),
                "bound": np.where(known, spread(estimate.bound), np.nan),
                "baseline": base,
                "rows": counts(rows, self.rows_of),
                "labeled": counts(None, self.labeled_of),
                "status": np.where(known, np.where(young, PROVISIONAL, OK), INSUFFICIENT),
                "alias": self.aliased[places] & (version is None),
            }
        )

    def frame(self, model: str, reference: str, run_id: str) -> pl.DataFrame:
        """The rows in the order of the table's key, every column of the table."""
        if not self.parts:
            return pl.DataFrame(schema=METRICS)
        merged = {name: np.concatenate([part[name] for part in self.parts]) for name in self.parts[0]}
        merged["start"], merged["end"] = self.cells.start[merged["cell"]], self.cells.end[merged["cell"]]
        again = np.flatnonzero(merged.pop("alias"))
        if len(again):
            merged = {name: np.concatenate([x, x[again]]) for name, x in merged.items()}
            only = np.asarray(self.groups.single, dtype=np.int64)[merged["role"][-len(again) :]]
            merged["version"][-len(again) :] = only
        words, rank = self.words.ranked()
        keys = [
            merged["version"],
            merged["role"],
            *(rank[merged[name]] for name in ("family", "metric", "subject")),
            merged["segment"],
            merged["start"],
            merged["end"],
        ]
        order = _order(keys)
        merged = {name: x[order] for name, x in merged.items()}

        def text(name: str, texts: list[str]) -> pl.Series:
            codes = rank[merged[name]] if name in ("family", "metric", "subject") else merged[name]
            return pl.Series(texts, dtype=pl.String).gather(pl.Series(codes.astype(np.uint32)))

        def number(name: str) -> pl.Series:
            x = merged[name] + 0.0
            return pl.Series(np.where(np.isfinite(x), x, np.nan)).fill_nan(None)

        def day(name: str) -> pl.Series:
            return pl.Series(merged[name].astype(np.int32)).cast(pl.Date)

        size = len(order)

        def constant(value: str) -> pl.Series:
            return pl.Series([value], dtype=pl.String).new_from_index(0, size)

        return pl.DataFrame(
            {
                "model": constant(model),
                "version": text("version", list(self.groups.versions)),
                "role": text("role", list(self.groups.roles)),
                "family": text("family", words),
                "metric": text("metric", words),
                "subject": text("subject", words),
                "segment": text("segment", list(self.groups.segments)),
                "window_start": day("start"),
                "window_end": day("end"),
                "as_of": pl.Series([self.night], dtype=pl.Int32).cast(pl.Date).new_from_index(0, size),
                "value": number("value"),
                "lower": number("lower"),
                "upper": number("upper"),
                "rows": pl.Series(merged["rows"].astype(np.int64)),
                "labeled_rows": pl.Series(merged["labeled"].astype(np.int64)),
                "baseline": number("baseline"),
                "reference": constant(reference),
                "status": text("status", STATUSES),
                "error_bound": number("bound"),
                "run_id": constant(run_id),
            },
            schema=METRICS,
        )


def _order(keys: list[Ints]) -> Ints:
    """The order of rows by several keys, the first weighing most: one sort of one number where it fits in 63 bits."""
    size, combined = 1, np.zeros(len(keys[0]), dtype=np.int64)
    for key in keys:
        low = int(key.min())
        width = int(key.max()) - low + 1
        size *= width
        if size >= 2**62:
            return np.lexsort(keys[::-1])
        combined = combined * width + (key - low)
    return np.argsort(combined, kind="stable")
