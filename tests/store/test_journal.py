"""The log: nothing acknowledged is lost, and nothing is changed unseen."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

import mlobs_pipelines.store as store
from mlobs_pipelines.store import journal
from mlobs_pipelines.store.journal import JournalError, SettledError, append, audit, current, decisions, verify
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.results import publish
from mlobs_pipelines.store.tables import DECISIONS

CHILD = Path(__file__).with_name("append_child.py")
ROOT = CHILD.parents[2]
ENTRIES = 6


def decide(home, decision_id="m:retrain:1", status="pending", **more):
    usual = {"model": "m", "action": "retrain", "reason": "ROC AUC fell"}
    return append(home, decision_id=decision_id, status=status, **{**usual, **more})


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A log of a few entries, with a text that could be taken for a line's end."""
    home = Home(tmp_path_factory.mktemp("log"))
    for i in range(ENTRIES):
        decide(home, f"d{i % 4}", reason=f'No {i}:\n"hash":"{"0" * 64}"\u2028', evidence={"n": i})
    return home


@pytest.fixture
def copy(written, tmp_path):
    shutil.copytree(written.log, tmp_path / "log")
    return Home(tmp_path)


def log(home):
    return home.log / "decisions.jsonl"


def head(home):
    return home.log / "head.json"


def lines(home):
    return log(home).read_bytes().splitlines(keepends=True)


def refuses(home):
    """Such a log takes no entry, and is left as it is."""
    before = log(home).read_bytes() if log(home).exists() else None
    with pytest.raises(JournalError, match="audit verify"):
        decide(home, "next")
    assert (log(home).read_bytes() if log(home).exists() else None) == before


# What is written is read


def test_a_home_without_a_log_has_no_decisions_and_nothing_wrong(home):
    assert decisions(home).is_empty()
    assert decisions(home).schema == DECISIONS
    assert current(decisions(home)).schema == DECISIONS
    assert audit(home) == journal.Audit(0, "0" * 64, [])
    assert not home.root.exists()


def test_an_entry_is_read_as_it_was_written(home):
    before = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    row = decide(
        home,
        as_of=dt.date(2026, 1, 2),
        evidence={"day": dt.date(2026, 1, 1), "auc": np.float64(0.5), "rows": np.int64(3), "none": float("nan")},
        version="2",
        mode="auto",
        actor="Zoë <zoe@example.com>",
        incident_id="i1",
    )
    assert decisions(home).to_dicts() == [row]
    assert list(row) == list(DECISIONS)
    assert json.loads(row.pop("evidence")) == {"day": "2026-01-01", "auc": 0.5, "rows": 3, "none": None}
    assert before <= row.pop("decided_at") <= dt.datetime.now(dt.UTC).replace(tzinfo=None)
    assert row.pop("hash") == audit(home).hash
    assert row == {
        "decision_id": "m:retrain:1",
        "model": "m",
        "version": "2",
        "as_of": dt.date(2026, 1, 2),
        "action": "retrain",
        "reason": "ROC AUC fell",
        "mode": "auto",
        "status": "pending",
        "actor": "Zoë <zoe@example.com>",
        "previous_hash": "0" * 64,
        "incident_id": "i1",
        "seq": 0,
    }


def test_the_chain_can_be_checked_with_nothing_but_json_and_sha256(written):
    previous = "0" * 64
    for number, line in enumerate(lines(written)):
        entry = json.loads(line)
        stated = entry.pop("hash")
        assert (entry["seq"], entry["previous_hash"]) == (number, previous)
        text = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        previous = hashlib.sha256((previous + text).encode()).hexdigest()
        assert previous == stated
    assert json.loads(head(written).read_text()) == {"seq": ENTRIES - 1, "hash": previous, "intent": None}
    assert audit(written) == journal.Audit(ENTRIES, previous, [])


def test_a_moment_is_kept_in_utc(home):
    noon = dt.datetime(2026, 1, 2, 12)
    decide(home, decided_at=noon)
    decide(home, decided_at=noon.replace(tzinfo=dt.timezone(dt.timedelta(hours=2))))
    assert decisions(home)["decided_at"].to_list() == [noon, noon - dt.timedelta(hours=2)]
    assert verify(home) == []


def test_the_state_of_a_decision_is_its_newest_row(home):
    for name, status in [("a", "pending"), ("b", "pending"), ("a", "approved"), ("a", "running")]:
        decide(home, name, status)
    assert current(decisions(home)).select("decision_id", "status").rows() == [("b", "pending"), ("a", "running")]
    assert_frame_equal(current(decisions(home).sample(fraction=1, shuffle=True, seed=1)), current(decisions(home)))


