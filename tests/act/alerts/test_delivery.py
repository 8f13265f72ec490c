"""From a judged night to a receiver that refuses, delays, tears or dies: nothing lost, nothing out of order."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import polars as pl
import pytest

from mlobs_pipelines.act.alerts import outbox
from mlobs_pipelines.act.alerts.channels import channels
from mlobs_pipelines.act.alerts.notify import notify
from mlobs_pipelines.act.alerts.send import backoff, deliver, retry_after
from mlobs_pipelines.store import journal
from mlobs_pipelines.store.people import with_people
from mlobs_pipelines.store.tables import DECISIONS, INCIDENTS
from tests.act.alerts.world import NIGHT, NOW, incident

CHILD = Path(__file__).with_name("sender_child.py")
ROOT = CHILD.parents[3]
DAY = dt.timedelta(days=1)


def hook(server, secret="s3cret-of-the-hook"):
    return f"webhook+http://127.0.0.1:{server.port}/in?secret={secret}"


def send(world, after=0.0, **more):
    """Deliver ``after`` seconds after the night was told; pauses between messages take no time."""
    return deliver(world.home, now=NOW + dt.timedelta(seconds=after), sleep=lambda _: None, **more)


def tell(world, *rows, days=0):
    world.conclude(*rows)
    return notify(world.home, world.spec, NIGHT + days * DAY, now=NOW + days * DAY)


def told(server):
    """Of each request the incidents and what was said of them."""
    return [{i["incident_id"].rpartition("-")[2]: i["status"] for i in d["items"]} for d in server.documents()]


def states(home):
    waiting, _ = outbox.pending(home)
    return [e.state for e in waiting] + [e.state for e in outbox.finished(home)]


def everything(home):
    return "\n".join(path.read_text() for path in home.outbox.rglob("*") if path.is_file())


def another_model(world):
    """A second model with the same channel and a message that was never tried."""
    text = world.home.spec_file("card_fraud").read_text()
    world.home.spec_file("other").write_text(text.replace("card_fraud", "other"))
    [waiting], _ = outbox.pending(world.home)
    fresh = dataclasses.replace(waiting, attempts=0, holds=False, next_attempt_at=NOW)
    outbox.add(world.home, outbox.parse(fresh.text().replace("card_fraud", "other")))


def test_a_night_is_one_message_to_each_channel_with_all_that_is_known(world, serve):
    server, slack = serve("receiver.py", "200"), serve("receiver.py", "200")
    world.alert((hook(server), "warning"), (f"slack+http://127.0.0.1:{slack.port}/T/B/x", "critical"))
    put = tell(world, incident("one"), incident("two", severity="warning"), incident("three", severity="info"))
    assert len(put) == 2
    summary = send(world)
    assert (summary.delivered, summary.waiting, summary.problems) == (2, 0, [])
    [document] = server.documents()
    assert (document["model"], document["night"], document["severity"], document["status"]) == (
        "card_fraud",
        "2026-03-10",
        "critical",
        "firing",
    )
    first, second = document["items"]
    assert (first["dedup_key"], second["dedup_key"]) == ("key-one", "key-two")
    assert first["suspects"] == ["segment country=NL (83 % of the change)"]
    assert first["same_time"] == ["version: version 2 came"]
    assert first["fingerprint"] == "all values are 100 times what they were"
    assert first["url"] == "http://127.0.0.1:8700/models/card_fraud/incidents/card_fraud-20260310-input-one/"
    assert document["run_id"] == "run-1"
    assert len(slack.got()) == 1
    assert "two" not in slack.got()[0]["body"]


def test_a_second_look_at_the_same_night_says_nothing(world, serve):
    world.alert((hook(serve("receiver.py", "200")), "critical"))
    assert len(tell(world, incident())) == 1
    assert tell(world, incident()) == []
    assert send(world).delivered == 1
    assert tell(world, incident()) == []
    assert send(world).sentence() == "nothing to send"


def test_links_and_environment_come_from_outside(world, serve, monkeypatch):
    monkeypatch.setenv("MLOBS_URL", "https://ml.example.com/obs/")
    monkeypatch.setenv("MLOBS_ENVIRONMENT", "staging")
    world.alert((hook(serve("receiver.py", "200")), "critical"))
    [put] = tell(world, incident("a/../<b>"))
    item = put.message.items[0]
    assert item.url == (
        "https://ml.example.com/obs/models/card_fraud/incidents/card_fraud-20260310-input-a~2F~2E~2E~2F~3Cb~3E/"
    )
    assert item.dedup_key == "staging:key-a/../<b>"
    assert put.message.group_key == "staging:card_fraud:2026-03-10"


@pytest.mark.parametrize("answer", ["500", "503:1", "429:1", "408", "reset"])
def test_what_may_be_better_later_is_tried_again_with_the_same_key(world, serve, answer):
    server = serve("receiver.py", answer, answer, "200")
    world.alert((hook(server), "critical"))
    tell(world, incident())
    first = send(world)
    assert (first.delivered, first.failed, first.waiting) == (0, 1, 1)
    assert send(world, after=1).failed == 0  # not due yet
    assert send(world, after=100).failed == 1
    assert send(world, after=1000).delivered == 1
    got = server.got()
    assert len(got) == 3
    assert len({g["headers"]["X-Mlobs-Delivery"] for g in got}) == 1
    assert {i["dedup_key"] for d in server.documents() for i in d["items"]} == {"key-one"}
    assert states(world.home) == ["delivered"]


def test_a_receiver_that_is_down_gets_it_when_it_is_back(world, serve):
    server = serve("receiver.py", "200", start=False)
    world.alert((hook(server), "critical"))
    tell(world, incident())
    for attempt in range(5):
        assert send(world, after=4000 * attempt).failed == 1
    server.start()
    assert send(world, after=20_000).delivered == 1
    assert told(server) == [{"one": "firing"}]


def test_retry_after_is_waited_for_by_all_that_goes_to_the_channel(world, serve):
    server = serve("receiver.py", "429:600", "200")
    world.alert((hook(server), "critical"))
    tell(world, incident())
    send(world)
    another_model(world)
    assert send(world, after=500).delivered == 0
    assert len(server.got()) == 1
    assert send(world, after=660).delivered == 2


@pytest.mark.parametrize("answer", ["400", "403", "404", "410", "302"])
def test_a_refusal_for_good_is_given_up_shown_and_can_be_sent_again(world, serve, answer):
    server = serve("receiver.py", answer, "200")
    world.alert((hook(server), "critical"))
    tell(world, incident())
    summary = send(world)
    assert summary.dropped == 1
    [done] = outbox.finished(world.home)
    assert (done.state, done.note[:8]) == ("dropped", f"HTTP {answer}")
    assert send(world, after=5000).sentence() == "nothing to send"
    assert outbox.send_again(world.home, NOW) == 1
    assert send(world).delivered == 1
    assert outbox.send_again(world.home, NOW) == 0


def test_after_a_week_it_is_given_up_and_says_why(world, serve):
    world.alert((hook(serve("receiver.py", "200", start=False)), "critical"))
    tell(world, incident())
    send(world)
    assert send(world, after=8 * 86400).dropped == 1
    assert "not delivered in 7 days: no answer" in outbox.finished(world.home)[0].note


def test_what_queued_up_goes_as_one_message_in_its_newest_state(world, serve):
    server = serve("receiver.py", "200", start=False)
    world.alert((hook(server), "critical"))
    tell(world, incident("one"), incident("two"))
    send(world)
    tell(world, incident("one"), incident("two"), incident("three"), days=1)
    send(world, after=86400)
    over = {"state": "resolved", "resolved_as_of": NIGHT + 2 * DAY}
    tell(world, incident("one", **over), incident("two"), incident("three"), days=2)
    server.start()
    assert send(world, after=3 * 86400).delivered == 1
    assert told(server) == [{"one": "resolved", "two": "firing", "three": "firing"}]
    assert sorted(states(world.home)) == ["delivered", "dropped", "dropped"]
    assert outbox.send_again(world.home, NOW + 3 * DAY) == 0


def test_no_firing_arrives_after_its_end_whatever_the_receiver_does(world, serve):
    """The firing may have arrived though its answer was lost; the end is told after it and nothing of it after that."""
    server = serve("receiver.py", "reset", "500", "200")
    world.alert((hook(server), "critical"))
    tell(world, incident())
    send(world)
    tell(world, incident(state="resolved", resolved_as_of=NIGHT), days=1)
    for after in (86400, 90000, 95000):
        send(world, after=after)
    assert [d["one"] for d in told(server)] == ["firing", "resolved", "resolved"]
    assert outbox.send_again(world.home, NOW) == 0


def test_one_message_that_a_channel_chokes_on_does_not_keep_the_others(world, serve):
    server = serve("receiver.py", "500", "200")
    world.alert((hook(server), "critical"))
    tell(world, incident())
    send(world)
    another_model(world)
    assert send(world, after=1000).delivered == 2
    assert [d["model"] for d in server.documents()] == ["card_fraud", "other", "card_fraud"]


def test_pagerduty_goes_on_where_it_was_broken_off(world, serve):
    server = serve("receiver.py", "202", "500", "202", "400", "202")
    world.alert((f"pagerduty://R0utingKey?base=http://127.0.0.1:{server.port}", "critical"))
    tell(world, *[incident(name) for name in ("a", "b", "c", "d")])
    assert send(world).failed == 1
    assert send(world, after=100).dropped == 1
    events = [(d["event_action"], d["dedup_key"]) for d in server.documents()]
    assert events == [("trigger", f"key-{name}") for name in ("a", "b", "b", "c", "d")]
    assert {d["routing_key"] for d in server.documents()} == {"R0utingKey"}
    assert outbox.finished(world.home)[0].refused == ("trigger key-c",)


def test_pagerduty_hears_of_acknowledging_and_of_the_end_and_slack_of_the_end(world, serve):
    duty, slack = serve("receiver.py", "202"), serve("receiver.py", "200")
    world.alert(
        (f"pagerduty://k?base=http://127.0.0.1:{duty.port}", "critical"),
        (f"slack+http://127.0.0.1:{slack.port}/T/B/x", "critical"),
    )
    tell(world, incident())
    tell(world, incident(state="open"))
    send(world)
    tell(world, incident(state="acknowledged"))
    send(world, after=10)
    tell(world, incident(state="resolved", resolved_as_of=NIGHT + DAY), days=1)
    send(world, after=86400)
    assert [d["event_action"] for d in duty.documents()] == ["trigger", "acknowledge", "resolve"]
    assert {d["dedup_key"] for d in duty.documents()} == {"key-one"}
    assert [d["text"][:10] for d in slack.documents()] == ["[critical]", "[resolved]"]


def test_a_mail_server_that_is_busy_gets_the_same_mail_later(world, serve):
    server = serve("postbox.py", "busy", "lost", "ok")
    world.alert((f"smtp://127.0.0.1:{server.port}/?to=a@example.com,b@example.com", "critical"))
    tell(world, incident(title="größer <b>&\r\nBcc: x@example.com"))
    assert send(world).failed == 1
    assert send(world, after=100).failed == 1
    assert send(world, after=1000).delivered == 1
    first, second = server.got()
    assert first["to"] == second["to"] == ["a@example.com", "b@example.com"]
    ids = {line for mail in (first, second) for line in mail["text"].splitlines() if line.startswith("Message-ID")}
    assert len(ids) == 1
    assert "\nBcc:" not in first["text"]


def test_a_recipient_that_is_put_off_gets_it_later_and_the_others_do_not_get_it_twice(world, serve):
    server = serve("postbox.py", "greylist:b@example.com", "ok")
    world.alert((f"smtp://127.0.0.1:{server.port}/?to=a@example.com,b@example.com", "critical"))
    tell(world, incident())
    assert send(world).failed == 1
    assert send(world, after=100).delivered == 1
    assert [got["to"] for got in server.got()] == [["a@example.com"], ["b@example.com"]]
    assert "example.com" not in everything(world.home).replace("payments-ml@example.com", "")


@pytest.mark.parametrize("answer", ["never", "unknown:a@example.com"])
def test_a_mail_that_is_refused_for_good_is_given_up(world, serve, answer):
    server = serve("postbox.py", answer)
    world.alert((f"smtp://127.0.0.1:{server.port}/?to=a@example.com", "critical"))
    tell(world, incident())
    assert send(world).dropped == 1
    assert "SMTP 55" in outbox.finished(world.home)[0].note


def test_no_password_and_no_mail_goes_over_a_line_that_can_be_read(world, serve):
    server = serve("postbox.py", "ok")
    world.alert((f"smtp://me:s3cret@127.0.0.1:{server.port}/?to=a@example.com", "critical"))
    tell(world, incident())
    summary = send(world)
    assert (summary.failed, server.got()) == (1, [])
    assert "tls=off" in summary.problems[0]


def test_a_login_that_is_refused_is_given_up(world, serve):
    server = serve("postbox.py", "noauth")
    world.alert((f"smtp://me:s3cret@127.0.0.1:{server.port}/?to=a@example.com&tls=off", "critical"))
    tell(world, incident())
    assert send(world).dropped == 1
    assert "s3cret" not in everything(world.home)


def test_a_mail_server_that_never_greets_is_left_in_time(world, serve, monkeypatch):
    monkeypatch.setattr("mlobs_pipelines.act.alerts.mail.TIMEOUT", 0.3)
    server = serve("postbox.py", "hang")
    world.alert((f"smtp://127.0.0.1:{server.port}/?to=a@example.com", "critical"))
    tell(world, incident())
    assert send(world).failed == 1


def test_secrets_are_in_no_file_summary_or_error(world, serve):
    echo = serve("receiver.py", "echo")
    down, later = serve("receiver.py", start=False), serve("receiver.py", "echo:500")
    urls = [
        f"webhook+http://127.0.0.1:{later.port}/SECRET-path?secret=SECRET7&token=SECRET8",
        f"webhook+http://127.0.0.1:{echo.port}/SECRET-path?secret=SECRET1&token=SECRET2",
        f"slack+http://127.0.0.1:{echo.port}/services/T0/B0/SECRET3",
        f"slack+http://127.0.0.1:{down.port}/services/T0/B0/SECRET4",
        f"pagerduty://SECRET5?base=http://127.0.0.1:{echo.port}",
        f"smtp://me:SECRET6@127.0.0.1:{down.port}/?to=a@example.com&tls=off",
    ]
    world.alert(*[(url, "critical") for url in urls])
    tell(world, incident())
    summary = send(world)
    assert (summary.dropped, summary.failed) == (3, 3)
    assert "SECRET" not in everything(world.home) + str(summary)


def test_a_channel_that_left_the_models_file_gets_nothing_more(world, serve):
    server = serve("receiver.py", "200", start=False)
    world.alert((hook(server), "critical"))
    tell(world, incident())
    send(world)
    world.alert(("pagerduty://k?base=http://127.0.0.1:9", "critical"))
    server.start()
    assert send(world, after=100).dropped == 1
    assert server.got() == []


def test_a_broken_models_file_keeps_its_messages(world, serve):
    server = serve("receiver.py", "200")
    world.alert((hook(server), "critical"))
    tell(world, incident())
    good = world.home.spec_file("card_fraud").read_text()
    world.home.spec_file("card_fraud").write_text("model: [")
    assert (send(world).waiting, server.got()) == (1, [])
    world.home.spec_file("card_fraud").write_text(good)
    assert send(world).delivered == 1


def test_a_model_without_a_file_is_delivered_by_its_spec(world, serve):
    server = serve("receiver.py", "200")
    world.alert((hook(server), "critical"))
    spec = world.spec
    tell(world, incident())
    world.home.spec_file("card_fraud").unlink()
    assert send(world).waiting == 1
    assert send(world, specs=[spec]).delivered == 1


def test_a_file_that_cannot_be_read_is_named_and_the_others_go(world, serve):
    server = serve("receiver.py", "200")
    world.alert((hook(server), "critical"))
    tell(world, incident())
    (world.home.outbox / "pending" / "a.json").write_text('{"half')
    (world.home.outbox / "pending" / "b.json").write_text('{"message": {}}')
    summary = send(world)
    assert summary.delivered == 1
    assert [p.split()[0] for p in summary.problems] == ["outbox/pending/a.json", "outbox/pending/b.json"]


def test_no_message_is_begun_when_the_time_is_up(world, serve):
    server = serve("receiver.py", "200")
    world.alert((hook(server), "critical"))
    tell(world, incident())
    assert send(world, budget_seconds=-1).waiting == 1
    assert server.got() == []


def test_slack_gets_a_message_a_second(world, serve):
    server = serve("receiver.py", "200")
    world.alert((f"slack+http://127.0.0.1:{server.port}/T/B/x", "critical"))
    tell(world, incident())
    text = world.home.spec_file("card_fraud").read_text()
    [one], _ = outbox.pending(world.home)
    for name in ("second", "third"):
        world.home.spec_file(name).write_text(text.replace("card_fraud", name))
        outbox.add(world.home, outbox.parse(one.text().replace("card_fraud", name)))
    pauses = []
    assert deliver(world.home, now=NOW, sleep=pauses.append).delivered == 3
    assert len(pauses) == 2
    assert all(0.8 < pause <= 1.1 for pause in pauses)
    assert len(server.got()) == 3


def test_two_senders_at_once_send_it_once(world, serve):
    server = serve("receiver.py", "200")
    world.alert((hook(server), "critical"))
    tell(world, incident())
    summaries = []
    threads = [threading.Thread(target=lambda: summaries.append(send(world))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(s.delivered for s in summaries) == 1
    assert len(server.got()) == 1


def test_eight_notifiers_at_once_put_it_in_once(world, serve):
    world.alert((hook(serve("receiver.py", "200")), "critical"))
    world.conclude(incident())
    put = []
    spec = world.spec
    threads = [threading.Thread(target=lambda: put.extend(notify(world.home, spec, NIGHT, now=NOW))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(put) == 1


def child(world, pidfile, publish=0):
    command = [
        sys.executable,
        str(CHILD),
        str(world.home.root),
        str(pidfile),
        str(NIGHT),
        NOW.isoformat(),
        str(publish),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=60)


def test_killed_before_the_answer_it_is_sent_again_under_the_same_key(world, serve, tmp_path):
    pidfile = tmp_path / "pid"
    server = serve("receiver.py", f"kill:{pidfile}", "200")
    world.alert((hook(server), "critical"))
    world.conclude(incident())
    assert child(world, pidfile).returncode == -signal.SIGKILL
    assert send(world).delivered == 1
    assert told(server) == [{"one": "firing"}] * 2
    assert len({g["headers"]["X-Mlobs-Delivery"] for g in server.got()}) == 1
    assert tell(world, incident()) == []


@pytest.mark.parametrize("publish", [1, -1, 2, -2, 3, -3, 4, -4, 5, -5])
def test_killed_at_any_file_nothing_is_lost_and_nothing_told_anew(world, serve, tmp_path, publish):
    """Five files are published: the intent, the message, what is known, the message's progress, its end."""
    server = serve("receiver.py", "200")
    world.alert((hook(server), "critical"))
    world.conclude(incident())
    died = child(world, tmp_path / "pid", publish)
    assert died.returncode == -signal.SIGKILL, died.stderr
    notify(world.home, world.spec, NIGHT, now=NOW)
    send(world)
    assert not outbox.anything(world.home)
    assert len(server.got()) == (2 if publish == 4 else 1)  # it arrived, and nothing says so yet
    assert len({g["headers"]["X-Mlobs-Delivery"] for g in server.got()}) == 1
    assert states(world.home) == ["delivered"]
    assert tell(world, incident()) == []


