"""A snapshot that was brought up to date night by night is the one that would be built from nothing."""

from __future__ import annotations

import datetime as dt
import itertools
import os
import random
import shutil

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import mlobs_pipelines.store as store
from mlobs_pipelines.engine import sql
from mlobs_pipelines.engine.duckdb import DuckDBEngine
from mlobs_pipelines.store.compaction import fold, folds
from mlobs_pipelines.store.files import published
from mlobs_pipelines.store.journal import append
from mlobs_pipelines.store.layout import STORE_TABLES
from mlobs_pipelines.store.load import COLUMNS
from mlobs_pipelines.store.marts import MARTS
from mlobs_pipelines.store.nights import Nights
from mlobs_pipelines.store.results import publish
from mlobs_pipelines.store.tables import CAUSES, COMPARISONS, INCIDENTS, METRICS, METRICS_KEY, RUNS, SIGNALS
from tests.store.world import begun, night, number, spec_of
from tests.store.world import conclude as conclude_all

MODELS = ("m", "m2", "another")
LONG_AGO = 500_000_000_000_000_000
STATUSES = ("ok", "warn", "alert", "provisional", "provisional", "insufficient_data")


def write(home, name, model, at, rows, schema):
    with published(home.store_file(name, model, night(at))) as draft:
        pl.DataFrame([{**dict.fromkeys(schema), **row, "model": model} for row in rows], schema=schema).write_parquet(
            draft
        )


def numbers(draw, at, families):
    """What a night says: windows that end on it, and earlier ones again, back into other months."""
    metrics = {"performance": "roc_auc", "traffic": "predictions", "drift": "psi", "explanation": "mean_abs_shap"}
    rows = {}
    for _ in range(draw.randrange(12)):
        family = draw.choice(families)
        row = number(
            metrics[family],
            family,
            draw.choice([None, draw.random()]),
            end=at - draw.choice([0, 0, 0, 1, 5, 20, 40]),
            days=draw.choice([1, 7]),
            as_of=at,
            status=draw.choice(STATUSES),
            version=draw.choice(["", "", "9", "10"]),
            role=draw.choice(["production", "production", "shadow"]),
            subject=draw.choice(["", "", "age"]),
            segment=draw.choice(["", "", "country=DE"]),
        )
        rows[tuple(row[name] for name in METRICS_KEY)] = row
    return list(rows.values())


def incident(draw, model, at):
    opened = draw.choice([0, 20])
    over = draw.choice([None, None, night(at)])
    return {
        "incident_id": f"{model}-{opened}",
        "as_of": night(at),
        "opened_as_of": night(opened),
        "last_as_of": night(at),
        "resolved_as_of": over,
        "since": night(opened),
        "state": "resolved" if over else "open",
        "severity": draw.choice(["info", "warning", "critical"]),
        "evidence": "{}",
        "title": f"{draw.random()}",
    }


def conclude(draw, home, model, at):
    """The files of a night, some of them: what is left out stays as an earlier run left it."""
    drawn = {
        "metrics": (numbers(draw, at, ("performance", "traffic", "drift")), METRICS),
        "explanations": (numbers(draw, at, ("explanation",)), METRICS),
        "incidents": ([incident(draw, model, at)], INCIDENTS),
        "monitoring": ([incident(draw, model, at) | {"incident_id": f"{model}-runs"}], INCIDENTS),
        "causes": (
            [{"incident_id": f"{model}-{draw.choice([0, 20])}", "rank": 1, "as_of": night(at), "share": draw.random()}],
            CAUSES,
        ),
        "signals": ([{"as_of": night(at), "metric": "psi", "value": draw.random()}], SIGNALS),
        "comparisons": ([{"as_of": night(at), "metric": "psi", "rows": draw.randrange(9)}], COMPARISONS),
        "runs": (
            [
                {
                    "arrival_date": night(at),
                    "status": draw.choice(["done", "failed"]),
                    "finished_at": dt.datetime.combine(night(at), dt.time(draw.randrange(24))),
                }
            ],
            RUNS,
        ),
    }
    for name, (rows, schema) in drawn.items():
        if draw.random() < 0.7:
            write(home, name, model, at, rows, schema)


def forget(draw, home, model):
    """Remove some files, as an operator would, or all of a table."""
    name = draw.choice(["metrics", "explanations", "incidents", "causes", "runs", "monitoring"])
    folder = home.store_folder(name, model)
    there = Nights(folder).all()
    for at in draw.sample(there, min(len(there), draw.choice([1, 2, 99]))):
        home.store_file(name, model, at).unlink(missing_ok=True)  # it may be a part of its month's
    if folder.exists() and not Nights(folder).all():
        folder.rmdir()


