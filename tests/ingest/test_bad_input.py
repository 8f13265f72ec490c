"""Bad input of every kind: each gives one clear line or a quarantined row with its reason, and the rest goes on."""

from __future__ import annotations

import datetime as dt
import gzip
import random
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from mlobs_pipelines.engine.duckdb import DuckDBEngine
from mlobs_pipelines.ingest.sources import IngestError

NIGHTS = ("2024-01-01", "2024-01-02")
GOOD = 3
HOSTILE = [
    "it's",
    '"quoted"',
    "'; DROP TABLE predictions; --",
    "../../etc/passwd",
    "<script>alert(1)</script>",
    "a\x00b",
    "é🙂",
    "=1+1",
    "%s{0}",
]
LONG = "x" * 1_000_000


def _good(world: Any) -> list[dict[str, Any]]:
    return [world.prediction(f"good{i}", amount=1.5) for i in range(GOOD)]


def _parquet(world: Any, rows: list[dict[str, Any]]) -> None:
    world.put("p/bad.parquet", rows)


def _hostile_file(world: Any) -> None:
    world.put("p/it's [a]*?; --.csv", "id,t,score\nx,2024-01-01,0.5\n")


# Case -> (what is delivered beside three good rows, accepted of it, quarantined of it, a part of the reason)
CASES: dict[str, tuple[Callable[[Any], Any], int, int, str]] = {
    "empty parquet file": (lambda w: w.put("p/bad.parquet", b""), 0, 1, "is empty (0 bytes)"),
    "empty csv file": (lambda w: w.put("p/bad.csv", b""), 0, 1, "is empty (0 bytes)"),
    "header only": (lambda w: w.put("p/bad.csv", "id,t,score\n"), 0, 0, ""),
    "text called parquet": (lambda w: w.put("p/bad.parquet", "hello"), 0, 1, "damaged or incomplete"),
    "truncated gzip": (
        lambda w: w.put("p/bad.csv.gz", gzip.compress(b"id,t,score\n" + b"a,2024-01-01,0.5\n" * 9999)[:-30]),
        0,
        1,
        "damaged",
    ),
    "wrong type of score": (
        lambda w: _parquet(w, [w.prediction("x", score="high")]),
        0,
        1,
        "column 'score': 'high' is not a finite number",
    ),
    "wrong type of time": (lambda w: _parquet(w, [w.prediction("x", t=True)]), 0, 1, "is not a time"),
    "missing column": (
        lambda w: _parquet(w, [{"id": "x", "t": "2024-01-01", "Scores": 0.5}]),
        0,
        1,
        "has no column 'score', which predictions.score names (did you mean 'Scores'?)",
    ),
    "columns A and a": (
        lambda w: w.put("p/bad.csv", "id,t,score,A,a\nx,2024-01-01,0.5,1,2\n"),
        0,
        1,
        "two columns with one name",
    ),
    "duplicate id, same row": (lambda w: _parquet(w, [w.prediction("good0", amount=1.5)]), 0, 0, ""),
    "duplicate id, other row": (
        lambda w: _parquet(w, [w.prediction("good0", t="2024-01-01T11:00:00", amount=7.0)]),
        0,
        1,
        "conflicts with an earlier row of the same id",
    ),
    "missing id": (
        lambda w: _parquet(w, [w.prediction(None), w.prediction("")]),
        0,
        2,
        "column 'id': the value is missing",
    ),
    "NaN score": (
        lambda w: _parquet(w, [w.prediction("x", score=float("nan"))]),
        0,
        1,
        "column 'score': the value is missing",
    ),
    "Inf score": (lambda w: _parquet(w, [w.prediction("x", score=float("inf"))]), 0, 1, "not a finite number"),
    "score above 1": (
        lambda w: _parquet(w, [w.prediction("x", score=1.01)]),
        0,
        1,
        "column 'score': '1.01' is not between 0 and 1",
    ),
    "NaN and Inf in a feature": (
        lambda w: _parquet(w, [w.prediction("x", amount=float("nan")), w.prediction("y", amount=float("-inf"))]),
        2,
        0,
        "",
    ),
    "text in a numeric feature": (lambda w: _parquet(w, [w.prediction("x", amount="lots")]), 1, 0, ""),
    "naive, zoned and Z times": (
        lambda w: _parquet(
            w,
            [
                w.prediction(i, t=t)
                for i, t in enumerate(["2024-01-01 05:00:00", "2024-01-01T05:00:00+02:00", "2024-01-01T05:00:00Z"])
            ],
        ),
        3,
        0,
        "",
    ),
    "year 1850 and 3000": (
        lambda w: _parquet(w, [w.prediction("x", t="1850-01-01"), w.prediction("y", t="3000-01-01")]),
        0,
        2,
        "between the years 1970 and 2262",
    ),
    "infinity as a time": (
        lambda w: _parquet(w, [w.prediction("x", t="infinity"), w.prediction("y", t="")]),
        0,
        2,
        "is not a time",
    ),
    "label before its prediction": (lambda w: w.put("l/b.csv", "id,y,at\ngood0,1,2024-01-01T00:00:00\n"), 1, 0, ""),
    "two labels at once": (
        lambda w: w.put("l/b.csv", "id,y,at\na,1,2024-01-01\na,0,2024-01-01\n"),
        0,
        2,
        "two labels at once",
    ),
    "label that is no class": (
        lambda w: w.put("l/b.csv", "id,y,at\na,maybe,2024-01-01\n"),
        0,
        1,
        "neither the positive class '1' nor its opposite",
    ),
    "hostile values": (lambda w: _parquet(w, [w.prediction(h, note=h) for h in HOSTILE]), len(HOSTILE), 0, ""),
    "hostile column names": (
        lambda w: w.put(
            "p/bad.parquet",
            pa.table(
                {"id": ["x"], "t": ["2024-01-01"], "score": [0.5], **{h: [1.0] for h in HOSTILE if "\x00" not in h}}
            ),
        ),
        1,
        0,
        "",
    ),
    "hostile values, refused": (
        lambda w: _parquet(w, [w.prediction("x", score=h) for h in HOSTILE]),
        0,
        len(HOSTILE),
        "is not a finite number",
    ),
    "1 MB text, parquet": (
        lambda w: _parquet(w, [w.prediction("x", note=LONG), w.prediction(LONG), w.prediction("z", t=LONG)]),
        1,
        2,
        "",
    ),
    "1 MB text, csv": (lambda w: w.put("p/bad.csv", f"id,t,score,note\nx,2024-01-01,0.5,{LONG}\n"), 1, 0, ""),
    "1 MB text, jsonl": (
        lambda w: w.put("p/bad.jsonl", f'{{"id":"x","t":"2024-01-01","score":0.5,"note":"{LONG}"}}\n'),
        1,
        0,
        "",
    ),
    "5 MB line": (
        lambda w: w.put("p/bad.csv", f"id,t,score\nx,2024-01-01,0.5\n{LONG * 5},2024-01-01,0.5\n"),
        1,
        1,
        "longer than 4 MB",
    ),
    "malformed csv lines": (
        lambda w: w.put("p/bad.csv", 'id,t,score\nx,2024-01-01,0.5\nfew\n1,2,3,4\ny,2024-01-01,"0.5\n'),
        1,
        3,
        "than the header",
    ),
    "malformed json lines": (
        lambda w: w.put("p/bad.jsonl", '{"id":"x","t":"2024-01-01","score":0.5}\n{"id":\n[1]\n\nnull\n'),
        1,
        3,
        "the line is not",
    ),
    "mixed line ends": (
        lambda w: w.put("p/bad.csv", "id,t,score\nx,2024-01-01,0.5\r\ny,2024-01-01,0.5\nfew\n"),
        2,
        1,
        "fewer columns",
    ),
    "not utf-8": (
        lambda w: w.put("p/bad.jsonl", b'{"id":"x","t":"2024-01-01","score":0.5}\n{"id":"\xff\xfe"}\n'),
        1,
        1,
        "is not UTF-8",
    ),
    "file name with quotes and globs": (_hostile_file, 1, 0, ""),
    "unknown ending": (lambda w: w.put("p/readme.txt", "hello"), 0, 0, ""),
}


