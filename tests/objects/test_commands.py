"""What a person sees of an object store that can't be used, and of a key that is another one."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from mlobs_pipelines.cli import main
from mlobs_pipelines.ingest import protect
from mlobs_pipelines.ingest.sources import IngestError
from mlobs_pipelines.store.layout import Home


@pytest.mark.parametrize("command", [["status"], ["sql", "select 1"], ["run", "card_fraud"], ["audit", "verify"]])
def test_a_command_says_in_one_line_which_setting_is_wrong(at_s3, command):
    home = at_s3.home("one")
    text = home.settings_file.read_text()
    home.settings_file.write_text(text.replace(at_s3.url, "s3://never-made/homes"))
    answer = CliRunner().invoke(main, ["--home", str(home.root), *command])
    assert answer.exit_code == 1
    (line,) = answer.stderr.splitlines()
    assert line.startswith(f"mlobs: {home.settings_file}: storage: s3://never-made/homes is not there: ")


def test_a_home_that_is_yet_to_be_begun_needs_no_store(tmp_path):
    home = Home(tmp_path)
    home.settings_file.write_text("storage: nosuch://x")
    answer = CliRunner().invoke(
        main, ["--home", str(tmp_path), "init", "--predictions", str(tmp_path / "none.parquet")]
    )
    assert "nosuch" not in answer.stderr


def test_what_one_machine_hashed_no_other_one_hashes_with_another_key(place, monkeypatch):
    one, other = place.home("one"), place.home("other")
    monkeypatch.delenv("MLOBS_HASH_KEY")
    key = protect.key(one)
    with pytest.raises(IngestError, match=r"hashed with another key on another machine; set MLOBS_HASH_KEY"):
        protect.key(other)
    monkeypatch.setenv("MLOBS_HASH_KEY", key.decode())
    assert protect.key(other) == key
    assert not any(key in (place.store().get(found) or b"") for found in place.store().find("")), "the key stays here"
