"""What people say about incidents and decisions is kept, at once in force, and only where it makes sense."""

from __future__ import annotations

import datetime as dt
import getpass
import json
import logging
from concurrent.futures import ThreadPoolExecutor

import pytest

import mlobs_pipelines.store as store
from mlobs_pipelines.act import people
from mlobs_pipelines.act.audit import audit
from mlobs_pipelines.act.people import PeopleError, acknowledge, approve, incident, reject, resolve, silence, whoami
from mlobs_pipelines.errors import UserError
from mlobs_pipelines.store.journal import JournalError, SettledError, decisions, verify
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.read import StoreError
from mlobs_pipelines.store.results import PublishError
from tests.act import incident_home
from tests.act.incident_home import AMOUNT, NIGHT, OVER, RETRAIN, SPAIN, see, troubled_home

LATER = NIGHT + dt.timedelta(days=1)


@pytest.fixture
def home(tmp_path):
    return troubled_home(tmp_path / "home")


@pytest.fixture
def unpublished(home, monkeypatch):
    """A home of which nobody publishes the snapshot."""
    monkeypatch.setattr(people, "publish", lambda home: None)
    return home


def shown(home, name=AMOUNT):
    """An incident's state as queries see it."""
    return store.query(home, f"select state from incidents where incident_id = '{name}'").item()


def test_an_acknowledged_incident_is_so_in_the_log_in_queries_and_to_the_next_who_asks(home):
    row = acknowledge(home, AMOUNT, comment=" On it.\nCalled the feed's owner. ", actor="ann@example.com")
    assert row == decisions(home).tail(1).to_dicts()[0]
    assert json.loads(row["evidence"]) == {"comment": "On it.\nCalled the feed's owner.", "severity": "critical"}
    kept = ("decision_id", "model", "version", "as_of", "action", "status", "actor", "incident_id", "reason")
    assert [row[name] for name in kept] == [
        f"{AMOUNT}:acknowledge:1",
        "card_fraud",
        "2",
        NIGHT,
        "acknowledge",
        "done",
        "ann@example.com",
        AMOUNT,
        "On it.\nCalled the feed's owner.",
    ]
    assert incident(home, AMOUNT)["state"] == "acknowledged"
    assert (shown(home), shown(home, SPAIN)) == ("acknowledged", "open")
    assert verify(home) == []


def test_an_acknowledged_incident_that_gets_worse_is_open_again(home):
    acknowledge(home, SPAIN, comment="seen", actor="ann")
    see(home, LATER, incident_home.incident(SPAIN, LATER, severity="critical"))
    assert (incident(home, SPAIN)["state"], shown(home, SPAIN)) == ("open", "open")


def test_a_silence_ends_with_its_date(home):
    silence(home, AMOUNT, until=LATER, comment="known", actor="ann")
    assert shown(home) == "silenced"
    see(home, LATER, incident_home.incident(AMOUNT, LATER))
    assert shown(home) == "silenced"
    after = LATER + dt.timedelta(days=1)
    see(home, after, incident_home.incident(AMOUNT, after))
    assert shown(home) == "open"


@pytest.mark.parametrize("days", [-1, -400, 367, 3650])
def test_a_silence_that_is_over_or_has_no_end_in_sight_is_refused(unpublished, days):
    with pytest.raises(PeopleError, match=r"a silence of .* ends between 2026-02-10"):
        silence(unpublished, AMOUNT, until=NIGHT + dt.timedelta(days=days), comment="hush")
    assert decisions(unpublished).height == 1


def test_a_resolved_incident_is_over_until_a_later_night_sees_it(home):
    resolve(home, AMOUNT, comment="the feed is mended", actor="ann")
    assert (shown(home), incident(home, AMOUNT)["resolved_as_of"]) == ("resolved", NIGHT)
    for say in (acknowledge, resolve):
        with pytest.raises(PeopleError, match="is over since 2026-02-10"):
            say(home, AMOUNT, comment="again")
    see(home, LATER, incident_home.incident(AMOUNT, LATER))
    assert shown(home) == "open"
    acknowledge(home, AMOUNT, comment="not mended")
    assert shown(home) == "acknowledged"


def test_what_is_over_needs_no_word(unpublished):
    with pytest.raises(PeopleError, match="over since 2026-02-10; there is nothing to silence"):
        silence(unpublished, OVER, until=LATER, comment="hush")
    assert decisions(unpublished).height == 1