def test_each_kind_of_bad_input_is_refused_with_its_reason_and_the_rest_goes_on(tmp_path, world, capsys):
    lines = [f"{'case':34} {'accepted':>8} {'quarantined':>11}  outcome"]
    for number, (case, (deliver, accepted, quarantined, reason)) in enumerate(CASES.items()):
        place = type(world)(tmp_path / str(number))
        place.put("p/good.parquet", _good(place))
        deliver(place)
        report = place.run(place.spec(), *NIGHTS)
        reasons = [r[0] for r in place.rows("quarantine", "reason")]
        good = place.rows("predictions", "count(*)::int", "prediction_id like 'good%'")[0][0]
        others = place.rows("predictions", "count(*)::int", "prediction_id not like 'good%'")[0][0]
        others += place.rows("labels", "count(*)::int")[0][0]
        outcome = min(reasons, default="taken in")
        lines.append(f"{case:34} {others:8} {len(reasons):11}  {outcome[:110]}")
        assert good == GOOD, case
        assert (others, len(reasons), report.rows_quarantined) == (accepted, quarantined, quarantined), (case, reasons)
        assert all("\n" not in r and len(r) < 400 for r in reasons), (case, reasons)
        assert not reasons or any(reason in r for r in reasons), (case, reasons)
        assert place.rows("intake", "count(*)", "delivered != accepted + duplicates + quarantined") == [(0,)], case
    with capsys.disabled():
        print("\n" + "\n".join(lines))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            {"predictions": {"source": "data/p/gone.parquet"}},
            "predictions.source: there is no data/p/gone.parquet (did you mean 'good.parquet'?)",
        ),
        ({"predictions": {"source": "data/gone/*.parquet"}}, "predictions.source: there is no data/gone/*.parquet"),
        ({"predictions": {"source": "data/l"}}, "predictions.source: data/l holds no file"),
        (
            {"predictions": {"source": "data/p", "score": "scor"}},
            "has no column 'scor', which predictions.score names (did you mean 'score'?)",
        ),
        (
            {"predictions": {"source": "data/p", "format": "standart"}},
            "no reader is called 'standart' (did you mean 'standard'?)",
        ),
        ({"labels": {"source": "data/labels.csv"}}, "labels.source: there is no data/labels.csv"),
        (
            {"features": {"numeric": ["amonut"]}},
            "features.numeric: no file of predictions.source has a column 'amonut' (did you mean 'amount'?)",
        ),
        ({"segments": ["country"]}, "no file of predictions.source has a column 'country'"),
    ],
)
def test_what_stops_a_night_is_said_in_one_line(world, capsys, change, line):
    world.put("p/good.parquet", _good(world))
    with pytest.raises(IngestError) as error:
        world.run(world.spec(**change), *NIGHTS)
    assert line in str(error.value)
    assert "\n" not in str(error.value)
    with capsys.disabled():
        print(f"\nstops the night: {error.value}", end="")


