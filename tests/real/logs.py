"""Real data sets as production logs: a model trained on the first part, its predictions and labels on the rest.

Each ``prepare_<set>`` writes the log's files and the model's spec into a home and gives the rows back as they were
written, so that what the pipeline says can be computed from them directly.
"""

from __future__ import annotations

import datetime as dt
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from mlobs_pipelines.store.layout import Home

REPOSITORY = Path(__file__).parents[2]


def read(name: str) -> pl.DataFrame:
    """A data set; the test is skipped where the sets are not at hand."""
    folder = Path(os.environ.get("MLOBS_REAL_DATA") or REPOSITORY.parent / "shared" / "data")
    path = folder / f"{name}.parquet"
    if not path.exists():
        pytest.skip(f"{path} is not there; MLOBS_REAL_DATA names the folder of the real data sets")
    return pl.read_parquet(path)


@dataclass(frozen=True)
class Log:
    """A production log in a home.

    ``predictions``: id, time, arrived_at, score(s) or prediction, and the fields, under the names of the files.
    ``labels``: id, value, available_at. ``reference``: the rows the model was trained on, with ``value``.
    """

    home: Home
    model: str
    nights: list[dt.date]
    predictions: pl.DataFrame
    labels: pl.DataFrame
    reference: pl.DataFrame


def days(first: dt.date, last: dt.date) -> list[dt.date]:
    return [first + dt.timedelta(days=i) for i in range((last - first).days + 1)]


def write(
    home: Home,
    spec: dict[str, Any],
    nights: list[dt.date],
    predictions: pl.DataFrame,
    labels: pl.DataFrame,
    reference: pl.DataFrame,
    suffix: str = ".parquet",
) -> Log:
    """Write a log's files and its spec; columns id, time, arrived_at, value and available_at are as the spec says."""
    model = spec["model"]
    folder = home.root / "data" / model
    folder.mkdir(parents=True, exist_ok=True)
    for frame, name in ((predictions, "predictions"), (labels, "labels")):
        path = folder / f"{name}{suffix}"
        if suffix == ".parquet":
            frame.write_parquet(path)
        elif suffix == ".csv":
            frame.write_csv(path, datetime_format="%Y-%m-%dT%H:%M:%S%.6f")
        else:
            frame.with_columns(pl.selectors.datetime().dt.to_string("%Y-%m-%dT%H:%M:%S%.6f")).write_ndjson(path)
    spec = {
        **spec,
        "predictions": {
            "source": f"data/{model}/predictions{suffix}",
            "id": "id",
            "time": "time",
            "arrived_at": "arrived_at",
            **spec["predictions"],
        },
        "labels": {
            "source": f"data/{model}/labels{suffix}",
            "id": "id",
            "value": "value",
            "available_at": "available_at",
            **spec.get("labels", {}),
        },
    }
    if len(reference):
        reference.write_parquet(folder / "reference.parquet")
        spec["reference"] = {"source": f"data/{model}/reference.parquet"}
    home.models.mkdir(parents=True, exist_ok=True)
    home.spec_file(model).write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")
    return Log(home, model, nights, predictions, labels, reference)


ELEC2_NUMERIC = ["period", "nswprice", "nswdemand", "vicprice", "vicdemand", "transfer"]