def test_an_approved_decision_keeps_what_it_is_about(home):
    row = approve(home, RETRAIN, comment="go", actor="Ann Lee")
    first = decisions(home).row(0, named=True)
    for name in ("decision_id", "model", "version", "as_of", "action", "mode", "incident_id"):
        assert row[name] == first[name]
    assert (row["status"], row["actor"], json.loads(row["evidence"])) == ("approved", "Ann Lee", {"comment": "go"})
    found = store.query(home, "select status from decisions order by seq")["status"].to_list()
    assert found == ["pending", "approved"]


@pytest.mark.parametrize("again", [approve, reject])
def test_a_decision_is_settled_once(unpublished, again):
    reject(unpublished, RETRAIN, comment="too few labels", actor="ann")
    with pytest.raises(PeopleError, match="waits for nobody: it is rejected, by ann"):
        again(unpublished, RETRAIN, comment="but", actor="bob")
    assert decisions(unpublished)["status"].to_list() == ["pending", "rejected"]


def test_two_people_who_settle_a_decision_at_once_do_not_both(unpublished):
    def settle(i):
        try:
            return (approve if i % 2 else reject)(unpublished, RETRAIN, comment="c", actor=f"p{i}")
        except (PeopleError, SettledError):
            return None

    with ThreadPoolExecutor(8) as pool:
        assert sum(row is not None for row in pool.map(settle, range(16))) == 1
    assert decisions(unpublished).height == 2


@pytest.mark.parametrize("name", [SPAIN, "card_fraud-20260209", "4e300d9c", "performance", " 4e300d9c\n"])
def test_an_incident_is_found_by_any_part_that_it_has_alone(unpublished, name):
    assert incident(unpublished, name)["incident_id"] == SPAIN


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("card_fraud-202602", rf"part of several incidents: {SPAIN}, {AMOUNT}; give a part"),
        (SPAIN.replace("perf", "pref"), rf"did you mean '{SPAIN}'\?"),
        ("", "no incident ''"),
        ("house_prices", "mlobs status shows"),
        ("'; drop table incidents; --", "no incident"),
        ("\ud800", "no incident"),
        ("x" * 100_000, "no incident"),
    ],
)
def test_what_names_no_incident_is_told_the_nearest(unpublished, name, said):
    with pytest.raises(PeopleError, match=said) as told:
        acknowledge(unpublished, name, comment="c")
    assert len(str(told.value)) < 600
    assert decisions(unpublished).height == 1


@pytest.mark.parametrize("name", [RETRAIN, "card_fraud:retrain", "retrain", "4e300d9c"])
def test_a_decision_is_found_by_a_part_of_its_name(unpublished, name):
    assert approve(unpublished, name, comment="go")["decision_id"] == RETRAIN


def test_a_part_of_a_name_means_the_decision_that_waits(unpublished):
    people.append(unpublished, decision_id="m:retrain:0", model="m", action="retrain", status="done", reason="r")
    assert people.decision(unpublished, "retrain")["decision_id"] == RETRAIN
    with pytest.raises(PeopleError, match="m:retrain:0 waits for nobody: it is done, by mlobs"):
        approve(unpublished, "m:retrain", comment="go")
    with pytest.raises(PeopleError, match="no decision 'm:retrian:0'; did you mean 'm:retrain:0'"):
        approve(unpublished, "m:retrian:0", comment="go")


@pytest.mark.parametrize("comment", ["", " \n\t", "x" * 4_001])
def test_a_comment_is_something_and_not_a_book(unpublished, comment):
    for say in (
        lambda: acknowledge(unpublished, AMOUNT, comment=comment),
        lambda: approve(unpublished, RETRAIN, comment=comment),
    ):
        with pytest.raises(PeopleError, match="comment"):
            say()
    assert decisions(unpublished).height == 1


@pytest.mark.parametrize(
    "comment", ["<script>alert(1)</script>", "a\x00b\x1b[31m", "half \ud83d", "'; drop table x; --", "\u202eabc"]
)
def test_any_comment_is_kept_as_text(home, comment):
    acknowledge(home, AMOUNT, comment=comment)
    kept = comment.replace("\ud83d", "\ufffd")
    assert decisions(home)["reason"][-1] == kept
    assert store.query(home, "select reason from decisions order by seq desc limit 1").item() == kept