def test_a_wholly_unreadable_source_is_one_line(world):
    world.put("p/a.parquet", b"no")
    world.put("p/b.csv", b"")
    with pytest.raises(IngestError, match=r"predictions.source: data/p/a.parquet .* \(nor can the other 1 files\)"):
        world.run(world.spec(), *NIGHTS)


def test_no_labels_yet_is_fine_and_no_predictions_tonight_is_fine_after_the_first_night(world):
    file = world.put("p/a.parquet", _good(world))
    world.run(world.spec(), NIGHTS[0])
    file.unlink()
    report = world.run(world.spec(), NIGHTS[1])
    assert report.nights[0].rows_in == 0
    assert "data/p holds no file" in report.notes[0]


def test_a_parquet_file_cut_anywhere_is_quarantined_and_taken_in_once_it_is_whole(world):
    whole = world.put("p/b.parquet", [world.prediction(str(i), amount=i / 7) for i in range(500)]).read_bytes()
    world.put("p/a.parquet", _good(world))
    cuts = range(1, len(whole), len(whole) // 12)
    for cut in cuts:
        world.put(f"p/cut{cut}.parquet", whole[:cut])
    report = world.run(world.spec(), NIGHTS[0])
    assert report.rows_quarantined == len(cuts)
    assert world.rows("predictions", "count(*)::int") == [(500 + GOOD,)]
    world.put("p/b.parquet", whole[: len(whole) // 2])
    world.run(world.spec(), NIGHTS[1])
    world.put("p/b.parquet", whole)
    assert world.run(world.spec(), "2024-01-03").rows_quarantined == 0


def test_the_process_survives_random_damage_and_the_good_files_go_on(world):
    whole = world.put(
        "p/seed.parquet", [world.prediction(f"s{i}", amount=i / 7, country="DE") for i in range(300)]
    ).read_bytes()
    draw = random.Random(5)
    for number in range(40):
        damaged = bytearray(whole)
        for _ in range(draw.choice([1, 3, 10])):
            damaged[draw.randrange(number % 2 * (len(damaged) - 700), len(damaged))] = draw.randrange(256)
        world.put(f"p/damaged{number:02}.parquet", bytes(damaged))
    world.put("p/good.parquet", _good(world))
    world.run(world.spec(), NIGHTS[0])
    assert world.rows("predictions", "count(*)::int", "prediction_id like 'good%'") == [(GOOD,)]
    assert world.rows("predictions", "count(*)::int", "prediction_id like 's%'") >= [(300,)]
    assert len(world.rows("quarantine")) > 10


def test_a_parquet_file_that_claims_absurdly_many_rows_is_refused_before_it_is_read(world):
    world.put("p/good.parquet", _good(world))
    n = 20_000_000
    same = pa.DictionaryArray.from_arrays(pa.nulls(n, pa.int8()).fill_null(0), pa.array(["x"]))
    world.put("p/bomb.parquet", pa.table({"id": same, "t": same, "score": same}))
    report = world.run(world.spec(), NIGHTS[0])
    assert (report.rows_in, report.rows_quarantined) == (GOOD + 1, 1)
    assert "claims 20000000 rows" in world.rows("quarantine", "reason")[0][0]


def test_memory_stays_bounded_with_long_strings(world):
    rows = [world.prediction(str(i), note="y" * 1_000_000) for i in range(60)]
    world.put("p/a.parquet", pa.Table.from_pylist(rows))
    world.put("p/b.csv", "id,t,score,note\n" + "".join(f"b{i},2024-01-01,0.5,{LONG}\n" for i in range(60)))
    report = world.run(
        world.spec(), NIGHTS[0], engine_factory=lambda spill: DuckDBEngine(spill, memory="400MB", threads=2)
    )
    assert report.rows_in == 120
    assert world.rows("predictions", "count(*)::int", "f_note is null and invalid_fields is not null") == [(120,)]


@pytest.mark.parametrize(("day", "hours"), [("2024-03-31", 23), ("2024-10-27", 25)])
def test_a_day_with_a_clock_change_has_its_own_hours(world, day, hours):
    start = dt.datetime.fromisoformat(day) - dt.timedelta(hours=4)
    moments = [start + dt.timedelta(minutes=30 * i) for i in range(60)]
    world.put(
        "p/a.parquet",
        [
            world.prediction(f"{m:%d%H%M}", t=m.isoformat(" ") if m.minute else m.replace(tzinfo=dt.UTC).isoformat())
            for m in moments
        ],
    )
    days = [(dt.date.fromisoformat(day) + dt.timedelta(days=i)).isoformat() for i in (-1, 0, 1)]
    world.run(world.spec(timezone="Europe/Berlin"), *days)
    assert world.rows("predictions", "count(*)::int", f"arrival_date = date '{day}'") == [(hours * 2,)]
    assert world.rows("predictions", "count(*)::int") == [(60,)]
