"""What a channel's format makes of a message: complete for a person, and inert whatever the data are called."""

from __future__ import annotations

import dataclasses
import email
import email.policy
import html.parser
import json

import pytest

from mlobs_pipelines.act.alerts.mail import mail
from mlobs_pipelines.act.alerts.message import Item, Message, folded, from_document, plain
from mlobs_pipelines.act.alerts.pagerduty import actions, event
from mlobs_pipelines.act.alerts.slack import payload
from mlobs_pipelines.act.alerts.wording import subject, text

HOSTILE = [
    "<!channel> <!here> <@U123> <#C1|general>",
    "<https://evil.example|click here>",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "amount\r\nBcc: everyone@example.com\r\n\r\nbody",
    "amount\nFrom: ceo@example.com",
    "*bold* _it_ ~st~ `code` :rotating_light:",
    "\u202eevil\u202c \u2066rtl\u2069 \u200bzero",
    "nul\0 bell\x07 esc\x1b[31m",
    "lone \ud800 surrogate",
    "\"&quot;'><svg/onload=alert(1)>",
    "{{7*7}} ${HOME} %s %n {0}",
    "=?utf-8?q?=0D=0ABcc=3A_x=40example.com?=",
    "x" * 5000,
    "数量 количество כמות",
]


def item(name="one", status="firing", **more):
    given = {
        "incident_id": f"id-{name}",
        "dedup_key": f"key-{name}",
        "status": status,
        "severity": "critical",
        "kind": "data_fault",
        "title": "amount is 100 times what it was",
        "subject": "amount",
        "segment": "country=NL",
        "version": "2",
        "metric": "jensen_shannon",
        "value": 0.81,
        "lower": 0.78,
        "upper": 0.84,
        "baseline": 0.02,
        "threshold": 0.1,
        "rows": 1312,
        "labeled_rows": 328,
        "window_start": "2026-03-04",
        "window_end": "2026-03-10",
        "since": "2026-03-08",
        "nights": 2,
        "suspects": ("segment country=NL (83 % of the change)",),
        "same_time": ("version: version 2 came",),
        "advice": "Mend the source of amount.",
        "decisions": ("retrain: pending. Because. Agree with: mlobs approve d1",),
        "url": f"http://127.0.0.1:8700/models/card_fraud/incidents/id-{name}/",
    }
    return Item(**{**given, **more})


def message(*items, **more):
    given = {"id": "card_fraud-2026-03-10-abcd-000001", "model": "card_fraud", "night": "2026-03-10"}
    rest = {"owner": "o@example.com", "url": "http://127.0.0.1:8700/models/card_fraud/", "config_digest": "c0ffee"}
    return Message(**{**given, **rest, "items": items or (item(),), "run_id": "run-1", **more})


def hostile(name):
    bad = plain(name)
    return message(
        item(title=bad, subject=bad, segment=f"{bad}={bad}", suspects=(bad,), same_time=(bad,), advice=bad, metric=bad),
        owner=bad,
        waiting=(bad,),
    )


def test_the_text_says_all_that_a_person_on_call_asks():
    said = text(message(item(), waiting=("promote: pending. Better.",), still_open=2))
    for fact in (
        "CRITICAL, new: amount is 100 times what it was, in country=NL",
        "jensen_shannon 0.81 [0.78, 0.84], usually 0.02, off from 0.1 on (1,312 rows, 25 % labelled, 2026-03-04 … 2026-03-10)",
        "Since 2026-03-08, seen on 2 nights. Version 2.",
        "First suspects: segment country=NL (83 % of the change)",
        "Changed at the same time: version: version 2 came",
        "What to do: Mend the source of amount.",
        "mlobs approve d1",
        "http://127.0.0.1:8700/models/card_fraud/incidents/id-one/",
        "mlobs ack id-one",
        "Waiting for you: promote: pending. Better.",
        "2 more incidents are open",
        "owner o@example.com",
        "group card_fraud:2026-03-10 · configuration c0ffee · run run-1",
    ):
        assert fact in said


def test_the_worst_comes_first_and_leads_the_subject():
    both = message(item("new"), item("old", "resolved"))
    assert subject(both) == "[critical] card_fraud: amount is 100 times what it was in country=NL (+1 more)"
    assert subject(message(item(status="resolved"))).startswith("[resolved] card_fraud")


