"""What was measured of ours and the peers, as the documentation's tables and sentences: figures in, Markdown out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.speed.processes import Cost

BEGIN, END = "<!-- written by `make bench-peers`; do not edit -->", "<!-- end of what was written -->"
OURS, SCAN = "mlobs", "scan"
NAMES = {
    "scan": "raw scan (DuckDB)",
    "mlobs": "**mlobs**",
    "evidently": "Evidently",
    "nannyml": "NannyML",
    "whylogs": "whylogs",
    "fairlearn": "fairlearn",
}
TARGET_SIZE = (1_000_000, 40)
TARGETS = {"evidently": 8.0, "nannyml": 3.0}
"""How many times as long as ours these are to take at the target's size, with more memory than ours."""


def tables(measured: Sequence[tuple[Mapping[str, Any], Mapping[str, Cost]]]) -> str:
    """A section for each size, smallest first; ``measured`` has what a run was and each contestant's median cost."""
    ordered = sorted(measured, key=lambda one: (one[0]["columns"], one[0]["rows"]))
    return "\n\n".join(section(found, costs) for found, costs in ordered)


def section(found: Mapping[str, Any], costs: Mapping[str, Cost]) -> str:
    """One size: the machine, the table, and what it says."""
    turns = max(len(runs) for runs in found["costs"].values())
    versions = ", ".join(f"{plain(name)} {number}" for name, number in found["versions"].items())
    lines = [
        f"### {found['rows']:,} predictions over ten days × {found['columns']} features",
        "",
        f"{found['date']}: {found['machine']}; load average before the run {found['load']:.1f}. {versions}. "
        + (f"Medians of {turns} runs in turn." if turns > 1 else "One run each."),
        "",
        "| | seconds | CPU seconds | peak GiB | × scan | × mlobs | × mlobs, CPU | × mlobs, memory |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [row(name, cost, costs) for name, cost in costs.items()]
    lines += [f"| {NAMES[name]} | {why} |" + " |" * 6 for name, why in found["absent"].items()]
    lines += ["", *sentences(found, costs)]
    return "\n".join(lines)


def row(name: str, cost: Cost, costs: Mapping[str, Cost]) -> str:
    """A line of the table; of what was killed the ratios are lower bounds, of what failed there are none."""
    if cost.failure.startswith("failed"):
        return f"| {NAMES[name]}: {cost.failure} |" + " |" * 7
    cells = [f"{cost.seconds:.1f}", f"{cost.cpu:.1f}", f"{cost.memory:.2f}"]
    scan, ours = costs.get(SCAN), costs.get(OURS)
    at_least = "> " if cost.failure else ""
    cells.append(f"{at_least}{cost.seconds / scan.seconds:.1f}" if scan else "")
    if ours and not ours.failure:
        shares = (cost.seconds / ours.seconds, cost.cpu / ours.cpu, cost.memory / ours.memory)
        cells += [f"{at_least}{share:.2g}" if share < 10 else f"{at_least}{share:.0f}" for share in shares]
    else:
        cells += [""] * 3
    return f"| {NAMES[name]}{f': {cost.failure}' if cost.failure else ''} | {' | '.join(cells)} |"


def sentences(found: Mapping[str, Any], costs: Mapping[str, Cost]) -> list[str]:
    """Where a peer is faster or smaller than ours, and whether the targets are met."""
    ours = costs.get(OURS)
    if ours is None or ours.failure:
        return [f"mlobs did not end: {ours.failure}." if ours else "mlobs was not measured."]
    peers = {name: cost for name, cost in costs.items() if name not in (OURS, SCAN) and not cost.failure}
    said = [
        among("Faster than mlobs", "No peer was faster than mlobs", peers, ours.seconds, "seconds", "s"),
        among("With less CPU time", "No peer took less CPU time", peers, ours.cpu, "cpu", "s"),
        among("With less memory", "No peer took less memory", peers, ours.memory, "memory", "GiB"),
    ]
    lines = [" ".join(said)]
    if (found["rows"], found["columns"]) == TARGET_SIZE:
        lines += ["", *(target(name, times, costs[name], ours) for name, times in TARGETS.items() if name in costs)]
    return lines


def among(some: str, none: str, peers: Mapping[str, Cost], ours: float, of: str, unit: str) -> str:
    """Which peers did with less than ours, with both figures."""
    less = {name: getattr(cost, of) for name, cost in peers.items() if getattr(cost, of) < ours}
    if not less:
        return f"{none}."
    listed = ", ".join(
        f"{NAMES[name]} ({value:.3g} {unit})" for name, value in sorted(less.items(), key=lambda x: x[1])
    )
    return f"{some} ({ours:.3g} {unit}): {listed}."


def target(name: str, times: float, peer: Cost, ours: Cost) -> str:
    """Whether a target is met, as an item of a list."""
    ratio, memory = peer.seconds / ours.seconds, peer.memory / ours.memory
    met = "✓" if ratio >= times and memory > 1 else "✗"
    return (
        f"- {met} {NAMES[name]} takes {ratio:.1f} × as long (wanted: at least {times:g} ×; by CPU seconds "
        f"{peer.cpu / ours.cpu:.1f} ×) and {memory:.1f} × the memory (wanted: more than 1 ×)."
    )


def plain(name: str) -> str:
    """A contestant's name in running text; that of the raw scan is its engine's."""
    return "DuckDB" if name == SCAN else NAMES[name].strip("*")


def put(page: Path, told: str) -> None:
    """Write the tables between the page's marks.

    Raises:
        SystemExit: the page has no marks.
    """
    text = page.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise SystemExit(f"{page} has no line {BEGIN!r} with {END!r} after it")
    before, rest = text.split(BEGIN, 1)
    page.write_text(f"{before}{BEGIN}\n\n{told}\n\n{END}{rest.split(END, 1)[1]}", encoding="utf-8")
