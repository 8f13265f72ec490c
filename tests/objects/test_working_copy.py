"""What of a home counts at its object store: nights whole or not at all, whoever writes and whoever reads."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mlobs_pipelines.store import manifest, storage
from mlobs_pipelines.store.files import write_text
from mlobs_pipelines.store.manifest import Entry, Manifest
from mlobs_pipelines.store.objects import ObjectStore, StorageError
from mlobs_pipelines.store.working_copy import bring
from tests.objects.conftest import Place, before_storage

CHILD = Path(__file__).with_name("commit_child.py")
ROOT = CHILD.parents[2]
MODEL = "card_fraud"
NIGHTS = [dt.date(2026, 1, day) for day in range(1, 8)]
TABLES = ("signals", "causes", "metrics", "incidents")

pytestmark = pytest.mark.slow


def write(home, night, content):
    """A night's files; what is in them is of no concern here."""
    storage.begin(home, MODEL, [night])
    for table in ("labels", "intake", "predictions", "feature_profile"):
        write_text(home.lake_file(MODEL, table, night), f"{table} {content}")
    for table in TABLES:
        write_text(home.store_file(table, MODEL, night), f"{table} {content}")
    storage.end(home, MODEL, [night])


def run(home, night, content):
    with storage.turn(home, MODEL):
        write(home, night, content)
        storage.commit(home, MODEL)


def refresh(home, *, rows=True):
    """What ``storage.refresh`` does, without making the snapshot, for these files are no tables."""
    return bring(storage.of(home).store, home, MODEL, rows=rows)


def seen(home, table="metrics"):
    return {
        path.stem: path.read_text().split()[-1] for path in sorted(home.store_folder(table, MODEL).glob("*.parquet"))
    }


def lake(home, table="predictions"):
    return {path.stem: path.read_text().split()[-1] for path in sorted((home.lake(MODEL) / table).glob("*.parquet"))}


def test_what_one_machine_published_another_one_has(place):
    one, other = place.home("one"), place.home("other")
    write_text(one.spec_file(MODEL), "model: card_fraud")
    run(one, NIGHTS[0], "first")
    run(one, NIGHTS[1], "second")
    assert refresh(other)
    assert seen(other) == {"2026-01-01": "first", "2026-01-02": "second"}
    assert lake(other) == seen(other)
    assert other.spec_file(MODEL).read_text() == "model: card_fraud"
    assert not refresh(other)


def test_a_machine_goes_on_where_another_one_left_off(place):
    one, other = place.home("one"), place.home("other")
    run(one, NIGHTS[0], "one")
    run(other, NIGHTS[1], "other")
    run(one, NIGHTS[2], "one")
    refresh(other)
    assert seen(one) == seen(other) == {"2026-01-01": "one", "2026-01-02": "other", "2026-01-03": "one"}


def test_a_reader_of_results_is_spared_the_rows_until_it_asks_for_them(place):
    one, other = place.home("one"), place.home("other")
    run(one, NIGHTS[0], "first")
    refresh(other, rows=False)
    assert seen(other)
    assert lake(other, "feature_profile")
    assert not lake(other)
    run(one, NIGHTS[0], "again")
    refresh(other, rows=True)
    assert lake(other) == {"2026-01-01": "again"}
    run(one, NIGHTS[0], "anew")
    refresh(other, rows=False)
    assert seen(other) == {"2026-01-01": "anew"}
    assert not lake(other), "rows of another time than the numbers are not kept"
    run(other, NIGHTS[1], "second")
    refresh(one)
    assert lake(one) == {"2026-01-01": "anew", "2026-01-02": "second"}