@pytest.mark.parametrize("actor", ["mlobs", "MLOBS", "mlflow:ann", "a\x1b[31mb", "x" * 201, "\u202eann"])
def test_nobody_speaks_as_the_machine_or_unreadably(unpublished, actor):
    with pytest.raises(PeopleError):
        acknowledge(unpublished, AMOUNT, comment="c", actor=actor)
    assert decisions(unpublished).height == 1


def test_who_says_no_name_is_who_the_system_says(unpublished, monkeypatch):
    assert acknowledge(unpublished, AMOUNT, comment="c", actor=" Ann\n Lee ")["actor"] == "Ann Lee"
    monkeypatch.setattr(getpass, "getuser", lambda: "ann")
    assert acknowledge(unpublished, AMOUNT, comment="c")["actor"] == "ann"
    monkeypatch.setattr(getpass, "getuser", lambda: "mlobs")
    assert whoami().startswith("mlobs@")
    monkeypatch.setattr(getpass, "getuser", lambda: {}["nobody"])
    assert whoami().startswith("uid ")


def test_what_was_said_counts_though_the_snapshot_cannot_be_published(home, monkeypatch, caplog):
    def full(home):
        raise PublishError("no space left")

    monkeypatch.setattr(people, "publish", full)
    with caplog.at_level(logging.WARNING):
        acknowledge(home, AMOUNT, comment="c")
    assert "no space left" in caplog.text
    assert incident(home, AMOUNT)["state"] == "acknowledged"
    assert shown(home) == "open"


def test_whoever_cannot_wait_publishes_later(home, monkeypatch):
    monkeypatch.setattr(people, "publish", lambda home: pytest.fail("published"))
    acknowledge(home, AMOUNT, comment="c", snapshot=False)
    approve(home, RETRAIN, comment="c", snapshot=False)
    assert incident(home, AMOUNT)["state"] == "acknowledged"


def test_a_home_without_results_says_what_to_run(tmp_path):
    with pytest.raises(StoreError, match="mlobs run"):
        acknowledge(Home(tmp_path), AMOUNT, comment="c")
    with pytest.raises(PeopleError, match="no decision"):
        approve(Home(tmp_path), RETRAIN, comment="c")
    assert not (tmp_path / "log").exists()


def test_a_log_that_was_changed_takes_no_word(home):
    log = home.log / "decisions.jsonl"
    log.write_bytes(log.read_bytes().replace(b"retrain", b"promote"))
    with pytest.raises(JournalError, match="line 1"):
        acknowledge(home, AMOUNT, comment="c")


# The audit


def write_anew(home, keep):
    """The log as somebody with time would forge it: the first entries, whole in itself."""
    lines = (home.log / "decisions.jsonl").read_bytes().splitlines(keepends=True)[:keep]
    (home.log / "decisions.jsonl").write_bytes(b"".join(lines))
    last = json.loads(lines[-1]) if lines else {"seq": -1, "hash": "0" * 64}
    head = {"hash": last["hash"], "intent": None, "seq": last["seq"]}
    (home.log / "head.json").write_text(json.dumps(head, sort_keys=True, separators=(",", ":")) + "\n")


def test_an_audit_holds_the_log_against_the_snapshot(home):
    acknowledge(home, AMOUNT, comment="c")
    assert audit(home).problems == []
    write_anew(home, 1)
    assert verify(home) == [], "it is whole in itself"
    assert [problem.what for problem in audit(home).problems] == [
        f"results.duckdb has an entry 1 of '{AMOUNT}:acknowledge:1' that the log has not"
    ]


def test_an_audit_holds_the_log_against_a_hash_that_was_noted(unpublished):
    acknowledge(unpublished, AMOUNT, comment="c")
    noted = audit(unpublished).hash
    acknowledge(unpublished, SPAIN, comment="c")
    assert audit(unpublished, noted).problems == []
    assert audit(unpublished, noted[:8].upper()).problems == []
    write_anew(unpublished, 1)
    assert "that was noted" in str(audit(unpublished, noted).problems[0])
    for wrong in ("no hash", "abc", "12345678\x00"):
        with pytest.raises(UserError, match="no hash"):
            audit(unpublished, wrong)


def test_a_log_moved_away_whole_is_noticed(home):
    (home.log).rename(home.root / "away")
    assert verify(home) == []
    assert "entry 0" in str(audit(home).problems[0])


def test_an_empty_home_passes_the_audit(tmp_path):
    found = audit(Home(tmp_path), "0" * 64)
    assert (found.entries, found.problems) == (0, [])
