"""What the store must say, computed directly from the rows with scikit-learn, SciPy and Fairlearn.

Nothing here uses the pipeline's code: only its frozen bins are read, for the distances that are defined on bins.
"""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from fairlearn import metrics as fair
from scipy import spatial, stats
from sklearn import metrics as sk

from mlobs_pipelines.spec.load import load_spec
from tests.real.logs import Log

NAN = float("nan")
MISSING, UNSEEN = -1, -3

Key = tuple[str, str, str]
"""Family, metric, subject."""


@dataclass(frozen=True)
class Expected:
    """A value and the rows it rests on (None: any number of rows will do)."""

    value: float
    need: int | None = None


@dataclass(frozen=True)
class Known:
    """A log as it was known by the end of a night."""

    log: Log
    night: dt.date

    @cached_property
    def spec(self) -> Any:
        return load_spec(self.log.home.spec_file(self.log.model))

    @cached_property
    def bins(self) -> Any:
        return json.loads(self.log.home.bins_file(self.log.model).read_text())

    @cached_property
    def rows(self) -> pl.DataFrame:
        """Predictions that had arrived, with ``label`` as then believed and the night of the first one, ``told``."""
        arrived = pl.col("arrived_at").dt.date()
        predictions = self.log.predictions.filter(arrived <= self.night)
        labels = self.log.labels.filter(pl.col("available_at").dt.date() <= self.night).sort("available_at")
        believed = labels.group_by("id", maintain_order=True).agg(
            pl.col("value").last().alias("label"), pl.col("available_at").first().dt.date().alias("told")
        )
        joined = predictions.join(believed, on="id", how="left", maintain_order="left")
        return joined.with_columns(
            pl.col("time").dt.date().alias("event_date"), pl.max_horizontal("told", arrived).alias("told")
        ).with_columns(pl.when(pl.col("label").is_not_null()).then("told").alias("told"))

    def window(self, start: dt.date, end: dt.date, segment: str = "") -> pl.DataFrame:
        return in_segment(self.rows.filter(pl.col("event_date").is_between(start, end)), segment)

    def reference(self, segment: str = "") -> pl.DataFrame:
        if not len(self.log.reference):
            return self.rows.clear()
        return in_segment(self.log.reference.rename({"value": "label"}), segment)

    def expected(self, start: dt.date, end: dt.date, segment: str = "") -> dict[Key, Expected]:
        """Every metric of a window and segment but fairness gaps."""
        rows, reference = self.window(start, end, segment), self.reference(segment)
        found = {("traffic", "predictions", ""): Expected(len(rows))}
        if segment:
            whole = len(self.window(start, end))
            found["traffic", "traffic_share", ""] = Expected(len(rows) / whole if whole else NAN, whole)
        found |= self.of_labels(rows) | self.quality(rows, start, end, segment)
        found |= self.performance(rows, segment) | self.drift(rows, reference)
        return found

    # -- labels, quality

    def of_labels(self, rows: pl.DataFrame) -> dict[Key, Expected]:
        delays = rows.select((pl.col("told") - pl.col("event_date")).dt.total_days()).drop_nulls().to_series()
        median = float(np.median(delays.to_numpy())) if len(delays) else NAN
        coverage = len(delays) / len(rows) if len(rows) else NAN
        return {
            ("labels", "label_coverage", ""): Expected(coverage, len(rows)),
            ("labels", "label_delay_days", ""): Expected(median, len(delays)),
        }

    def quality(self, rows: pl.DataFrame, start: dt.date, end: dt.date, segment: str) -> dict[Key, Expected]:
        n = len(rows)
        found: dict[Key, Expected] = {}
        for name, frozen in self.bins["features"].items():
            values = rows[name]
            found["quality", "missing_rate", name] = Expected(values.null_count() / n if n else NAN, n)
            found["quality", "invalid_rate", name] = Expected(0.0 if n else NAN, n)
            if frozen["kind"] == "categorical":
                known = [*frozen["vocabulary"], *frozen["rare"]]
                unseen = values.drop_nulls().is_in(known).not_().sum()
                found["quality", "unseen_rate", name] = Expected(unseen / n if n else NAN, n)
                continue
            x = numbers(values)
            found["quality", "mean", name] = Expected(x.mean() if len(x) else NAN, len(x))
            found["quality", "standard_deviation", name] = Expected(x.std() if len(x) else NAN, len(x))
            if name in self.spec.features.ranges:
                low, high = (limit for limit in self.spec.features.ranges[name])
                outside = ((x < low) if low is not None else x < -np.inf) | (
                    (x > high) if high is not None else x > np.inf
                )
                found["quality", "out_of_range_rate", name] = Expected(outside.sum() / n if n else NAN, n)
        if segment == "":
            close = dt.datetime.combine(end + dt.timedelta(days=1), dt.time())
            newest = rows["time"].max()
            hours = (close - newest).total_seconds() / 3600 if isinstance(newest, dt.datetime) else NAN
            found["quality", "freshness_hours", ""] = Expected(hours)
            told = self.log.labels.filter(pl.col("available_at").dt.date().is_between(start, min(end, self.night)))
            for metric in ("duplicate_rate", "quarantined_rate"):
                found["quality", metric, ""] = Expected(0.0 if n else NAN, n)
                found["quality", metric, "label"] = Expected(0.0 if len(told) else NAN, len(told))
        return found

    # -- performance and calibration

    def performance(self, rows: pl.DataFrame, segment: str = "") -> dict[Key, Expected]:
        labelled = rows.filter(pl.col("label").is_not_null())
        return {"binary": self.binary, "multiclass": self.multiclass, "regression": self.regression}[self.spec.task](
            rows, labelled, segment
        )

    def positive(self, rows: pl.DataFrame) -> np.ndarray:
        return (rows["label"].cast(pl.String) == self.spec.positive_class).to_numpy()

    def selected(self, rows: pl.DataFrame) -> np.ndarray:
        if self.spec.predictions.prediction is None:
            return rows["score"].to_numpy() >= self.spec.threshold[0]
        return (rows[self.spec.predictions.prediction] == self.spec.positive_class).to_numpy()

    def binary(self, rows: pl.DataFrame, labelled: pl.DataFrame, segment: str) -> dict[Key, Expected]:
        y, s, n = self.positive(labelled), labelled["score"].to_numpy(), len(labelled)
        both = 0 < y.sum() < n
        some = n > 0
        of: dict[str, float] = {
            "roc_auc": sk.roc_auc_score(y, s) if both else NAN,
            "average_precision": sk.average_precision_score(y, s) if y.any() else NAN,
            "log_loss": sk.log_loss(y, s, labels=[False, True]) if some else NAN,
            "brier_score": ((s - y) ** 2).mean() if some else NAN,
            "base_rate": y.mean() if some else NAN,
        }
        tenth = np.searchsorted(np.arange(1, 10) / 10, s, side="right")
        of["expected_calibration_error"] = (
            sum(abs(s[tenth == k].sum() - y[tenth == k].sum()) for k in range(10)) / n if some else NAN
        )
        found = {("performance", name, ""): Expected(float(value), n) for name, value in of.items()}
        found["calibration", "calibration_error", ""] = Expected(float((s - y).mean()) if some else NAN, n)
        if segment == "":
            for k in range(10):
                mine = y[tenth == k]
                subject = f"[{k / 10}, {(k + 1) / 10}{')' if k < 9 else ']'}"
                rate = float(mine.mean()) if len(mine) else NAN
                found["calibration", "reliability", subject] = Expected(rate, len(mine))
        for threshold in self.spec.threshold[1:]:
            subject = f"threshold={threshold}"
            found |= self.at_point(subject, rows["score"].to_numpy() >= threshold, y, s >= threshold)
        return found | self.at_point("", self.selected(rows), y, self.selected(labelled))

    def at_point(self, subject: str, said_of_all: np.ndarray, y: np.ndarray, said: np.ndarray) -> dict[Key, Expected]:
        n = len(y)
        zero: dict[str, Any] = {"zero_division": np.nan}
        recall = sk.recall_score(y, said, **zero) if n else NAN
        specificity = sk.recall_score(~y, ~said, **zero) if n else NAN
        four = y.any() and not y.all() and said.any() and not said.all()
        of = {
            "accuracy": sk.accuracy_score(y, said) if n else NAN,
            "balanced_accuracy": (recall + specificity) / 2,
            "precision": sk.precision_score(y, said, **zero) if n else NAN,
            "recall": recall,
            "specificity": specificity,
            "f1": sk.f1_score(y, said, **zero) if n else NAN,
            "matthews_corrcoef": sk.matthews_corrcoef(y, said) if four else NAN,
            "false_positive_rate": 1 - specificity,
            "false_negative_rate": 1 - recall,
        }
        found = {("performance", name, subject): Expected(float(value), n) for name, value in of.items()}
        rate = float(said_of_all.mean()) if len(said_of_all) else NAN
        found["performance", "selection_rate", subject] = Expected(rate, len(said_of_all))
        return found

    def predicted(self, rows: pl.DataFrame) -> np.ndarray:
        p = rows.select(self.spec.predictions.scores.values()).to_numpy()
        return np.array(self.spec.classes)[p.argmax(axis=1)] if len(rows) else np.array([], str)

    def multiclass(self, rows: pl.DataFrame, labelled: pl.DataFrame, segment: str) -> dict[Key, Expected]:
        classes = list(self.spec.classes)
        p = labelled.select(self.spec.predictions.scores.values()).to_numpy()
        y, said, n = labelled["label"].to_numpy().astype(str), self.predicted(labelled), len(labelled)
        found: dict[Key, Expected] = {}
        areas = []
        for k, name in enumerate(classes):
            of = y == name
            area = sk.roc_auc_score(of, p[:, k]) if 0 < of.sum() < n else NAN
            areas.append(area)
            hit, chosen = (of & (said == name)).sum(), (said == name).sum()
            f1 = 2 * hit / (of.sum() + chosen) if of.sum() + chosen else NAN
            values = {
                "roc_auc": area,
                "precision": hit / chosen if chosen else NAN,
                "recall": hit / of.sum() if of.any() else NAN,
                "f1": f1,
                "base_rate": of.mean() if n else NAN,
            }
            found |= {("performance", metric, name): Expected(float(v), n) for metric, v in values.items()}
            rate = float((self.predicted(rows) == name).mean()) if len(rows) else NAN
            found["performance", "selection_rate", name] = Expected(rate, len(rows))
        zero: dict[str, Any] = {"zero_division": 0}
        overall = {
            "roc_auc_ovr": np.mean(areas),
            "log_loss": sk.log_loss(y, p, labels=classes) if n else NAN,
            "accuracy": sk.accuracy_score(y, said) if n else NAN,
            "f1_micro": sk.f1_score(y, said, average="micro", **zero) if n else NAN,
            "precision_macro": sk.precision_score(y, said, average="macro", **zero) if n else NAN,
            "recall_macro": sk.recall_score(y, said, average="macro", **zero) if n else NAN,
            "f1_macro": sk.f1_score(y, said, average="macro", **zero) if n else NAN,
            "f1_weighted": sk.f1_score(y, said, average="weighted", **zero) if n else NAN,
        }
        return found | {("performance", metric, ""): Expected(float(v), n) for metric, v in overall.items()}

    def regression(self, rows: pl.DataFrame, labelled: pl.DataFrame, segment: str) -> dict[Key, Expected]:
        y, said, n = labelled["label"].to_numpy().astype(float), labelled["prediction"].to_numpy(), len(labelled)
        varied = n > 1 and y.std() > 0
        of = {
            "mean_absolute_error": sk.mean_absolute_error(y, said) if n else NAN,
            "root_mean_squared_error": sk.root_mean_squared_error(y, said) if n else NAN,
            "r2": sk.r2_score(y, said) if varied else NAN,
            "mean_error": (said - y).mean() if n else NAN,
            "median_absolute_error": sk.median_absolute_error(y, said) if n else NAN,
        }
        return {("performance", metric, ""): Expected(float(v), n) for metric, v in of.items()}

    # -- drift

    def drift(self, rows: pl.DataFrame, reference: pl.DataFrame) -> dict[Key, Expected]:
        least = self.spec.monitors.min_rows
        found: dict[Key, Expected] = {}

        def add(subject: str, kind: str, base: pl.Series, now: pl.Series, bins: tuple[np.ndarray, np.ndarray]) -> None:
            enough = len(base) >= least
            for metric, value in of_categories(*bins).items():
                found["drift", metric, subject] = Expected(value if enough else NAN, len(now))
            if kind == "number":
                a, b = numbers(base), numbers(now)
                for metric, value in of_numbers(a, b).items():
                    found["drift", metric, subject] = Expected(value if len(a) >= least else NAN, len(b))

        for name, frozen in self.bins["features"].items():
            if frozen["kind"] == "categorical":
                places = {v: i for i, v in enumerate(frozen["vocabulary"])} | dict.fromkeys(
                    frozen["rare"], len(frozen["vocabulary"])
                )
                pair = tuple(
                    np.array([MISSING if v is None else places.get(v, UNSEEN) for v in side[name]])
                    for side in (reference, rows)
                )
                add(name, "category", reference[name], rows[name], pair)
            else:
                pair = tuple(binned(side[name], frozen["coarse"]) for side in (reference, rows))
                add(name, "number", reference[name], rows[name], pair)
        known, told = (side.filter(pl.col("label").is_not_null())["label"] for side in (reference, rows))
        task = self.spec.task
        if task == "binary":
            edges = np.array(self.bins["outputs"]["score"]["edges"])
            whole = np.searchsorted(edges, self.reference()["score"].to_numpy(), side="right")
            before = np.searchsorted(np.sort(whole), np.arange(len(edges) + 1), side="left")
            tenths = np.minimum(before * 10 // max(len(whole), 1), 9)
            pair = tuple(
                tenths[np.searchsorted(edges, side["score"].to_numpy(), side="right")] for side in (reference, rows)
            )
            add("score", "number", reference["score"], rows["score"], pair)
            pair = tuple(self.selected(side) for side in (reference, rows))
            add("prediction", "category", reference["score"], rows["score"], pair)
            pair = tuple((side.cast(pl.String) == self.spec.positive_class).to_numpy() for side in (known, told))
            add("label", "category", known, told, pair)
        elif task == "multiclass":
            pair = tuple(self.predicted(side) for side in (reference, rows))
            add("prediction", "category", reference["time"], rows["time"], pair)
            add("label", "category", known, told, (known.to_numpy(), told.to_numpy()))
        else:
            for subject, sides in (
                ("prediction", (reference["prediction"], rows["prediction"])),
                ("label", (known, told)),
            ):
                coarse = self.bins["outputs"][subject]["coarse"]
                add(subject, "number", *sides, tuple(binned(side, coarse) for side in sides))  # type: ignore[arg-type]
        return found

    # -- fairness

    def group_rates(self, start: dt.date, end: dt.date, segment: str) -> dict[Key, Expected]:
        """Metrics of one group of an attribute, by their names in the family fairness."""
        attribute = segment.split("=", maxsplit=1)[0]
        of = self.performance(self.window(start, end, segment), segment)
        names = ("selection_rate", "base_rate", "recall", "false_positive_rate", "false_negative_rate", "precision")
        return {("fairness", m, attribute): of["performance", m, ""] for m in (*names, "accuracy", "roc_auc")}

    def against(self, start: dt.date, end: dt.date, segment: str) -> dict[Key, Expected]:
        """A group against the reference group."""
        attribute, group = segment.split("=")
        rows = self.window(start, end)
        base = self.reference_group(attribute)
        if group == base:
            return {}
        least = self.spec.monitors.min_rows
        mine, theirs = (rows.filter(pl.col(attribute) == g) for g in (group, base))
        shown = len(mine) >= least and len(theirs) >= least
        a, b = (self.selected(side).mean() if len(side) else NAN for side in (mine, theirs))
        good = self.spec.fairness.favorable_outcome == self.spec.positive_class
        ratio = (a / b if good else (1 - a) / (1 - b)) if shown else NAN
        return {
            ("fairness", "disparate_impact", attribute): Expected(float(ratio), len(mine)),
            ("fairness", "demographic_parity_difference", attribute): Expected(
                float(a - b) if shown else NAN, len(mine)
            ),
        }

    def reference_group(self, attribute: str) -> str:
        named = self.spec.fairness.reference_groups.get(attribute)
        if named is not None:
            return str(named)
        counts = self.log.reference[attribute].value_counts(sort=True)
        return str(counts[attribute][0])

    def gaps(self, start: dt.date, end: dt.date, attribute: str) -> dict[Key, Expected]:
        """Gaps between the groups that are large enough, by Fairlearn."""
        least = self.spec.monitors.min_rows

        def large(rows: pl.DataFrame) -> pl.DataFrame:
            return rows.filter(pl.len().over(attribute) >= least)

        rows = self.window(start, end)
        shown, judged = large(rows), large(rows.filter(pl.col("label").is_not_null()))
        some = {"sensitive_features": shown[attribute].to_numpy()}
        said = self.selected(shown)
        y, decided = self.positive(judged), self.selected(judged)
        with_labels = {"sensitive_features": judged[attribute].to_numpy()}
        n, labelled = len(rows), int(rows["label"].is_not_null().sum())
        impact = [
            self.against(start, end, f"{attribute}={g}").get(("fairness", "disparate_impact", attribute), Expected(NAN))
            for g in shown[attribute].unique()
        ]
        names = ("demographic_parity_difference", "demographic_parity_ratio", "disparate_impact")
        of: dict[str, tuple[float, int]] = dict.fromkeys(names, (NAN, n))
        names = ("equal_opportunity_difference", "equalized_odds_difference", "predictive_parity_difference")
        of |= dict.fromkeys(names, (NAN, labelled))
        if len(shown):
            of |= {
                "demographic_parity_difference": (fair.demographic_parity_difference(said, said, **some), n),
                "demographic_parity_ratio": (fair.demographic_parity_ratio(said, said, **some), n),
                "disparate_impact": (np.nanmin([e.value for e in impact]), n),
            }
        if len(judged):
            precision = fair.MetricFrame(metrics=sk.precision_score, y_true=y, y_pred=decided, **with_labels)
            of |= {
                "equal_opportunity_difference": (
                    fair.equal_opportunity_difference(y, decided, **with_labels),
                    labelled,
                ),
                "equalized_odds_difference": (fair.equalized_odds_difference(y, decided, **with_labels), labelled),
                "predictive_parity_difference": (precision.difference(), labelled),
            }
        return {("fairness", name, attribute): Expected(float(v), need) for name, (v, need) in of.items()}


def in_segment(rows: pl.DataFrame, segment: str) -> pl.DataFrame:
    """Rows of a segment as the store spells it: ``country=DE & device=ios``."""
    for part in filter(None, segment.split(" & ")):
        column, value = part.split("=", 1)
        same = pl.col(column).is_null() if value == "(missing)" else pl.col(column).cast(pl.String) == value
        rows = rows.filter(same)
    return rows


def numbers(values: pl.Series) -> np.ndarray:
    return values.drop_nulls().cast(pl.Float64).to_numpy()


def binned(values: pl.Series, edges: list[float]) -> np.ndarray:
    """How many edges are at or below each value; a missing value is a bin of its own."""
    x = values.cast(pl.Float64).to_numpy()
    return np.where(np.isnan(x), MISSING, np.searchsorted(np.array(edges), x, side="right"))


def of_categories(reference: np.ndarray, current: np.ndarray) -> dict[str, float]:
    """Distances between two samples of categories."""
    names = ("psi", "jensen_shannon", "hellinger", "total_variation", "chi_squared", "cramers_v")
    if not len(reference) or not len(current):
        return dict.fromkeys(names, NAN)
    _, place = np.unique(np.concatenate([reference, current]), return_inverse=True)
    a = np.bincount(place[: len(reference)], minlength=place.max() + 1)
    b = np.bincount(place[len(reference) :], minlength=place.max() + 1)
    n, m = a.sum(), b.sum()
    p, q = a / n, b / m
    p_, q_ = np.where(a > 0, p, 0.5 / n), np.where(b > 0, q, 0.5 / m)
    chi = float(stats.chi2_contingency([a, b], correction=False).statistic) if len(a) > 1 else 0.0
    return {
        "psi": float(((q_ - p_) * np.log(q_ / p_)).sum()),
        "jensen_shannon": float(np.nan_to_num(spatial.distance.jensenshannon(p, q, base=2))),
        "hellinger": float(np.sqrt(((np.sqrt(p) - np.sqrt(q)) ** 2).sum() / 2)),
        "total_variation": float(np.abs(p - q).sum() / 2),
        "chi_squared": chi,
        "cramers_v": float(np.sqrt(chi / (n + m))),
    }


def of_numbers(reference: np.ndarray, current: np.ndarray) -> dict[str, float]:
    """Distances between two samples of numbers, without any bins."""
    if not len(reference) or not len(current):
        return dict.fromkeys(("kolmogorov_smirnov", "wasserstein", "wasserstein_scaled"), NAN)
    distance = float(stats.wasserstein_distance(reference, current))
    spread = float(reference.std())
    return {
        "kolmogorov_smirnov": float(stats.ks_2samp(reference, current, method="asymp").statistic),
        "wasserstein": distance,
        "wasserstein_scaled": distance / spread if np.ptp(reference) > 0 else NAN,
    }