def compact(draw, home, model):
    """Make one file of the files of nights, table by table, whenever that is."""
    for name in STORE_TABLES:
        for month in folds(home.store_nights(name, model), night(draw.choice([0, 40, 70]))):
            assert fold(month)


def say(draw, home, model):
    """A person on an incident, or the loop on what to do."""
    about = {"model": model, "reason": "because", "as_of": night(draw.randrange(60))}
    if draw.random() < 0.5:
        evidence = {"severity": "warning", "until": night(draw.randrange(60)).isoformat()}
        action = draw.choice(["acknowledge", "silence", "resolve"])
        name = f"{model}-{draw.choice([0, 20, 'runs'])}"
        append(
            home,
            decision_id=name,
            numbered=True,
            incident_id=name,
            action=action,
            status="done",
            evidence=evidence,
            **about,
        )
    else:
        status = draw.choice(["pending", "approved", "rejected"])
        append(home, decision_id=f"{model}-retrain", action="retrain", status=status, **about)


def settle(home, clock):
    """Let the folders that changed have done so long ago, as they have on the next night: they are known by their time."""
    for folder in home.root.glob("store/*/*"):
        if folder.is_dir() and folder.stat().st_mtime_ns > LONG_AGO * 2:
            at = next(clock)
            os.utime(folder, ns=(at, at))


def everything(home):
    return {name: store.query(home, f"select * from {name} order by all") for name in (*COLUMNS, *MARTS)}


def defined(home):
    """The marts as dbt defines them, over the tables of the snapshot."""
    with DuckDBEngine() as engine:
        engine.run(f"attach {sql.text(str(home.results))} as warehouse (read_only)")
        definitions = engine.rows("from warehouse.publishing.marts")
        return {
            mart: pl.DataFrame(engine.table(f"from ({definition}) order by all")) for mart, definition in definitions
        }


@pytest.mark.parametrize("seed", range(6))
def test_any_nights_in_any_order_rerun_removed_or_compacted_give_what_a_build_from_nothing_gives(built, tmp_path, seed):
    draw, clock = random.Random(seed), itertools.count(LONG_AGO)
    home = begun(built, tmp_path / "home")
    for step in range(12):
        for _ in range(draw.choice([1, 1, 3])):
            model = draw.choice(MODELS)
            for deed in draw.choices([conclude, forget, say, compact], weights=[6, 2, 1, 2], k=2):
                if deed is conclude:
                    at = 4 * step + draw.choice([0, 1, 2, 3, -4, -16])
                    conclude(draw, home, model, max(at, 0))
                else:
                    deed(draw, home, model)
        if draw.random() < 0.5:
            settle(home, clock)
        publish(home, [spec_of(draw.choice(MODELS), draw.choice(["binary", "regression"]))])
        shown = everything(home)
        assert shown["metrics"].height == store.metrics(home).height
        for mart, rows in defined(home).items():
            assert_frame_equal(shown[mart], rows, check_exact=True)
    anew = begun(built, tmp_path / "anew")
    for folder in ("store", "log"):
        shutil.copytree(home.root / folder, anew.root / folder)
    publish(anew)
    for name, rows in everything(anew).items():
        assert_frame_equal(shown[name], rows, check_exact=True)


def test_the_windows_of_a_number_lie_together_though_they_came_night_by_night(home):
    for end in range(20):
        conclude_all(home, [number(end=end, subject=f"x{i:02}") for i in range(30)])
        publish(home, [spec_of()])
    ((rows, turns),) = store.query(
        home,
        "select count(*), count(*) filter (subject <> before) from "
        "(select subject, lag(subject) over (order by rowid) as before from known_metrics)",
    ).rows()
    assert rows == 600
    assert turns < rows / 2, "as they came, almost every row is of another number than the one before it"


def test_the_windows_of_a_number_lie_together_when_their_month_is_over_and_when_much_of_it_was_restated(home):
    january, subjects = range(20, 31), [f"x{i:02}" for i in range(30)]

    def lying():
        asked = "select subject, window_end from known_metrics where window_end <= date '2026-01-31' order by rowid"
        return store.query(home, asked).rows()

    for end in (*january, 31):
        conclude_all(home, [number(end=end, subject=subject) for subject in subjects])
        publish(home, [spec_of()])
    together = [(subject, night(end)) for subject in subjects for end in january]
    assert lying() == together
    for as_of in (40, 41, 42):
        restated = january[:6] if as_of % 2 else january[5:]
        rows = [number(end=end, as_of=as_of, value=0.6, subject=subject) for subject in subjects for end in restated]
        conclude_all(home, rows)
        publish(home, [spec_of()])
        assert lying() == together