def prepare_elec2(home: Home, *, corrected: int = 0, nights: int = 35) -> Log:
    """Half-hourly electricity prices: up or down; a label comes 30 minutes later.

    The replay holds 5 May 1997, when three features that were constant came alive. ``corrected``: so many labels of
    the first two weeks are put right, wrongly, on the 20th night.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    rows = read("elec2").with_row_index("id").with_columns(pl.col("day").cast(pl.String))
    first = dt.date(1997, 4, 14)
    last = first + dt.timedelta(days=nights - 1)
    day = pl.col("event_time").dt.date()
    known = rows.filter(day.is_between(first - dt.timedelta(days=180), first - dt.timedelta(days=1)))
    live = rows.filter(day.is_between(first, last))
    features = [*ELEC2_NUMERIC, "day"]

    def matrix(frame: pl.DataFrame) -> Any:
        return frame.select(features).with_columns(pl.col("day").cast(pl.Float64)).to_numpy()

    model = HistGradientBoostingClassifier(max_iter=30, random_state=0).fit(matrix(known), known["label_up"].to_numpy())

    def scored(frame: pl.DataFrame) -> pl.DataFrame:
        score = pl.Series("score", model.predict_proba(matrix(frame))[:, 1])
        named = pl.format("e{}", "id").alias("id"), pl.col("event_time").alias("time"), score
        return frame.select(*named, pl.col("event_time").alias("arrived_at"), *features)

    labels = live.select(
        pl.format("e{}", "id").alias("id"),
        pl.col("label_up").alias("value"),
        pl.col("label_time").alias("available_at"),
    )
    if corrected:
        picked = labels.head(14 * 48).sample(corrected, seed=1)
        when = dt.datetime.combine(first + dt.timedelta(days=19), dt.time(12))
        labels = pl.concat(
            [
                labels,
                picked.with_columns(
                    (1 - pl.col("value")).cast(pl.Int8).alias("value"), pl.lit(when).alias("available_at")
                ),
            ]
        )
    spec = {
        "model": "elec2",
        "task": "binary",
        "predictions": {"score": "score"},
        "labels": {"maturity": "1d"},
        "features": {"numeric": ELEC2_NUMERIC, "categorical": ["day"], "ranges": {"nswprice": [0, 0.5]}},
        "threshold": [0.5, 0.7],
        "segments": ["day"],
        "monitors": {"windows": ["1d", "7d", "28d"], "min_rows": 30},
    }
    reference = scored(known).with_columns(known["label_up"].alias("value"))
    return write(home, spec, days(first, last), scored(live), labels, reference)


def prepare_elec2_last_label(home: Home) -> Log:
    """The whole set, delivered on one night, with a model that says the last label again."""
    rows = read("elec2").with_row_index("id")
    night = dt.date(1998, 12, 7)
    then = pl.lit(dt.datetime.combine(night, dt.time(1)))
    named = pl.format("e{}", "id").alias("id")
    predictions = rows.select(
        named,
        pl.col("event_time").alias("time"),
        then.alias("arrived_at"),
        pl.col("label_up").shift(1, fill_value=0).cast(pl.Float64).alias("score"),
    )
    labels = rows.select(named, pl.col("label_up").alias("value"), then.alias("available_at"))
    spec = {
        "model": "last_label",
        "task": "binary",
        "predictions": {"score": "score"},
        "features": {"numeric": [], "categorical": []},
        "monitors": {"windows": ["945d"]},
    }
    return write(home, spec, [night], predictions, labels, pl.DataFrame())


BIKE_NUMERIC = ["month", "hour", "weekday", "temp", "feelingTemp", "humidity", "windspeed"]
BIKE_CATEGORICAL = ["season", "holiday", "workingday", "weathersit"]


def prepare_bike_hour(home: Home, *, nights: int = 35) -> Log:
    """Bikes rented by the hour, a regression: trained on 2011, replayed in the spring of 2012; CSV files."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    rows = read("bike_hour").with_columns(pl.col(BIKE_CATEGORICAL).cast(pl.String))
    first = dt.date(2012, 4, 1)
    known = rows.filter(pl.col("event_time").dt.year() == 2011)
    live = rows.filter(pl.col("event_time").dt.date().is_between(first, first + dt.timedelta(days=nights - 1)))
    features = [*BIKE_NUMERIC, *BIKE_CATEGORICAL]

    def matrix(frame: pl.DataFrame) -> Any:
        return frame.select(pl.col(features).cast(pl.Float64)).to_numpy()

    model = HistGradientBoostingRegressor(max_iter=60, random_state=0).fit(matrix(known), known["count"].to_numpy())

    def scored(frame: pl.DataFrame) -> pl.DataFrame:
        named = pl.format("b{}", "instant").alias("id"), pl.col("event_time").alias("time")
        said = pl.Series("prediction", model.predict(matrix(frame)))
        return frame.select(*named, pl.col("event_time").alias("arrived_at"), said, *features)

    labels = live.select(
        pl.format("b{}", "instant").alias("id"),
        pl.col("count").alias("value"),
        pl.col("label_time").alias("available_at"),
    )
    spec = {
        "model": "bike_hour",
        "task": "regression",
        "predictions": {"prediction": "prediction"},
        "labels": {"maturity": "1d"},
        "features": {"numeric": BIKE_NUMERIC, "categorical": BIKE_CATEGORICAL, "ranges": {"temp": [0.1, None]}},
        "segments": ["workingday", ["workingday", "weathersit"]],
        "monitors": {"windows": ["1d", "7d", "28d"], "min_rows": 20},
    }
    reference = scored(known).with_columns(known["count"].alias("value"))
    return write(
        home, spec, days(first, first + dt.timedelta(days=nights - 1)), scored(live), labels, reference, ".csv"
    )


