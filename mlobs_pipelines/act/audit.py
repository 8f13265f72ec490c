"""The log, held against itself and against what others remember of it."""

from __future__ import annotations

import polars as pl

from mlobs_pipelines.errors import UserError
from mlobs_pipelines.store import journal
from mlobs_pipelines.store.chain import FIRST, Problem
from mlobs_pipelines.store.journal import Audit
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.read import query


def audit(home: Home, noted: str = "") -> Audit:
    """Check each line of the log, and that it still has every entry that others saw.

    A log that was written anew from some line on, with all of its hashes and its head file, is whole in itself. The
    snapshot remembers its entries, and so does whoever noted the hash of one.

    Args:
        home: the installation.
        noted: a hash that ``mlobs audit verify`` gave before, or its first 8 characters or more; '': none.

    Raises:
        UserError: ``noted`` is no hash.
        JournalError: the log cannot be read.
    """
    noted = noted.strip().lower()
    if noted and (len(noted) < 8 or set(noted) - set("0123456789abcdef")):
        raise UserError(f"{noted[:80]!r} is no hash: give 8 to 64 of the characters 0-9 and a-f")
    remembered = _remembered(home)  # first: the log may grow meanwhile, and the snapshot with it
    found = journal.audit(home)
    rows = journal.decisions(home)
    lost = remembered.join(rows, on="hash", how="anti").sort("seq")
    problems = list(found.problems)
    for seq, decision_id in lost.select("seq", "decision_id").iter_rows():
        problems.append(
            Problem(None, f"{home.results.name} has an entry {seq} of {decision_id!r} that the log has not")
        )
    if noted and not FIRST.startswith(noted) and not rows["hash"].str.starts_with(noted).any():
        problems.append(Problem(None, f"no entry has the hash {noted} that was noted: the log was cut or written anew"))
    return Audit(found.entries, found.hash, problems)


def _remembered(home: Home) -> pl.DataFrame:
    try:
        return query(home, "select seq, decision_id, hash from decisions")
    except UserError:  # there is no snapshot, or it cannot be read: then it remembers nothing
        return pl.DataFrame(schema={"seq": pl.Int64(), "decision_id": pl.String(), "hash": pl.String()})