def test_a_night_that_is_not_whole_does_not_count_and_what_says_that_it_failed_does(place):
    one, other = place.home("one"), place.home("other")
    run(one, NIGHTS[0], "first")
    with storage.turn(one, MODEL):
        storage.begin(one, MODEL, NIGHTS[:2])
        write_text(one.lake_file(MODEL, "predictions", NIGHTS[0]), "predictions again")
        write_text(one.lake_file(MODEL, "predictions", NIGHTS[1]), "predictions second")
        write_text(one.store_file("metrics", MODEL, NIGHTS[1]), "metrics second")
        write_text(one.store_file("runs", MODEL, NIGHTS[1]), "it failed")
        storage.commit(one, MODEL)
    refresh(other)
    assert seen(other) == lake(other) == {"2026-01-01": "first"}
    assert seen(other, "runs") == {"2026-01-02": "failed"}
    assert lake(one) == {"2026-01-01": "again", "2026-01-02": "second"}, "what was done here is not lost"
    run(one, NIGHTS[1], "whole")
    refresh(other)
    assert seen(other) == lake(other) == {"2026-01-01": "first", "2026-01-02": "whole"}, "the other one is still half"
    run(one, NIGHTS[0], "again")
    refresh(other)
    assert seen(other) == lake(other) == {"2026-01-01": "again", "2026-01-02": "whole"}


def test_what_was_not_published_is_put_back_when_another_machine_wrote_the_nights(place):
    one, other = place.home("one"), place.home("other")
    run(one, NIGHTS[0], "first")
    with pytest.raises(KeyboardInterrupt), storage.turn(one, MODEL):
        write(one, NIGHTS[0], "half")
        write(one, NIGHTS[1], "half")
        write_text(one.behind_file(MODEL), "[]")
        raise KeyboardInterrupt
    run(other, NIGHTS[1], "whole")
    with storage.turn(one, MODEL):
        assert seen(one) == lake(one) == {"2026-01-01": "first", "2026-01-02": "whole"}
        assert not one.behind_file(MODEL).exists()


def test_whoever_lost_its_turn_publishes_nothing(place):
    one, other = place.home("one"), place.home("other")
    run(one, NIGHTS[0], "first")
    with pytest.raises(StorageError, match="took over"), storage.turn(one, MODEL):
        asleep = storage._turns[one.root, MODEL]
        asleep._ended.set()  # no sign of life any more
        write(one, NIGHTS[1], "one")
        run(other, NIGHTS[1], "other")
        storage.commit(one, MODEL)
    refresh(other)
    assert seen(other) == {"2026-01-01": "first", "2026-01-02": "other"}
    run(one, NIGHTS[2], "third")
    assert seen(one) == {"2026-01-01": "first", "2026-01-02": "other", "2026-01-03": "third"}


def test_whoever_lost_its_turn_between_looking_and_publishing_is_refused_too(place, monkeypatch):
    one, other = place.home("one"), place.home("other")
    run(one, NIGHTS[0], "first")
    uploaded = ObjectStore.upload
    once = iter([True])

    def slowly(store, file, key):
        uploaded(store, file, key)
        if next(once, False):
            storage._turns[one.root, MODEL]._ended.set()
            run(other, NIGHTS[1], "other")

    monkeypatch.setattr(ObjectStore, "upload", slowly)
    with pytest.raises(StorageError, match="another machine took over and wrote its nights"), storage.turn(one, MODEL):
        write(one, NIGHTS[1], "one")
        storage.commit(one, MODEL)
    refresh(other)
    assert seen(other) == {"2026-01-01": "first", "2026-01-02": "other"}


def test_of_two_writers_who_know_the_same_manifest_one_is_refused(place):
    store = place.store()
    assert manifest.latest(store, MODEL) == Manifest()
    assert manifest.publish(store, MODEL, Manifest(1, 1, {"a": Entry("0" * 64, 1)}))
    assert not manifest.publish(store, MODEL, Manifest(1, 2, {"b": Entry("0" * 64, 1)}))
    assert list(manifest.latest(store, MODEL).files) == ["a"]


def test_a_reader_sees_each_night_whole_at_any_time(place):
    one, reader = place.home("one"), place.home("reader")
    run(one, NIGHTS[0], "0")
    done, torn = threading.Event(), []

    def write_again_and_again():
        for i in range(1, 6):
            run(one, NIGHTS[0], str(i))
            run(one, NIGHTS[i], str(i))
        done.set()

    thread = threading.Thread(target=write_again_and_again)
    thread.start()
    looks = 0
    while not done.is_set() or looks == 0:
        refresh(reader)
        found = [seen(reader, table) for table in TABLES] + [lake(reader, table) for table in ("labels", "predictions")]
        torn += [found] if any(each != found[0] for each in found) else []
        looks += 1
    thread.join()
    refresh(reader)
    assert not torn
    assert seen(reader) == seen(one)
    assert len(seen(reader)) == 6


