"""The live pages over HTTP: whom they answer, what a form may do, and what it may not."""

from __future__ import annotations

import http.client
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest

from mlobs_pipelines.errors import UserError
from mlobs_pipelines.report.serve.app import Proxy, local_site
from mlobs_pipelines.report.site import paths
from mlobs_pipelines.store.journal import decisions, verify
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.read import query
from tests.report.live import served


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    text: str


def ask(base: str, method: str, path: str, body: str = "", **headers: str) -> Answer:
    place = urlsplit(base)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=30)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if method == "POST":
        given.setdefault("Content-Type", "application/x-www-form-urlencoded")
    connection.request(method, path, body.encode() or None, given)
    response = connection.getresponse()
    found = Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read().decode())
    connection.close()
    return found


@pytest.fixture(scope="module")
def place(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Path:
    copied = tmp_path_factory.mktemp("live") / "home"
    shutil.copytree(home.root, copied)
    return copied


@pytest.fixture(scope="module")
def base(place: Path) -> Iterator[str]:
    with served(place) as address:
        yield address


def incident_page(place: Path, which: int = 0) -> tuple[str, str]:
    running = "select model, incident_id from incidents where resolved_as_of is null order by incident_id"
    model, name = query(Home(place), running).row(which)
    return f"/models/{model}/incidents/{name}/", name


def form(base: str, path: str) -> tuple[str, str]:
    """The cookie and the token of a page's forms."""
    page = ask(base, "GET", path)
    token = re.search(r'name="csrf" value="([0-9a-f]{64})"', page.text)
    assert token, page.text[:500]
    return page.headers["set-cookie"].split(";")[0], token[1]


def send(base: str, action: str, cookie: str, fields: Mapping[str, str], **headers: str) -> Answer:
    return ask(base, "POST", f"/actions/{action}", urlencode(fields), Cookie=cookie, **headers)


def test_every_page_is_served_sealed(base: str, place: Path) -> None:
    for path in paths(Home(place)):
        page = ask(base, "GET", path)
        assert page.status == 200, path
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "script-src" not in policy
        assert page.headers["x-content-type-options"] == "nosniff"
        assert "server" not in page.headers
    assert ask(base, "GET", "/nothing/here").status == 404
    assert ask(base, "GET", "/healthz").text == "ok\n"


def test_metrics_tell_of_open_incidents(base: str) -> None:
    text = ask(base, "GET", "/metrics").text
    assert re.search(r'^mlobs_incidents\{model="card_fraud",severity="critical",state="open"\} [1-9]', text, re.M)
    assert re.search(r'^mlobs_last_night_seconds\{model="card_fraud"\} \d+$', text, re.M)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8700", "127.0.0.1:1", ""])
def test_a_name_that_is_not_ours_reads_nothing(base: str, host: str) -> None:
    refused = ask(base, "GET", "/", Host=host)
    assert refused.status in (400, 421)
    assert "card_fraud" not in refused.text


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods_are_not_understood(base: str, method: str) -> None:
    assert ask(base, method, "/").status == 405


def test_an_acknowledgement_is_in_the_log_and_on_the_page_at_once(base: str, place: Path) -> None:
    path, name = incident_page(place)
    cookie, token = form(base, path)
    comment = "looking <b>into</b> it"
    said = send(base, "acknowledge", cookie, {"csrf": token, "id": name, "comment": comment, "actor": "ana"})
    assert (said.status, said.headers["location"]) == (303, path)
    row = decisions(Home(place)).filter(incident_id=name).row(-1, named=True)
    assert (row["action"], row["actor"], row["reason"]) == ("acknowledge", "ana", comment)
    assert verify(Home(place)) == []
    page = ask(base, "GET", path, Cookie=cookie).text
    assert "acknowledged" in page
    assert "looking &lt;b&gt;into&lt;/b&gt; it" in page


def test_the_snapshot_follows_soon(base: str, place: Path) -> None:
    path, name = incident_page(place, -1)
    cookie, token = form(base, path)
    assert send(base, "resolve", cookie, {"csrf": token, "id": name, "comment": "over", "actor": "ana"}).status == 303
    for _ in range(300):
        if query(Home(place), f"select state from incidents where incident_id = '{name}'").item() == "resolved":
            return
        time.sleep(0.2)
    pytest.fail("the snapshot was not published")


def test_a_form_from_elsewhere_changes_nothing(base: str, place: Path) -> None:
    path, name = incident_page(place)
    cookie, token = form(base, path)
    good = {"csrf": token, "id": name, "comment": "c", "actor": "mallory"}
    before = decisions(Home(place)).height
    tries = [
        send(base, "acknowledge", cookie, good, Origin="http://evil.example"),
        send(base, "acknowledge", cookie, good, Origin="null"),
        send(base, "acknowledge", cookie, good, Sec_Fetch_Site="cross-site"),
        send(base, "acknowledge", cookie, good, Sec_Fetch_Site="same-site"),
        send(base, "acknowledge", "", good),
        send(base, "acknowledge", "mlobs_form=" + "a" * 43, good),
        send(base, "acknowledge", cookie, good | {"csrf": ""}),
        send(base, "acknowledge", cookie, good | {"csrf": token[:-1] + ("0" if token[-1] != "0" else "1")}),
    ]
    assert [t.status for t in tries] == [403] * len(tries)
    assert decisions(Home(place)).height == before
    assert ask(base, "GET", "/actions/acknowledge").status in (404, 405)


def test_a_form_of_another_server_process_is_refused(base: str, place: Path) -> None:
    path, name = incident_page(place)
    cookie, token = form(base, path)
    with served(place) as other:
        refused = send(other, "acknowledge", cookie, {"csrf": token, "id": name, "comment": "c", "actor": "a"})
    assert refused.status == 403
    assert "load the page anew" in refused.text


@pytest.mark.parametrize(
    ("action", "fields", "status", "says"),
    [
        ("acknowledge", {"comment": ""}, 409, "comment"),
        ("acknowledge", {"id": "nobody-knows-it"}, 409, "nobody-knows-it"),
        ("silence", {"until": "soon"}, 409, "is no date"),
        ("acknowledge", {"actor": "mlobs"}, 409, "mlobs"),
        ("explode", {}, 404, "no such action"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    base: str, place: Path, action: str, fields: Mapping[str, str], status: int, says: str
) -> None:
    path, name = incident_page(place)
    cookie, token = form(base, path)
    answer = send(base, action, cookie, {"csrf": token, "id": name, "comment": "c", "actor": "ana", **fields})
    assert answer.status == status
    assert says in answer.text
    assert "Traceback" not in answer.text


def test_a_form_that_is_too_large_is_not_read(base: str) -> None:
    assert ask(base, "POST", "/actions/acknowledge", "x" * 70_000).status == 413


def test_a_page_that_did_not_change_is_not_sent_again(base: str) -> None:
    first = ask(base, "GET", "/")
    cookie = first.headers["set-cookie"].split(";")[0]
    again = ask(base, "GET", "/", Cookie=cookie, If_None_Match=first.headers["etag"])
    assert (again.status, again.text) == (304, "")


def test_a_reader_named_by_a_trusted_proxy_can_sign_as_nobody_else(place: Path) -> None:
    path, name = incident_page(place)
    with served(place, "--behind-proxy", "127.0.0.1") as base:
        page = ask(base, "GET", path, X_Forwarded_User="ana")
        cookie = page.headers["set-cookie"].split(";")[0]
        token = re.search(r'name="csrf" value="([0-9a-f]{64})"', page.text)
        assert token
        fields = {"csrf": token[1], "id": name, "comment": "by proxy", "actor": "somebody else"}
        assert send(base, "acknowledge", cookie, fields, X_Forwarded_User="ana").status == 303
    assert decisions(Home(place)).row(-1, named=True)["actor"] == "ana"


def test_a_header_from_anybody_else_is_nobodys_name(place: Path) -> None:
    with served(place, "--behind-proxy", "10.1.2.3") as base:
        page = ask(base, "GET", incident_page(place)[0], X_Forwarded_User="root")
    assert 'value="root"' not in page.text


def test_pages_are_not_served_to_other_machines_by_mistake(home: Home) -> None:
    with pytest.raises(UserError, match="behind-proxy"):
        local_site(home, 8700, "0.0.0.0")
    assert "0.0.0.0:8700" in local_site(home, 8700, "0.0.0.0", Proxy(frozenset({"10.0.0.1"}))).hosts
