"""Facts -> additive profiles: one grouped sum per feature and per output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from mlobs_pipelines.engine import sql
from mlobs_pipelines.profile.bins import INVALID, MISSING, UNSEEN
from mlobs_pipelines.profile.plan import LATENCY, Plan
from mlobs_pipelines.profile.rows import KEYS
from mlobs_pipelines.profile.tables import FEATURE_SUMS, QUALITY_SUMS, TRAFFIC_SUMS, output_sums, schema_of
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.tasks import task_of
from mlobs_pipelines.tasks.base import ABSENT, SQUARE_BITS, standardised


def _total(expression: str, alias: str) -> str:
    return f"coalesce(cast(sum({expression}) as bigint), 0) as {alias}"


def _grouped(facts: str, cuts: int, fine: str, sums: Sequence[str], coarse: str | None = None) -> str:
    """SQL that sums ``facts`` by key and bin: overall in fine bins, per segment of each cut in coarse ones if given."""
    keys = ", ".join(KEYS)
    segments = [f"segment_{i}" for i in range(cuts)]
    # Each bin is named once: the trees of comparisons are most of the statement, and of its planning.
    inner = f"select *, {fine} as fine_bin{f', {coarse} as coarse_bin' if coarse else ''} from {facts}"
    segment_bin = "coarse_bin" if coarse else "fine_bin"
    sets = ", ".join([f"({keys}, fine_bin)", *(f"({keys}, {s}, {segment_bin})" for s in segments)])
    segment = f"coalesce({', '.join([*segments, chr(39) * 2])})"
    number = "coalesce(fine_bin, coarse_bin)" if coarse and cuts else "fine_bin"
    profile = (
        f"select {keys}, {segment} as segment, cast({number} as integer) as bin, {', '.join(sums)} "
        f"from ({inner}) where fine_bin is not null group by grouping sets ({sets})"
    )
    # A row of zeros, such as a label and its withdrawal leave, says nothing.
    some = " or ".join(f"{total.rsplit(' as ', 1)[1]} <> 0" for total in sums)
    return f"select * from ({profile}) where {some}"


def feature_query(engine: sql.Engine, spec: ModelSpec, name: str, bins: Mapping[str, Any]) -> str:
    """SQL for the profile of one feature over the table ``facts``."""
    frozen = bins["features"][name]
    kind = frozen["kind"]
    column = sql.name(("n_" if kind == "embedding" else "f_") + name)
    absent = f"case when {engine.has_key('invalid_fields', name)} then {INVALID} else {MISSING} end"
    value = value_sq = "0"
    if kind == "categorical":
        known = [
            *((v, i) for i, v in enumerate(frozen["vocabulary"])),
            *((v, len(frozen["vocabulary"])) for v in frozen["rare"]),
        ]
        values, numbers = pa.array([v for v, _ in known], pa.string()), pa.array([n for _, n in known], pa.int32())
        engine.register("vocabulary", pa.table({"value": values, "bin": numbers}))
        facts = f"(select f.*, v.bin as known_bin from facts f left join vocabulary v on f.{column} = v.value)"
        fine = f"case when {column} is null then {absent} else coalesce(known_bin, {UNSEEN}) end"
        coarse = None
    else:
        facts = "facts"
        fine = f"coalesce({engine.bin_number(column, frozen['edges'])}, {absent})"
        coarse = f"coalesce({engine.bin_number(column, frozen['coarse'])}, {absent})"
        z = standardised(column, frozen["center"], frozen["unit"])
        value = sql.fixed_point(z, SQUARE_BITS)
        value_sq = sql.fixed_point(f"{z} * {z}", SQUARE_BITS)
    row = task_of(spec).row_sums(bins)
    sums = [
        _total("arrived", "rows"),
        _total(f"arrived * {row.score}", "score"),
        _total(f"arrived * {value}", "value"),
        _total(f"arrived * {value_sq}", "value_sq"),
        _total("sign", "labeled"),
        _total(f"sign * {row.label}", "label"),
        _total(f"sign * {row.loss}", "loss"),
        _total(f"sign * {row.loss_sq}", "loss_sq"),
    ]
    profile = _grouped(f"(select * from {facts} where not failed)", len(spec.segment_fields), fine, sums, coarse)
    return f"select {', '.join(KEYS)}, segment, {sql.text(name)} as feature, bin, {', '.join(FEATURE_SUMS)} from ({profile})"


def output_queries(engine: sql.Engine, spec: ModelSpec, bins: Mapping[str, Any]) -> list[str]:
    """SQL for the profile of each output over the table ``facts``."""
    queries = []
    columns = output_sums(spec, bins)
    for output in task_of(spec).outputs(bins):
        of = {
            **{n: f"arrived * {e}" for n, e in output.at_prediction.items()},
            **{n: f"sign * {e}" for n, e in output.at_label.items()},
        }
        sums = [_total(of.get(column, "0"), column) for column in columns]
        only = "not failed" if output.at_prediction else "not failed and sign <> 0"
        number = output.of if output.edges is None else engine.bin_number(output.of, output.edges)
        profile = _grouped(f"(select * from facts where {only})", len(spec.segment_fields), number, sums)
        queries.append(
            f"select {', '.join(KEYS)}, segment, {sql.text(output.name)} as output, bin, {', '.join(columns)} from ({profile})"
        )
    return queries


def quality_queries(engine: sql.Engine, spec: ModelSpec, features: Mapping[str, str]) -> list[str]:
    """SQL for the quality counts of each feature over the table ``facts``."""
    queries = []
    for name in features:
        column = sql.name(f"f_{name}")
        if features[name] == "embedding":
            column = sql.name(f"n_{name}")
        invalid = engine.has_key("invalid_fields", name)
        low, high = spec.features.ranges.get(name, (None, None))
        outside = " or ".join(
            f"{column} {sign} {sql.number(limit)}" for sign, limit in (("<", low), (">", high)) if limit is not None
        )
        sums = [
            _total("arrived", "rows"),
            _total(f"arrived * case when {column} is null and not ({invalid}) then 1 else 0 end", "missing"),
            _total(f"arrived * case when {invalid} then 1 else 0 end", "invalid"),
            _total(f"arrived * case when {outside} then 1 else 0 end" if outside else "0", "out_of_range"),
        ]
        facts = "(select * from facts where arrived = 1 and not failed)"
        profile = _grouped(facts, len(spec.segment_fields), "0", sums)
        queries.append(
            f"select {', '.join(KEYS)}, segment, {sql.text(name)} as feature, {', '.join(QUALITY_SUMS)} from ({profile})"
        )
    return queries


def traffic_query(spec: ModelSpec) -> str:
    """SQL for the traffic and latency counts over the table ``facts``."""
    latency = f"coalesce({LATENCY}, {ABSENT})"
    sums = [_total("arrived", "rows"), _total("case when failed then arrived else 0 end", "failed")]
    profile = _grouped("(select * from facts where arrived = 1)", len(spec.segment_fields), latency, sums)
    return f"select {', '.join(KEYS)}, segment, bin as latency_bin, {', '.join(TRAFFIC_SUMS)} from ({profile})"


def summed(engine: sql.Engine, plan: Plan) -> dict[str, pa.Table]:
    """Each profile table of the table ``facts``: the sums of every feature and output, one after the other."""
    spec, bins = plan.spec, plan.bins or {}
    queries = {
        "feature_profile": (feature_query(engine, spec, name, bins) for name in bins.get("features", {})),
        "output_profile": output_queries(engine, spec, bins) if bins else [],
        "quality_profile": quality_queries(engine, spec, plan.schema.features),
        "traffic_profile": [traffic_query(spec)],
    }
    # One by one, also the statements: that of a feature may need the vocabulary that was registered with it.
    return {
        name: pa.concat_tables(
            [schema_of(plan, name).empty_table(), *(cast(engine.table(query), plan, name) for query in found)]
        )
        for name, found in queries.items()
    }


def cast(table: pa.Table, plan: Plan, name: str) -> pa.Table:
    """A result with the column types of a profile table, whatever the engine made of them."""
    return table.cast(schema_of(plan, name))
