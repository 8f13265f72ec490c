"""Open incidents and freshness in Prometheus' text format, for the dashboards where people on call already look."""

from __future__ import annotations

import datetime as dt

from mlobs_pipelines.store.journal import decisions
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.people import SEVERITIES, with_people
from mlobs_pipelines.store.read import query


def exposition(home: Home, now: dt.datetime) -> str:
    """The gauges of every model.

    Raises:
        StoreError: there is no snapshot yet.
    """
    models = query(home, "select model, last_night, last_run_status from model_health order by model").rows()
    incidents = with_people(query(home, "select * from incidents where state <> 'resolved'"), decisions(home))
    counted = {(row["model"], row["severity"], row["state"]): 0 for row in incidents.iter_rows(named=True)}
    for row in incidents.iter_rows(named=True):
        counted[row["model"], row["severity"], row["state"]] += 1
    lines = [
        "# HELP mlobs_incidents Incidents that are not resolved.",
        "# TYPE mlobs_incidents gauge",
    ]
    for model, _, _ in models:
        for severity in SEVERITIES:
            for state in ("open", "acknowledged", "silenced"):
                labels = f'model="{_text(model)}",severity="{severity}",state="{state}"'
                lines.append(f"mlobs_incidents{{{labels}}} {counted.get((model, severity, state), 0)}")
    lines += [
        "# HELP mlobs_last_night_seconds End of the last night that was measured, in seconds since 1970.",
        "# TYPE mlobs_last_night_seconds gauge",
    ]
    for model, night, _ in models:
        if night is not None:
            end = dt.datetime.combine(night, dt.time(), dt.UTC) + dt.timedelta(days=1)
            lines.append(f'mlobs_last_night_seconds{{model="{_text(model)}"}} {end.timestamp():.0f}')
    lines += ["# HELP mlobs_run_failed Whether the last run failed.", "# TYPE mlobs_run_failed gauge"]
    lines += [f'mlobs_run_failed{{model="{_text(model)}"}} {int(status == "failed")}' for model, _, status in models]
    lines += ["# TYPE mlobs_scrape_seconds gauge", f"mlobs_scrape_seconds {now.timestamp():.0f}", ""]
    return "\n".join(lines)


def _text(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
