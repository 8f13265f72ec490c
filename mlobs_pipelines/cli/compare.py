"""Two versions side by side: what was stored, else what the rows say that both scored, in service or now."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from mlobs_pipelines.act.cohorts import rows_in
from mlobs_pipelines.act.compare import compare, deciding, verdict
from mlobs_pipelines.act.rows import RowsError, newest_night
from mlobs_pipelines.act.shadow import shadow_rows
from mlobs_pipelines.cli.status import as_text
from mlobs_pipelines.errors import UserError
from mlobs_pipelines.spec.model import FairnessSpec, ModelSpec
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.read import table

WORDS = {"better": "▲ better", "worse": "▼ worse", "non_inferior": "● no worse", "inconclusive": "· can't tell"}


@dataclass(frozen=True)
class Compared:
    """A comparison and where it comes from."""

    frame: pl.DataFrame
    source: str


def compared(home: Home, spec: ModelSpec, champion: str, challenger: str, segment: str = "") -> Compared:
    """The newest comparison in the store; where there is none of these versions, or of this segment, one made now.

    Raises:
        UserError: the versions are one, have no rows in common to compare on, or are unknown; or MLflow does not answer.
    """
    if champion == challenger:
        raise UserError(f"version {champion} can only be compared with another version")
    stored = table(home, "comparisons", spec.model).filter(
        (pl.col("champion") == champion) & (pl.col("challenger") == challenger)
    )
    stored = stored.filter(pl.col("as_of") == pl.col("as_of").max())
    if stored.filter(pl.col("segment") == segment).height:
        return Compared(stored, f"as stored on {stored['as_of'][0]}")
    night = newest_night(home, spec.model)
    if night is None:
        raise RowsError(f"{spec.model} was never run; run it first: mlobs run {spec.model}")
    rows, source = shadow_rows(home, spec, champion, challenger, night), "on what both versions said in service"
    if rows is None or rows.height < spec.monitors.min_rows:
        from mlobs_pipelines.act.scoring import score_both

        rows, source = score_both(home, spec, champion, challenger, as_of=night), "on logged rows, scored again by both"
    if not segment:
        return Compared(compare(rows, spec, champion, challenger, night), source)
    whole = spec.model_copy(update={"segments": [], "fairness": FairnessSpec()})
    found = compare(rows_in(rows, segment), whole, champion, challenger, night)
    return Compared(found.with_columns(segment=pl.lit(segment)), source)


def chosen(frame: pl.DataFrame, spec: ModelSpec, segment: str, metric: str | None) -> pl.DataFrame:
    """The rows to show: one metric everywhere, one segment's metrics, or all metrics overall and the main one in segments.

    Raises:
        UserError: the comparison has no such metric.
    """
    known = frame["metric"].unique().to_list()
    if metric is not None and metric not in known:
        raise UserError(f"the comparison has no metric {metric!r}; it has: {', '.join(sorted(known))}")
    if segment:
        here = frame.filter(pl.col("segment") == segment)
        return here if metric is None else here.filter(pl.col("metric") == metric)
    if metric is not None:
        return frame.filter(pl.col("metric") == metric)
    gap = pl.col("metric").str.ends_with("_difference")
    return frame.filter((pl.col("segment") == "") | (pl.col("metric") == deciding(spec)) | gap)


def render(found: Compared, spec: ModelSpec, segment: str, metric: str | None) -> str:
    """The comparison as text: the verdict, failed guard rails, and a table."""
    shown = chosen(found.frame, spec, segment, metric)
    said = verdict(found.frame, spec)
    lines = [] if segment else [said.sentence, *(f"  ▼ {guard}" for guard in said.guards)]
    together = "" if segment else "; the intervals of segments hold together, so they are wider"
    lines.append(f"Challenger less champion, {found.source}{together}.")
    return "\n".join([*lines, "", _table(shown)])


def _table(shown: pl.DataFrame) -> str:
    limits = pl.col("lower").is_not_null()
    interval = pl.concat_str(
        pl.lit("["), _signed("lower"), pl.lit(", "), _signed("upper"), pl.lit("]"), ignore_nulls=True
    )
    return as_text(
        shown.select(
            "metric",
            "segment",
            pl.col("champion_value").round_sig_figs(4).alias("champion"),
            pl.col("challenger_value").round_sig_figs(4).alias("challenger"),
            _signed("difference"),
            pl.when(limits).then(interval).otherwise(pl.lit("")).alias("interval"),
            "rows",
            pl.col("verdict").replace(WORDS),
        )
    )


def _signed(column: str) -> pl.Expr:
    """A number with its sign, to four digits."""
    return pl.col(column).map_elements(lambda x: f"{x:+.4g}", return_dtype=pl.String)


def answer(found: Compared, spec: ModelSpec, segment: str, metric: str | None) -> dict[str, Any]:
    """The comparison for programs; ``verdict`` is null where only a segment is asked for."""
    said = None if segment else {k: _known(v) for k, v in asdict(verdict(found.frame, spec)).items()}
    rows = chosen(found.frame, spec, segment, metric).to_dicts()
    return {"source": found.source, "verdict": said, "comparisons": rows}


def _known(value: Any) -> Any:
    """NaN is no JSON."""
    return None if isinstance(value, float) and math.isnan(value) else value
