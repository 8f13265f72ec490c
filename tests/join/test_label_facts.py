"""Label facts as dbt builds them, against the definition."""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

sys.path.insert(0, str(Path(__file__).parent))

from histories import (
    expected,
    files,
    history,
    label,
    night,
    prediction,
    random_history,
    spec_of,
    stored,
)

from mlobs_pipelines.engine.dbt import run_dbt
from mlobs_pipelines.engine.duckdb import DuckDBEngine
from mlobs_pipelines.join.night import JoinError, build, export, prepare
from mlobs_pipelines.store.layout import Home

pytestmark = pytest.mark.slow

NIGHTS = [night(i) for i in range(10)]


def join(home, spec, nights):
    build(prepare(home, spec, nights))
    export(home, spec, nights)


def believed(facts):
    """What is believed after all nights: key and label."""
    return (
        facts.group_by("prediction_id", "version", "role", "label")
        .agg(pl.col("sign").sum())
        .filter(pl.col("sign") != 0)
    )


@pytest.fixture(scope="module")
def silence(tmp_path_factory):
    """A random history with positives_only, joined in one go."""
    home, spec = Home(tmp_path_factory.mktemp("silence")), spec_of(mode="positives_only")
    made = random_history(7, len(NIGHTS), 1500, ["1", "1", "0"])
    made.write(home, spec, NIGHTS)
    join(home, spec, NIGHTS)
    return home, spec, made


def test_facts_are_what_the_definition_says_where_silence_means_negative(silence):
    home, spec, made = silence
    facts = stored(home, spec)
    assert_frame_equal(facts, expected(made, spec, NIGHTS))
    assert set(facts["kind"]) == {"label", "correction", "silence"}


def test_the_unit_tests_of_the_project_pass(silence):
    home, spec, _ = silence
    environment = prepare(home, spec, NIGHTS[-1:])
    said = run_dbt(("test", "--select", "test_type:unit"), environment)
    assert [node.status for node in said] == ["pass"] * 3


def test_nights_in_pieces_killed_and_again_give_the_same_files_as_in_one_go(silence, tmp_path):
    whole, spec, made = silence
    home = Home(tmp_path)
    made.write(home, spec, NIGHTS[:1])
    join(home, spec, NIGHTS[:1])
    made.write(home, spec, NIGHTS[1:4])
    environment = prepare(home, spec, NIGHTS[1:4])
    with pytest.raises(JoinError, match="are not built"):
        export(home, spec, NIGHTS[1:4])
    build(environment)  # and killed before the facts are in the lake
    for piece in (NIGHTS[1:6], NIGHTS[6:], NIGHTS[-1:]):
        made.write(home, spec, piece)
        join(home, spec, piece)
    assert files(home.lake("m") / "label_facts") == files(whole.lake("m") / "label_facts")


def test_a_broken_and_a_foreign_warehouse_are_made_again_from_the_lake(silence):
    home, spec, _ = silence
    before = files(home.lake("m") / "label_facts")
    warehouse = home.warehouse_file("m")

    def damage_by_noise():
        warehouse.write_bytes(b"not a database" * 1000)

    def damage_by_another_version():
        with DuckDBEngine() as engine:
            engine.run(
                f"attach '{warehouse}' as w; update w.built_by set project = 'another'; drop table w.label_index"
            )

    for damage in (damage_by_noise, damage_by_another_version):
        damage()
        home.lake_file("m", "label_facts", NIGHTS[-1]).unlink()
        join(home, spec, NIGHTS[-1:])
        assert files(home.lake("m") / "label_facts") == before


def test_a_night_that_changed_in_the_lake_is_indexed_again(silence, tmp_path):
    _, spec, made = silence
    home = Home(tmp_path)
    made.write(home, spec, NIGHTS[:3])
    join(home, spec, NIGHTS[:2])
    erased = made.predictions["prediction_id"][0]
    kept = random_history(7, len(NIGHTS), 1500, ["1", "1", "0"])
    kept.predictions = kept.predictions.filter(pl.col("prediction_id") != erased)
    kept.write(home, spec, NIGHTS[:3])
    join(home, spec, NIGHTS[2:3])
    third = pl.read_parquet(home.lake_file("m", "label_facts", NIGHTS[2]))
    wanted = expected(kept, spec, NIGHTS[:3]).filter(pl.col("arrival_date") == NIGHTS[2])
    assert_frame_equal(third.sort("prediction_id", "version", "role", "sign"), wanted)