def test_killed_before_its_files_count_it_leaves_what_counted_and_goes_on(place, monkeypatch):
    one, reader = place.home("one"), place.home("reader")
    run(one, NIGHTS[0], "first")
    uploaded, left = ObjectStore.upload, iter(range(3))

    def dies(store, file, key):
        next(left)  # StopIteration stands for the end of the process
        uploaded(store, file, key)

    with monkeypatch.context() as patched:
        patched.setattr(ObjectStore, "upload", dies)
        with contextlib.suppress(BaseException):
            run(one, NIGHTS[0], "again")
    refresh(reader)
    assert set(seen(reader).values()) == set(lake(reader).values()) == {"first"}
    run(one, NIGHTS[0], "again")
    refresh(reader)
    assert set(seen(reader).values()) == set(lake(reader).values()) == {"again"}


def test_killed_at_any_object_that_it_writes_nothing_of_the_night_is_seen_and_the_next_run_has_all(tmp_path):
    place = Place(f"file://{tmp_path / 'kept'}", {}, tmp_path)
    one, reader = place.home("one"), place.home("reader")
    run(one, NIGHTS[0], "0")
    point = 0
    while True:
        point += 1
        child = [sys.executable, str(CHILD), str(one.root), str(NIGHTS[0]), str(point), str(point)]
        killed = subprocess.run(
            child, check=False, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
        )
        refresh(reader)
        found = {*seen(reader).values(), *seen(reader, "incidents").values(), *lake(reader).values()}
        if killed.returncode == 0:
            assert found == {str(point)}
            break
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert found == {"0"}, f"killed at object {point}"
    assert point == 7, "one for the turn, four files, the manifest; then it lives"


def test_killed_while_it_fetches_it_fetches_again_what_counts_by_then(place, monkeypatch):
    one, other = place.home("one"), place.home("other")
    run(one, NIGHTS[0], "first")
    replace, left = Path.replace, iter(range(5))

    def dies(self, target):
        if other.root in target.parents and "storage" not in target.parts:
            next(left)
        return replace(self, target)

    with monkeypatch.context() as patched, contextlib.suppress(BaseException):
        patched.setattr(Path, "replace", dies)
        refresh(other)
    assert 0 < len(list(other.root.rglob("*.parquet"))) < 4 + len(TABLES)
    run(one, NIGHTS[0], "again")
    refresh(other)
    assert set(seen(other).values()) == set(lake(other).values()) == {"again"}


def test_files_that_a_run_removed_are_gone_everywhere_and_files_lost_otherwise_come_back(place):
    one, other = place.home("one"), place.home("other")
    for night in NIGHTS[:3]:
        run(one, night, "kept")
    refresh(other)
    with storage.turn(one, MODEL):
        one.lake_file(MODEL, "predictions", NIGHTS[0]).unlink()  # as retention would
        storage.commit(one, MODEL)
    one.lake_file(MODEL, "predictions", NIGHTS[1]).unlink()  # as nobody should
    refresh(one)
    refresh(other)
    assert list(lake(one)) == list(lake(other)) == ["2026-01-02", "2026-01-03"]


def test_what_people_and_the_loop_wrote_beside_a_run_is_kept_by_it(place):
    one, other = place.home("one"), place.home("other")
    run(one, NIGHTS[0], "first")
    refresh(other)
    with storage.turn(one, MODEL):
        write(one, NIGHTS[1], "second")
        write_text(other.store_file("comparisons", MODEL, NIGHTS[0]), "better")
        write_text(other.store_file("metrics", MODEL, NIGHTS[0]), "not by the loop")
        storage.commit(other, MODEL)
        storage.commit(one, MODEL)
    with storage.turn(one, MODEL):
        pass
    assert seen(one) == {"2026-01-01": "first", "2026-01-02": "second"}
    assert seen(one, "comparisons") == {"2026-01-01": "better"}