def test_decisions_can_be_asked_for_one_model(home):
    decide(home, "a", model="m")
    decide(home, "b", model="n")
    assert decisions(home, "n")["decision_id"].to_list() == ["b"]


def test_saying_the_same_once_says_it_once(home):
    first = decide(home, once=True)
    assert decide(home, once=True, reason="Other words") == first
    decide(home, status="approved", once=True)
    again = decide(home, once=True)  # it was pending before, but is not now
    assert decisions(home)["status"].to_list() == ["pending", "approved", "pending"]
    assert again["seq"] == 2


def test_a_status_is_changed_only_from_the_one_that_was_expected(home):
    with pytest.raises(SettledError, match="is not in the log"):
        decide(home, status="approved", expect=("pending",))
    decide(home)
    decide(home, status="rejected", expect=("pending",), actor="ann")
    with pytest.raises(SettledError, match="is rejected by ann"):
        decide(home, status="approved", expect=("pending",), actor="bob")
    assert decisions(home)["status"].to_list() == ["pending", "rejected"]


def test_a_numbered_entry_is_a_decision_of_its_own(home):
    names = [decide(home, "i:acknowledge", "done", action="acknowledge", numbered=True)["decision_id"] for _ in "ab"]
    assert names == ["i:acknowledge:0", "i:acknowledge:1"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"action": "dance"},
        {"status": "perhaps"},
        {"mode": "off"},
        {"decision_id": ""},
        {"as_of": dt.datetime(2026, 1, 1, 5)},
        {"version": None},
        {"actor": 7},
    ],
)
def test_what_no_reader_could_read_is_not_written(home, wrong):
    decide(home)
    with pytest.raises(ValueError):
        decide(home, **wrong)
    assert (decisions(home).height, verify(home)) == (1, [])


HOSTILE = [
    "two\nlines\r\nand \u2028 more \x85 of \x1c them",
    "NUL \x00 and escape \x1b[31m",
    "half a character \ud800 and \udfff",
    '","hash":"' + "0" * 64,
    "\u202eright to left",
    "1 MB " + "é" * 500_000,
    "{{7*7}} <script>alert(1)</script> '; drop table decisions; --",
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: repr(text[:12]))
def test_any_text_is_one_line_and_comes_back(home, text):
    decide(home, text, reason=text, actor=text, evidence={text: text})
    decide(home, "after")
    assert len(lines(home)) == 2
    row = decisions(home).row(0, named=True)
    readable = "".join("\ufffd" if 0xD800 <= ord(c) < 0xE000 else c for c in text)
    assert {row["decision_id"], row["reason"], row["actor"]} == {readable}
    assert json.loads(row["evidence"]) == {readable: readable}
    assert verify(home) == []
    assert decide(home, text, once=True)["seq"] == 0


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.text(min_size=1), st.text(), st.dictionaries(st.text(), st.floats() | st.text())), max_size=4)
)
def test_whatever_is_written_is_whole(tmp_path_factory, entries):
    home = Home(tmp_path_factory.mktemp("any"))
    rows = [decide(home, name, reason=reason, evidence=evidence) for name, reason, evidence in entries]
    assert decisions(home).to_dicts() == rows
    assert verify(home) == []


# The snapshot


def test_the_snapshot_has_the_log_with_hostile_text(home):
    for text in HOSTILE:
        decide(home, text, reason=text)
    publish(home)
    found = store.query(home, "select * from decisions order by seq")
    assert_frame_equal(found, decisions(home), check_dtypes=False)


# What other hands did is named


def change(home, number, new):
    """Put something else in the place of line ``number``, which counts from 1."""
    log(home).write_bytes(b"".join([*lines(home)[: number - 1], new, *lines(home)[number:]]))


@pytest.mark.parametrize("number", range(1, ENTRIES + 1))
@pytest.mark.parametrize("column", DECISIONS)
def test_an_edited_column_is_named_by_its_line(copy, number, column):
    entry = json.loads(lines(copy)[number - 1])
    later = "2026-01-01T00:00:00.000000Z"
    entry[column] = {"seq": 99, "as_of": "2020-01-01", "decided_at": later}.get(column, f"{entry[column]}x")
    new = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
    assert new != lines(copy)[number - 1]
    change(copy, number, new)
    assert verify(copy)[0].line == number
    refuses(copy)