def test_a_message_comes_back_from_json_as_it_was():
    sent = message(item(), item("two", "resolved", value=None, rows=None), waiting=("w",))
    assert from_document(json.loads(json.dumps(sent.document()))) == sent


@pytest.mark.parametrize("name", HOSTILE)
def test_a_cleaned_text_is_one_line_that_any_program_can_carry(name):
    shown = plain(name)
    assert shown.isprintable()
    assert len(shown) <= 200
    shown.encode()


@pytest.mark.parametrize("name", HOSTILE)
def test_slack_finds_no_markup_in_what_comes_from_data(name):
    document = payload(hostile(name))
    for block in document["blocks"]:
        texts = [block["text"]] if "text" in block else block.get("elements", [])
        for piece in texts:
            if piece["type"] == "mrkdwn":
                assert piece["text"].startswith("<http://127.0.0.1:8700/models/card_fraud/")
                assert piece["text"].count("<") == piece["text"].count(">") == piece["text"].count("|") == 1
                assert piece["verbatim"] is True
            else:
                assert piece["type"] == "plain_text"
                assert piece["emoji"] is False
    assert not set("<>") & set(document["text"])
    assert document["link_names"] is document["mrkdwn"] is False


@pytest.mark.parametrize("name", HOSTILE)
def test_a_mail_has_our_headers_only_and_no_live_markup(name):
    sent = mail(hostile(name), "mlobs@example.com", ("a@example.com",))
    got = email.message_from_bytes(bytes(sent), policy=email.policy.default)
    assert got["To"] == "a@example.com"
    assert got["From"] == "mlobs@example.com"
    assert got["Bcc"] is got["Cc"] is None
    assert len(got.get_all("From")) == len(got.get_all("Subject")) == 1
    body = got.get_body(("html",)).get_content()
    seen = []

    class Tags(html.parser.HTMLParser):
        def handle_starttag(self, tag, attributes):
            seen.append((tag, dict(attributes)))

    Tags().feed(body)
    assert {tag for tag, _ in seen} <= {"html", "head", "meta", "title", "body", "p", "strong", "br", "hr", "a"}
    for tag, attributes in seen:
        if tag == "a":
            assert list(attributes) == ["href"]
            assert attributes["href"].startswith("http://127.0.0.1:8700/models/card_fraud/")


def test_slacks_limits_are_kept_by_a_very_bad_night():
    bad = item(advice="a" * 400, suspects=("s" * 200,) * 3, same_time=("t" * 200,) * 3, decisions=("d" * 300,) * 5)
    document = payload(message(*[dataclasses.replace(bad, incident_id=f"id-{i}") for i in range(40)]))
    assert len(document["blocks"]) <= 50
    assert len(document["blocks"][0]["text"]["text"]) <= 150
    assert all(len(b["text"]["text"]) <= 3000 for b in document["blocks"] if "text" in b)
    assert len(json.dumps(document, ensure_ascii=False)) < 13_200
    assert any("32 more" in b["text"]["text"] for b in document["blocks"] if "text" in b)


def test_pagerduty_gets_the_life_of_an_incident_under_one_key():
    told = message(item())
    opened = event(told, told.items[0], "trigger", "routing")
    assert opened["dedup_key"] == "key-one"
    assert opened["payload"]["severity"] == "critical"
    assert opened["payload"]["summary"] == "card_fraud: amount is 100 times what it was in country=NL"
    assert len(event(hostile("x" * 5000), hostile("x" * 5000).items[0], "trigger", "r")["payload"]["summary"]) <= 1024
    assert actions(item(status="resolved")) == ("resolve",)
    assert actions(item(status="acknowledged")) == ("acknowledge",)
    assert actions(item(status="updated", acknowledged=True)) == ("trigger", "acknowledge")
    assert actions(item(status="escalated", acknowledged=True)) == ("trigger",)


def test_folding_tells_the_newest_state_and_forgets_no_incident():
    old = message(item("a"), item("b"), item("c", "resolved"))
    new = message(item("a", "updated", title="worse now"), item("b", "resolved"), item("d"))
    both = folded(old, new)
    assert {(i.incident_id, i.status, i.title) for i in both.items} == {
        ("id-a", "firing", "worse now"),
        ("id-b", "resolved", "amount is 100 times what it was"),
        ("id-c", "resolved", "amount is 100 times what it was"),
        ("id-d", "firing", "amount is 100 times what it was"),
    }
    assert folded(old, both) == both
