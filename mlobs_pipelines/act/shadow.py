"""The lake -> rows that two versions scored in service, one of them in the shadow of the other."""

from __future__ import annotations

import datetime as dt

import polars as pl

from mlobs_pipelines.act.rows import known_incidents, matured_rows, poisoned
from mlobs_pipelines.engine import sql
from mlobs_pipelines.engine.duckdb import DuckDBEngine, scan
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.layout import Home, nights


def shadow_rows(home: Home, spec: ModelSpec, champion: str, challenger: str, as_of: dt.date) -> pl.DataFrame | None:
    """Predictions that both versions logged under the same id, with what each said and the label that is final.

    Both were asked the same question at the same time, so nothing is scored again, and a version that its registry has
    lost, or that never was in one, can be compared too.

    Returns:
        As :func:`~mlobs_pipelines.act.scoring.score_both`; None where no prediction has both versions and a final label.

    Raises:
        RowsError: there are no labelled rows at all.
    """
    folder = home.lake(spec.model) / "predictions"
    files = [str(home.lake_file(spec.model, "predictions", night)) for night in nights(folder) if night <= as_of]
    if not files:
        return None
    said = {
        "binary": "score",
        "multiclass": f"[{', '.join(f'score_{i}' for i in range(len(spec.classes)))}]",
        "regression": "prediction",
    }[spec.task]

    def of(version: str) -> str:
        return f"""
            select prediction_id, event_date, {said} as score from {scan(files)}
            where version = {sql.text(version)} and not failed
            qualify row_number() over (partition by prediction_id order by arrival_date desc, role) = 1
        """

    query = f"""
        select prediction_id, a.event_date as day, a.score as score_champion, b.score as score_challenger
        from ({of(champion)}) a inner join ({of(challenger)}) b using (prediction_id)
    """
    with DuckDBEngine(home.root / "tmp" / f"{spec.model}.shadow") as engine:
        both = pl.DataFrame(engine.table(query))
    if not both.height:
        return None
    days = both["day"].unique().sort().to_list()
    bad = poisoned(known_incidents(home, spec.model, as_of))
    rows = matured_rows(home, spec, days[0], days[-1], as_of, bad)
    found = rows.join(both.drop("day"), on="prediction_id", how="inner", maintain_order="left")
    return found if found.height else None
