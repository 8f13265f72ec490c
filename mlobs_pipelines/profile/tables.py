"""The profile tables: their columns, and rows of them from what was counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from mlobs_pipelines.engine.duckdb import DuckDBEngine
from mlobs_pipelines.profile.bins import INVALID, MISSING
from mlobs_pipelines.profile.cells import segment
from mlobs_pipelines.profile.counting import Rows
from mlobs_pipelines.profile.plan import ARRIVED, LABELED, Plan
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.tasks import task_of

FEATURE_SUMS = (*ARRIVED, *LABELED)
QUALITY_SUMS = ("rows", "missing", "invalid", "out_of_range")
TRAFFIC_SUMS = ("rows", "failed")

COLUMNS: dict[str, tuple[str, ...]] = {
    "feature_profile": ("feature", "bin", *FEATURE_SUMS),
    "output_profile": ("output", "bin", "rows", "labeled"),
    "quality_profile": ("feature", *QUALITY_SUMS),
    "traffic_profile": ("latency_bin", *TRAFFIC_SUMS),
}
"""Columns after the keys and the segment; those of ``output_profile`` before the task's sums are known."""

_KEYS = {
    "arrival_date": pa.date32(),
    "event_date": pa.date32(),
    "version": pa.string(),
    "role": pa.string(),
    "segment": pa.string(),
}


def columns(plan: Plan | None, table: str) -> tuple[str, ...]:
    """The columns of a profile table after its keys and segment."""
    if table == "output_profile" and plan is not None and plan.bins:
        return ("output", "bin", *output_sums(plan.spec, plan.bins))
    return COLUMNS[table]


def schema_of(plan: Plan | None, table: str) -> pa.Schema:
    """Names and types of all columns of a profile table; ``plan`` is None before a model has rows."""
    kinds = {"feature": pa.string(), "output": pa.string(), "bin": pa.int32(), "latency_bin": pa.int32()}
    return pa.schema([*_KEYS.items(), *((name, kinds.get(name, pa.int64())) for name in columns(plan, table))])


def output_sums(spec: ModelSpec, bins: Mapping[str, Any]) -> list[str]:
    """Names of the sums of the task's output profile, in a fixed order."""
    names: dict[str, None] = {"rows": None, "labeled": None}
    for output in task_of(spec).outputs(bins):
        names.update(dict.fromkeys([*output.at_prediction, *output.at_label]))
    return list(names)


def counted(engine: DuckDBEngine, plan: Plan, rows: Sequence[Rows]) -> dict[str, str]:
    """SQL of each profile table over what was counted, which is registered with the engine."""
    sums = {
        "feature_profile": FEATURE_SUMS,
        "output_profile": columns(plan, "output_profile")[2:],
        "quality_profile": ("out_of_range",),
        "traffic_profile": TRAFFIC_SUMS,
    }
    for table, names in sums.items():
        engine.register(f"counted_{table}", _registered(plan, [r for r in rows if r.item.table == table], names))
    frozen = ", ".join(_text(feature.name) for feature in plan.features if feature.frozen) or "''"
    keys = ", ".join(_KEYS)
    missing = f"select {keys}, item, rows, case when bin = {MISSING} then rows else 0 end as missing, "
    quality = (
        f"{missing} case when bin = {INVALID} then rows else 0 end as invalid, 0 as out_of_range "
        "from counted_feature_profile where rows <> 0 "
        f"union all select {keys}, item, 0, 0, 0, out_of_range from counted_quality_profile"
    )
    return {
        "feature_profile": _summed(
            f"select * from counted_feature_profile where item in ({frozen})", "item as feature, bin", FEATURE_SUMS
        ),
        "output_profile": _summed("counted_output_profile", "item as output, bin", sums["output_profile"]),
        "quality_profile": _summed(quality, "item as feature", QUALITY_SUMS),
        "traffic_profile": _summed("counted_traffic_profile", "bin as latency_bin", TRAFFIC_SUMS),
    }


def _summed(relation: str, named: str, sums: Sequence[str]) -> str:
    source = f"({relation})" if " " in relation else relation
    keys = f"{', '.join(_KEYS)}, {named}"
    totals = ", ".join(f"cast(sum({name}) as bigint) as {name}" for name in sums)
    some = " or ".join(f"{name} <> 0" for name in sums)
    return f"select * from (select {keys}, {totals} from {source} group by all) where {some}"


def _registered(plan: Plan, found: Sequence[Rows], sums: Sequence[str]) -> pa.Table:
    """Rows of one table as Arrow, the same cell and bin as often as it was found; sums that an item has not are 0."""
    sizes = [len(rows.bins) for rows in found]
    made: dict[str, pa.Array] = {}
    cells = [np.array([cell[:4] for cell in r.cells], np.int32).reshape(-1, 4)[r.place] for r in found]
    key = np.concatenate([np.zeros((0, 4), np.int32), *cells])
    names = pa.array(plan.names.listed, pa.string())
    for i, name in enumerate(("arrival_date", "event_date")):
        made[name] = pa.array(key[:, i], pa.int32()).cast(pa.date32())
    for i, name in enumerate(("version", "role"), start=2):
        made[name] = pa.DictionaryArray.from_arrays(pa.array(key[:, i], pa.int32()), names)
    segments: dict[str, int] = {}
    places = [np.zeros(0, np.int32)]
    for r in found:
        texts = (segment(r.cut, [plan.values[n][v] for n, v in zip(r.cut, c[4:], strict=True)]) for c in r.cells)
        places.append(np.array([segments.setdefault(t, len(segments)) for t in texts], np.int32)[r.place])
    made["segment"] = pa.DictionaryArray.from_arrays(np.concatenate(places), pa.array(list(segments), pa.string()))
    items = {name: i for i, name in enumerate(dict.fromkeys(r.item.name for r in found))}
    item = np.repeat(np.array([items[r.item.name] for r in found], np.int32), sizes)
    made["item"] = pa.DictionaryArray.from_arrays(item, pa.array(list(items), pa.string()))
    made["bin"] = pa.array(np.concatenate([np.zeros(0, np.int32), *(r.bins.astype(np.int32) for r in found)]))
    for name in sums:
        parts = [
            r.sums[r.item.sums.index(name)] if name in r.item.sums else np.zeros(len(r.bins), np.int64) for r in found
        ]
        made[name] = pa.array(np.concatenate([np.zeros(0, np.int64), *parts]))
    return pa.table(made)


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
