"""The snapshot and the notebook face: complete, current, safe to read at any moment, and read-only."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import mlobs_pipelines.store as store
from mlobs_pipelines.engine import dbt, sql
from mlobs_pipelines.engine.duckdb import DuckDBEngine, ReadOnlyDuckDB
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.read import StoreError
from mlobs_pipelines.store.results import COLUMNS, publish
from mlobs_pipelines.store.tables import METRICS, METRICS_KEY, RUNS
from tests.store.world import back, conclude, night, number, spec_of, trouble

ROOT = Path(__file__).parents[2]


def latest(home, **wanted):
    rows = store.query(home, "select * from latest_metrics order by all")
    return rows.filter([pl.col(k) == v for k, v in wanted.items()]).to_dicts()


def test_a_first_snapshot_has_every_table_and_mart_with_its_columns(built):
    for name, columns in COLUMNS.items():
        found = store.query(built, f"select * from {name} limit 0").columns
        assert found == [c.split()[0] for c in columns.split(", ")]
    assert store.query(built, "select model, status, owner from model_health").rows() == [
        ("m", "ok", "ml's@example.com")
    ]
    shown = store.query(
        built, "select table_name, table_type from information_schema.tables where table_schema = 'main'"
    ).rows()
    assert {kind for _, kind in shown} == {"BASE TABLE"}
    assert {name for name, _ in shown} == {
        *COLUMNS,
        "known_metrics",
        "latest_metrics",
        "model_health",
        "version_comparison",
    }
    assert list(METRICS) == [c.split()[0] for c in COLUMNS["metrics"].split(", ")]
    assert list(RUNS) == [c.split()[0] for c in COLUMNS["runs"].split(", ")]


def test_the_tests_of_the_marts_and_the_unit_tests_of_the_project_pass(built, tmp_path):
    file = tmp_path / "copy.duckdb"
    shutil.copyfile(built.results, file)
    with DuckDBEngine() as engine:
        engine.attach(file, "warehouse")
        engine.run(
            "create or replace table warehouse.run_nights (arrival_date date, files varchar); "
            "create or replace table warehouse.run_parameters (mode varchar, maturity_days int, negative_label varchar)"
        )
    dbt.run_dbt(("test", "--select", "marts"), dbt.environment(built, file, tmp_path))


def test_a_new_home_does_not_ask_dbt_what_the_marts_are(built, tmp_path, monkeypatch):
    def asked(arguments, variables):
        raise AssertionError("dbt was asked")

    monkeypatch.setattr(dbt, "run_dbt", asked)
    home = Home(tmp_path)
    conclude(home, [number(value=0.25)])
    publish(home, [spec_of()])
    assert latest(home, metric="roc_auc")[0]["value"] == 0.25


def test_a_number_is_shown_as_restated_last_and_final_before_provisional(home):
    conclude(
        home,
        [
            number(value=0.1, end=0, as_of=0, status="provisional"),
            number(value=0.2, end=0, as_of=2, status="ok"),
            number(value=0.3, end=1, as_of=1, status="provisional"),
            number(value=0.4, end=1, as_of=2, status="provisional"),
            number(value=0.5, end=2, as_of=2, days=7, status="provisional"),
            number(value=None, end=3, as_of=3, days=7, status="insufficient_data"),
            number(value=0.7, end=1, as_of=1, version="2", status="warn"),
        ],
    )
    publish(home)
    assert [(r["window_days"], r["value"], r["status"]) for r in latest(home, version="")] == [
        (1, 0.2, "ok"),
        (7, None, "insufficient_data"),
    ]
    assert [(r["value"], r["as_of"]) for r in latest(home, version="2")] == [(0.7, night(1))]


def test_only_files_that_changed_are_read_again_and_nothing_of_them_is_left(home):
    conclude(home, [number(end=i, value=0.1 * i) for i in range(5)])
    publish(home, [spec_of()])
    stamp = home.results.stat().st_ino
    publish(home, [spec_of()])
    assert home.results.stat().st_ino == stamp, "nothing new, nothing written"
    conclude(home, [number(end=2, value=9.0), number(end=2, value=8.0, metric="accuracy")])
    home.store_file("metrics", "m", night(4)).unlink()
    publish(home)
    stored = store.metrics(home).sort(METRICS_KEY)
    assert_frame_equal(store.query(home, "select * from metrics").sort(METRICS_KEY), stored)
    assert stored["value"].to_list() == [8.0, 0.0, 0.1, 9.0, pytest.approx(0.3)]


def test_a_file_that_was_written_to_in_place_is_noticed_by_a_publish_of_its_model_or_of_all(home):
    for model in ("m", "m2"):
        conclude(home, [number(end=i) for i in range(2)], model)
        os.utime(home.store_folder("metrics", model), ns=(1, 1))
    for _ in range(2):
        publish(home, [spec_of("m"), spec_of("m2")])
        conclude(home, [number(end=5)], "m3")
    for model, specs in (("m", [spec_of("m")]), ("m2", [])):
        file = home.store_file("metrics", model, night(1))
        pl.read_parquet(file).with_columns(value=pl.lit(0.9)).write_parquet(file)
        publish(home, specs)
        for end in range(6, 9):  # whichever of the two files is shown
            asked = f"select value from known_metrics where model = '{model}' and window_end = date '{night(1)}'"
            assert store.query(home, asked).item() == 0.9
            conclude(home, [number(end=end)], "m3")
            publish(home, [spec_of("m3")])


def test_a_night_that_is_written_anew_is_taken_in_without_a_transaction_around_it(home, monkeypatch):
    """DuckDB 2.0 crashes on reading rows that the same transaction has taken out and put in again."""
    conclude(home, [number(value=0.5), number(end=1)])
    publish(home, [spec_of()])
    conclude(home, [number(value=0.9)])
    transactions: dict[DuckDBEngine, list[int]] = {}
    run = DuckDBEngine.run

    def watched(self, statement):
        run(self, statement)
        transactions.setdefault(self, []).extend(number for (number,) in self.rows("select txid_current()"))

    with monkeypatch.context() as m:
        m.setattr(DuckDBEngine, "run", watched)
        publish(home, [spec_of()])
    assert max(map(len, transactions.values())) > 10
    assert all(len(numbers) == len(set(numbers)) for numbers in transactions.values()), "two statements shared one"
    known = store.query(home, "select window_end, value from known_metrics order by all")
    assert known.rows() == [(night(0), 0.9), (night(1), 0.5)]


def test_broken_files_are_made_again_from_the_store(home):
    conclude(home, [number(end=i) for i in range(3)])
    publish(home, [spec_of()])
    for file in (home.results, back(home)):
        file.write_bytes(b"noise" * 999)
    publish(home)
    assert store.query(home, "select count(*) from metrics").item() == 3
    assert store.query(home, "select owner from model_health").item() == "ml's@example.com"


def test_health_is_one_row_a_model_with_its_worst_news(home):
    rows = [
        number(value=0.8, lower=0.7, upper=0.9, end=9, days=28, status="provisional", baseline=0.85),
        number(value=0.7, lower=0.6, upper=0.8, end=5, days=7, as_of=9, status="ok", baseline=0.85),
        number("predictions", "traffic", 120.0, end=9, rows=120),
        number("label_coverage", "labels", 0.25, end=5, days=7, as_of=9),
        number("freshness_hours", "quality", 1.5, end=9),
        number("quarantined_rate", "quality", 0.01, end=9),
        number("psi", "drift", 0.3, end=9, days=7, subject="amount"),
        number("psi", "drift", 0.4, end=9, days=7, subject="age"),
        number("psi", "drift", 0.1, end=9, days=7, subject="country"),
        number("psi", "drift", 0.9, end=9, days=1, subject="country"),
        number("psi", "drift", 0.9, end=9, days=7, subject="score"),
    ]
    conclude(home, rows, "sound")
    conclude(home, rows, "broken", "failed", "no such file")
    conclude(home, [number("root_mean_squared_error", value=3.0, end=1, status="alert")], "bad")
    trouble(home, "sound", "warning")
    trouble(home, "bad", "critical")
    publish(home, [spec_of("sound"), spec_of("broken"), spec_of("bad", "regression"), spec_of("silent")])
    health = {r["model"]: r for r in store.query(home, "select * from model_health").to_dicts()}
    assert {m: r["status"] for m, r in health.items()} == {
        "sound": "warn",
        "broken": "failed",
        "bad": "alert",
        "silent": "insufficient_data",
    }
    sound = health["sound"]
    assert (sound["headline_metric"], sound["headline_value"], sound["headline_window_end"]) == (
        "roc_auc",
        0.7,
        night(5),
    )
    assert (sound["headline_lower"], sound["headline_upper"], sound["headline_baseline"]) == (0.6, 0.8, 0.85)
    assert (sound["drifted_features"], sound["worst_drifted_feature"], sound["worst_drift"]) == (2, "age", 0.4)
    assert (sound["predictions"], sound["label_coverage"], sound["last_night"]) == (120, 0.25, night(9))
    assert (sound["freshness_hours"], sound["quarantined_rate"], sound["task"]) == (1.5, 0.01, "binary")
    assert health["broken"]["last_run_error"] == "no such file"
    assert health["bad"]["headline_metric"] == "root_mean_squared_error"
    assert (sound["open_incidents"], sound["trouble_since"], sound["pending_decisions"]) == (1, night(9), 0)


def test_an_incident_is_shown_once_as_the_newest_night_knows_it(home):
    conclude(home, [number(end=9)])
    trouble(home, "m", "warning", 8, title="small")
    trouble(home, "m", "warning", 9, title="large", resolved_as_of=night(9), state="resolved")
    publish(home, [spec_of()])
    shown = store.query(home, "select incident_id, title, state from incidents").rows()
    assert shown == [("m-warning", "large", "resolved")]
    assert store.query(home, "select count(*) from incident_nights").item() == 2
    assert store.query(home, "select status from model_health").item() == "ok"


def test_versions_stand_side_by_side_on_the_same_window(home):
    def pair(end, a, b, **more):
        return [
            number(value=a, end=end, version="9", **more),
            number(value=b, end=end, version="10", role="shadow", **more),
        ]

    conclude(
        home,
        [
            number(value=0.9, end=0, version="9"),
            *pair(3, 0.6, 0.7),
            *pair(4, 0.5, 0.9, status="provisional"),
            number(value=0.4, end=5, version="9"),
            number(value=0.1, end=5, version=""),
        ],
    )
    publish(home)
    rows = store.query(home, "select * from version_comparison order by version desc").to_dicts()
    assert [(r["version"], r["value"], r["window_end"], r["newest_version"]) for r in rows] == [
        ("9", 0.6, night(3), "10"),
        ("10", 0.7, night(3), "10"),
    ]
    assert [r["difference"] for r in rows] == [pytest.approx(-0.1), 0.0]


def test_models_that_end_at_once_lose_nothing_and_a_reader_never_fails(home):
    code = (
        "import sys; from pathlib import Path;"
        "from tests.store.world import conclude, number, spec_of; from mlobs_pipelines.store.layout import Home;"
        "from mlobs_pipelines.store.results import publish; home = Home(Path(sys.argv[1])); model = sys.argv[2];"
        "conclude(home, [number(end=i) for i in range(3)], model); publish(home, [spec_of(model)])"
    )
    conclude(home, [number()])
    publish(home, [spec_of()])
    models = [f"m{i}" for i in range(8)]
    failed, seen, done = [], [], threading.Event()

    def read():
        while not done.is_set():
            try:
                seen.append(store.query(home, "select count(distinct model), count(*) from metrics").row(0))
            except StoreError as error:
                failed.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    command = [sys.executable, "-c", code, str(home.root)]
    running = [
        subprocess.Popen(
            [*command, m], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True
        )
        for m in models
    ]
    said = [process.communicate()[1] for process in running]
    done.set()
    reader.join()
    assert [p.returncode for p in running] == [0] * len(models), said
    assert failed == []
    assert seen == sorted(seen), "what was there once stays"
    assert store.query(home, "select count(distinct model), count(*) from metrics").row(0) == (9, 25)
    assert store.query(home, "select count(*) from model_health").item() == 9
    assert list(home.root.glob(".*")) == [back(home)]


@pytest.mark.parametrize("fails", [True, False])
def test_a_snapshot_that_is_replaced_while_it_is_opened_is_opened_again(home, monkeypatch, fails):
    """DuckDB opens the path more than once, so it may read a part of the old file and a part of the new one."""
    conclude(home, [number()])
    publish(home)
    connect, opened = duckdb.connect, []

    def slow(*args, **options):
        opened.append(connect(*args, **options))
        if len(opened) == 1:
            conclude(home, [number(end=1), number(end=2)])
            monkeypatch.setattr(duckdb, "connect", connect)
            publish(home)
            monkeypatch.setattr(duckdb, "connect", slow)
            if fails:
                opened[0].close()
                raise duckdb.IOException("No more data remaining in MetadataReader")
        return opened[-1]

    monkeypatch.setattr(duckdb, "connect", slow)
    assert store.query(home, "select count(*) from metrics").item() == 3
    assert len(opened) == 2


def counted(home):
    """Rows of ``metrics`` in the file that is shown, also where this process has a former one open."""
    with DuckDBEngine() as engine:
        engine.run(f"attach {sql.text(str(home.results))} as shown (read_only)")
        return engine.rows("select count(*) from shown.metrics")[0][0]


@pytest.mark.parametrize("reader", ["of bytes", "in this process", "in another process"])
def test_a_reader_keeps_the_snapshot_it_opened_however_often_it_is_replaced(home, reader):
    conclude(home, [number()])
    publish(home)
    with contextlib.ExitStack() as stack:
        if reader == "of bytes":
            file = stack.enter_context(home.results.open("rb"))
            before = file.read()
        elif reader == "in this process":
            database = stack.enter_context(ReadOnlyDuckDB(home.results))
        else:
            code = "import duckdb, sys; c = duckdb.connect(sys.argv[1], read_only=True); print(1, flush=True); input(); print(c.sql('from metrics').fetchall())"
            command = [sys.executable, "-c", code, str(home.results)]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            process.stdout.readline()
        for i in range(1, 5):
            conclude(home, [number(end=i)])
            publish(home)
            assert counted(home) == 1 + i
        if reader == "of bytes":
            file.seek(0)
            assert file.read() == before
        elif reader == "in this process":
            assert database.table("select * from metrics").num_rows == 1
        else:
            assert process.communicate("\n")[0].count("roc_auc") == 1


def test_two_files_take_turns_while_nobody_reads_them(home):
    seen = []
    for i in range(6):
        conclude(home, [number(end=i)])
        publish(home)
        seen.append(home.results.stat().st_ino)
    assert seen[2:] == seen[:2] * 2
    assert seen[0] != seen[1]


def test_where_nobody_can_tell_who_reads_a_file_another_is_written(home, monkeypatch):
    def no_leases(file, command, *rest):
        if command == fcntl.F_SETLEASE:
            raise OSError(errno.EINVAL, "Invalid argument")
        return ask(file, command, *rest)

    ask = fcntl.fcntl
    monkeypatch.setattr(fcntl, "fcntl", no_leases)
    for i in range(3):
        conclude(home, [number(end=i)])
        with home.results.open("rb") as opened:
            before = opened.read()
            publish(home)
            opened.seek(0)
            assert opened.read() == before
        assert counted(home) == i + 1


def test_what_other_hands_wrote_into_the_snapshot_is_gone_with_the_next_publish(home):
    conclude(home, [number(end=i) for i in range(3)])
    publish(home, [spec_of()])
    for file in (home.results, back(home)):
        with duckdb.connect(str(file)) as connection:
            connection.execute(
                "create table mine as select 1; delete from metrics; update model_health set owner = 'me'"
            )
    publish(home)
    assert counted(home) == 3
    assert store.query(home, "select owner from model_health").item() == "ml's@example.com"
    with pytest.raises(StoreError, match="mine"):
        store.query(home, "from mine")


@pytest.mark.parametrize(
    "statement",
    [
        "copy metrics to '{tmp}/stolen.csv'",
        "select * from read_csv('/etc/passwd')",
        "select * from '{tmp}/results.duckdb'",
        "attach '{tmp}/other.duckdb'",
        "export database '{tmp}/all'",
        "create table mine as select 1",
        "delete from metrics",
        "drop table metrics",
        "install httpfs",
        "set enable_external_access = true",
        "set memory_limit = '1TB'",
        "select * from secret_frame",
        "selec 1",
    ],
)
def test_a_query_can_read_the_snapshot_and_do_nothing_else(built, tmp_path, statement):
    secret_frame = pl.DataFrame({"a": [1]})
    before = built.results.read_bytes()
    with pytest.raises(StoreError) as caught:
        store.query(built, statement.format(tmp=tmp_path))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    assert built.results.read_bytes() == before
    assert secret_frame.height == 1


def test_answers_are_frames_with_plain_numbers(built):
    frame = store.query(built, "select sum(rows) as n, count(*) as rows from metrics")
    assert frame.schema == {"n": pl.Int64(), "rows": pl.Int64()}
    with pytest.raises(StoreError, match="run: mlobs run"):
        store.query(built.root / "elsewhere", "select 1")


def test_frames_come_straight_from_the_files(home):
    conclude(home, [number(end=i) for i in range(3)])
    conclude(home, [number("psi", "drift", end=1, subject="age")], "other")
    assert store.metrics(home).height == 4
    assert store.metrics(str(home.root), "m").height == 3
    assert store.metrics(home, subject="age")["model"].to_list() == ["other"]
    assert store.runs(home, "m").height == 3
    assert store.metrics(home, "nobody").schema == METRICS
    with pytest.raises(StoreError, match="it has: metrics"):
        store.table(home, "metric")
    with pytest.raises(StoreError, match="no predictions of model"):
        store.lake(home, "m", "predictions")


def test_a_digest_sees_every_value_and_no_order_split_run_id_or_clock(home):
    labels = pl.DataFrame({"prediction_id": ["a", "b", "c"], "label": [0.1, None, 0.3], "v": [[1.0], None, [2.0, 3.0]]})

    def write(frames, rows):
        for i, frame in enumerate(frames):
            path = home.lake_file("m", "labels", night(i))
            path.parent.mkdir(parents=True, exist_ok=True)
            frame.write_parquet(path)
        conclude(home, rows)
        return store.digest(home, "m")

    first = write([labels, labels.head(0)], [number(run_id="one")])
    assert sorted(first) == ["lake/labels", "store/metrics", "store/runs"]
    assert write([labels.tail(1), labels.head(2).reverse()], [number(run_id="two")]) == first
    nudged = labels.with_columns(pl.col("label").replace(0.1, 0.1 + 2**-56))
    assert write([labels.head(0), nudged], [number()])["lake/labels"] != first["lake/labels"]
    emptied = labels.with_columns(pl.col("prediction_id").replace("b", ""))
    assert write([labels.head(0), emptied], [number()])["lake/labels"] != first["lake/labels"]
    assert write([labels.head(0), labels], [number(value=0.25)])["store/metrics"] != first["store/metrics"]


def test_the_store_is_imported_in_no_time():
    code = "import time; t = time.perf_counter(); import mlobs_pipelines.store; print(time.perf_counter() - t)"
    times = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout)
        for _ in range(2)
    ]
    assert min(times) < 0.5