@pytest.mark.parametrize("number", range(1, ENTRIES + 1))
def test_an_edited_line_with_its_hash_made_anew_is_named(copy, number):
    entry = json.loads(lines(copy)[number - 1])
    entry["reason"] = "Because I say so"
    entry.pop("hash")
    text = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    entry["hash"] = hashlib.sha256((entry["previous_hash"] + text).encode()).hexdigest()
    text = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    change(copy, number, text.encode() + b"\n")
    assert verify(copy)[0].line == min(number + 1, ENTRIES)
    refuses(copy)


@pytest.mark.parametrize("number", range(1, ENTRIES + 1))
@pytest.mark.parametrize("bit", [0, 3, 7])
def test_a_flipped_bit_anywhere_is_named_by_its_line(copy, number, bit):
    whole, line = log(copy).read_bytes(), lines(copy)[number - 1]
    for place in range(0, len(line), 7):
        change(copy, number, bytes([*line[:place], line[place] ^ (1 << bit), *line[place + 1 :]]))
        assert number in {problem.line for problem in verify(copy)}, f"byte {place}: {verify(copy)}"
        log(copy).write_bytes(whole)
    assert verify(copy) == []


@pytest.mark.parametrize("number", range(1, ENTRIES + 1))
def test_a_removed_line_is_named(copy, number):
    change(copy, number, b"")
    problems = verify(copy)
    assert problems[0].line == number
    assert "missing" in problems[0].what
    refuses(copy)


@pytest.mark.parametrize("first", range(1, ENTRIES))
@pytest.mark.parametrize("second", range(2, ENTRIES + 1))
def test_two_swapped_lines_are_named(copy, first, second):
    if second <= first:
        return
    kept = lines(copy)
    kept[first - 1], kept[second - 1] = kept[second - 1], kept[first - 1]
    log(copy).write_bytes(b"".join(kept))
    assert verify(copy)[0].line == first
    refuses(copy)


@pytest.mark.parametrize("after", range(ENTRIES + 1))
@pytest.mark.parametrize(
    "more", [b"\n", b"garbage\n", b"{}\n", b"[[[" * 20_000 + b"\n", b"\xff\xfe\n", b"\x00" * 4096 + b"\n"], ids=range(6)
)
def test_an_inserted_line_is_named(copy, after, more):
    kept = lines(copy)
    log(copy).write_bytes(b"".join([*kept[:after], more, *kept[after:]]))
    assert [problem.line for problem in verify(copy)] == [after + 1]
    refuses(copy)


@pytest.mark.parametrize("number", range(1, ENTRIES + 1))
def test_a_line_put_in_twice_is_named(copy, number):
    change(copy, number, lines(copy)[number - 1] * 2)
    assert verify(copy)[0].line == number + 1
    refuses(copy)


def test_a_log_cut_at_any_byte_is_named(copy):
    whole = log(copy).read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    for size in range(len(whole)):
        log(copy).write_bytes(whole[:size])
        problems = verify(copy)
        assert problems, f"cut after {size} of {len(whole)} bytes"
        wanted = sum(end <= size for end in ends) + 1
        assert {problem.line for problem in problems} <= {wanted, None}
    refuses(copy)


@pytest.mark.parametrize("more", [b"x", b"{", b"\x00" * 512, b" "], ids=range(4))
def test_half_a_line_that_no_writer_left_is_named(copy, more):
    log(copy).write_bytes(log(copy).read_bytes() + more)
    assert [problem.line for problem in verify(copy)] == [ENTRIES + 1]
    refuses(copy)


def test_an_older_log_with_its_newer_head_is_named(written, copy):
    decide(copy, "more")
    shutil.copy(log(written), log(copy))
    assert [problem.line for problem in verify(copy)] == [ENTRIES + 1]
    refuses(copy)


def test_a_line_written_by_other_hands_is_named(written, copy):
    decide(copy, "more")
    shutil.copy(head(written), head(copy))
    assert [problem.line for problem in verify(copy)] == [ENTRIES + 1]
    refuses(copy)


def test_another_log_of_the_same_length_is_named(copy, tmp_path):
    other = Home(tmp_path / "other")
    for i in range(ENTRIES):
        decide(other, f"o{i}")
    shutil.copy(log(other), log(copy))
    assert [problem.line for problem in verify(copy)] == [ENTRIES]
    refuses(copy)


