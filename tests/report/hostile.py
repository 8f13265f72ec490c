"""A home in which every name, value and comment tries to be more than text."""

from __future__ import annotations

from pathlib import Path

from mlobs_pipelines.spec.load import load_spec
from mlobs_pipelines.store.files import write_text
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.results import publish
from mlobs_pipelines.store.tables import CAUSES, COMPARISONS, INCIDENTS, METRICS, RUNS, SIGNALS
from tests.report.synthetic import SPEC, causes, comparisons, day, incidents, log, number, runs, write, write_log

PAYLOADS = (
    "<script>document.title='owned'</script>",
    "\"><img src=x onerror=document.title='owned'>",
    "'><svg onload=document.title='owned'>",
    "javascript:document.title='owned'",
    "</style><script>document.title='owned'</script>",
    "</title><script>document.title='owned'</script>",
    "--><script>document.title='owned'</script><!--",
    "{{ 7 * 7 }}{% for x in 'ab' %}",
    "../../../etc/passwd",
    "..",
    "%2e%2e%2f%3Cscript%3E",
    "\u202egnp.exe\u2066",
    "a\x00b\nc\td",
    "<!--#exec cmd='id'-->",
    "&lt;b&gt;&#x3c;script&#x3e;",
    "x" * 3000,
)
NIGHTS = 12


def hostile_home(root: Path) -> Home:
    """``card_fraud`` with each payload as a segment, a feature, a version, an incident's texts and a comment."""
    home = Home(root)
    write_text(home.spec_file("card_fraud"), SPEC)
    rows = []
    for n in range(NIGHTS):
        for i, text in enumerate(("", *PAYLOADS)):
            segment = f"country={text}" if text else ""
            size = {"segment": segment, "rows": 2000}
            rows.append(number("performance", "roc_auc", 0.9, n, 7, labeled_rows=1000, baseline=0.9, **size))
            rows.append(number("traffic", "predictions", 2000.0, n, **size))
            rows.append(number("traffic", "traffic_share", 0.1, n, **size))
            rows.append(number("fairness", "selection_rate", 0.1, n, 7, subject="country", **size))
            if text:
                rows.append(number("fairness", "demographic_parity_difference", 0.2, n, 7, subject="country", **size))
                rows.append(number("drift", "jensen_shannon", 0.2, n, subject=text))
                rows.append(number("quality", "missing_rate", 0.2, n, subject=text))
                rows.append(number("explanation", "mean_abs_shap", 0.2, n, subject=text, baseline=0.1))
                rows.append(number("traffic", "predictions", 10.0 + i, n, version=text))
                rows.append(number("performance", "roc_auc", 0.9, n, 7, version=text, labeled_rows=1000))
    write(home, "metrics", "card_fraud", METRICS, [r for r in rows if r["family"] != "explanation"])
    write(home, "explanations", "card_fraud", METRICS, [r for r in rows if r["family"] == "explanation"])
    write(home, "signals", "card_fraud", SIGNALS, [])
    first, said = incidents(NIGHTS)[4], []
    for i, text in enumerate(PAYLOADS):
        about = {"subject": text, "segment": f"country={text}", "version": text, "title": text, "diagnosis": text}
        said.append({**first, **about, "incident_id": f"card_fraud-{i}-{text}", "opened_as_of": day(NIGHTS - 1),
                     "as_of": day(NIGHTS - 1), "since": day(5), "until": day(9), "recommended_action": text, "kind": text})  # fmt: skip
    write(home, "incidents", "card_fraud", INCIDENTS, said)
    about = [
        {
            **causes()[0],
            "incident_id": row["incident_id"],
            "subject": text,
            "segment": text,
            "detail": text,
            "as_of": day(11),
        }
        for row, text in zip(said, PAYLOADS, strict=True)
    ]
    write(home, "causes", "card_fraud", CAUSES, about)
    compared = [{**comparisons(day(11))[0], "segment": text} for text in ("", *PAYLOADS)]
    write(home, "comparisons", "card_fraud", COMPARISONS, compared)
    write(home, "runs", "card_fraud", RUNS, [{**row, "error": PAYLOADS[0]} for row in runs(NIGHTS)], "arrival_date")
    entries = [
        {**log(NIGHTS)[1], "decision_id": f"d{i}{text}", "actor": text, "incident_id": said[i]["incident_id"],
         "reason": text, "version": text, "evidence": {"comment": text, text: text, "severity": "critical"}}
        for i, text in enumerate(PAYLOADS)
    ]  # fmt: skip
    write_log(
        home, [*entries, {**log(NIGHTS)[5], "decision_id": PAYLOADS[1], "reason": PAYLOADS[0], "version": PAYLOADS[1]}]
    )
    publish(home, [load_spec(home.spec_file("card_fraud"))])
    return home
