"""Every page says what matters first, says what is not known, and lets nothing from data be more than text."""

from __future__ import annotations

import datetime as dt
import functools
import shlex
import shutil
from html import unescape

import pytest

from mlobs_pipelines.report import site
from mlobs_pipelines.report.markup import printable
from mlobs_pipelines.report.site import Live, paths, render
from mlobs_pipelines.store.addresses import parts_of
from mlobs_pipelines.store.journal import append
from mlobs_pipelines.store.layout import Home
from tests.report.hostile import PAYLOADS
from tests.report.reading import Reading
from tests.report.synthetic import incidents, log, synthetic_home

NOW = dt.datetime(2026, 3, 2, 8, tzinfo=dt.UTC)
LIVE = Live("tok3n", "ana", "http://127.0.0.1:8700/mlobs/", "http://dagster", "http://mlflow")
MODEL = "/models/card_fraud/"
LARGEST = 300_000


def read(home, path, live=None):
    page = render(home, path, now=NOW, live=live)
    assert page.status == 200, path
    return Reading(page.html)


def id_of(kind, subject=""):
    return next(r["incident_id"] for r in incidents() if r["kind"] == kind and r["subject"] == subject)


def test_the_overview_begins_with_who_needs_attention(home):
    text = read(home, "/").text
    assert "1 of 3 models needs attention: card_fraud. 1 decision waits for a person. Of churn it is not known" in text
    assert text.index("card_fraud") < text.index("house_prices")
    assert "distance_km is missing on 97 % of the rows" in text


def test_what_is_not_measured_never_looks_well(home):
    html = render(home, "/", now=NOW).html
    row = html[html.index("models/churn/") :]
    row = row[: row.index("</tr>")]
    assert 'class="badge none"' in row and "never run" in row and "not measured" in row
    assert 'class="badge ok"' not in row
    for section in ("", "segments/", "fairness/", "explanation/", "data/", "versions/"):
        assert 'class="badge ok"' not in render(home, f"/models/churn/{section}", now=NOW).html


def test_a_model_begins_with_its_verdict_with_interval_rows_and_window(home):
    text = read(home, MODEL).text
    assert "2 incidents are open, 2 of them critical. 1 more is silenced. ROC AUC was 0.811 [0.803, 0.818]" in text
    assert "on 15,400 labelled rows, 2026-02-09 … 02-15" in text
    assert "version 2" in text and "since 2026-02-05" in text


def test_a_model_whose_last_run_failed_says_so_first(tmp_path, home):
    import polars as pl

    from mlobs_pipelines.store.results import publish

    broken = Home(shutil.copytree(home.root, tmp_path / "home"))
    file = broken.store_file("runs", "house_prices", dt.date(2026, 3, 1))
    pl.read_parquet(file).with_columns(status=pl.lit("failed"), error=pl.lit("disk full")).write_parquet(file)
    publish(broken)
    assert (
        "The run of 2026-03-01 failed: disk full. What follows is older." in read(broken, "/models/house_prices/").text
    )
    assert "1 of 3 models needs" not in read(broken, "/").text
    assert "The last run of house_prices failed." in read(broken, "/").text


def test_an_incident_tells_what_to_do_how_large_since_when_and_why(home):
    text = read(home, f"{MODEL}incidents/{id_of('concept_drift')}/").text
    assert "What to do: retrain" in text
    assert "It began on 2026-01-25 in country=ES and was seen on 21 nights" in text
    assert "0.702 [0.682, 0.722]" in text and "0.899" in text
    assert "1. country=ES" in text and "97.0 %" in text
    assert "acknowledged by ana@example.com. Looking into Spain with the fraud desk" in text


def test_an_incident_about_an_input_shows_its_values_before_and_since(home):
    text = read(home, f"{MODEL}incidents/{id_of('data_fault', 'amount')}/").text
    assert "Values of amount in country=NL, before and since" in text
    assert "160 and more: 43.5 % of the rows before, 99.5 % since." in text


def test_versions_tell_who_is_better_on_the_same_rows(home):
    text = read(home, f"{MODEL}versions/").text
    assert "Version 3 is better than champion 2" in text
    assert "+0.041 [+0.035, +0.047]" in text
    assert "shadow" in text and "canary" in text