@pytest.mark.parametrize("file", ["decisions.jsonl", "head.json"])
def test_a_missing_or_empty_file_is_named(copy, file):
    (copy.log / file).write_bytes(b"")
    assert file in str(verify(copy)[0])
    (copy.log / file).unlink()
    assert file in str(verify(copy)[0])
    refuses(copy)


def test_an_edited_head_file_is_named_whichever_byte_it_is(copy):
    whole = head(copy).read_bytes()
    for place in range(len(whole)):
        for new in (b"", b"0", b" ", b"}"):
            edited = whole[:place] + new + whole[place + 1 :]
            if edited != whole:
                head(copy).write_bytes(edited)
                assert verify(copy), edited
    head(copy).write_bytes(whole)
    assert verify(copy) == []


@pytest.mark.parametrize("text", ["[]", "null", "7", '{"seq":0}', "[" * 100_000, '{"hash":1,"intent":[],"seq":"x"}'])
def test_a_head_file_of_any_other_kind_is_named(copy, text):
    head(copy).write_text(text)
    assert "head.json" in str(verify(copy)[0])


def test_monitoring_still_reads_what_can_be_read_of_a_broken_log(copy):
    change(copy, 2, b'{"decision_id": 5}\n')
    assert decisions(copy)["seq"].to_list() == [0, 2, 3, 4, 5]


@pytest.mark.parametrize("number", range(1, ENTRIES + 1))
def test_a_line_written_in_another_form_is_read_and_named(copy, number):
    before = decisions(copy)
    change(copy, number, json.dumps(json.loads(lines(copy)[number - 1])).encode() + b"\n")
    assert_frame_equal(decisions(copy), before)
    assert [problem.line for problem in verify(copy)] == [number]
    refuses(copy)


def test_every_problem_is_named_not_only_the_first(copy):
    change(copy, 2, b"x\n")
    change(copy, 5, lines(copy)[4].replace(b"No 4", b"No 5"))
    assert [problem.line for problem in verify(copy)] == [2, 5]


# Readers and writers at once


def child(*arguments):
    return subprocess.Popen(
        [sys.executable, str(CHILD), *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_what_another_process_wrote_is_seen_at_once(home):
    decide(home)
    assert decisions(home).height == 1
    assert child(home.root, "other").wait() == 0
    assert decisions(home)["decision_id"].to_list() == ["m:retrain:1", "other"]
    decide(home, "mine")
    assert (decisions(home).height, verify(home)) == (3, [])


def test_a_log_that_was_put_back_from_a_backup_is_read_anew(written, copy):
    decide(copy, "more")
    assert decisions(copy).height == ENTRIES + 1
    for file in ("decisions.jsonl", "head.json"):
        shutil.copy(written.log / file, copy.log / file)
    assert decisions(copy).height == ENTRIES
    assert decide(copy, "again")["seq"] == ENTRIES
    assert verify(copy) == []


def test_a_log_of_the_same_size_is_read_anew(copy):
    decisions(copy)
    log(copy).write_bytes(log(copy).read_bytes().replace(b"No 3", b"No 7"))
    assert decisions(copy)["reason"][3].startswith("No 7")
    refuses(copy)


def test_an_answer_is_the_askers_own(home):
    decide(home)
    mine = decisions(home)
    mine[0, "status"] = "approved"
    assert decisions(home)["status"].to_list() == ["pending"]


def test_two_processes_append_a_hundred_each_while_a_third_verifies(home):
    code = (
        "import sys; from pathlib import Path; from mlobs_pipelines.store.layout import Home\n"
        "from mlobs_pipelines.store.journal import append\n"
        "for i in range(100): append(Home(Path(sys.argv[1])), decision_id=f'{sys.argv[2]}{i}', model='m', "
        "action='retrain', status='pending', reason='r')"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(home.root), name], cwd=ROOT) for name in "ab"]
    seen = []
    while any(writer.poll() is None for writer in writers):
        assert verify(home) == []
        seen.append(decisions(home).height)
    assert [writer.returncode for writer in writers] == [0, 0]
    assert seen == sorted(seen)
    names = decisions(home)["decision_id"].to_list()
    assert sorted(names) == sorted(f"{name}{i}" for name in "ab" for i in range(100))
    for name in "ab":
        assert [n for n in names if n[0] == name] == [f"{name}{i}" for i in range(100)]
    assert audit(home).entries == 200
    assert verify(home) == []


