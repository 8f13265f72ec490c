"""The commands of people, as they are typed and as programs read them."""

from __future__ import annotations

import json
import re

import pytest
from click.testing import CliRunner

from mlobs_pipelines.cli import main
from mlobs_pipelines.store.journal import append, decisions
from tests.act import incident_home
from tests.act.incident_home import AMOUNT, NIGHT, OVER, RETRAIN, SPAIN, see, troubled_home


@pytest.fixture
def home(tmp_path):
    return troubled_home(tmp_path / "home")


@pytest.fixture
def quick(home, monkeypatch):
    """A home of which nobody publishes the snapshot."""
    monkeypatch.setattr("mlobs_pipelines.act.people.publish", lambda home: None)
    return home


def mlobs(home, *arguments, code=0):
    result = CliRunner().invoke(main, ["--home", str(home.root), *arguments])
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.stderr


def one_line(text):
    assert len(text.strip().splitlines()) == 1, text
    return text.strip()


def said(home):
    row = decisions(home).row(-1, named=True)
    return row["action"], row["status"], row["actor"], row["reason"]


@pytest.mark.parametrize(
    ("arguments", "told", "kept"),
    [
        (("ack", AMOUNT), f"{AMOUNT}: acknowledged by ann", ("acknowledge", "done")),
        (("resolve", "amount-is", AMOUNT)[::2], f"{AMOUNT}: resolved by ann", ("resolve", "done")),
        (("silence", "input", "--for", "7d"), f"{AMOUNT}: silenced until 2026-02-17 by ann", ("silence", "done")),
        (("silence", "input", "--for", "1w"), f"{AMOUNT}: silenced until 2026-02-17 by ann", ("silence", "done")),
        (
            ("silence", "input", "--until", "2026-02-12"),
            f"{AMOUNT}: silenced until 2026-02-12 by ann",
            ("silence", "done"),
        ),
        (("reject", "retrain"), f"{RETRAIN}: rejected by ann", ("retrain", "rejected")),
        (("approve", RETRAIN), f"{RETRAIN}: approved by ann; .* mlobs act card_fraud", ("retrain", "approved")),
    ],
)
def test_what_a_person_says_is_kept_and_confirmed(quick, arguments, told, kept):
    assert re.fullmatch(told, one_line(mlobs(quick, *arguments, "-m", "looked at it", "--by", "ann")))
    assert said(quick) == (*kept, "ann", "looked at it")


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_program_gets_the_row_of_the_log(quick, place):
    command = ["ack", AMOUNT, "-m", "--json", "--by", "ann"]
    answer = mlobs(quick, *(["--json", *command] if place == "before" else [*command, "--json"]))
    row = json.loads(answer)
    assert (row["decision_id"], row["reason"], row["seq"]) == (f"{AMOUNT}:acknowledge:1", "--json", 1)