def test_versions_tell_which_is_champion_before_it_is_seen(tmp_path):
    home = synthetic_home(tmp_path / "home")
    approved = {**next(r for r in log() if r["action"] == "promote"), "version": "3", "actor": "mlobs"}
    for status in ("approved", "done"):
        append(home, **approved | {"status": status})
    assert (
        "Version 3 is champion since 2026-02-14; the newest predictions are still of version 2."
        in read(home, f"{MODEL}versions/").text
    )
    assert "not seen yet" in read(home, MODEL).text


def test_fairness_tells_which_group_differs_and_by_how_much(home):
    text = read(home, f"{MODEL}fairness/").text
    assert (
        "By age_group: 65+ differs from 25-44 by more than chance and 5.0 points. By sex, decisions are alike." in text
    )
    assert "silenced by ben@example.com" in text


def test_explanation_points_at_what_drifted_and_mattered_even_if_it_is_gone(home):
    text = read(home, f"{MODEL}explanation/").text
    assert "distance_km drifted and matters." in text
    assert "in log-odds" in text


def test_data_tells_why_rows_were_refused_but_not_their_values(home):
    text = read(home, f"{MODEL}data/").text
    assert "column 'amount': a value is not a number" in text and "'nan'" not in text


def test_segments_tell_which_is_behind(home):
    assert "country=ES is clearly behind all rows in ROC AUC." in read(home, f"{MODEL}segments/").text
    one = read(home, f"{MODEL}segments/country=ES/").text
    assert "Rows in which country is ES" in one and "roc_auc fell to 0.702" in one


def test_what_a_person_says_is_there_at_once(tmp_path, home):
    copy = Home(shutil.copytree(home.root, tmp_path / "home"))
    about = id_of("data_fault", "distance_km")
    assert "Nobody has taken it up yet." in read(copy, f"{MODEL}incidents/{about}/").text
    append(
        copy, decision_id=f"{about}:acknowledge:0", model="card_fraud", action="acknowledge", status="done",
        reason="on it", evidence={"comment": "on it", "severity": "critical"}, actor="eva", incident_id=about,
        as_of=dt.date(2026, 3, 1),
    )  # fmt: skip
    assert "eva looks into it." in read(copy, f"{MODEL}incidents/{about}/").text


@functools.cache
def every_page(home, live=None):
    return [(path, render(home, path, now=NOW, live=live).html) for path in paths(home)]


@pytest.mark.parametrize("live", [None, LIVE], ids=["file", "live"])
def test_every_page_is_well_formed_small_and_fetches_nothing(home, live):
    for path, html in every_page(home, live):
        page = Reading(html)
        assert not page.crossed and not page.open, path
        assert len(html.encode()) <= LARGEST, path
        assert len(page.all("h1")) == len(page.all("main")) == 1, path
        assert not {"script", "img", "link", "iframe", "object"} & {tag for tag, _ in page.elements}, path
        for tag, attributes in page.elements:
            assert not [name for name in attributes if name.startswith("on") or name == "style"], (path, tag)
            assert "src" not in attributes and "url(http" not in str(attributes), (path, tag)
        ids = [a["id"] for _, a in page.elements if "id" in a]
        assert len(ids) == len(set(ids)), path


def test_every_chart_has_a_title_and_every_timeline_its_numbers(home):
    for path, html in every_page(home):
        page = Reading(html)
        for drawing in page.all("svg"):
            assert (
                drawing.get("role") == "img"
                or drawing.get("aria-hidden") == "true"
                or "viewbox" in drawing
                or "x" in drawing
            )
        charts = html.split('class="chart"')[1:]
        assert all(chart.split(">", 1)[1].startswith("<title>") for chart in charts), path
        assert html.count('class="chart"') <= html.count("<details"), path


def test_every_link_of_every_live_page_leads_to_a_page(home):
    known = {"/mlobs" + path for path in paths(home)}
    for path, html in every_page(home, LIVE):
        for link in (a["href"] for a in Reading(html).all("a")):
            if not link.startswith(("http://dagster", "http://mlflow", "#")):
                assert link in known, (path, link)


def test_a_page_is_found_with_and_without_its_last_slash_or_as_a_file(home):
    path = f"{MODEL}segments/age_group~3D65~2B"
    assert parts_of(path) == parts_of(f"{path}/index.html")
    pages = {
        render(home, p, now=NOW).html
        for p in (path, f"{path}/", f"{path}/index.html", f"{MODEL}segments/age_group=65+/")
    }
    assert len(pages) == 1


