"""Environments of the peers, for they can live neither with our pins nor with each other's: `.bench/<peer>`.

`python -m benchmarks.speed.environments` makes those that are missing. `benchmarks/peers/<peer>.txt` pins what is in
them; a peer that cannot be installed leaves the reason instead.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

PEERS = ("evidently", "nannyml", "whylogs", "fairlearn")
HERE = Path(__file__).parents[2]
PINS = HERE / "benchmarks" / "peers"
PLACE = HERE / ".bench"


def interpreter(peer: str) -> Path:
    """The Python of a peer's environment."""
    return PLACE / peer / "bin" / "python"


def missing(peer: str) -> str:
    """Why the peer cannot run here; empty: it can."""
    made = PLACE / f"{peer}.json"
    if not made.exists():
        return "its environment was not made; `make bench-peers` makes it"
    return str(json.loads(made.read_text(encoding="utf-8"))["missing"])


def make(peer: str) -> None:
    """Make the peer's environment, byte-compiled, unless it was made of these pins."""
    pins = (PINS / f"{peer}.txt").read_text(encoding="utf-8")
    made = PLACE / f"{peer}.json"
    if made.exists() and json.loads(made.read_text(encoding="utf-8"))["pins"] == pins and not missing(peer):
        return
    shutil.rmtree(PLACE / peer, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", PLACE / peer], check=True)
    install: list[str | Path] = [
        interpreter(peer),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
    ]
    done = subprocess.run(
        [*install, "--requirement", PINS / f"{peer}.txt"], capture_output=True, text=True, check=False
    )
    why = "" if done.returncode == 0 else _reason(done.stderr)
    made.write_text(json.dumps({"pins": pins, "missing": why}), encoding="utf-8")


def _reason(said: str) -> str:
    """The installer's last error as one line, without places."""
    errors = [line.removeprefix("ERROR: ") for line in said.splitlines() if line.startswith("ERROR: ")]
    return re.sub(r"\S+://\S+", "…", (errors or ["it could not be installed"])[-1])[:200]


def main() -> None:
    for peer in PEERS:
        make(peer)
        print(f"{peer}: {missing(peer) or 'ready'}", flush=True)


if __name__ == "__main__":
    main()
