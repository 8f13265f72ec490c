"""Whatever is delivered, in whatever files and order: every row ends as accepted, duplicate or quarantined, the same way."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import random
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlobs_pipelines.engine.duckdb import DuckDBEngine

NIGHTS = ["2024-03-30", "2024-03-31", "2024-04-01", "2024-04-02"]
SCORES = ["0.1", "0.5", "0.9", "1.5", "abc", None, "nan", "0.5"]


def _moment(draw: random.Random) -> str:
    start = dt.datetime(2024, 3, 29, 23)
    moment = start + dt.timedelta(minutes=draw.randrange(0, 4 * 24 * 60 - 180, 360))
    return draw.choice([moment.isoformat(), moment.isoformat() + "Z", f"{moment:%Y-%m-%d %H:%M:%S}+00:00"])


def _predictions(draw: random.Random, n: int) -> list[dict[str, Any]]:
    rows = []
    for _ in range(n):
        moment = _moment(draw) if draw.random() < 0.95 else draw.choice(["never", None, "1850-01-01"])
        rows.append(
            {
                "id": draw.choice(["a", "b", "c", "d", "e", "f", None])
                if draw.random() < 0.5
                else f"u{draw.randrange(200)}",
                "t": moment,
                "logged": moment if draw.random() < 0.7 else _moment(draw),
                "score": draw.choice(SCORES) if draw.random() < 0.4 else "0.5",
                "version": draw.choice(["1", "2"]),
                "country": draw.choice(["DE", "FR", "'; DROP TABLE x; --", None]),
                "amount": draw.choice(["1", "2.5", "inf", "x", None])
                if draw.random() < 0.2
                else str(draw.randrange(3)),
            }
        )
    return rows


def _labels(draw: random.Random, n: int) -> list[dict[str, Any]]:
    ids = ["a", "b", "c", "d", "e", None]
    return [
        {"id": draw.choice(ids), "y": draw.choice(["0", "1", "1", "2", None]), "at": _moment(draw)} for _ in range(n)
    ]


def _encode(draw: random.Random, rows: list[dict[str, Any]], key: int) -> tuple[str, bytes, int]:
    """(ending, bytes, rows that must be accounted for) of some rows, in some format, with some malformed lines."""
    kind = draw.choice(["parquet", "csv", "jsonl"])
    if kind == "parquet":
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), buffer)
        return "parquet", buffer.getvalue(), len(rows)
    text = io.StringIO()
    if kind == "csv":
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        text.writelines(json.dumps(row) + "\n" for row in rows)
    # The line's own number keeps files apart that would otherwise be the same bytes, and so one delivery.
    extra = [f"malformed {key}-{i}" for i in range(draw.choice([0, 1, 3]))]
    return kind, (text.getvalue() + "".join(line + "\n" for line in extra)).encode(), len(rows) + len(extra)


def _delivery(seed: int) -> tuple[dict[str, bytes], dict[str, int]]:
    draw = random.Random(seed)
    files: dict[str, bytes] = {}
    counts = {"predictions": 0, "labels": 0}
    for i in range(6):
        rows = _predictions(draw, 40)
        rows += draw.sample(rows, 8)
        ending, content, count = _encode(draw, rows, i)
        files[f"p/{i}.{ending}"] = content
        counts["predictions"] += count
    for i in range(3):
        ending, content, count = _encode(draw, _labels(draw, 30), 100 + i)
        files[f"l/{i}.{ending}"] = content
        counts["labels"] += count
    files["p/broken.parquet"] = files.get("p/0.parquet", b"PAR1 not really")[:200]
    counts["predictions"] += 1
    return files, counts


def _deliver(world: Any, files: dict[str, bytes], *, shuffle: int | None = None, twice: bool = False) -> None:
    names = list(files)
    if shuffle is not None:
        random.Random(shuffle).shuffle(names)
    for position, name in enumerate(names):
        folder, rest = name.split("/")
        target = name if shuffle is None else f"{folder}/{position:02d}-{rest}"
        path = world.put(target, files[name])
        if twice:
            shutil.copy(path, path.with_name("again-" + path.name))


def _without_files(tables: dict[str, list[tuple[Any, ...]]]) -> dict[str, Any]:
    """Tables whose rows do not depend on how files are called: the quarantine without file, line and what rests on them."""
    return {
        k: (sorted(map(repr, ((r[0], r[1], r[4], r[5]) for r in v))) if k.startswith("quarantine") else v)
        for k, v in tables.items()
    }


def _spec(world: Any) -> Any:
    return world.spec(
        timezone="Europe/Berlin", predictions={"arrived_at": "logged", "version": "version"}, segments=["country"]
    )


def _one_thread(spill: Path) -> DuckDBEngine:
    return DuckDBEngine(spill, threads=1)


def _two_threads(spill: Path) -> DuckDBEngine:
    return DuckDBEngine(spill, threads=2)


@pytest.mark.parametrize("seed", range(3))
def test_every_delivered_row_is_accounted_for_and_the_way_it_came_makes_no_difference(tmp_path, world, seed):
    files, counts = _delivery(seed)
    _deliver(world, files)
    world.run(_spec(world), *NIGHTS, engine_factory=_one_thread)
    expected = world.tables()
    delivered = dict(world.rows("intake", "source, sum(delivered)::int", "true group by source"))
    assert delivered == counts
    assert world.rows("intake", "count(*)", "delivered != accepted + duplicates + quarantined") == [(0,)]
    accepted = dict(world.rows("intake", "source, sum(accepted)::int", "true group by source"))
    assert accepted == {s: len(world.rows(s)) for s in counts}
    refused = dict(world.rows("intake", "source, sum(quarantined)::int", "true group by source"))
    assert refused == dict(world.rows("quarantine", "source, count(*)::int", "true group by source"))

    def other(name: str, **how: Any) -> Any:
        fresh = type(world)(tmp_path / name)
        _deliver(fresh, files, **how)
        return fresh

    nightly = other("nightly")
    for night in NIGHTS:
        nightly.run(_spec(world), night, engine_factory=_two_threads)
        nightly.home.sources_file("m").unlink(missing_ok=seed % 2 == 0)
    assert nightly.tables() == expected
    nightly.run(_spec(world), NIGHTS[-1])
    assert nightly.tables() == expected
    nightly.run(_spec(world), *NIGHTS)
    assert nightly.tables() == expected

    varied = other("varied", shuffle=seed, twice=True)
    varied.run(_spec(world), *NIGHTS[:2], engine_factory=_two_threads)
    varied.run(_spec(world), *NIGHTS[1:])
    assert _without_files(varied.tables()) == _without_files(expected)


def test_what_comes_a_file_a_night_is_the_same_however_often_the_cache_is_lost(tmp_path, world):
    files, _ = _delivery(11)
    other = type(world)(tmp_path / "other")
    for number, (name, content) in enumerate(sorted(files.items())):
        night = NIGHTS[min(number // 3, 3)]
        for place in (world, other):
            place.put(name, content)
            if number % 3 == 2 and any(f.startswith("p/") for f in sorted(files)[: number + 1]):
                place.run(_spec(world), night)
        other.home.sources_file("m").unlink(missing_ok=True)
    assert world.tables() == other.tables()