@pytest.mark.parametrize(
    "path",
    ["/models/", "/models/nope/", "/model/card_fraud/", f"{MODEL}secrets/", f"{MODEL}incidents/", f"{MODEL}incidents/x/",
     f"{MODEL}segments/../../etc/passwd", f"{MODEL}segments/a/b/", f"{MODEL}versions/1/", "/models/../models/card_fraud/"],
)  # fmt: skip
def test_a_path_that_names_nothing_is_not_found(home, path):
    page = render(home, path, now=NOW)
    assert page.status == 404 and "No such page" in page.html


def test_forms_are_on_live_pages_alone_and_carry_the_token(home):
    incident = f"{MODEL}incidents/{id_of('data_fault', 'distance_km')}/"
    for path, actions in (
        (incident, ["acknowledge", "silence", "resolve"]),
        (f"{MODEL}decisions/", ["approve", "reject"]),
        (f"{MODEL}versions/", ["roll_back"]),
    ):
        assert not read(home, path).all("form")
        page = read(home, path, LIVE)
        assert [f["action"] for f in page.all("form")] == [f"/mlobs/actions/{a}" for a in actions]
        assert all(f["method"] == "post" for f in page.all("form"))
        assert [i["value"] for i in page.all("input") if i["name"] == "csrf"] == ["tok3n"] * len(actions)
        assert [i["value"] for i in page.all("input") if i["name"] == "actor"] == ["ana"] * len(actions)
    until = next(i for i in read(home, incident, LIVE).all("input") if i["name"] == "until")
    assert (until["min"], until["value"]) == ("2026-03-01", "2026-03-08")


def test_what_was_settled_since_no_longer_waits(home):
    text = read(home, f"{MODEL}decisions/").text
    assert text.count("waits for a person") == 2  # the verdict, and the one entry
    assert text.count("asked for") == 1


def test_commands_to_copy_hold_every_name_as_one_word(hostile):
    ours = {
        "mlobs",
        "export",
        "card_fraud",
        "--segment",
        "--out",
        "rows.parquet",
        "ack",
        "silence",
        "resolve",
        "--for",
        "7d",
    }
    ours |= {"-m", "approve", "reject", "what you do about it", "why", "why it is over", "why not"}
    names = {str(printable(p)) for p in PAYLOADS}
    names |= {f"country={p}" for p in names} | {f"card_fraud-{i}-{printable(p)}" for i, p in enumerate(PAYLOADS)}
    found = [shlex.split(unescape(block.split(">", 1)[1].split("</pre>")[0]))
             for _, html in every_page(hostile) for block in html.split("<pre")[1:]]  # fmt: skip
    assert len(found) > 2 * len(PAYLOADS)
    assert {word for words in found for word in words} <= ours | names


def test_an_incident_that_is_over_asks_for_nothing(home):
    assert not read(home, f"{MODEL}incidents/{id_of('data_fault', 'amount')}/", LIVE).all("form")


def test_the_policy_allows_the_style_of_every_page(home):
    import base64
    import hashlib

    html = render(home, "/", now=NOW).html
    text = html[html.index("<style>") + 7 : html.index("</style>")]
    assert site.style_source() == f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@pytest.mark.parametrize("live", [None, LIVE], ids=["file", "live"])
def test_hostile_names_and_values_are_text_everywhere(hostile, live):
    seen = ""
    for path, html in every_page(hostile, live):
        page = Reading(html)
        assert not page.crossed and not page.open, path
        tags = {tag for tag, _ in page.elements}
        assert not {"script", "img", "link", "iframe", "object"} & tags, path
        for tag, attributes in page.elements:
            assert not [name for name in attributes if name.startswith("on") or name == "style"], (path, tag)
            assert not attributes.get("href", "").lower().lstrip().startswith(("javascript:", "data:", "//")), (
                path,
                tag,
            )
        assert not {"\u202e", "\x00", "\u2066"} & set(html), path
        seen += page.text
    for payload in (*PAYLOADS[:4], PAYLOADS[7]):
        assert payload in seen


def test_hostile_names_make_no_page_too_large(hostile):
    assert max(len(html.encode()) for _, html in every_page(hostile)) <= LARGEST


def test_a_home_without_a_night_has_pages_that_say_what_to_do(tmp_path):
    home = Home(tmp_path)
    assert "mlobs init --predictions FILE" in read(home, "/").text
    home.models.mkdir()
    (home.models / "churn.yaml").write_text("model: churn\n")
    assert "mlobs run churn" in read(home, "/models/churn/").text
    assert [render(home, path, now=NOW).status for path in paths(home)] == [200] * 8
