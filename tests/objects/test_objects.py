"""Whole objects by key, whatever happens to the connection."""

from __future__ import annotations

import hashlib

import pytest

from mlobs_pipelines.store import objects
from mlobs_pipelines.store.objects import ObjectStore, StorageError, in_parallel
from tests.objects.conftest import server
from tests.objects.flaky import flaky


def test_what_was_put_is_got_listed_and_gone_when_it_is_deleted(place, tmp_path):
    store = place.store()
    assert store.get("a/b") is None
    assert store.find("a") == {}
    assert store.folders("a") == []
    store.put("a/b", b"one")
    store.put("a/b", b"two")
    store.put("a/c/d", b"three")
    assert store.get("a/b") == b"two"
    assert {key: found.size for key, found in store.find("a").items()} == {"a/b": 3, "a/c/d": 5}
    assert store.folders("a") == ["c"]
    store.delete(["a/b", "a/never"])
    assert list(store.find("a")) == ["a/c/d"]


def test_of_many_who_create_an_object_at_once_one_is_told_yes(place):
    store = place.store()
    said = [str(i).encode() for i in range(8)]
    told = in_parallel(lambda data: store.create("log/1", data), said)
    assert told.count(True) == 1
    assert store.get("log/1") == said[told.index(True)]


def test_a_file_comes_back_with_the_bytes_that_were_sent_or_not_at_all(place, tmp_path):
    store, sent, got = place.store(), tmp_path / "sent", tmp_path / "got"
    sent.write_bytes(b"rows" * 1000)
    sha256 = objects.digest(sent)
    store.upload(sent, "files/é %25.parquet")
    assert store.download("files/é %25.parquet", got, sha256)
    assert got.read_bytes() == sent.read_bytes()
    assert not store.download("files/never", got, sha256)
    store.put("files/é %25.parquet", b"other")
    with pytest.raises(StorageError, match="SHA-256 differs"):
        store.download("files/é %25.parquet", got, sha256)


def test_a_lost_connection_is_tried_again(at_s3, s3_address, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"x" * 300_000)
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    with flaky(s3_address) as way:
        store = at_s3.store(client_kwargs={"endpoint_url": way.address}, config_kwargs={"retries": {"max_attempts": 0}})
        way.refused = 5
        store.upload(file, "files/a")
        way.refused = 5
        assert store.download("files/a", tmp_path / "back", sha256)
        way.refused = 5
        assert list(store.find("files")) == ["files/a"]
        assert way.lost == 15


def test_who_created_an_object_and_lost_the_answer_is_told_yes_still(at_s3, s3_address):
    with flaky(s3_address) as way:
        store = at_s3.store(client_kwargs={"endpoint_url": way.address})
        way.answers_lost = 1
        assert store.create("log/1", b"mine")
        assert way.lost == 1
        assert not store.create("log/1", b"other")
        assert store.get("log/1") == b"mine"


def test_a_store_that_does_not_answer_is_told_in_one_line_that_names_the_setting(at_s3, monkeypatch):
    monkeypatch.setattr(objects, "PATIENCE", 0.5)
    options = {
        "client_kwargs": {"endpoint_url": "http://127.0.0.1:9"},
        "config_kwargs": {"retries": {"max_attempts": 0}},
    }
    with pytest.raises(
        StorageError, match=r"^mlobs.yaml: storage: s3://kept.* does not answer: .*127.0.0.1:9"
    ) as found:
        at_s3.store(**options).get("a")
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("action", ["find", "get", "folders"])
def test_a_bucket_that_is_not_there_is_told(at_s3, action):
    store = ObjectStore("s3://no-such-bucket/x", at_s3.options, "mlobs.yaml: storage")
    with pytest.raises(
        StorageError, match=r"^mlobs.yaml: storage: s3://no-such-bucket/x is not there: .*; make the bucket"
    ):
        getattr(store, action)("a")


def test_wrong_and_missing_credentials_are_told(tmp_path, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with server(INITIAL_NO_AUTH_ACTION_COUNT="0") as address:
        for given in ({"key": "nobody", "secret": "of-that-name"}, {"skip_instance_cache": True}):
            options = {"client_kwargs": {"endpoint_url": address}, **given}
            with pytest.raises(
                StorageError, match=r"^MLOBS_STORAGE: s3://bucket refuses these credentials: .*; see storage_options"
            ):
                ObjectStore("s3://bucket", options, "MLOBS_STORAGE").find("a")


@pytest.mark.parametrize(
    ("url", "options", "said"),
    [
        ("nosuch://bucket", {}, "storage, storage_options: nosuch://bucket can't be used"),
        ("file:///x", {"nosuch_option_of_files": {}}, None),
        (
            "s3://bucket",
            {"key": "a", "secret": "b", "client_kwargs": {"nosuch": "x"}},
            "s3://bucket can't be used: .*nosuch",
        ),
    ],
)
def test_a_url_or_option_that_can_not_be_used_is_told(url, options, said, s3_address):
    if said is None:
        ObjectStore(url, options, "mlobs.yaml: storage")  # a file system may take any
        return
    with pytest.raises(StorageError, match=said):
        ObjectStore(url, options, "mlobs.yaml: storage").find("a")