SHELTER_CLASSES = {
    "Adoption": "p_adoption",
    "Died": "p_died",
    "Euthanasia": "p_euthanasia",
    "Return_to_owner": "p_return",
    "Transfer": "p_transfer",
}


def prepare_shelter_outcomes(home: Home, *, nights: int = 35) -> Log:
    """What becomes of an animal in a shelter, five classes; a label comes days later; JSON lines."""
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    number = pl.col("AgeuponOutcome").str.extract(r"^(\d+)").cast(pl.Float64)
    unit = pl.col("AgeuponOutcome").str.extract(r"(day|week|month|year)")
    rows = (
        read("shelter_outcomes")
        .sort("event_time", "AnimalID")
        .with_columns(
            (number * unit.replace_strict({"day": 1, "week": 7, "month": 30, "year": 365}))
            .cast(pl.Float64)
            .alias("age_days"),
            pl.col("Name").is_not_null().cast(pl.String).alias("named"),
        )
    )
    first = dt.date(2015, 6, 1)
    last = first + dt.timedelta(days=nights - 1)
    known = rows.filter(pl.col("event_time").dt.date() < first)
    live = rows.filter(pl.col("event_time").dt.date().is_between(first, last))
    categorical = ["AnimalType", "SexuponOutcome", "named"]

    def table(frame: pl.DataFrame) -> Any:
        return (
            frame.select("age_days", *categorical)
            .with_columns(pl.col("age_days").fill_null(-1))
            .to_pandas()
            .fillna("?")
        )

    columns = [("age", StandardScaler(), ["age_days"]), ("kind", OneHotEncoder(handle_unknown="ignore"), categorical)]
    model = Pipeline([("encode", ColumnTransformer(columns)), ("say", LogisticRegression(max_iter=500))])
    model.fit(table(known), known["OutcomeType"].to_list())
    assert list(model.classes_) == list(SHELTER_CLASSES)

    def scored(frame: pl.DataFrame) -> pl.DataFrame:
        p = model.predict_proba(table(frame))
        scores = [pl.Series(column, p[:, i]) for i, column in enumerate(SHELTER_CLASSES.values())]
        time = pl.col("event_time").alias("time"), pl.col("event_time").alias("arrived_at")
        return frame.select(pl.col("AnimalID").alias("id"), *time, *scores, "age_days", *categorical, "Breed", "Color")

    rng = np.random.default_rng(0)
    hours = pl.Series(np.minimum(24 * rng.lognormal(1.2, 0.8, len(live)), 20 * 24).astype(int) + 1)
    labels = live.select(
        pl.col("AnimalID").alias("id"),
        pl.col("OutcomeType").alias("value"),
        (pl.col("event_time") + pl.duration(hours=pl.lit(hours))).alias("available_at"),
    ).filter(pl.col("available_at").dt.date() <= last)
    spec = {
        "model": "shelter",
        "task": "multiclass",
        "predictions": {"scores": SHELTER_CLASSES},
        "labels": {"maturity": "21d"},
        "features": {"numeric": ["age_days"], "categorical": [*categorical, "Breed", "Color"]},
        "segments": ["AnimalType", ["AnimalType", "named"]],
        "monitors": {"windows": ["7d", "28d"]},
    }
    reference = scored(known).with_columns(known["OutcomeType"].alias("value"))
    return write(home, spec, days(first, last), scored(live), labels, reference, ".jsonl")


SBA_NUMERIC = ["Term", "NoEmp", "GrAppv", "SBA_Appv"]
SBA_CATEGORICAL = ["NewExist", "UrbanRural", "RevLineCr", "LowDoc", "sector"]


