"""The join of some nights, in three steps: prepare the warehouse, let dbt build, export label facts to the lake."""

from __future__ import annotations

import contextlib
import datetime as dt
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mlobs_pipelines.engine import dbt, sql
from mlobs_pipelines.engine.duckdb import FOR_IDS, DuckDBEngine, Error, scan
from mlobs_pipelines.errors import UserError
from mlobs_pipelines.join import spark
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.engine import on_spark
from mlobs_pipelines.store.files import published
from mlobs_pipelines.store.layout import Home

BUILD = ("build", "--select", "staging", "join", "--exclude-resource-type", "unit_test")
"""Arguments for dbt: what a night builds and tests. Unit tests ask the SQL, not the data: they are for development."""

_COMPLEMENT = {"1": "0", "0": "1", "true": "false", "false": "true"}


class JoinError(UserError):
    """The labels of a night could not be joined."""


def negative_label(spec: ModelSpec) -> str:
    """What silence stands for with ``positives_only``: the other of the pair, else ``(negative)``."""
    return _COMPLEMENT.get(spec.positive_class, "(negative)")


def prepare(home: Home, spec: ModelSpec, nights: Sequence[dt.date]) -> dict[str, str]:
    """Write into the warehouse what dbt is to build; gives the environment to run dbt with.

    Besides the nights asked for, those whose lake files the warehouse does not know, or knew otherwise, are built:
    a warehouse that is missing, broken, behind or of another version is made again from the lake.

    Raises:
        JoinError: a night has no accepted rows in the lake yet; the meaning of silence changed since earlier nights.
        OpenElsewhereError: another process keeps the warehouse open.
    """
    for night in nights:
        for table in ("predictions", "labels"):
            if not home.lake_file(spec.model, table, night).exists():
                raise JoinError(f"{spec.model}: the lake has no {table} of {night}; ingest that night first")
    if on_spark(home, spec):
        working = _working(home, spec)
        said = spark.silence_file(working)
        if said.exists():
            _check_silence(home, spec, nights, said.read_text(encoding="utf-8"))
        return spark.prepare(home, spec, nights, f"select {_parameters(spec)}", working, _silence(spec))
    file = home.warehouse_file(spec.model)
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        if not _write_run(home, spec, nights):
            _remove(file)
            _write_run(home, spec, nights)
    except Error:
        _remove(file)
        try:
            _write_run(home, spec, nights)
        except Error as error:
            raise JoinError(f"cannot write {file}: {_line(error)}") from error
    return {**dbt.environment(home, file, _working(home, spec)), **_files(home, spec)}


def build(environment: Mapping[str, str]) -> None:
    """Let dbt build and test what ``prepare`` asked for.

    Raises:
        JoinError: a model or a test of dbt's failed; the text says which.
    """
    try:
        dbt.run_dbt(BUILD, environment)
    except dbt.DbtError as error:
        raise JoinError(str(error)) from None


def about(home: Home, model: str, night: dt.date) -> set[dt.date]:
    """The nights that brought the predictions which a night's label facts are about."""
    with DuckDBEngine() as engine:
        facts = scan([home.lake_file(model, "label_facts", night)])
        return {row[0] for row in engine.rows(f"select distinct prediction_arrival_date from {facts}")}


def states(home: Home, spec: ModelSpec, nights: Sequence[dt.date]) -> dict[dt.date, str]:
    """What tells of some nights' rows in the lake that they are those that the warehouse was built from."""
    return {night: _state(home, spec, night) for night in nights}


def reads_the_same(home: Home, spec: ModelSpec, before: Mapping[dt.date, str]) -> None:
    """Spare the warehouse building nights again whose files are others than ``before``, for all that the join reads of
    them is the same. A warehouse that cannot be told so builds them again, and says the same."""
    if on_spark(home, spec) or not home.warehouse_file(spec.model).exists():
        return
    with contextlib.suppress(Error), _attached(home, spec) as engine:
        for night, state in before.items():
            engine.run(
                f"update warehouse.built_nights set files = {sql.text(_state(home, spec, night))} "
                f"where arrival_date = {sql.date(night)} and files = {sql.text(state)}"
            )


def export(home: Home, spec: ModelSpec, nights: Sequence[dt.date]) -> None:
    """Publish the nights' label facts, which dbt has written, in the lake: a file a night, also where there are none.

    Raises:
        JoinError: dbt has not built the nights since they were prepared.
    """
    facts = _facts(home, spec)
    try:
        if on_spark(home, spec):
            if missing := spark.export(home, spec, nights, _working(home, spec)):
                raise _not_built(spec, missing)
            return
        with _attached(home, spec) as engine:
            ready = (
                "select arrival_date from warehouse.built_nights semi join warehouse.run_nights using (arrival_date)"
            )
            built = {row[0] for row in engine.rows(ready)}
            if absent := sorted(set(nights) - built):
                raise _not_built(spec, absent[0])
            if built == set(nights) and len(nights) == 1:
                with published(home.lake_file(spec.model, "label_facts", nights[0])) as draft:
                    shutil.move(facts, draft)
                return
            for night in nights:
                engine.write(
                    f"select * from {scan([facts])} where arrival_date = {sql.date(night)}",
                    home.lake_file(spec.model, "label_facts", night),
                    compression=FOR_IDS,
                )
    except Error as error:
        raise JoinError(f"cannot read the label facts in {facts}: {_line(error)}; run the night again") from error
    facts.unlink()


