"""What the log says now of one model's decisions, and the next word on one of them."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mlobs_pipelines.errors import UserError
from mlobs_pipelines.store import journal
from mlobs_pipelines.store.layout import Home

Row = dict[str, Any]
Mode = Literal["auto", "approve"]

UNDER_WAY = ("pending", "approved", "running")
"""Statuses of a decision that is not settled."""

MADE = ("as_of", "mode", "incident_id")
"""What a decision keeps from the moment it was made, whoever speaks of it later."""

MLOBS = "mlobs"

MOST_KILLED, MOST_TRIES = 3, 10
"""How often a deed is begun again after its process died in it, and after whatever stopped it."""


class TriesError(UserError):
    """A deed was begun again and again, and never came to an end."""


@dataclass(frozen=True)
class Ledger:
    """One model's part of the log. It is read anew each time: people write to it, too."""

    home: Home
    model: str

    def current(self, *actions: str, status: str | tuple[str, ...] = ()) -> list[Row]:
        """The newest row of each decision, the decision that was made first first."""
        wanted = (status,) if isinstance(status, str) else status
        newest: dict[str, Row] = {}
        for row in journal.decisions(self.home, self.model).iter_rows(named=True):
            first = newest.get(row["decision_id"], row)
            newest[row["decision_id"]] = {**row, **{name: first[name] for name in MADE}}
        return [
            row
            for row in newest.values()
            if (not actions or row["action"] in actions) and (not wanted or row["status"] in wanted)
        ]

    def find(self, decision_id: str) -> Row | None:
        """The newest row of a decision."""
        return next((row for row in self.current() if row["decision_id"] == decision_id), None)

    def history(self, decision_id: str) -> list[Row]:
        """All rows of a decision in order."""
        rows = journal.decisions(self.home, self.model).iter_rows(named=True)
        return [row for row in rows if row["decision_id"] == decision_id]

    def identity(self, decision_id: str) -> str:
        """What tells a decision from one of the same id in another installation's log: the hash of its first entry."""
        return str(self.history(decision_id)[0]["hash"])

    def evidence(self, decision_id: str) -> dict[str, Any]:
        """Everything that was noted of a decision, the newest word on each point."""
        found: dict[str, Any] = {}
        for row in self.history(decision_id):
            found |= json.loads(row["evidence"] or "{}")
        return found

    def approver(self, decision_id: str) -> str:
        """Who approved a decision last."""
        approvals = [row["actor"] for row in self.history(decision_id) if row["status"] == "approved"]
        return str(approvals[-1]) if approvals else MLOBS

    def propose(
        self,
        decision_id: str,
        action: str,
        status: str,
        reason: str,
        *,
        as_of: dt.date | None,
        mode: Mode,
        evidence: Mapping[str, Any] | None = None,
        version: str = "",
        incident_id: str = "",
    ) -> Row:
        """Write down a decision that was not made before; one that was is left as it is. Gives its newest row."""
        return self.find(decision_id) or journal.append(
            self.home,
            decision_id=decision_id,
            model=self.model,
            action=action,
            status=status,
            reason=reason,
            evidence=dict(evidence or {}),
            version=version,
            as_of=as_of,
            mode=mode,
            actor=MLOBS,
            incident_id=incident_id,
            once=True,
        )

    def turn(
        self,
        row: Row,
        status: str,
        reason: str,
        *,
        evidence: Mapping[str, Any] | None = None,
        actor: str = MLOBS,
        version: str | None = None,
        once: bool = True,
        expect: Collection[str] = (),
    ) -> Row:
        """Write down that a decision's status changed, and why; saying the same status twice says it once.

        Raises:
            SettledError: its status is none of ``expect`` (by default any will do): somebody was faster.
        """
        return journal.append(
            self.home,
            decision_id=row["decision_id"],
            model=self.model,
            action=row["action"],
            status=status,
            reason=reason,
            evidence=dict(evidence or {}),
            version=row["version"] if version is None else version,
            as_of=row["as_of"],
            mode=row["mode"],
            actor=actor,
            incident_id=row["incident_id"],
            once=once,
            expect=expect,
        )

    def settle(self, row: Row, status: str, reason: str, actor: str = MLOBS) -> Row | None:
        """Say the last word on a decision that nobody said since ``row`` was read; None where somebody did."""
        with contextlib.suppress(journal.SettledError):
            return self.turn(row, status, reason, actor=actor, once=False, expect=(row["status"],))
        return None

    def begin(
        self, row: Row, reason: str, *, evidence: Mapping[str, Any] | None = None, version: str | None = None
    ) -> None:
        """Note that a deed begins, unless it was begun too often without an end.

        Raises:
            TriesError: it killed its process each time, or MLflow went away each time.
        """
        statuses = [entry["status"] for entry in self.history(row["decision_id"])]
        killed = len(statuses) - max((i + 1 for i, status in enumerate(statuses) if status != "running"), default=0)
        if killed >= MOST_KILLED:
            raise TriesError(f"It was begun {killed} times and never came to an end; look at the machine's memory")
        if statuses.count("running") >= MOST_TRIES:
            raise TriesError(f"It was begun {statuses.count('running')} times in vain; look at MLflow")
        self.turn(row, "running", reason, evidence=evidence, version=version, once=False)

    def wait(self, row: Row, reason: str) -> None:
        """Note that a deed was begun and must wait for MLflow; whoever approved it still does."""
        self.turn(row, "approved", reason, actor=self.approver(row["decision_id"]), once=False)
