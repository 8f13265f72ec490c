"""A home as some weeks of nights leave it, made in a second: three models, incidents of every kind, a log, a comparison.

What it tells: fraud in Spain changed on day 24, amounts of the Netherlands came in cents on days 40 to 44, customers
over 65 are declined more often from day 48 on, and distance_km is missing since day 56. Version 2 took over on day 35.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mlobs_pipelines.spec.load import load_spec
from mlobs_pipelines.store.files import write_text
from mlobs_pipelines.store.journal import append
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.results import publish
from mlobs_pipelines.store.tables import CAUSES, COMPARISONS, INCIDENTS, METRICS, METRICS_KEY, RUNS, SIGNALS

FIRST = dt.date(2026, 1, 1)
MATURITY = 14
SEGMENTS = ("channel=in_store", "channel=online", "country=DE", "country=ES", "country=FR", "country=IT", "country=NL")
GROUPS = ("age_group=18-24", "age_group=25-44", "age_group=45-64", "age_group=65+", "sex=F", "sex=M")
FEATURES = ("amount", "hour", "account_age_days", "distance_km", "country", "device")

SPEC = """\
model: card_fraud
task: binary
owner: payments-ml@example.com
predictions: {source: data/predictions/*.parquet, id: prediction_id, time: event_time, score: fraud_score,
  version: model_version, role: role, prediction: decision}
labels: {source: data/labels, id: prediction_id, value: is_fraud, available_at: reported_at, maturity: 14d}
threshold: 0.2
segments: [country, channel]
fairness: {attributes: [age_group, sex], reference_groups: {age_group: 25-44}, favorable_outcome: 0}
monitors: {windows: [1d, 7d]}
"""
HOUSES = """\
model: house_prices
task: regression
owner: pricing@example.com
predictions: {source: data/houses/*.parquet, id: id, time: time, prediction: price}
labels: {source: data/sold/*.parquet, id: id, value: sold_for, available_at: sold_at, maturity: 14d}
monitors: {windows: [1d, 7d]}
"""
CHURN = """\
model: churn
task: binary
predictions: {source: data/churn.csv, id: id, time: time, score: score}
"""


def day(n: int) -> dt.date:
    return FIRST + dt.timedelta(days=n)


def synthetic_home(root: Path, nights: int = 60) -> Home:
    """A home with ``card_fraud`` (troubled), ``house_prices`` (well) and ``churn`` (never run), published."""
    home = Home(root)
    for text in (SPEC, HOUSES, CHURN):
        name = text.split("\n", 1)[0].removeprefix("model: ")
        write_text(home.spec_file(name), text)
    write(home, "metrics", "card_fraud", METRICS, _card_fraud(nights))
    write(home, "metrics", "house_prices", METRICS, _houses(nights))
    write(home, "explanations", "card_fraud", METRICS, _explanations(nights))
    write(home, "signals", "card_fraud", SIGNALS, _signals(nights))
    write(home, "incidents", "card_fraud", INCIDENTS, incidents(nights))
    write(home, "causes", "card_fraud", CAUSES, causes())
    write(home, "comparisons", "card_fraud", COMPARISONS, comparisons(day(nights - 2)))
    for model in ("card_fraud", "house_prices"):
        write(home, "runs", model, RUNS, runs(nights), night_column="arrival_date")
    write_log(home, log(nights))
    _lake(home, nights)
    publish(home, [load_spec(home.spec_file(name)) for name in ("card_fraud", "house_prices")])
    return home


def write(
    home: Home,
    table: str,
    model: str,
    schema: pl.Schema,
    rows: Iterable[Mapping[str, Any]],
    night_column: str = "as_of",
) -> None:
    """Rows of a store's table, one file a night."""
    frame = pl.DataFrame([{**dict.fromkeys(schema), **row, "model": model} for row in rows], schema=schema)
    for (night,), part in frame.group_by(night_column):
        path = home.store_file(table, model, night)
        path.parent.mkdir(parents=True, exist_ok=True)
        part.sort([name for name in METRICS_KEY if name in schema]).write_parquet(path)


def number(family: str, metric: str, value: float | None, night: int, days: int = 1, **more: Any) -> dict[str, Any]:
    """A row of ``metrics`` of a window that ends on ``night``, with an interval that fits its rows."""
    rows = more.pop("rows", 2200 * days)
    half = more.pop("half", None)
    sure = metric == "predictions"
    if half is None and value is not None:
        half = 1.96 * math.sqrt(max(value * (1 - value), 0.01) / max(rows, 1)) if 0 <= value <= 1 else abs(value) * 0.01
    return {
        "version": "",
        "role": "production",
        "family": family,
        "metric": metric,
        "subject": "",
        "segment": "",
        "window_start": day(night - days + 1),
        "window_end": day(night),
        "as_of": day(night),
        "value": value,
        "lower": None if value is None or sure else value - half,
        "upper": None if value is None or sure else value + half,
        "rows": rows,
        "labeled_rows": 0,
        "baseline": None,
        "reference": "training",
        "status": "insufficient_data" if value is None else "ok",
        "error_bound": 0.0,
        "run_id": f"r{night}",
        **more,
    }


def _wave(name: str, n: int, size: float) -> float:
    """A little noise, the same for the same name and night."""
    seed = int(hashlib.sha256(f"{name}{n}".encode()).hexdigest()[:8], 16)
    return float(np.random.default_rng(seed).normal(0, size))


def _auc(n: int, segment: str = "") -> float:
    broken = n >= 24
    lost = 0.20 if segment == "country=ES" else 0.09 if segment in ("", "channel=online", "channel=in_store") else 0.0
    return 0.90 - (min((n - 23) / 7, 1.0) * lost if broken else 0.0) + _wave(f"auc{segment}", n, 0.004)


def _card_fraud(nights: int) -> list[dict[str, Any]]:
    found = []
    for n in range(nights):
        for days in (1, 7):
            if n < days - 1:
                continue
            found += _about(n, days, as_of=n, final=False)
            if n >= MATURITY:
                ended = n - MATURITY
                if ended >= days - 1:
                    found += [{**row, "as_of": day(n)} for row in _labelled(ended, days, final=True)]
    return found


def _about(n: int, days: int, as_of: int, final: bool) -> list[dict[str, Any]]:
    seen = 0.9734 if n >= 56 else 0.0264
    rows = [
        number("traffic", "predictions", float(_volume(n)), n, days, half=0.0),
        number("quality", "duplicate_rate", 0.5 if 16 <= n <= 18 else 0.002, n, days),
        number("quality", "quarantined_rate", 0.004 + (0.03 if n == 30 else 0), n, days),
        number("quality", "quarantined_rate", 0.001, n, days, subject="label"),
        number("quality", "freshness_hours", 0.4, n, days, half=0.05),
        number("service", "latency_p95", 42 + _wave("lat", n, 2), n, days),
        number("service", "error_rate", 0.003, n, days),
        number("performance", "selection_rate", 0.06 + _wave("sel", n, 0.003), n, days),
    ]
    for feature in FEATURES:
        missing = seen if feature == "distance_km" else 0.001
        drift = 0.9 if feature == "distance_km" and n >= 56 else 0.04 + abs(_wave(feature, n, 0.01))
        rows.append(number("quality", "missing_rate", missing, n, days, subject=feature, baseline=0.0264))
        rows.append(number("drift", "jensen_shannon", drift, n, days, subject=feature, baseline=0.0, half=0.01))
    for segment in SEGMENTS:
        drift = 0.87 if segment == "country=NL" and 40 <= n <= 44 else 0.05 + abs(_wave(segment, n, 0.01))
        size = {"rows": 2200 * days // 5, "segment": segment}
        rows.append(number("drift", "jensen_shannon", drift, n, days, subject="amount", half=0.03, **size))
        rows.append(number("traffic", "predictions", float(_volume(n)) / 5, n, days, half=0.0, **size))
        rows.append(number("traffic", "traffic_share", 0.2, n, days, **size))
    for group in GROUPS:
        biased = 0.18 if group == "age_group=65+" and n >= 48 else 0.0
        attribute, _, who = group.partition("=")
        size = {"rows": 340 * days, "subject": attribute, "segment": group}
        rows.append(number("fairness", "selection_rate", 0.06 + biased, n, days, **size))
        if who not in ("25-44", "M"):
            gap = biased + _wave(group, n, 0.005)
            rows.append(number("fairness", "demographic_parity_difference", gap, n, days, half=0.045, **size))
            rows.append(number("fairness", "disparate_impact", 0.98 - biased, n, days, half=0.05, **size))
    for attribute in ("age_group", "sex"):
        gap = 0.19 if attribute == "age_group" and n >= 48 else 0.02
        rows.append(number("fairness", "demographic_parity_difference", gap, n, days, subject=attribute, half=0.03))
        rows.append(number("fairness", "demographic_parity_ratio", 1 - gap, n, days, subject=attribute, half=0.03))
    for version, role, share in _served(n):
        size = {"rows": int(2200 * days * share), "version": version, "role": role}
        rows.append(number("traffic", "predictions", 2200 * share, n, days, half=0.0, **size))
        rows.append(number("traffic", "traffic_share", share, n, days, **size))
    return rows + [{**row, "as_of": day(as_of)} for row in _labelled(n, days, final=final)]


def _volume(n: int) -> int:
    return int(2200 + 500 * math.sin(2 * math.pi * n / 7) + _wave("volume", n, 60))


def _served(n: int) -> list[tuple[str, str, float]]:
    if 28 <= n <= 31:
        return [("1", "production", 1.0), ("2", "shadow", 1.0)]
    if 32 <= n <= 34:
        return [("1", "production", 0.9), ("2", "canary", 0.1)]
    return [("1" if n < 35 else "2", "production", 1.0)]


def _labelled(n: int, days: int, final: bool) -> list[dict[str, Any]]:
    """What rests on labels; on the night itself few are in."""
    coverage = 1.0 if final else 0.11 if days == 7 else 0.02
    enough = coverage * 2200 * days > 600
    labeled = int(2200 * days * coverage)

    def one(family: str, metric: str, value: float, part: float = 1.0, **more: Any) -> dict[str, Any]:
        status = "ok" if final else "provisional" if enough else "insufficient_data"
        size = {"rows": int(2200 * days * part), "labeled_rows": int(labeled * part)}
        half = more.pop("half", 0.02 / math.sqrt(max(days * part * (coverage + 0.05), 0.02)))
        return number(family, metric, value if enough else None, n, days, **size, half=half, **more) | {
            "status": status
        }

    found = [
        one("performance", "roc_auc", _auc(n), baseline=0.899),
        one(
            "performance",
            "log_loss",
            0.076 + (0.12 if n >= 28 else 0) + _wave("ll", n, 0.004),
            baseline=0.075,
            half=0.01,
        ),
        one("performance", "recall", 0.55 - (0.2 if n >= 28 else 0), baseline=0.56),
        one("performance", "precision", 0.41, baseline=0.42),
        one("performance", "base_rate", 0.024 + (0.02 if n >= 28 else 0), baseline=0.025, half=0.003),
        {**one("labels", "label_coverage", coverage), "value": coverage, "status": "ok" if final else "provisional"},
        one("labels", "label_delay_days", 5.0, half=0.5),
    ]
    for segment in SEGMENTS:
        found.append(one("performance", "roc_auc", _auc(n, segment), 0.2, segment=segment, baseline=0.9))
        found.append(one("performance", "log_loss", 0.09, 0.2, segment=segment, baseline=0.09, half=0.01))
        found.append(one("performance", "base_rate", 0.024, 0.2, segment=segment, baseline=0.025, half=0.005))
    for group in GROUPS:
        attribute = group.partition("=")[0]
        found.append(one("fairness", "recall", 0.52, 0.15, segment=group, subject=attribute))
        found.append(one("fairness", "false_positive_rate", 0.03, 0.15, segment=group, subject=attribute))
    found += [one("fairness", "equal_opportunity_difference", 0.04, subject=a) for a in ("age_group", "sex")]
    for version, role, part in _served(n):
        better = 0.012 if version == "2" else 0.0
        found.append(one("performance", "roc_auc", _auc(n) + better, part, version=version, role=role))
        found.append(one("performance", "log_loss", 0.08 - better, part, version=version, role=role, half=0.01))
    return found


def _houses(nights: int) -> list[dict[str, Any]]:
    found = []
    for n in range(nights):
        found.append(number("traffic", "predictions", 310 + _wave("houses", n, 20), n, half=0.0))
        found.append(number("quality", "quarantined_rate", 0.0, n))
        found.append(number("quality", "freshness_hours", 1.2, n))
        for ended, as_of, status in ((n, n, "provisional"), (n - MATURITY, n, "ok")):
            if ended >= 6:
                size = {
                    "as_of": day(as_of),
                    "status": status,
                    "rows": 2100,
                    "labeled_rows": 2100 if status == "ok" else 200,
                }
                value = 21_400 + _wave("rmse", ended, 300)
                found.append(
                    number(
                        "performance", "root_mean_squared_error", value, ended, 7, half=600.0, baseline=21_000.0, **size
                    )
                )
                found.append(number("labels", "label_coverage", 1.0 if status == "ok" else 0.1, ended, 7, **size))
    return found


def _explanations(nights: int) -> list[dict[str, Any]]:
    importance = {
        "amount": 1.1,
        "distance_km": 0.8,
        "country": 0.55,
        "account_age_days": 0.4,
        "hour": 0.2,
        "device": 0.1,
    }
    found = []
    for n in range(nights):
        for feature, size in importance.items():
            now = 0.02 if feature == "distance_km" and n >= 56 else size + _wave(feature, n, 0.02)
            more = {"subject": feature, "baseline": size, "half": 0.05, "rows": 500}
            found.append(number("explanation", "mean_abs_shap", now, n, **more))
        found.append(number("explanation", "attribution_ndcg", 0.93 if n >= 56 else 0.99, n, half=0.01, rows=500))
        found.append(number("explanation", "shap_base_value", -3.4, n, subject="log_odds", half=0.0, rows=500))
    return found


def _signals(nights: int) -> list[dict[str, Any]]:
    """What timelines draw of a few series; the rest is quiet."""
    found: list[dict[str, Any]] = []

    def one(
        n: int, end: int, days: int, key: tuple[str, str, str, str], value: float, expected: float, **more: Any
    ) -> None:
        family, metric, subject, segment = key
        practical = more.get("practical", 0.1)
        effect = more.get("effect", abs(value - expected))
        found.append(
            {
                "role": "production",
                "family": family,
                "metric": metric,
                "subject": subject,
                "segment": segment,
                "window_start": day(end - days + 1),
                "window_end": day(end),
                "as_of": day(n),
                "value": value,
                "lower": value - 0.02,
                "upper": value + 0.02,
                "rows": 2200,
                "labeled_rows": 2200 if family == "performance" else 0,
                "expected": expected,
                "effect": effect,
                "chance": 0.02,
                "practical": practical,
                "breach": effect > practical,
                "clear": effect < practical / 2,
            }
        )

    for n in range(nights):
        end = n - MATURITY
        if end >= 6:
            one(n, end, 7, ("performance", "roc_auc", "", ""), _auc(end), 0.90, practical=0.03)
            one(n, end, 7, ("performance", "roc_auc", "", "country=ES"), _auc(end, "country=ES"), 0.90, practical=0.03)
        one(n, n, 1, ("traffic", "predictions", "", ""), float(_volume(n)), 2200.0, effect=0.2, practical=0.4)
        for feature in FEATURES:
            missing = 0.9734 if feature == "distance_km" and n >= 56 else 0.0264
            one(n, n, 1, ("quality", "missing_rate", feature, ""), missing, 0.0264, practical=0.05)
            one(n, n, 1, ("drift", "jensen_shannon", feature, ""), 0.05, 0.05)
        drift = 0.87 if 40 <= n <= 44 else 0.06
        one(n, n, 1, ("drift", "jensen_shannon", "amount", "country=NL"), drift, 0.06)
        gap = 0.18 if n >= 48 else 0.0
        key = ("fairness", "demographic_parity_difference", "age_group", "age_group=65+")
        one(n, n, 1, key, gap + _wave("gap", n, 0.005), 0.0, practical=0.05)
        one(n, n, 1, ("quality", "duplicate_rate", "", ""), 0.5 if 16 <= n <= 18 else 0.002, 0.002, practical=0.05)
    return found


def _member(
    metric: str, family: str, subject: str, segment: str, end: int, value: float, expected: float
) -> dict[str, Any]:
    return {
        "role": "production",
        "family": family,
        "metric": metric,
        "subject": subject,
        "segment": segment,
        "window_start": str(day(end)),
        "window_end": str(day(end)),
        "value": value,
        "lower": value - 0.02,
        "upper": value + 0.02,
        "expected": expected,
        "effect": abs(value - expected),
        "chance": 0.02,
        "practical": 0.05,
        "rows": 2200,
        "labeled_rows": 0,
    }


def incident(opened: int, kind: str, layer: str, last: int, **more: Any) -> dict[str, Any]:
    """A row of ``incidents``; ``evidence`` is filled up."""
    key = hashlib.sha256(f"{kind}{more.get('subject')}{more.get('segment')}".encode()).hexdigest()
    leading = more.pop("leading")
    family, metric, value, expected = leading
    subject, segment = more.get("subject", ""), more.get("segment", "")
    evidence = {
        "members": [_member(metric, family, subject, segment, last, value, expected)],
        "absorbed": more.pop("absorbed", []),
        "same_time": more.pop("same_time", []),
        "advice": more.pop("advice", ""),
        "onset": str(day(more.get("onset", opened))),
        "fingerprint": more.pop("fingerprint", None),
        "nights": [str(day(n)) for n in range(opened, last + 1)],
    }
    return {
        "incident_id": f"card_fraud-{day(opened):%Y%m%d}-{layer}-{key[:8]}",
        "version": "2" if opened >= 35 else "1",
        "opened_as_of": day(opened),
        "last_as_of": day(last),
        "state": "open",
        "severity": "critical",
        "kind": kind,
        "subject": "",
        "segment": "",
        "since": day(more.pop("onset", opened)),
        "until": day(last),
        "metric": metric,
        "value": value,
        "lower": value - 0.02,
        "upper": value + 0.02,
        "baseline": expected,
        "threshold": expected + (0.1 if value > expected else -0.03),
        "rows": 2200,
        "labeled_rows": 2200 if family == "performance" else 0,
        "nights": last - opened + 1,
        "dedup_key": key[:32],
        "as_of": day(last),
        "evidence": json.dumps(evidence),
        **more,
    }


def incidents(nights: int = 60) -> list[dict[str, Any]]:
    """One of each sort, as the last night knows them."""
    last = nights - 1
    return [
        incident(
            16, "data_fault", "intake", 18, severity="warning", state="resolved", resolved_as_of=day(20),
            title="50 % of the predictions were delivered more than once (usually 0.22 %)",
            diagnosis="50 % of the predictions were delivered more than once, in all rows, since 2026-01-17.",
            recommended_action="fix_data", leading=("quality", "duplicate_rate", 0.5, 0.0022),
            advice="The feed of predictions sends rows twice: mend it. Each row was counted once, so the metrics hold.",
            fingerprint="rows are delivered more than once",
        ),
        incident(
            39, "concept_drift", "performance", last, onset=24, segment="country=ES",
            title="roc_auc fell to 0.702 [0.683, 0.721] from 0.899",
            diagnosis="roc_auc fell to 0.702 [0.683, 0.721] from 0.899, in country=ES, since 2026-01-25, on 2,833 labelled rows.",
            recommended_action="retrain", leading=("performance", "roc_auc", 0.702, 0.899),
            advice="The inputs look as before, but labels follow them otherwise (99 % of the change is there at equal inputs): "
            "retrain on recent labels.",
            absorbed=[_member("roc_auc", "performance", "", "", last, 0.81, 0.9)],
        ),
        incident(
            40, "data_fault", "input", 44, state="resolved", resolved_as_of=day(46), subject="amount", segment="country=NL",
            title="amount is in another unit: values are 100 times what they were",
            diagnosis="amount is in another unit: values are 100 times what they were, in country=NL, since 2026-02-10.",
            recommended_action="fix_data", leading=("drift", "jensen_shannon", 0.867, 0.058),
            advice="Mend the source of amount, or have it sent again; until then the model decides on wrong values.",
            fingerprint="is in another unit: values are 100 times what they were",
            absorbed=[_member("jensen_shannon", "drift", "score", "country=NL", 44, 0.53, 0.06)] * 3,
        ),
        incident(
            49, "fairness", "decisions", last, onset=48, subject="age_group", segment="age_group=65+",
            title="age_group=65+: the rate of favorable decisions differs by 18.3 points from the reference group's",
            diagnosis="The rate of favorable decisions of age_group=65+ differs by 18.3 points, since 2026-02-18, on 408 rows.",
            recommended_action="alert", leading=("fairness", "demographic_parity_difference", 0.183, -0.0007),
            advice="Look at how scores become decisions for this group: thresholds, rules and overrides that changed on that day.",
        ),
        incident(
            56, "data_fault", "input", last, subject="distance_km",
            title="distance_km is missing on 97 % of the rows (usually 2.6 %)",
            diagnosis="distance_km is missing on 97 % of the rows, in all rows, since 2026-02-26, on 3,062 rows.",
            recommended_action="fix_data", leading=("quality", "missing_rate", 0.9734, 0.0264),
            advice="Mend the source of distance_km, or have it sent again; until then the model decides on wrong values.",
            absorbed=[_member("jensen_shannon", "drift", "score", "", last, 0.21, 0.05)] * 5,
            same_time=[{"what": "schema", "detail": "the column distance_km came empty"}],
        ),
        incident(
            12, "input_drift", "input", 22, severity="info", state="resolved", resolved_as_of=day(24), subject="account_age_days",
            title="account_age_days is distributed differently (Jensen-Shannon distance 0.16, usually 0.05)",
            diagnosis="account_age_days is distributed differently, in all rows, since 2026-01-13.",
            recommended_action="hold", leading=("drift", "jensen_shannon", 0.16, 0.05),
            advice="Nothing to do by itself: watch whether performance follows when the labels are in.",
        ),
    ]  # fmt: skip


def causes() -> list[dict[str, Any]]:
    """First suspects of the incidents that have any."""
    by_kind = {row["kind"] + row["subject"]: row for row in incidents()}

    def of(
        key: str, rank: int, kind: str, subject: str, segment: str, share: float | None, detail: str
    ) -> dict[str, Any]:
        row = by_kind[key]
        width = None if share is None else 0.04
        return {
            "incident_id": row["incident_id"],
            "rank": rank,
            "kind": kind,
            "subject": subject,
            "segment": segment,
            "share": share,
            "lower": None if share is None or width is None else share - width,
            "upper": None if share is None or width is None else share + width,
            "detail": detail,
            "as_of": row["as_of"],
        }

    return [
        of("concept_drift", 1, "segment", "country", "country=ES", 0.97, "holds 97 % of the change in loss"),
        of(
            "concept_drift",
            2,
            "rate",
            "",
            "country=ES",
            0.99,
            "like inputs fare otherwise: 99 % is there at equal inputs",
        ),
        of("concept_drift", 3, "feature", "channel", "", 0.12, "explains 12 % of it by its mix"),
        of("data_faultamount", 1, "feature", "amount", "country=NL", None, "jensen_shannon 0.867, usually 0.066"),
        of("data_faultamount", 2, "segment", "country", "country=NL", 0.974, "holds 97 % of it, weighted by rows"),
        of("data_faultdistance_km", 1, "feature", "distance_km", "", None, "missing_rate 0.973, usually 0.0264"),
        of("data_faultdistance_km", 2, "segment", "channel", "channel=in_store", 0.69, "holds 69 % of it"),
        of("data_faultdistance_km", 3, "segment", "channel", "channel=online", 0.31, "holds 31 % of it"),
    ]


def comparisons(as_of: dt.date) -> list[dict[str, Any]]:
    """Version 3 beside version 2 on the same rows."""
    found = []
    places = (("", 0.041, 0.006, 18_000), *((s, 0.01 + 0.02 * i, 0.02, 3_000) for i, s in enumerate(SEGMENTS)))
    for metric, sign in (("roc_auc", 1), ("log_loss", -1), ("recall", 1)):
        for segment, gain, half, rows in places if metric == "roc_auc" else places[:1]:
            base = {"roc_auc": 0.84, "log_loss": 0.2, "recall": 0.4}[metric]
            difference = sign * gain
            verdict = "better" if gain - half > 0 else "inconclusive"
            found.append(
                {
                    "champion": "2",
                    "challenger": "3",
                    "as_of": as_of,
                    "window_start": as_of - dt.timedelta(days=28),
                    "window_end": as_of - dt.timedelta(days=15),
                    "metric": metric,
                    "segment": segment,
                    "champion_value": base,
                    "challenger_value": base + difference,
                    "difference": difference,
                    "lower": difference - half,
                    "upper": difference + half,
                    "rows": rows,
                    "verdict": verdict,
                }
            )
    gap = {
        "metric": "demographic_parity_difference",
        "segment": "age_group",
        "champion_value": 0.19,
        "challenger_value": 0.18,
    }
    found.append({**found[0], **gap, "difference": -0.01, "lower": -0.03, "upper": 0.01, "verdict": "inconclusive"})
    return found


def runs(nights: int) -> list[dict[str, Any]]:
    found = []
    for n in range(nights):
        at = dt.datetime.combine(day(n + 1), dt.time(2))
        found.append(
            {
                "run_id": f"r{n}", "arrival_date": day(n), "started_at": at, "finished_at": at + dt.timedelta(seconds=4),
                "status": "done", "rows_in": 2200, "rows_quarantined": 9, "labels_in": 2100, "error": None,
            }
        )  # fmt: skip
    return found


def log(nights: int = 60) -> list[dict[str, Any]]:
    """Rows of the log before they are chained: people's acts and the loop's decisions, with one that waits."""
    by_kind = {row["kind"] + row["subject"]: row["incident_id"] for row in incidents(nights)}
    concept, fairness = by_kind["concept_drift"], by_kind["fairnessage_group"]
    retrain = f"card_fraud:retrain:{concept}"
    found = [
        (40, retrain, "retrain", "pending", "labels follow the inputs otherwise", "mlobs", concept, {}, ""),
        (41, f"{concept}:acknowledge:0", "acknowledge", "done", "looking into Spain", "ana@example.com", concept,
         {"comment": "Looking into Spain with the fraud desk", "severity": "critical"}, ""),
        (42, retrain, "retrain", "approved", "labels follow the inputs otherwise", "ana@example.com", concept,
         {"comment": "go"}, ""),
        (42, retrain, "retrain", "done", "version 3 was trained on 61,000 rows", "mlobs", concept, {"rows": 61_000}, "3"),
        (43, "card_fraud:validate:3", "validate", "done", "version 3 is better than 2 by 0.041 [0.035, 0.047] in roc_auc",
         "mlobs", concept, {}, "3"),
        (43, "card_fraud:promote:3", "promote", "pending", "version 3 is better than 2 by 0.041 [0.035, 0.047] in roc_auc",
         "mlobs", concept, {}, "3"),
        (50, f"{fairness}:silence:0", "silence", "done", "rule was changed on purpose", "ben@example.com", fairness,
         {"comment": "Rule was changed on purpose, review on Friday", "until": str(day(nights + 3))}, ""),
    ]  # fmt: skip
    rows = []
    for n, decision, action, status, reason, actor, about, evidence, version in found:
        rows.append(
            {
                "decision_id": decision, "model": "card_fraud", "version": version, "as_of": day(min(n, nights - 1)),
                "action": action, "reason": reason, "evidence": evidence, "mode": "approve", "status": status,
                "decided_at": dt.datetime.combine(day(n + 1), dt.time(9, 30), dt.UTC), "actor": actor, "incident_id": about,
            }
        )  # fmt: skip
    return rows


def write_log(home: Home, rows: Iterable[Mapping[str, Any]]) -> None:
    """The rows, appended to the home's log."""
    for row in rows:
        append(home, **row)


def _lake(home: Home, nights: int) -> None:
    """The frozen bins of ``amount``, its profile on every night, and refused rows of one night."""
    bins = {
        "features": {
            "amount": {"kind": "numeric", "edges": [0.0, *(10.0 * i for i in range(1, 21))], "center": 0, "unit": 1,
                       "coarse": [20.0, 40.0, 60.0, 80.0, 120.0, 160.0]},
            "country": {"kind": "categorical", "vocabulary": ["DE", "ES", "FR", "IT", "NL"], "rare": []},
        },
        "frozen_on": str(FIRST), "outputs": {}, "reference": "training",
    }  # fmt: skip
    write_text(home.bins_file("card_fraud"), json.dumps(bins))
    shape = {"version": "1", "role": "production", "feature": "amount"}
    for n in range(nights):
        rows = []
        for segment in ("", "country=NL"):
            broken = segment and 40 <= n <= 44
            for b in range(1, 21):
                size = int(200 * math.exp(-((b - 5) ** 2) / 12)) if not broken else 0
                rows.append({**shape, "segment": segment, "bin": b, "rows": size or 1})
            rows.append({**shape, "segment": segment, "bin": 21, "rows": 900 if broken else 2})
        frame = pl.DataFrame(rows).with_columns(arrival_date=pl.lit(day(n)), event_date=pl.lit(day(n)))
        path = home.lake_file("card_fraud", "feature_profile", day(n))
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.write_parquet(path)
    path = home.quarantine_file("card_fraud", day(30))
    path.parent.mkdir(parents=True, exist_ok=True)
    reasons = ["column 'amount': the value is missing"] * 5 + ["column 'amount': 'nan' is not a number"] * 3
    pl.DataFrame(
        {
            "arrival_date": [day(30)] * 8, "source": ["predictions"] * 8, "file": ["2026-01-31.parquet"] * 8,
            "line": list(range(8)), "reason": reasons, "raw": ["{}"] * 8, "digest": ["d"] * 8,
        }
    ).write_parquet(path)  # fmt: skip