def test_threads_that_settle_one_decision_settle_it_once(home):
    decide(home)

    def settle(i):
        try:
            return decide(home, status="approved" if i % 2 else "rejected", actor=str(i), expect=("pending",))
        except SettledError:
            return None

    with ThreadPoolExecutor(8) as pool:
        settled = [row for row in pool.map(settle, range(16)) if row]
    assert len(settled) == 1
    assert decisions(home).height == 2


# Writers that die


LINE = 6
"""The step of an append that writes the line."""


def left_by_a_killed_writer(home):
    """The head announces a line of which half is written."""
    assert child(home.root, "killed", LINE, 40).wait() == -9
    assert len(log(home).read_bytes().split(b"\n")[-1]) == 40


@pytest.mark.parametrize("entries, torn", [(0, False), (2, True)])
def test_a_writer_killed_at_any_step_leaves_a_log_that_goes_on(tmp_path, entries, torn):
    start = Home(tmp_path / "start")
    start.log.mkdir(parents=True)
    kept = [f"kept{i}" for i in range(entries)]
    for name in kept:
        decide(start, name)
    if torn:
        left_by_a_killed_writer(start)
    shutil.copytree(start.root, tmp_path / "count")
    steps = child(tmp_path / "count", "counted").communicate()[0].split()
    assert ("ftruncate" in steps, steps.count("write"), steps.count("replace")) == (torn, 1, 2)
    halves = (0, 1, 40, 10**6)  # bytes of the line that reach the file before the writer dies
    points = [(i, half) for i, step in enumerate(steps, 1) for half in (halves if step == "write" else (0,))]

    def kill(point):
        home = Home(tmp_path / "{}-{}".format(*point))
        shutil.copytree(start.root, home.root)
        assert child(home.root, "killed", *point).wait() == -9
        assert verify(home) == [], point
        names = decisions(home)["decision_id"].to_list()
        assert names in (kept, [*kept, "killed"]), point
        decide(home, "next")
        assert verify(home) == [], point
        assert decisions(home)["decision_id"].to_list() == [*names, "next"], point
        assert decisions(home)["seq"].to_list() == list(range(len(names) + 1)), point
        return len(names) - entries

    with ThreadPoolExecutor(2) as pool:
        assert set(pool.map(kill, points)) == {0, 1}, "some deaths lose the line, and some keep it"


def test_other_hands_are_seen_after_a_killed_writer_too(copy):
    left_by_a_killed_writer(copy)
    assert verify(copy) == []
    torn = log(copy).read_bytes()
    for edited in (torn[:-1] + b"?", torn + b"?", torn.replace(b"No 3", b"No 4"), torn[:-41] + torn[-40:]):
        log(copy).write_bytes(edited)
        assert verify(copy)
        refuses(copy)
    log(copy).write_bytes(torn)
    assert decide(copy, "next")["seq"] == ENTRIES


def test_an_announced_line_that_was_edited_in_the_head_file_is_named(copy):
    left_by_a_killed_writer(copy)
    head(copy).write_bytes(head(copy).read_bytes().replace(b"Because", b"Despite"))
    assert verify(copy)


def test_half_a_line_is_never_read(copy):
    left_by_a_killed_writer(copy)
    assert decisions(copy).height == ENTRIES


def test_a_full_disk_is_one_line_and_the_log_goes_on(home, monkeypatch):
    decide(home)

    def full(file, data):
        real(file, bytes(data)[:30])
        raise OSError(28, "No space left on device")

    real = os.write
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(JournalError, match="No space left"):
        decide(home, "lost")
    monkeypatch.undo()
    assert verify(home) == []
    decide(home, "next")
    assert decisions(home)["decision_id"].to_list() == ["m:retrain:1", "next"]


def test_a_write_that_takes_a_part_only_is_gone_on_with(home, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda file, data: real(file, bytes(data)[:7]))
    decide(home)
    monkeypatch.undo()
    assert verify(home) == []
    assert decisions(home).height == 1


# Speed


def test_reading_again_does_not_read_the_old_lines_again(home, monkeypatch):
    for i in range(20):
        decide(home, f"d{i}")
    opened = []
    real = journal.Chain.extended
    monkeypatch.setattr(
        journal.Chain, "extended", lambda self, data: opened.append(data.count(b"\n")) or real(self, data)
    )
    decisions(home)
    decide(home, "more")
    assert child(home.root, "other").wait() == 0
    decisions(home)
    assert sum(opened) == 2
