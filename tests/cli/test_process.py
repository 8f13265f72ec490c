"""The process of `mlobs`: what it leaves behind when it ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

MLOBS = (sys.executable, "-m", "mlobs_pipelines.cli")

ENDING = """
import atexit, sys, threading, time
import mlobs_pipelines.cli.__main__ as process

def work():
    time.sleep(0.3)
    print("the thread")

def command(**_):
    atexit.register(print, "called at the end")
    threading.Thread(target=work).start()
    print("the command", end="")
    {end}

process.main = command
process.enter()
"""


def ended(end: str) -> subprocess.CompletedProcess[str]:
    code = ENDING.replace("{end}", end)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("end", "status"),
    [("sys.exit(0)", 0), ("sys.exit(3)", 3), ("sys.exit()", 0), ("sys.exit('no')", 1), ("pass", 0), ("1 / 0", 1)],
)
def test_however_a_command_ends_its_threads_and_what_asked_to_be_called_have_their_say(end: str, status: int):
    found = ended(end)
    assert found.returncode == status
    assert found.stdout.splitlines() == ["the commandthe thread", "called at the end"]


def test_an_error_that_nobody_expected_shows_where_it_was():
    assert "ZeroDivisionError" in ended("1 / 0").stderr


def test_the_status_of_a_command_is_the_process_status(tmp_path: Path):
    def status(*arguments: str) -> int:
        return subprocess.run([*MLOBS, "--home", tmp_path, *arguments], capture_output=True, check=False).returncode

    assert [status("--version"), status("run", "nobody"), status("nosuch")] == [0, 1, 2]


def test_a_full_disk_for_what_is_printed_is_no_success(tmp_path: Path):
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with full.open("w") as nowhere:
        found = subprocess.run([*MLOBS, "--version"], stdout=nowhere, stderr=subprocess.PIPE, check=False)
    assert found.returncode != 0