def test_a_sender_alone_carries_out_what_a_killed_night_intended(world, serve, tmp_path):
    server = serve("receiver.py", "200")
    world.alert((hook(server), "critical"))
    world.conclude(incident())
    child(world, tmp_path / "pid", -1)
    assert outbox.pending(world.home) == ([], [])
    assert send(world).delivered == 1
    assert tell(world, incident()) == []


def test_all_that_is_published_is_covered_by_the_kills(world, serve, tmp_path):
    world.alert((hook(serve("receiver.py", "200")), "critical"))
    world.conclude(incident())
    assert child(world, tmp_path / "pid").stdout.split() == ["5"]


def test_what_is_done_is_not_put_in_again(world, serve):
    world.alert((hook(serve("receiver.py", "200")), "critical"))
    [put] = tell(world, incident())
    send(world)
    outbox.add(world.home, put)
    assert outbox.pending(world.home) == ([], [])
    assert states(world.home) == ["delivered"]


def test_lost_memory_tells_what_is_new_and_loses_no_message(world, serve):
    server = serve("receiver.py", "200")
    world.alert((hook(server), "critical"))
    tell(world, incident())
    send(world)
    [key] = channels(world.spec)[0]
    (world.home.outbox / "told" / "card_fraud" / f"{key}.json").write_text("gone")
    tell(world, incident("two"))
    send(world)
    assert len(server.got()) == 2
    assert told(server)[1] == {"two": "firing"}