def _write_run(home: Home, spec: ModelSpec, nights: Sequence[dt.date]) -> bool:
    """Write what dbt reads: ``run_nights`` and ``run_parameters``; false if the warehouse is another version's.

    dbt moves each night it has built from ``run_nights`` to ``built_nights``, with the state of the lake's files.
    """
    stored = home.lake_nights(spec.model, "predictions").all()
    files = {night: _state(home, spec, night) for night in stored}
    silence = _silence(spec)
    with _attached(home, spec) as engine:
        engine.run("create table if not exists warehouse.built_nights (arrival_date date, files varchar)")
        engine.run("create table if not exists warehouse.built_by (project varchar, silence varchar)")
        for project, before in engine.rows("select project, silence from warehouse.built_by"):
            _check_silence(home, spec, nights, before)
            if (project, before) != (dbt.project_version(), silence):
                return False
        known = dict(engine.rows("select arrival_date, files from warehouse.built_nights"))
        wanted = [n for n in known.keys() | files.keys() if known.get(n) != files.get(n) or n in set(nights)]
        rows = ", ".join(
            f"({sql.date(n)}, {sql.text(files[n])})" if n in files else f"({sql.date(n)}, null)" for n in sorted(wanted)
        )
        engine.run(
            "begin; "
            "create or replace table warehouse.run_nights (arrival_date date, files varchar); "
            f"insert into warehouse.run_nights values {rows}; "
            "create or replace table warehouse.run_parameters as "
            f"select {_parameters(spec)}; "
            "delete from warehouse.built_nights where arrival_date in (select arrival_date from warehouse.run_nights); "
            "delete from warehouse.built_by; "
            f"insert into warehouse.built_by values ({sql.text(dbt.project_version())}, {sql.text(silence)}); "
            "commit"
        )
    return True


def _not_built(spec: ModelSpec, night: dt.date) -> JoinError:
    return JoinError(f"{spec.model}: the label facts of {night} are not built; run that night again")


def _positives_only(spec: ModelSpec) -> bool:
    return spec.labels is not None and spec.labels.mode == "positives_only"


def _negative(spec: ModelSpec) -> str:
    return sql.text(negative_label(spec)) if spec.task != "regression" else "cast(null as double)"


def _parameters(spec: ModelSpec) -> str:
    """SQL for the columns of ``run_parameters``."""
    mode = sql.text("positives_only" if _positives_only(spec) else "explicit")
    return f"{mode} as mode, {spec.maturity_days} as maturity_days, {_negative(spec)} as negative_label"


def _silence(spec: ModelSpec) -> str:
    """What a missing label means, in words to compare."""
    return f"positives_only, {spec.maturity_days}, {_negative(spec)}" if _positives_only(spec) else "explicit"


def _check_silence(home: Home, spec: ModelSpec, nights: Sequence[dt.date], before: str) -> None:
    """Refuse nights on which silence would mean another thing than on those that stay as they are."""
    if before != _silence(spec) and not set(nights) >= set(home.lake_nights(spec.model, "predictions").all()):
        raise JoinError(
            f"{spec.model}: labels.mode, labels.maturity or positive_class changed, and with it what silence "
            f"meant on earlier nights; run: mlobs rebuild {spec.model}"
        )


def _state(home: Home, spec: ModelSpec, night: dt.date) -> str:
    """What tells that the lake's files of a night are still those the warehouse was built from."""
    stats = []
    for table in ("predictions", "labels"):
        with contextlib.suppress(FileNotFoundError):
            stat = home.lake_file(spec.model, table, night).stat()
            stats.append(f"{table} {stat.st_size} {stat.st_mtime_ns}")
    return ", ".join(stats)


@contextlib.contextmanager
def _attached(home: Home, spec: ModelSpec) -> Iterator[DuckDBEngine]:
    """An engine with the model's warehouse attached as ``warehouse``; waits for a dbt that outlived its run.

    Raises:
        OpenElsewhereError: another process keeps the warehouse open.
    """
    with DuckDBEngine(_working(home, spec) / "spill") as engine:
        engine.attach(home.warehouse_file(spec.model), "warehouse")
        yield engine
        engine.run("detach warehouse")


def _working(home: Home, spec: ModelSpec) -> Path:
    """dbt's own folder: no model can have this name."""
    return home.warehouse / f"{spec.model}.dbt"


def _facts(home: Home, spec: ModelSpec) -> Path:
    """Where dbt writes the label facts of the nights that it builds."""
    return _working(home, spec) / "facts.parquet"


def _files(home: Home, spec: ModelSpec) -> dict[str, str]:
    """Variables that tell dbt where the lake is, and where the label facts are to be written."""
    return {"MLOBS_LAKE": str(home.lake(spec.model)), "MLOBS_FACTS": str(_facts(home, spec))}


def _remove(file: Path) -> None:
    for path in (file, file.with_name(f"{file.name}.wal")):
        path.unlink(missing_ok=True)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
