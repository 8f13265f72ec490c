"""Explanation: which features matter to the predictions, whether that is as it was, and which of them changed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
from markupsafe import Markup

from mlobs_pipelines.engine import sql
from mlobs_pipelines.explain.ranking import ranking
from mlobs_pipelines.report import words
from mlobs_pipelines.report.charts.bars import bar
from mlobs_pipelines.report.charts.quadrant import Feature, quadrant
from mlobs_pipelines.report.charts.scale import Scale
from mlobs_pipelines.report.read import Results, Row
from mlobs_pipelines.report.views.model import DRIFT_MATTERS, Tile
from mlobs_pipelines.report.views.series import History, Key
from mlobs_pipelines.store.tables import METRICS

SHOWN = 20
SCALES = {"log_odds": "log-odds", "probability": "probability", "value": "the predicted value"}


@dataclass(frozen=True)
class Important:
    """A feature and how much it matters."""

    name: str
    value: str
    interval: str
    baseline: str
    bar: Markup
    off: bool


@dataclass(frozen=True)
class Explanation:
    """What the page says."""

    model: str
    verdict: str
    measured: bool
    tiles: Sequence[Tile]
    quadrant: Markup | None
    features: Sequence[Important]
    scale: str
    window: str
    rows: str
    trend: Markup | None


def explanation_view(results: Results, model: str, now: dt.datetime) -> Explanation:
    """How much each feature matters, beside how much it drifted."""
    del now
    history = History(results, model)
    rows = _newest(results, model, history, "explanation")
    shap = sorted(
        (r for r in rows if r["metric"] == "mean_abs_shap" and r["value"] is not None), key=lambda r: -r["value"]
    )
    if not shap:
        return Explanation(
            model, "How much each feature matters is not measured: it needs a version in the registry that served, and a night.",
            False, (), None, (), "", "", "", None,
        )  # fmt: skip
    shap = [r for r in shap if r["window_end"] == max(s["window_end"] for s in shap)]
    ndcg = next((r for r in rows if r["metric"] == "attribution_ndcg" and r["value"] is not None), None)
    base = next((r for r in rows if r["metric"] == "shap_base_value" and r["value"] is not None), None)
    scale = Scale(0.0, max(v for r in shap for v in (r["value"], r["upper"] or 0.0, r["baseline"] or 0.0)), 0)
    output = SCALES.get(base["subject"], str(base["subject"])) if base else ""
    key = Key("explanation", "attribution_ndcg")
    return Explanation(
        model,
        _verdict(shap, ndcg),
        True,
        _tiles(shap, ndcg, base, output),
        _quadrant(results, model, history),
        [
            Important(
                r["subject"],
                words.plain(r["value"]),
                words.interval(r["lower"], r["upper"]),
                words.plain(r["baseline"]) if r["baseline"] is not None else words.NOTHING,
                bar(r["value"], scale, lower=r["lower"], upper=r["upper"], kind="off" if _moved(r) else ""),
                _moved(r),
            )
            for r in shap[:SHOWN]
        ],
        output,
        words.days(shap[0]["window_start"], shap[0]["window_end"]),
        words.count(shap[0]["rows"]),
        history.chart(
            key,
            history.read([key])[key],
            title="Attribution NDCG: how alike features rank, now and on the reference",
            height=120,
        ),
    )


def _newest(results: Results, model: str, history: History, family: str) -> list[Row]:
    return results.rows(_query(model, history, family))


def _query(model: str, history: History, family: str) -> str:
    return (
        f"select {', '.join(METRICS)} from latest_metrics "
        f"where model = {sql.text(model)} and role = {sql.text(history.role)} and version = '' and segment = '' "
        f"and family = {sql.text(family)} and window_days = {history.lengths[0]}"
    )


def _moved(row: Row) -> bool:
    """Whether a feature matters at least half as much again as on the reference, or half as much, beyond chance."""
    if row["baseline"] is None or row["lower"] is None or not row["baseline"]:
        return False
    ratio = row["value"] / row["baseline"]
    return bool(not row["lower"] <= row["baseline"] <= row["upper"] and (ratio >= 1.5 or ratio <= 1 / 1.5))


def _verdict(shap: Sequence[Row], ndcg: Row | None) -> str:
    total = sum(r["value"] for r in shap)
    said = [
        f"{words.listed([r['subject'] for r in shap[:3]])} matter most, with {words.percent(sum(r['value'] for r in shap[:3]) / total if total else 0)} of all attribution."
    ]
    moved = [r["subject"] for r in shap if _moved(r)]
    said.append(
        f"{words.listed(moved)} {'matters' if len(moved) == 1 else 'matter'} otherwise than on the reference."
        if moved
        else "Each matters about as on the reference."
    )
    if ndcg is not None and ndcg["value"] < 0.9:
        said.append("Features rank otherwise than on the reference.")
    return " ".join(said)


def _tiles(shap: Sequence[Row], ndcg: Row | None, base: Row | None, output: str) -> list[Tile]:
    tiles = []
    if ndcg is not None:
        tiles.append(
            Tile(
                "attribution NDCG",
                words.plain(ndcg["value"]),
                words.interval(ndcg["lower"], ndcg["upper"]),
                "1: features rank as on the reference; below 0.9 it is worth a look",
            )
        )
    tiles.append(
        Tile(
            "explained",
            words.count(shap[0]["rows"]),
            "",
            f"rows sampled of {words.days(shap[0]['window_start'], shap[0]['window_end'])}",
        )
    )
    if base is not None:
        tiles.append(Tile("starts from", words.plain(base["value"]), "", f"{output}, if nothing were known of a row"))
    return tiles


def _quadrant(results: Results, model: str, history: History) -> Markup:
    drift = results.frame(_query(model, history, "drift"), METRICS)
    explained = results.frame(_query(model, history, "explanation"), METRICS)
    # a feature that is gone explains nothing now: what it mattered on the reference tells whether to look
    explained = explained.with_columns(value=pl.max_horizontal("value", "baseline"))
    ranked = ranking(drift, explained).drop_nulls(["drift", "importance"])
    features = [Feature(r["feature"], r["drift"], r["importance"]) for r in ranked.head(SHOWN).iter_rows(named=True)]
    return quadrant(
        "Which features changed and matter",
        features,
        matters=DRIFT_MATTERS,
        drift_name="Jensen-Shannon distance to the reference",
        importance_name="share of attribution, the larger of now and reference",
    )
