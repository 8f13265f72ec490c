"""A judged night → messages in the outbox: for every channel of the model at most one, about what is new to it."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
from dataclasses import dataclass, replace
from typing import Any
from zoneinfo import ZoneInfo

from mlobs_pipelines.act.alerts import facts, memory
from mlobs_pipelines.act.alerts.channels import channels
from mlobs_pipelines.act.alerts.message import SEVERITIES, Message, plain, urgent_first
from mlobs_pipelines.act.alerts.news import News, news
from mlobs_pipelines.act.alerts.outbox import Envelope
from mlobs_pipelines.engine import sql
from mlobs_pipelines.spec.model import AlertSpec, ModelSpec
from mlobs_pipelines.store.addresses import base_url, path_of
from mlobs_pipelines.store.journal import decisions
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.people import with_people
from mlobs_pipelines.store.read import query
from mlobs_pipelines.store.tables import INCIDENTS

Row = dict[str, Any]


def notify(home: Home, spec: ModelSpec, night: dt.date, *, now: dt.datetime) -> list[Envelope]:
    """Put in the outbox what the model's channels do not know yet of its incidents; what was put there.

    Call it when a night is judged and published, and whenever a person said something of an incident; calling it twice says
    nothing twice. What is to be said, and when: :mod:`~mlobs_pipelines.act.alerts.news`. Entries of ``alerts`` that are not
    understood are passed over: :func:`~mlobs_pipelines.act.alerts.channels.channels` names them.

    Args:
        home: the installation; its ``results.duckdb`` must hold the night.
        spec: the model.
        night: the night that was judged.
        now: the present time, with a timezone.

    Raises:
        StoreError: there is no snapshot to read.
        TimeoutError: another process has been at it for a minute.
    """
    found, _ = channels(spec)
    if not found:
        return []
    today = now.astimezone(ZoneInfo(spec.timezone)).date()
    with memory.turn(home, spec.model):
        incidents = _incidents(home, spec.model)
        writer = _Writer(home, spec, night, incidents)
        put = []
        for key, (place, entry) in found.items():
            before = memory.recall(home, spec.model, key)
            said, known = news(incidents, before.incidents, least=entry.severity, night=night, today=today, now=now)
            envelope = None
            after = replace(before, incidents=known)
            wanted = [told for told in said if told.status != "acknowledged" or place.wants_acknowledged]
            if wanted:
                name, seq = memory.new_id(home, spec.model, key, night, before)
                after = replace(after, seq=seq)
                message = writer.message(name, wanted, entry)
                envelope = Envelope(message, key, place.label, seq, queued_at=now, next_attempt_at=now)
                put.append(envelope)
            if envelope is not None or known != before.incidents:
                memory.remember(home, spec.model, key, after, envelope)
    return put


@dataclass
class _Writer:
    """Makes messages of one model-night; reads what all of them need once, and only if there is one."""

    home: Home
    spec: ModelSpec
    night: dt.date
    incidents: list[Row]
    read: tuple[list[Row], list[Row], str] | None = None

    def message(self, name: str, said: list[News], entry: AlertSpec) -> Message:
        causes, log, run = self.read = self.read or self._read()
        model = self.spec.model
        base, environment = base_url(), plain(os.environ.get("MLOBS_ENVIRONMENT", ""), 40)
        items = urgent_first(
            tuple(
                facts.item(
                    told,
                    causes=[c for c in causes if c["incident_id"] == told.incident_id],
                    decisions=[d for d in log if d["incident_id"] == told.incident_id],
                    base=base,
                    environment=environment,
                    model=model,
                )
                for told in said
            )
        )
        ids = {told.incident_id for told in said}
        least = SEVERITIES.index(entry.severity)
        others = [
            row
            for row in self.incidents
            if row["incident_id"] not in ids
            and row["resolved_as_of"] is None
            and SEVERITIES.index(row["severity"]) >= least
        ]
        return Message(
            id=name,
            model=model,
            night=self.night.isoformat(),
            items=items,
            environment=environment,
            owner=plain(self.spec.owner or "", 100),
            waiting=facts.waiting(log, ids),
            still_open=len(others),
            url=base + path_of(model),
            config_digest=_digest(self.spec),
            run_id=plain(run, 60),
        )

    def _read(self) -> tuple[list[Row], list[Row], str]:
        """Causes by rank, the newest row of each decision, and the id of the night's run."""
        model = sql.text(self.spec.model)
        causes = query(self.home, f"select * from causes where model = {model} order by incident_id, rank").to_dicts()
        tonight = f"model = {model} and arrival_date = {sql.date(self.night)}"
        runs = query(self.home, f"select run_id from runs where {tonight}")
        log = decisions(self.home, self.spec.model).unique("decision_id", keep="last", maintain_order=True).to_dicts()
        return causes, log, str(runs["run_id"][0]) if runs.height else ""


def _incidents(home: Home, model: str) -> list[Row]:
    """Each incident once, with what people have said of it until now."""
    names = ", ".join(INCIDENTS)
    found = query(home, f"select {names} from incidents where model = {sql.text(model)}")
    return with_people(found.cast(INCIDENTS), decisions(home, model)).to_dicts()


def _digest(spec: ModelSpec) -> str:
    """Tells one version of a model's file from another; secrets are no part of it."""
    text = spec.model_dump_json(exclude={"alerts", "registry"})
    return hashlib.sha256(text.encode()).hexdigest()[:12]
