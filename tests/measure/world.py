"""A small simulated log, and profiles counted from it row by row: what the package's SQL does, written plainly."""

from __future__ import annotations

import bisect
import datetime as dt
import math
from collections import defaultdict
from typing import Any

import numpy as np
import polars as pl

from mlobs_pipelines.measure.profiles import Profiles
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.tasks import task_of
from mlobs_pipelines.tasks.base import ABSENT, OCTAVE, ZERO, score_bins

START = dt.date(2024, 3, 1)
CLASSES = ("cat", "dog", "owl")


def day(i: int) -> dt.date:
    return START + dt.timedelta(days=int(i))


def make_spec(task: str = "binary", **changes: Any) -> ModelSpec:
    outputs: dict[str, Any] = {
        "binary": {"score": "score"},
        "multiclass": {"scores": {c: f"p_{c}" for c in CLASSES}},
        "regression": {"prediction": "prediction"},
    }[task]
    base: dict[str, Any] = {
        "model": "m",
        "task": task,
        "predictions": {
            "source": "p",
            "id": "id",
            "time": "t",
            "version": "v",
            "role": "r",
            "latency_ms": "ms",
            "status": "s",
            **outputs,
        },
        "labels": {"source": "l", "id": "id", "value": "y", "available_at": "a", "maturity": "12d"},
        "features": {"ranges": {"amount": [0, 400]}},
        "segments": ["country", ["country", "device"]],
        "fairness": {"attributes": ["sex"], "reference_groups": {"sex": "M"}},
        **({"threshold": [0.5, 0.7]} if task == "binary" else {}),
        "monitors": {"windows": ["1d", "7d", "28d"], "min_rows": 30},
    }
    return ModelSpec.model_validate({**base, **changes})


SCHEMA = {"features": {"amount": "numeric", "device": "categorical", "score": "numeric"}}


def make_rows(
    task: str = "binary", days: int = 40, per_day: int = 150, seed: int = 7, *, reference: bool = False
) -> pl.DataFrame:
    """One row per prediction, with its label and the nights on which both arrived."""
    rng = np.random.default_rng(seed)
    n = days * per_day
    event = np.repeat(np.arange(days), per_day)
    late = np.where(rng.random(n) < 0.03, rng.integers(1, 4, n), 0)
    drift = 0.0 if reference else 0.4 * (event > 25)
    amount = np.round(np.exp(rng.normal(3 + drift, 1, n)), 2)
    amount = np.where(rng.random(n) < 0.04, np.nan, amount)
    device = rng.choice(["ios", "android", "web", "fridge"], n, p=[0.4, 0.3, 0.25, 0.05])
    if reference:
        device = np.where(device == "fridge", "web", device)
    country = rng.choice(["DE", "FR"], n, p=[0.7, 0.3])
    sex = rng.choice(["F", "M"], n)
    small = rng.integers(0, 5, n).astype(float)
    noise = rng.normal(0, 1, n)
    score = 1 / (1 + np.exp(-(np.log(np.nan_to_num(amount, nan=20.0)) - 3.5 + 0.3 * (sex == "F") + noise)))
    latent = rng.random((n, len(CLASSES))) + np.eye(len(CLASSES))[rng.integers(0, 3, n)]
    probs = np.round(latent / latent.sum(axis=1, keepdims=True), 6)
    if task == "binary":
        label = np.where(rng.random(n) < score**1.3, "1", "0").astype(object)
        prediction: Any = np.full(n, None, dtype=object)
    elif task == "multiclass":
        prediction = np.array(CLASSES, dtype=object)[probs.argmax(axis=1)]
        label = np.where(rng.random(n) < 0.6, prediction, rng.choice([*CLASSES, "newt"], n)).astype(object)
    else:
        prediction = np.round(50 + 10 * noise + 3 * small, 3)
        label = np.round(prediction + rng.normal(0.5, 4, n), 2)
        label = np.where(rng.random(n) < 0.02, prediction, label)
    labeled = rng.random(n) < 0.85
    delay = rng.integers(0, 11, n)
    arrival = event + late
    frame = pl.DataFrame(
        {
            "version": np.where((event >= 22) & (rng.random(n) < 0.4), "2", "1"),
            "role": np.where(rng.random(n) < 0.06, "shadow", "production"),
            "event": event,
            "arrival": arrival,
            "failed": rng.random(n) < 0.02,
            "latency_ms": np.where(rng.random(n) < 0.1, np.nan, np.exp(rng.normal(3, 1, n))),
            "amount": amount,
            "invalid_amount": np.isnan(amount) & (rng.random(n) < 0.3),
            "device": device,
            "score_feature": small,
            "country": country,
            "sex": sex,
            "score": score,
            "labeled": labeled,
            "label_arrival": np.maximum(event + delay, arrival),
        }
    )
    if reference:
        frame = frame.with_columns(
            role=pl.lit("reference"), version=pl.lit(""), failed=pl.lit(value=False), labeled=pl.lit(value=True)
        )
    return frame.with_columns(
        *[pl.Series(f"p_{c}", probs[:, i]) for i, c in enumerate(CLASSES)],
        prediction=pl.Series(list(prediction), dtype=pl.Float64 if task == "regression" else pl.String),
        label=pl.Series(list(label), dtype=pl.Float64 if task == "regression" else pl.String),
    )


