"""The lake -> rows that two versions scored in service, one of them in the shadow of the other."""

from __future__ import annotations

import datetime as dt

import polars as pl

from mlobs_pipelines.act.rows import files_of, known_incidents, matured_rows, poisoned
from mlobs_pipelines.engine import sql
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.engine import rows_engine
from mlobs_pipelines.store.layout import Home


def shadow_rows(home: Home, spec: ModelSpec, champion: str, challenger: str, as_of: dt.date) -> pl.DataFrame | None:
    """Predictions that both versions logged under the same id, with what each said and the label that is final.

    Both were asked the same question at the same time, so nothing is scored again, and a version that its registry has
    lost, or that never was in one, can be compared too.

    Returns:
        As :func:`~mlobs_pipelines.act.scoring.score_both`; None where no prediction has both versions and a final label.

    Raises:
        RowsError: there are no labelled rows at all.
    """
    files = files_of(home, spec.model, "predictions", as_of)
    if not files:
        return None
    said = {
        "binary": ["score"],
        "multiclass": [f"score_{i}" for i in range(len(spec.classes))],
        "regression": ["prediction"],
    }[spec.task]
    parties = {"score_champion": champion, "score_challenger": challenger}

    def of(rows: str, version: str) -> str:
        return f"""
            (select *, row_number() over (partition by prediction_id order by arrival_date desc, role) as place
            from {rows} where version = {sql.text(version)} and not failed)
        """

    scores = ", ".join(f"{party}.{column} as {party}_{column}" for party in parties for column in said)
    with rows_engine(home, spec, home.root / "tmp" / f"{spec.model}.shadow") as engine:
        logged = engine.scan(files)
        first, second = (f"{of(logged, version)} {party}" for party, version in parties.items())
        query = f"""
            select score_champion.prediction_id, score_champion.event_date as day, {scores}
            from {first} inner join {second} on score_champion.prediction_id = score_challenger.prediction_id
            where score_champion.place = 1 and score_challenger.place = 1
        """
        both = pl.DataFrame(engine.table(query))
    both = both.select("prediction_id", "day", *(_one(party, said) for party in parties))
    if not both.height:
        return None
    days = both["day"].unique().sort().to_list()
    bad = poisoned(known_incidents(home, spec.model, as_of))
    rows = matured_rows(home, spec, days[0], days[-1], as_of, bad)
    found = rows.join(both.drop("day"), on="prediction_id", how="inner", maintain_order="left")
    return found if found.height else None


def _one(party: str, said: list[str]) -> pl.Expr:
    """What a version said: a number, or a list of one for each class."""
    columns = [f"{party}_{column}" for column in said]
    return (pl.concat_list(columns) if len(columns) > 1 else pl.col(columns[0])).alias(party)