def test_the_pause_grows_to_an_hour_and_no_two_messages_pause_alike():
    pauses = [backoff("id", attempts) for attempts in range(40)]
    assert 22 <= pauses[0] <= 38
    assert all(2700 <= pause <= 4500 for pause in pauses[8:])
    assert len({backoff(f"id{i}", 3) for i in range(20)}) == 20


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (None, 0),
        ("7", 7),
        ("-3", 0),
        ("1e9", 86400),
        ("nan", 0),
        ("soon", 0),
        ("Wed, 11 Mar 2026 02:11:00 GMT", 60),
        ("Wed, 11 Mar 2020 02:11:00 GMT", 0),
    ],
)
def test_retry_after_is_a_number_or_a_date(said, seconds):
    assert retry_after(said, NOW) == seconds


def test_people_are_heard_between_nights(world, serve, monkeypatch):
    """The snapshot need not be published anew: the log says who acknowledged what."""
    said = dict.fromkeys(DECISIONS) | {
        "decision_id": "x:acknowledge:0",
        "model": "card_fraud",
        "action": "acknowledge",
        "status": "done",
        "evidence": json.dumps({"severity": "critical"}),
        "incident_id": incident()["incident_id"],
        "as_of": NIGHT,
    }
    log = pl.DataFrame([said], schema=DECISIONS)
    assert with_people(pl.DataFrame([incident()], schema=INCIDENTS), log)["state"].item() == "acknowledged"
    server = serve("receiver.py", "200")
    world.alert((hook(server), "critical"))
    tell(world, incident())
    monkeypatch.setattr("mlobs_pipelines.act.alerts.notify.decisions", lambda home, model: log)
    assert [e.message.status for e in tell(world, incident())] == ["acknowledged"]
    assert tell(world, incident(), days=5) == []


def test_what_the_log_says_is_told(world, serve):
    """Through the real log: the decision that waits for a person, and a person's word after it."""
    server = serve("receiver.py", "200")
    world.alert((hook(server), "critical"))
    row = incident()
    world.conclude(row)
    about = {"model": "card_fraud", "incident_id": row["incident_id"], "as_of": NIGHT}
    journal.append(world.home, decision_id="d1", action="fix_data", status="pending", reason="Broken.", **about)
    [put] = notify(world.home, world.spec, NIGHT, now=NOW)
    [item] = put.message.items
    assert item.decisions == ("fix_data: pending. Broken. Agree with: mlobs approve d1",)
    evidence = {"severity": "critical", "comment": "on it"}
    journal.append(
        world.home, decision_id="a", action="acknowledge", status="done", reason="on it", evidence=evidence, **about
    )
    assert [e.message.status for e in notify(world.home, world.spec, NIGHT, now=NOW)] == ["acknowledged"]
    assert send(world).delivered == 1
    assert told(server) == [{"one": "firing"}]