def prepare_sba_loans(home: Home) -> Log:
    """Loans approved in 2004: a default is known when the loan is charged off, a repayment years later.

    Predictions arrive at the end of each quarter, labels on the first of January after they became known.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, QuantileTransformer

    rows = read("sba_loans").filter(
        pl.col("defaulted").is_not_null() & pl.col("event_time").dt.year().is_between(1995, 2004)
    )
    rows = rows.with_columns(
        pl.col("NAICS").str.slice(0, 2).alias("sector"),
        pl.col("NewExist", "UrbanRural").cast(pl.String),
        pl.col("label_time").cast(pl.Datetime("us")),
    )
    known = rows.filter(pl.col("event_time").dt.year() < 2004)
    live = rows.filter(pl.col("event_time").dt.year() == 2004)
    features = [*SBA_NUMERIC, *SBA_CATEGORICAL]

    def table(frame: pl.DataFrame) -> Any:
        filled = frame.select(features).with_columns(
            pl.col(SBA_NUMERIC).cast(pl.Float64).fill_null(0), pl.col(SBA_CATEGORICAL).fill_null("?")
        )
        return filled.to_pandas()

    columns = [
        ("number", QuantileTransformer(n_quantiles=50), SBA_NUMERIC),
        ("kind", OneHotEncoder(handle_unknown="ignore"), SBA_CATEGORICAL),
    ]
    model = Pipeline([("encode", ColumnTransformer(columns)), ("say", LogisticRegression(max_iter=500))])
    model.fit(table(known), known["defaulted"].to_numpy())
    named = pl.format("s{}", "LoanNr_ChkDgt").alias("id"), pl.col("event_time").alias("time")

    def scored(frame: pl.DataFrame) -> pl.DataFrame:
        score = pl.Series("score", model.predict_proba(table(frame))[:, 1])
        quarter = pl.col("event_time").dt.truncate("1q").dt.offset_by("1q").dt.offset_by("-1d").alias("arrived_at")
        return frame.select(*named, quarter, score, *features)

    label_time = pl.col("label_time")
    january = label_time.dt.truncate("1y")
    labels = live.select(
        named[0],
        pl.col("defaulted").alias("value"),
        pl.when(label_time == january).then(january).otherwise(january.dt.offset_by("1y")).alias("available_at"),
    )
    nights = sorted({d.date() for d in labels["available_at"]} | {d.date() for d in scored(live)["arrived_at"]})
    spec = {
        "model": "sba",
        "task": "binary",
        "predictions": {"score": "score"},
        "labels": {"maturity": "4000d"},
        "features": {"numeric": SBA_NUMERIC, "categorical": SBA_CATEGORICAL},
        "threshold": 0.3,
        "monitors": {"windows": ["366d"]},
    }
    reference = scored(known).with_columns(known["defaulted"].alias("value"))
    return write(home, spec, nights, scored(live), labels, reference)


ADULT_NUMERIC = ["age", "fnlwgt", "education-num", "capital-gain", "capital-loss", "hours-per-week"]
ADULT_CATEGORICAL = [
    "workclass",
    "education",
    "marital-status",
    "occupation",
    "relationship",
    "race",
    "sex",
    "native-country",
]


def prepare_adult(home: Home) -> Log:
    """Census incomes, 10,000 rows a day in the set's order; a tree of depth 4, fitted to and scoring all rows.

    The labels are texts, as is the logged decision. The reference is the first day.
    """
    import pandas as pd
    from sklearn.tree import DecisionTreeClassifier

    rows = read("adult").with_row_index("number")
    start = dt.datetime(2026, 3, 2)
    features = [*ADULT_NUMERIC, *ADULT_CATEGORICAL]
    matrix = pd.get_dummies(rows.select(features).to_pandas())
    income = (rows["income"] == ">50K").to_numpy().astype(int)
    tree = DecisionTreeClassifier(min_samples_leaf=10, max_depth=4, random_state=0).fit(matrix, income)
    order = pl.col("number").cast(pl.Int64)
    time = (pl.lit(start) + pl.duration(days=order // 10_000, seconds=order % 10_000)).cast(pl.Datetime("us"))
    predictions = rows.select(
        pl.format("a{}", "number").alias("id"),
        time.alias("time"),
        time.alias("arrived_at"),
        pl.Series("score", tree.predict_proba(matrix)[:, 1]),
        pl.Series("decision", np.where(tree.predict(matrix) == 1, ">50K", "<=50K")),
        *features,
    )
    labels = predictions.select(
        "id", rows["income"].alias("value"), pl.col("time").dt.offset_by("1d").alias("available_at")
    )
    spec = {
        "model": "adult",
        "task": "binary",
        "predictions": {"score": "score", "prediction": "decision"},
        "labels": {"maturity": "1d"},
        "features": {"numeric": ADULT_NUMERIC, "categorical": ADULT_CATEGORICAL},
        "positive_class": ">50K",
        "fairness": {"attributes": ["sex", "race"], "reference_groups": {"sex": "Male"}, "favorable_outcome": ">50K"},
        "monitors": {"windows": ["1d", "5d"]},
    }
    reference = predictions.head(10_000).with_columns(rows["income"].head(10_000).alias("value"))
    return write(home, spec, days(start.date(), dt.date(2026, 3, 7)), predictions, labels, reference)