def test_a_home_with_nights_of_its_own_is_put_there_by_its_next_run(place):
    one, other = place.home("one"), place.home("other")
    with before_storage(one):
        write(one, NIGHTS[0], "long ago")
    run(one, NIGHTS[1], "now")
    refresh(other)
    assert seen(other) == {"2026-01-01": "ago", "2026-01-02": "now"}


def test_a_home_with_other_nights_than_the_store_is_refused_and_keeps_them(place):
    one, other = place.home("one"), place.home("other")
    run(one, NIGHTS[0], "one")
    write_text(other.store_file("metrics", MODEL, NIGHTS[3]), "metrics other")
    with pytest.raises(
        StorageError, match=r"2026-01-04.parquet is not what .* has of card_fraud; begin with an empty home"
    ):
        refresh(other)
    assert seen(other) == {"2026-01-04": "other"}


def test_nights_from_before_that_are_not_there_yet_are_never_put_back(place):
    one, other = place.home("one"), place.home("other")
    write_text(one.store_file("metrics", MODEL, NIGHTS[0]), "metrics one")
    with pytest.raises(KeyboardInterrupt), storage.turn(one, MODEL):
        raise KeyboardInterrupt
    run(other, NIGHTS[0], "other")
    with pytest.raises(StorageError, match="begin with an empty home"):
        refresh(one)
    assert seen(one) == {"2026-01-01": "one"}


def test_a_home_that_forgot_what_it_knew_of_the_store_takes_up_the_same_files_again(place):
    one = place.home("one")
    run(one, NIGHTS[0], "one")
    (one.storage / f"{MODEL}.json").unlink()
    assert not refresh(one)
    run(one, NIGHTS[1], "one")
    assert len(seen(one)) == 2


def test_a_store_that_lost_what_was_published_is_told(place):
    one = place.home("one")
    run(one, NIGHTS[0], "one")
    store = place.store()
    store.delete(store.find("models"))
    with pytest.raises(StorageError, match=r"has lost what was published of card_fraud; put it back, or remove .*json"):
        refresh(one)
    assert seen(one)


def test_sweeping_removes_what_no_reader_can_want_and_nothing_else(place):
    one, reader = place.home("one"), place.home("reader")
    for content in "abc":
        run(one, NIGHTS[0], content)
    store = place.store()
    before = len(store.find("models"))
    assert manifest.sweep(store, MODEL) == 0, "what was replaced a moment ago may be read just now"
    assert len(store.find("models")) == before
    assert manifest.sweep(store, MODEL, kept=dt.timedelta(seconds=-2)) > 0
    refresh(reader)
    assert seen(reader) == lake(reader) == {"2026-01-01": "c"}
    files = 4 + len(TABLES)
    assert len(store.find("models")) == 1 + files
    run(one, NIGHTS[0], "a")
    refresh(reader)
    assert seen(reader) == {"2026-01-01": "a"}, "what was swept is uploaded again where it is wanted again"


def test_a_manifest_that_was_swept_while_it_was_read_is_read_anew(place, monkeypatch):
    one, reader = place.home("one"), place.home("reader")
    run(one, NIGHTS[0], "a")
    download, once = ObjectStore.download, iter([True])

    def swept_meanwhile(store, key, file, sha256):
        if next(once, False):
            run(one, NIGHTS[0], "b")
            manifest.sweep(place.store(), MODEL, kept=dt.timedelta(seconds=-2))
        return download(store, key, file, sha256)

    monkeypatch.setattr(ObjectStore, "download", swept_meanwhile)
    refresh(reader)
    assert seen(reader) == lake(reader) == {"2026-01-01": "b"}


def test_a_home_without_storage_knows_nothing_of_all_this(tmp_path):
    from mlobs_pipelines.store.layout import Home

    home = Home(tmp_path)
    assert storage.of(home) is None
    run(home, NIGHTS[0], "alone")
    storage.refresh(home, rows=True)
    assert not home.storage.exists()
    assert seen(home) == {"2026-01-01": "alone"}


def test_the_url_may_come_from_the_environment(place, monkeypatch, tmp_path):
    monkeypatch.setenv(storage.VARIABLE, f"file://{tmp_path}/elsewhere")
    one = place.home("one")
    one.settings_file.write_text("storage: file:///not/this\n")
    assert storage.of(one).store.url == f"file://{tmp_path}/elsewhere"