def make_bins(task: str, reference: pl.DataFrame, spec: ModelSpec) -> dict[str, Any]:
    amount = np.sort(reference["amount"].drop_nans().to_numpy())
    frozen_amount = _numeric(amount)
    bins: dict[str, Any] = {
        "frozen_on": day(0).isoformat(),
        "reference": "training",
        "features": {
            "amount": frozen_amount,
            "device": {"kind": "categorical", "vocabulary": ["ios", "android", "web"], "rare": []},
            "score": _numeric(np.sort(reference["score_feature"].to_numpy())),
        },
    }
    if task == "regression":
        outputs = {c: _numeric(np.sort(reference[c].to_numpy())) for c in ("prediction", "label")}
        bins["outputs"] = {**outputs, "error": {"unit": outputs["label"]["unit"]}}
    elif task == "binary":
        bins["outputs"] = {"score": {"edges": score_bins(spec.threshold)}}
    else:
        bins["outputs"] = {f"class:{c}": {"edges": score_bins()} for c in CLASSES}
    return bins


def _numeric(x: np.ndarray) -> dict[str, Any]:
    distinct = np.unique(x)
    fine = set(distinct) if len(distinct) <= 256 else {x[min(int(len(x) * i / 255), len(x) - 1)] for i in range(256)}
    coarse = (
        fine | {math.nextafter(x[-1], math.inf)} if len(distinct) <= 10 else {x[len(x) * i // 10] for i in range(1, 10)}
    )
    edges = sorted(map(float, fine | coarse | {math.nextafter(x[-1], math.inf)}))
    return {
        "kind": "numeric",
        "edges": edges,
        "coarse": sorted(map(float, coarse)),
        "center": float(x.mean()),
        "unit": float(x.std()),
    }


def fixed(x: float, bits: int) -> int:
    return math.floor(x * 2**bits + 0.5)


def _octave(x: float) -> int:
    return ZERO if x <= 0 else math.floor(math.log2(x) * OCTAVE)


def _z(x: float, frozen: dict[str, Any]) -> float:
    return (x - frozen.get("center", 0.0)) / frozen["unit"]


def make_profiles(
    spec: ModelSpec,
    rows: pl.DataFrame,
    facts: list[tuple[int, int, int, Any]],
    reference: pl.DataFrame,
    bins: dict[str, Any],
) -> Profiles:
    """Profiles of rows and label facts (row, arrival, sign, label) and of the reference."""
    f, o, q, t = _count(spec, rows, facts, bins)
    ref_facts = [(i, 0, 1, label) for i, label in enumerate(reference["label"])]
    rf, ro, rq, _ = _count(spec, reference, ref_facts, bins)
    accepted = (
        rows.group_by("arrival", "event", "version", "role")
        .agg(accepted=pl.len())
        .with_columns(duplicates=pl.col("accepted") // 20, quarantined=pl.col("accepted") // 30)
    )
    intake = accepted.select(
        arrival_date=pl.col("arrival").map_elements(day, pl.Date),
        event_date=pl.col("event").map_elements(day, pl.Date),
        source=pl.lit("predictions"),
        version="version",
        role="role",
        delivered=pl.col("accepted") + pl.col("duplicates") + pl.col("quarantined"),
        accepted="accepted",
        duplicates="duplicates",
        quarantined="quarantined",
        latest_event_time=pl.col("event").map_elements(
            lambda e: dt.datetime.combine(day(e), dt.time(21)), pl.Datetime("us")
        ),
    )
    return Profiles(f, o, q, t, intake, rf, ro, rq)


def label_facts(rows: pl.DataFrame) -> list[tuple[int, int, int, Any]]:
    return [
        (i, a, 1, y)
        for i, (ok, failed, a, y) in enumerate(rows.select("labeled", "failed", "label_arrival", "label").iter_rows())
        if ok and not failed
    ]


def _count(
    spec: ModelSpec, rows: pl.DataFrame, facts: list[tuple[int, int, int, Any]], bins: dict[str, Any]
) -> tuple[pl.DataFrame, ...]:
    features: dict[Any, Any] = defaultdict(lambda: defaultdict(int))
    outputs: dict[Any, Any] = defaultdict(lambda: defaultdict(int))
    quality: dict[Any, Any] = defaultdict(lambda: defaultdict(int))
    traffic: dict[Any, Any] = defaultdict(lambda: defaultdict(int))
    columns = {"rows": 0, "labeled": 0}
    for out in task_of(spec).outputs(bins):
        columns |= dict.fromkeys([*out.at_prediction, *out.at_label], 0)
    listed = list(rows.iter_rows(named=True))
    events = [(r, r["arrival"], 0, None) for r in listed] + [(listed[i], a, s, y) for i, a, s, y in facts]
    for r, arrival, sign, label in events:
        segments = ["", f"country={r['country']}", f"country={r['country']} & device={r['device']}", f"sex={r['sex']}"]
        for segment in segments:
            key = (day(arrival), day(r["event"]), r["version"], r["role"], segment)
            if sign == 0:
                ms = r["latency_ms"]
                cell = traffic[*key, ABSENT if math.isnan(ms) else _octave(ms)]
                cell["rows"] += 1
                cell["failed"] += r["failed"]
            if r["failed"]:
                continue
            for name, column in (("amount", "amount"), ("device", "device"), ("score", "score_feature")):
                frozen, x = bins["features"][name], r[column]
                value = 0.0
                if frozen["kind"] == "categorical":
                    b = frozen["vocabulary"].index(x) if x in frozen["vocabulary"] else -3
                elif math.isnan(x):
                    b = -2 if r["invalid_amount"] else -1
                else:
                    b = bisect.bisect_right(frozen["edges" if segment == "" else "coarse"], x)
                    value = _z(x, frozen)
                cell = features[*key, name, b]
                cell["rows"] += sign == 0
                cell["labeled"] += sign
                if sign == 0:
                    cell["value"] += fixed(value, 20)
                    cell["value_sq"] += fixed(value * value, 20)
                    got = quality[*key, name]
                    got["rows"] += 1
                    got["missing"] += b == -1
                    got["invalid"] += b == -2
                    got["out_of_range"] += name == "amount" and not math.isnan(x) and x > 400
            for name, b, sums in _output_sums(spec, r, sign, label, bins):
                cell = outputs[*key, name, b]
                for k, v in sums.items():
                    cell[k] += v
    dates = {
        "arrival_date": pl.Date,
        "event_date": pl.Date,
        "version": pl.String,
        "role": pl.String,
        "segment": pl.String,
    }

    def frame(cells: Any, keys: dict[str, Any], sums: list[str]) -> pl.DataFrame:
        data = [(*k, *(v[s] for s in sums)) for k, v in cells.items()]
        return pl.DataFrame(data, schema={**dates, **keys, **dict.fromkeys(sums, pl.Int64)}, orient="row")

    return (
        frame(features, {"feature": pl.String, "bin": pl.Int32}, ["rows", "value", "value_sq", "labeled"]),
        frame(outputs, {"output": pl.String, "bin": pl.Int32}, list(columns)),
        frame(quality, {"feature": pl.String}, ["rows", "missing", "invalid", "out_of_range"]),
        frame(traffic, {"latency_bin": pl.Int32}, ["rows", "failed"]),
    )


def _output_sums(spec: ModelSpec, r: dict[str, Any], sign: int, label: Any, bins: dict[str, Any]) -> list[Any]:
    found: list[Any] = []
    if spec.task == "binary":
        s, y = r["score"], int(label == "1")
        b = bisect.bisect_right(bins["outputs"]["score"]["edges"], s)
        chosen = int(s >= spec.threshold[0])
        if sign == 0:
            return [("score", b, {"rows": 1, "selected": chosen, "score": fixed(s, 30)})]
        loss, brier = -math.log(s if y else 1 - s), (s - y) ** 2
        sums = {
            "labeled": 1,
            "labeled_selected": chosen,
            "positives": y,
            "positives_selected": y * chosen,
            "labeled_score": fixed(s, 30),
            "loss": fixed(loss, 30),
            "loss_sq": fixed(loss * loss, 20),
            "brier": fixed(brier, 30),
            "brier_sq": fixed(brier * brier, 30),
        }
        return [("score", b, {k: sign * v for k, v in sums.items()})]
    if spec.task == "multiclass":
        k = len(CLASSES)
        p = CLASSES.index(r["prediction"])
        t = CLASSES.index(label) if label in CLASSES else k
        share = r[f"p_{label}"] / sum(r[f"p_{c}"] for c in CLASSES) if t < k else 0.0
        loss = -math.log(max(min(share, 1 - 2**-52), 2**-52))
        found.append(
            ("prediction", p, {"rows": 1})
            if sign == 0
            else (
                "prediction",
                p,
                {
                    "labeled": sign,
                    "correct": sign * (p == t),
                    "loss": sign * fixed(loss, 30),
                    "loss_sq": sign * fixed(loss * loss, 20),
                },
            )
        )
        if sign:
            found.append(("confusion", t * (k + 1) + p, {"labeled": sign}))
        for c in CLASSES:
            b = bisect.bisect_right(bins["outputs"][f"class:{c}"]["edges"], r[f"p_{c}"])
            score = fixed(r[f"p_{c}"], 30)
            sums = (
                {"rows": 1, "score": score}
                if sign == 0
                else {"labeled": sign, "positives": sign * (label == c), "labeled_score": sign * score}
            )
            found.append((f"class:{c}", b, sums))
        return found
    x, frozen = r["prediction"], bins["outputs"]
    b = bisect.bisect_right(frozen["prediction"]["edges"], x)
    if sign == 0:
        return [("prediction", b, {"rows": 1, "value": fixed(_z(x, frozen["prediction"]), 20)})]
    e, y = (x - label) / frozen["error"]["unit"], _z(label, frozen["label"])
    sums = {
        "labeled": 1,
        "error": fixed(e, 20),
        "error_abs": fixed(abs(e), 20),
        "error_sq": fixed(e**2, 20),
        "error_4": fixed(e**4, 20),
        "target": fixed(y, 20),
        "target_sq": fixed(y**2, 20),
        "target_3": fixed(y**3, 20),
        "target_4": fixed(y**4, 20),
        "error_sq_target": fixed(e * e * y, 20),
        "error_sq_target_sq": fixed(e * e * y * y, 20),
    }
    return [
        ("prediction", b, {k: sign * v for k, v in sums.items()}),
        (
            "label",
            bisect.bisect_right(frozen["label"]["edges"], label),
            {"labeled": sign, "value": sign * fixed(y, 20)},
        ),
        ("error", _octave(abs(e)), {"labeled": sign}),
    ]
