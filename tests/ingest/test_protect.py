from __future__ import annotations

import hashlib
import hmac
import stat

import pytest

from mlobs_pipelines.engine.duckdb import DuckDBEngine
from mlobs_pipelines.ingest import protect
from mlobs_pipelines.ingest.sources import IngestError

SECRET_CARD, SECRET_NAME = "4111-1111-1111-1111", "Erika Mustermann"


@pytest.mark.parametrize("key", [b"k", b"0123456789abcdef" * 4, b"longer than a block " * 5])
def test_the_keyed_hash_is_pythons_hmac(tmp_path, key):
    with DuckDBEngine(tmp_path) as engine:
        protect.define_keyed_hash(engine, key)
        for text in ("", "Erika", "é🙂", "it's \\x00", "x" * 5000):
            escaped = text.replace("'", "''")
            assert engine.rows(f"select keyed_hash('{escaped}')") == [
                (hmac.new(key, text.encode(), hashlib.sha256).hexdigest(),)
            ]
        assert engine.rows("select keyed_hash(null)") == [(None,)]


def test_the_key_is_made_once_and_only_its_owner_reads_it(world, monkeypatch):
    monkeypatch.delenv("MLOBS_HASH_KEY", raising=False)
    key = protect.key(world.home)
    assert len(bytes.fromhex(key.decode())) == 32
    assert stat.S_IMODE(world.home.hash_key.stat().st_mode) == 0o600
    assert protect.key(world.home) == key
    monkeypatch.setenv("MLOBS_HASH_KEY", "given")
    assert protect.key(world.home) == b"given"


def test_dropped_and_hashed_values_are_nowhere_below_the_home(world, monkeypatch):
    monkeypatch.setenv("MLOBS_HASH_KEY", "k")
    rows = [world.prediction(i, card=SECRET_CARD, name=SECRET_NAME, score=s) for i, s in enumerate((0.5, 7.0, "bad"))]
    source = world.put(
        "../elsewhere/a.csv",
        "id,t,score,card,name\n" + "".join(",".join(str(v) for v in r.values()) + "\n" for r in rows),
    )
    source.write_text(source.read_text() + f"malformed {SECRET_CARD} {SECRET_NAME}\n")
    outside = world.home.root.parent / "outside.csv"
    source.rename(outside)
    spec = world.spec(
        predictions={"source": str(outside), "drop": ["card"], "hash": ["name"], "subject": "name"}, segments=["name"]
    )
    world.run(spec, "2024-01-01")
    hashed = hmac.new(b"k", SECRET_NAME.encode(), hashlib.sha256).hexdigest()
    assert world.rows("predictions", "subject, f_name") == [(hashed, hashed)]
    assert world.rows(
        "quarantine", "line, raw is null, raw like '%' || '" + hashed + "%'", "reason like 'the line%'"
    ) == [(5, True, None)]
    assert world.rows("quarantine", "count(*)", f"raw like '%{hashed}%'") == [(2,)]
    for file in world.home.root.rglob("*"):
        if file.is_file():
            content = (
                file.read_bytes() if file.suffix != ".parquet" else b"".join(repr(r).encode() for r in _rows(file))
            )
            assert SECRET_CARD.encode() not in content, file
            assert SECRET_NAME.encode() not in content, file


def _rows(file):
    with DuckDBEngine() as engine:
        return engine.rows(f"select * from read_parquet('{file}')")


def test_hashing_the_id_hashes_that_of_the_labels_too_and_the_time_of_a_refused_id_is_not_shown(world, monkeypatch):
    monkeypatch.setenv("MLOBS_HASH_KEY", "k")
    world.put("p/a.parquet", [world.prediction("a")])
    world.put("l/a.csv", "key,y,at\na,1,2024-01-01\n")
    world.run(world.spec(predictions={"hash": ["id"]}, labels={"id": "key"}), "2024-01-01")
    ((predicted,),) = world.rows("predictions", "prediction_id")
    assert world.rows("labels", "prediction_id") == [(predicted,)]
    assert len(predicted) == 64


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"predictions": {"hash": ["t"]}}, "predictions.hash: column 't'"),
        ({"predictions": {"drop": ["score"]}}, "predictions.drop: column 'score'"),
        ({"predictions": {"drop": ["country"]}, "segments": ["country"]}, "predictions.drop: column 'country'"),
    ],
)
def test_a_spec_can_not_drop_or_hash_what_the_pipeline_needs(world, change, line):
    world.put("p/a.parquet", [world.prediction("a", country="DE")])
    with pytest.raises((IngestError, ValueError)) as error:
        world.run(world.spec(**change), "2024-01-01")
    if isinstance(error.value, IngestError):
        assert line in str(error.value)