def test_changing_what_silence_means_asks_for_a_rebuild(silence):
    home, _, _ = silence
    with pytest.raises(JoinError, match="mlobs rebuild m"):
        prepare(home, spec_of(mode="positives_only", maturity=4), NIGHTS[-1:])
    with pytest.raises(JoinError, match="ingest that night first"):
        prepare(home, spec_of(mode="positives_only"), [night(99)])


def test_explicit_labels_and_stories_told_one_by_one(tmp_path):
    home, spec = Home(tmp_path / "it's; drop"), spec_of(model="temp")
    stories = history(
        [
            prediction("early", 0, 4),
            prediction("corrected", 0, 0),
            prediction("shared", 1, 1, "1"),
            prediction("shared", 1, 3, "2", "shadow"),
            prediction("repeated", 0, 0),
            prediction("failed", 0, 0, failed=True),
            prediction("unlabelled", 0, 0),
            prediction("back", 0, 0),
        ],
        [
            label("early", "1", 1),
            label("corrected", "0", 2),
            label("corrected", "1", 5),
            label("shared", "1", 2),
            label("repeated", "1", 2, 1),
            label("repeated", "0", 2, 2),
            label("repeated", "0", 3),
            label("failed", "1", 2),
            label("unknown", "1", 2),
            label("back", "0", 1),
            label("back", "1", 2),
            label("back", "0", 3),
        ],
    )
    made = random_history(11, len(NIGHTS), 1500, ["0", "1"])
    made.predictions = pl.concat([made.predictions, stories.predictions])
    made.labels = pl.concat([made.labels, stories.labels])
    made.write(home, spec, NIGHTS)
    join(home, spec, NIGHTS)
    facts = stored(home, spec)
    assert_frame_equal(facts, expected(made, spec, NIGHTS))

    def told(id_):
        rows = facts.filter(pl.col("prediction_id") == id_).sort("arrival_date", "version", "sign")
        return [
            ((r["arrival_date"] - night(0)).days, r["version"], r["sign"], r["label"], r["kind"])
            for r in rows.to_dicts()
        ]

    assert told("early") == [(4, "1", 1, "1", "label")]  # the label waited for its prediction
    assert told("corrected") == [
        (2, "1", 1, "0", "label"),
        (5, "1", -1, "0", "correction"),
        (5, "1", 1, "1", "correction"),
    ]
    assert told("shared") == [(2, "1", 1, "1", "label"), (3, "2", 1, "1", "label")]
    assert told("repeated") == [(2, "1", 1, "0", "label")]  # the last of the night; its repetition says nothing new
    assert told("failed") == told("unknown") == told("unlabelled") == []
    assert [row[2:4] for row in told("back")] == [(1, "0"), (-1, "0"), (1, "1"), (-1, "1"), (1, "0")]
    assert believed(facts).filter(pl.col("prediction_id") == "back")["label"].to_list() == ["0"]


def test_numbers_are_joined_as_numbers_and_a_night_without_labels_has_an_empty_file(tmp_path):
    home, spec = Home(tmp_path), spec_of("regression")
    made = random_history(3, 4, 300, [0.1, -2.5, 1e300], pl.Float64)
    made.write(home, spec, NIGHTS[:6])
    join(home, spec, NIGHTS[:6])
    assert_frame_equal(stored(home, spec), expected(made, spec, NIGHTS[:6]))
    empty = pl.read_parquet(home.lake_file("m", "label_facts", NIGHTS[5]))
    assert empty.height == 0
    assert empty.schema == stored(home, spec).schema


def test_a_broken_promise_fails_the_build_with_one_line_that_says_where(tmp_path):
    home, spec = Home(tmp_path), spec_of()
    made = history([prediction("a", 0, 0), prediction("a", 0, 1)], [label("a", "1", 1)])
    made.write(home, spec, NIGHTS[:2])
    with pytest.raises(JoinError, match=r"each_prediction_once.*see .*dbt\.log") as caught:
        join(home, spec, NIGHTS[:2])
    assert "\n" not in str(caught.value)
