"""Pages as files: complete in themselves, linked to each other, and where they belong."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from urllib.parse import unquote

import pytest
from click.testing import CliRunner

from mlobs_pipelines.cli import main
from mlobs_pipelines.report.static import write
from mlobs_pipelines.store.addresses import coded
from mlobs_pipelines.store.layout import Home
from tests.report.hostile import PAYLOADS
from tests.report.reading import Reading

NOW = dt.datetime(2026, 3, 2, 8, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def written(home):
    return write(home, now=NOW)


def links(file):
    return [
        unquote(a["href"]) for a in Reading(file.read_text(encoding="utf-8")).all("a") if not a["href"].startswith("#")
    ]


def test_every_link_of_every_file_leads_to_a_file(home, written):
    for file in written:
        for link in links(file):
            target = (file.parent / link).resolve()
            assert target in written, (file, link)
            assert target.is_relative_to(home.reports)


def test_every_file_is_reached_from_the_overview(written):
    reached, waiting = set(), [written[0]]
    while waiting:
        file = waiting.pop()
        if file not in reached:
            reached.add(file)
            waiting += [(file.parent / link).resolve() for link in links(file)]
    assert reached == set(written)


def test_a_file_forbids_itself_all_but_its_style(written):
    from mlobs_pipelines.report.site import style_source

    for file in written:
        policy = next(m["content"] for m in Reading(file.read_text()).all("meta") if "http-equiv" in m)
        assert policy == f"default-src 'none'; style-src {style_source()}; form-action 'none'; base-uri 'none'"


def test_the_same_results_give_the_same_files(home, written):
    before = {file: file.read_bytes() for file in written}
    assert {file: file.read_bytes() for file in write(home, now=NOW)} == before


def test_pages_that_are_no_more_are_taken_away_and_nothing_else_is(tmp_path, home):
    copy = Home(shutil.copytree(home.root, tmp_path / "home"))
    old = copy.reports / "models" / "card_fraud" / "incidents" / "gone" / "index.html"
    mine = copy.reports / "notes.html"
    other = copy.reports / "models" / "house_prices" / "index.html"
    for file in (old, mine, other):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("old")
    write(copy, "card_fraud", now=NOW)
    assert not old.exists() and mine.exists() and other.read_text() == "old"
    write(copy, now=NOW)
    assert mine.exists() and other.read_text() != "old"


def test_hostile_names_stay_within_the_folder(hostile):
    files = write(hostile, now=NOW)
    assert all(file.resolve().is_relative_to(hostile.reports) and file.exists() for file in files)
    assert len(files) == len(set(files))
    for file in files:
        assert all((file.parent / link).resolve() in files for link in links(file))


def test_a_name_in_an_address_is_plain_short_and_its_own():
    names = [*PAYLOADS, "a", "A", "a/b", "a~2Fb", "", ".", "x" * 3001, "é", "e\u0301"]
    written = [coded(name) for name in names]
    assert len(set(written)) == len(names)
    for text in written:
        assert text and len(text) <= 120
        assert set(text) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-~")


def test_the_command_says_where_the_pages_are_and_how_large(home):
    done = CliRunner().invoke(main, ["--home", str(home.root), "--json", "report", "card_fraud"])
    said = json.loads(done.stdout)
    assert done.exit_code == 0 and said["page"] == str(home.reports / "index.html")
    assert said["largest_bytes"] <= 300_000 and said["pages"] > 20


def test_the_command_says_what_is_missing(tmp_path):
    done = CliRunner().invoke(main, ["--home", str(tmp_path), "report"])
    assert done.exit_code == 1 and "run: mlobs run MODEL" in done.stderr
