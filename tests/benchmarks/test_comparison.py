"""What the documentation says of a comparison follows from the figures."""

from __future__ import annotations

import sys
from dataclasses import asdict

import pytest

from benchmarks.speed.comparison import BEGIN, END, put, tables
from benchmarks.speed.processes import Cost, measured


def told(costs: dict[str, Cost], rows: int = 1_000_000, absent: dict[str, str] | None = None) -> str:
    found = {
        "rows": rows,
        "columns": 40,
        "date": "2026-01-02",
        "machine": "2 cores (a processor), 8 GiB",
        "load": 0.5,
        "versions": {"mlobs": "1.0"},
        "absent": absent or {},
        "costs": {name: [asdict(cost)] for name, cost in costs.items()},
    }
    return tables([(found, costs)])


SCAN, OURS = Cost(2, 0.1, 2), Cost(20, 1.0, 30)


def test_a_peer_that_is_faster_or_smaller_is_said_so_with_both_figures():
    said = told({"scan": SCAN, "mlobs": OURS, "nannyml": Cost(10, 2.0, 60)})
    assert "Faster than mlobs (20 s): NannyML (10 s)." in said
    assert "No peer took less CPU time. No peer took less memory." in said
    assert "| NannyML | 10.0 | 60.0 | 2.00 | 5.0 | 0.5 | 2 | 2 |" in said


def test_the_raw_scan_is_no_peer():
    assert "No peer was faster than mlobs." in told({"scan": SCAN, "mlobs": OURS, "nannyml": Cost(30, 2.0, 60)})


@pytest.mark.parametrize(
    ("peer", "mark"), [(Cost(161, 1.1, 1), "✓"), (Cost(159, 1.1, 1), "✗"), (Cost(161, 0.9, 1), "✗")]
)
def test_a_target_needs_the_ratio_and_the_memory(peer, mark):
    assert f"- {mark} Evidently takes" in told({"mlobs": OURS, "evidently": peer})
    assert "wanted" not in told({"mlobs": OURS, "evidently": peer}, rows=100_000)


def test_what_was_killed_or_is_missing_is_named_with_the_reason_and_never_counts_as_faster():
    said = told(
        {"mlobs": OURS, "evidently": Cost(5, 12.0, 5, "killed at 12 GiB")}, absent={"whylogs": "no such version"}
    )
    assert "Evidently: killed at 12 GiB" in said
    assert "| whylogs | no such version |" in said
    assert "No peer was faster than mlobs." in said


def test_tables_replace_what_stood_between_the_marks_and_nothing_else(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    for _ in range(2):
        put(page, "new")
    assert page.read_text() == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"


def test_a_command_beyond_its_memory_or_time_is_killed_and_says_so():
    cost, _ = measured([sys.executable, "-c", "import time; x = b'1' * 2**28; time.sleep(60)"], gib=0.1)
    assert cost.failure == "killed at 0.1 GiB"
    cost, _ = measured([sys.executable, "-c", "import time; time.sleep(60)"], seconds=0.2)
    assert cost.failure == "killed after 0.2 s"
    cost, _ = measured([sys.executable, "-c", "raise SystemExit('no')"])
    assert cost.failure == "failed: no"