@pytest.mark.parametrize(
    "arguments",
    [
        ("ack", AMOUNT),
        ("approve", RETRAIN),
        ("silence", AMOUNT, "-m", "c"),
        ("silence", AMOUNT, "-m", "c", "--for", "7d", "--until", "2026-02-12"),
        ("silence", AMOUNT, "-m", "c", "--for", "soon"),
        ("silence", AMOUNT, "-m", "c", "--for", "36h"),
        ("silence", AMOUNT, "-m", "c", "--for", "0d"),
        ("silence", AMOUNT, "-m", "c", "--until", "tomorrow"),
        ("audit",),
    ],
)
def test_wrong_usage_exits_with_two_and_changes_nothing(quick, arguments):
    mlobs(quick, *arguments, code=2)
    assert decisions(quick).height == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("ack", AMOUNT.replace("input", "inptu"), "-m", "c"), f"did you mean '{AMOUNT}'?"),
        (("explain", "card_fraud"), "part of several incidents"),
        (("ack", AMOUNT, "-m", " "), "say why"),
        (("silence", AMOUNT, "-m", "c", "--for", "99999d"), "ends between"),
        (("silence", AMOUNT, "-m", "c", "--for", "900000000d"), "ends between"),
        (("resolve", OVER, "-m", "c"), "is over since"),
        (("reject", "promote", "-m", "c"), "no decision 'promote'"),
        (("audit", "verify", "--holds", "xyz"), "is no hash"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_changes_nothing(quick, arguments, told):
    assert told in one_line(mlobs(quick, *arguments, code=1))
    assert decisions(quick).height == 1


# The audit


def test_a_whole_chain_is_told_with_its_head(quick):
    told = one_line(mlobs(quick, "audit", "verify"))
    head = decisions(quick)["hash"][-1]
    assert told == f"1 entry, chain whole, head {head}"
    mlobs(quick, "ack", AMOUNT, "-m", "c")
    assert mlobs(quick, "audit", "verify", "--holds", head).startswith("2 entries, chain whole, head ")
    found = json.loads(mlobs(quick, "audit", "verify", "--json"))
    assert (found["whole"], found["entries"], found["problems"]) == (True, 2, [])


def test_the_first_bad_line_is_told_and_a_program_gets_all(quick):
    for _ in range(3):
        mlobs(quick, "ack", AMOUNT, "-m", "c")
    log = quick.log / "decisions.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([lines[0], lines[1].replace(b"done", b"open"), lines[3]]))
    told = one_line(mlobs(quick, "audit", "verify", code=1))
    assert str(log) in told
    assert "line 2: its content is not what its hash says: edited (and 1 more" in told
    result = CliRunner().invoke(main, ["--home", str(quick.root), "--json", "audit", "verify"])
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert [problem["line"] for problem in found["problems"]] == [2, 3]
    assert found["whole"] is False


def test_a_home_without_a_log_is_whole(tmp_path):
    result = CliRunner().invoke(main, ["--home", str(tmp_path), "audit", "verify"])
    assert result.exit_code == 0
    assert result.stdout == f"0 entries, chain whole, head {'0' * 64}\n"


# Why


def test_an_incident_is_explained_from_what_was_seen_to_what_to_do(quick):
    mlobs(quick, "ack", AMOUNT, "-m", "called the\nfeed's owner", "--by", "ann")
    told = mlobs(quick, "explain", "input")
    for part in (
        "amount is in another unit: values are 100 times what they were in country=NL\n",
        "critical, acknowledged: broken data of card_fraud, version 2",
        "since 2026-02-10; found on 2026-02-10, seen on 1 night, last on 2026-02-10, as of 2026-02-10",
        "Jensen-Shannon distance 0.867 [0.827, 0.904], expected 0.058, off from 0.158; 1,508 rows\n",
        "amount is in another unit, in country=NL, since 2026-02-10, on 1,508 rows.\n",
        "1. feature amount in country=NL: 0.867, usually 0.066",
        "2. segment country=NL, 97 % [95, 99] of the change: holds 97 % of it",
        "version: version 2 took over on 2026-02-10",
        "2 other signals that this explains are silent: PSI, total variation",
        "What to do: mend the data. Mend the source of amount, or have it sent again.",
        "ann acknowledged: called the feed's owner",
        f"\n{AMOUNT}\nhttp://127.0.0.1:8700/models/card_fraud/incidents/{AMOUNT}/\n",
    ):
        assert part in told
    order = ["First suspects", "At the same time", "silent", "What to do", "What people did", "http"]
    assert sorted(order, key=told.index) == order


def test_an_explanation_shows_the_decision_that_waits_and_how_to_settle_it(quick, monkeypatch):
    monkeypatch.setenv("MLOBS_URL", "https://ml.example.com/obs/")
    told = mlobs(quick, "explain", SPAIN)
    assert "retrain, pending (mlobs): log_loss rose to 0.844" in told
    assert f'mlobs approve {RETRAIN} -m "…"' in told.replace("\n     ", " ")
    assert f"https://ml.example.com/obs/models/card_fraud/incidents/{SPAIN}/" in told
    mlobs(quick, "approve", RETRAIN, "-m", "go", "--by", "ann")
    told = mlobs(quick, "explain", SPAIN)
    assert "retrain, approved (ann): go" in told
    assert "mlobs approve" not in told


def test_an_explanation_for_programs_has_everything(quick):
    mlobs(quick, "ack", AMOUNT, "-m", "c")
    found = json.loads(mlobs(quick, "explain", "input", "--json"))
    assert found["evidence"]["same_time"] == [{"what": "version", "detail": "version 2 took over on 2026-02-10"}]
    assert [cause["share"] for cause in found["causes"]] == [None, 0.974]
    assert [entry["action"] for entry in found["said"]] == ["acknowledge"]
    assert found["state"] == "acknowledged"
    assert found["decisions"] == []
    assert found["links"]["page"].endswith(f"/{AMOUNT}/")


def test_an_incident_of_which_little_is_known_is_explained_as_well(home):
    name = "card_fraud-20260211-monitoring-00000000"
    bare = ("version", "title", "diagnosis", "metric", "value", "threshold", "recommended_action", "segment", "rows")
    see(home, NIGHT.replace(day=11), incident_home.incident(name, NIGHT.replace(day=11), **dict.fromkeys(bare)))
    told = mlobs(home, "explain", "monitoring")
    assert told.startswith(f"{name}\n\nwarning, open: drift of inputs of card_fraud\n")
    assert "None" not in told


HOSTILE = "\x1b[2J\x1b]0;owned\x07\u202e\n\x00<b>[red]x[/red]"


def test_no_text_from_the_data_or_from_people_moves_the_terminal(home):
    night = NIGHT.replace(day=11)
    evidence = {
        "advice": HOSTILE,
        "same_time": [{"what": HOSTILE, "detail": HOSTILE}],
        "absorbed": [{"metric": HOSTILE}],
    }
    texts = dict.fromkeys(("title", "diagnosis", "segment", "subject", "metric", "version"), HOSTILE)
    name = "card_fraud-20260211-input-11111111"
    see(home, night, incident_home.incident(name, night, **texts, evidence=evidence))
    mlobs(home, "ack", "11111111", "-m", HOSTILE, "--by", "ann")
    append(
        home, decision_id="d", model="card_fraud", action="retrain", status="pending", reason=HOSTILE, incident_id=name
    )
    for told in (mlobs(home, "explain", "11111111"), mlobs(home, "status")):
        assert "owned" in told
        assert all(c.isprintable() or c == "\n" for c in told)
    assert json.loads(mlobs(home, "explain", "11111111", "--json"))["title"] == HOSTILE


# Status


def test_status_lists_open_incidents_the_worst_first_and_decisions_that_wait(quick):
    told = mlobs(quick, "status")
    assert told.index("Incidents") < told.index("mlobs explain " + AMOUNT) < told.index("mlobs explain " + SPAIN)
    assert "critical  2026-02-10  data_fault: amount is in another unit" in told
    assert OVER not in told
    assert f'retrain: log_loss rose to 0.844\n            mlobs approve {RETRAIN} -m "…"' in told


def test_status_shows_what_people_said_at_once(quick):
    mlobs(quick, "silence", AMOUNT, "--for", "3d", "-m", "c")
    mlobs(quick, "resolve", SPAIN, "-m", "c")
    mlobs(quick, "reject", RETRAIN, "-m", "c")
    told = mlobs(quick, "status")
    assert "in country=NL, silenced" in told
    assert SPAIN not in told
    assert "wait for you" not in told


def test_status_for_programs_has_incidents_and_decisions(quick):
    (row,) = json.loads(mlobs(quick, "--json", "status"))
    assert [(i["incident_id"], i["kind"], i["since"], i["title"]) for i in row["incidents"]] == [
        (AMOUNT, "data_fault", "2026-02-10", "amount is in another unit: values are 100 times what they were"),
        (SPAIN, "concept_drift", "2026-02-01", "amount drifted"),
    ]
    assert [(d["decision_id"], d["command"]) for d in row["pending"]] == [(RETRAIN, f'mlobs approve {RETRAIN} -m "…"')]
