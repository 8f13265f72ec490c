"""Some nights taken in together: load the rows they must look at, decide each row's fate, write night by night."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date

from mlobs_pipelines.engine import sql
from mlobs_pipelines.engine.duckdb import Error, scan
from mlobs_pipelines.ingest import duplicates, quarantine
from mlobs_pipelines.ingest.columns import label_columns, labels_of, prediction_columns, score_columns
from mlobs_pipelines.ingest.conform import conform_labels, conform_predictions
from mlobs_pipelines.ingest.deliveries import Deliveries
from mlobs_pipelines.ingest.readers import Opened, UnreadableError, damaged
from mlobs_pipelines.ingest.reasons import raw_row
from mlobs_pipelines.ingest.schema import Schema, decide, read_schema, standard_columns, write_schema
from mlobs_pipelines.ingest.segments import SegmentValues
from mlobs_pipelines.ingest.sources import Delivered, IngestError
from mlobs_pipelines.ingest.values import LONGEST_TEXT
from mlobs_pipelines.ingest.workspace import Workspace
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.layout import nights as nights_of

KEYS = {"predictions": ["prediction_id", "version", "role"], "labels": ["prediction_id", "available_at"]}
_EXTRA = {"line": "BIGINT", "reason": "VARCHAR", "raw": "VARCHAR"}


class Batch:
    """Consecutive nights, all of them new but the first, which may be the latest one run again."""

    def __init__(
        self, home: Home, spec: ModelSpec, work: Workspace, sources: Sequence[Deliveries], nights: Sequence[date]
    ) -> None:
        self.home, self.spec, self.work, self.sources, self.nights = home, spec, work, sources, nights
        lake = nights_of(home.lake_file(spec.model, "predictions", date.min).parent)
        self.lake = [n for n in lake if n not in set(nights)]
        self.first = nights[0]
        self.schema: Schema | None = read_schema(home, spec.model)

    def take_in(self) -> dict[date, tuple[str, ...]]:
        """Write every file of the nights; notes per night."""
        while not self._take_in():
            pass
        self._settle_facts()
        return {n: self._notes(n) for n in self.nights}

    def _take_in(self) -> bool:
        """Once through; False where a hostile file ended the engine, and all is to be done again without that file."""
        if self.schema is None and not self._decide_schema():
            return False
        for source in self.sources:
            if not self._load(source):
                return False
            self._settle(source)
        if not self.spec.labels:
            self._no_labels()
        values = SegmentValues(self.home, self.spec, self.work.engine, self.schema, self.nights)
        for night in self.nights:
            self._write(night, values)
        return True

    # -- loading ---------------------------------------------------------------------------------------------------

    def _columns(self, source: str) -> dict[str, str]:
        return label_columns(self.spec) if source == "labels" else prediction_columns(self.spec, self.schema)

    def _wanted(self, source: Deliveries) -> list[tuple[Delivered, Collection[date], bool]]:
        found = [
            (f, *source.fact(f).wanted(self.nights, set(self.lake))) for f in source.files if not source.fact(f).error
        ]
        return [(f, d, unknown) for f, d, unknown in found if d or unknown]

    def _decide_schema(self) -> bool:
        """Decide which fields are stored if some night has an accepted row; False where the engine must be restarted."""
        source = self.sources[0]
        found: list[tuple[date, Delivered, Opened]] = []
        for file, dates, _ in self._wanted(source):
            try:
                opened = source.open(file)
                if not opened.columns or not dates:
                    continue
                rows = f"select distinct {self._night()} from ({conform_predictions(self.spec, None, opened)}) where reason is null and {_among(dates)}"
                found += [(row[0], file, opened) for row in self.work.engine.rows(rows)]
            except (UnreadableError, Error) as error:
                if not self._failed(source, file, error):
                    return False
        if not found:
            return True
        night = min(n for n, _, _ in found)
        files = {file: opened for n, file, opened in found if n == night}
        try:
            self.schema = decide(self.work.engine, self.spec, list(files.values()), night)
        except Error as error:
            # Some column that only features need is damaged in one of them: find out which, and go on without it.
            broken = [file for file, opened in files.items() if not self._readable(source, file, opened)]
            if not broken:
                raise IngestError(f"predictions.source: {damaged('any of its formats', error)}") from error
            return False
        write_schema(self.home, self.spec.model, self.schema)
        return True

    def _readable(self, source: Deliveries, file: Delivered, opened: Opened) -> bool:
        """Whether every value of a file can be read."""
        try:
            opened = source.open(file)
            self.work.engine.rows(
                f"select bit_xor(hash({', '.join(c.at for c in opened.columns)})) from {opened.relation}"
            )
        except (UnreadableError, Error) as error:
            self._failed(source, file, error)
            return False
        return True

    def _failed(self, source: Deliveries, file: Delivered, error: UnreadableError | Error) -> bool:
        source.fail(file, str(error) if isinstance(error, UnreadableError) else damaged(file.kind, error))
        return self.work.alive()

    def _night(self) -> str:
        """SQL for the night that takes a row: that of its own date, else the first (late rows, rows of unknown date)."""
        return f"case when {_among(self.nights)} then own_date else {_date(self.first)} end"

    def _load(self, source: Deliveries) -> bool:
        """Write ``candidates``: every row that the nights must look at, conformed; False to start again."""
        engine = self.work.engine
        columns = {n: t for n, t in self._columns(source.source).items() if n != "arrival_date"}
        listed = ", ".join(
            f"{sql.name(n)} {t}"
            for n, t in {"night": "DATE", "own_date": "DATE", **columns, "file": "INTEGER", **_EXTRA}.items()
        )
        engine.run("drop table if exists candidates")
        engine.run(f"create temp table candidates ({listed})")
        chosen = ", ".join(sql.name(n) for n in (*columns, *_EXTRA))
        for file, dates, unknown in self._wanted(source):
            try:
                opened = source.open(file)
                if opened.columns:
                    where = " or ".join(([_among(dates)] if dates else []) + (["own_date is null"] if unknown else []))
                    conformed = (
                        conform_labels(self.spec, opened)
                        if source.source == "labels"
                        else conform_predictions(self.spec, self.schema, opened)
                    )
                    number = source.files.index(file)
                    engine.run(
                        f"insert into candidates by name select {self._night()} as night, own_date, {number} as file, {chosen} "
                        f"from ({conformed}) where {where}"
                    )
                if opened.malformed and unknown:
                    self._refuse(
                        f"select line, reason, raw, {source.files.index(file)} as file from {opened.malformed}"
                    )
            except (UnreadableError, Error) as error:
                if not self._failed(source, file, error):
                    return False
        for number, file in enumerate(source.files):
            error_of_file = source.fact(file).error
            if error_of_file:
                self._refuse(
                    f"select null as line, {sql.text('the file ' + error_of_file)} as reason, null as raw, {number} as file"
                )
        names = ", ".join(f"({i}, {sql.text(f.path)})" for i, f in enumerate(source.files)) or "(-1, '')"
        engine.run(f"create or replace temp table file_names as select * from (values {names}) t(number, path)")
        return True

    def _refuse(self, rows: str) -> None:
        self.work.engine.run(f"insert into candidates by name select {_date(self.first)} as night, * from ({rows})")

    # -- deciding --------------------------------------------------------------------------------------------------

    def _held(self, source: str) -> str | None:
        """The rows of other nights, from the first on that has any."""
        # Nights before the schema was decided accepted no prediction, and their files lack its columns.
        since = date.min if source == "labels" else self.schema.decided_on if self.schema else date.max
        files = [self.home.lake_file(self.spec.model, source, n) for n in self.lake if n >= since]
        return f"(select * from {scan(files)})" if files else None

    def _settle(self, source: Deliveries) -> None:
        """Write ``taken_<source>`` (accepted rows), ``refused_<source>`` and ``tally_<source>``."""
        engine, name = self.work.engine, source.source
        raw = self._raw(name)
        if engine.rows("select 1 from candidates where own_date is distinct from night limit 1"):
            quarantine.refused_before(engine, self.home, self.spec.model, self.nights)
        else:
            engine.run("create or replace temp table refused_before (digest varchar)")
        quarantine.forget_refused_stragglers(engine, name, raw)
        if name == "labels":
            duplicates.settle_labels(engine, self._held(name))
        else:
            contents = [c for c in self._columns(name) if c not in ("arrived_at", "arrival_date")]
            duplicates.settle_predictions(engine, KEYS[name], contents, self._held(name))
        known = (
            "event_date, version, role"
            if name == "predictions"
            else "cast(null as date) as event_date, '' as version, '' as role"
        )
        refused = (
            f"select night, own_date, {known}, file, line, coalesce(fate, reason) as reason, coalesce(raw, case when fate is not null then {raw} end) as raw "
            "from candidates c left join fates f on c.rowid = f.candidate where reason is not null or (fate is not null and fate != 'duplicate')"
        )
        engine.run(
            f"create or replace temp table refused_{name} as select * from ("
            f"select r.* exclude (file), path as file, {quarantine.digest(name, file='path')} as digest from ({refused}) r join file_names on number = r.file"
            ") where own_date is not distinct from night or digest not in (select digest from refused_before)"
        )
        self._tally(name)
        engine.run(f"drop table if exists rows_{name}")
        engine.run(f"drop table if exists fates_{name}")
        engine.run(f"alter table candidates rename to rows_{name}")
        engine.run(f"alter table fates rename to fates_{name}")

    def _raw(self, source: str) -> str:
        """SQL for the text of a conformed row, under the names the spec gives its columns."""
        if source == "labels":
            labels = labels_of(self.spec)
            value = label_columns(self.spec)["label"]
            return raw_row(
                [
                    (labels.id, "prediction_id", "VARCHAR"),
                    (labels.value, "label", value),
                    (labels.available_at, "available_at", "TIMESTAMP"),
                ]
            )
        p = self.spec.predictions
        columns = [(p.id, "prediction_id", "VARCHAR"), (p.time, "event_time", "TIMESTAMP")]
        standard = [
            (p.arrived_at, "arrived_at", "TIMESTAMP"),
            (p.version, "version", "VARCHAR"),
            (p.role, "role", "VARCHAR"),
        ]
        if self.spec.task != "regression":
            scores = ["score"] if self.spec.task == "binary" else [f"score_{i}" for i in range(len(self.spec.classes))]
            standard += [(name, s, "DOUBLE") for (_, name), s in zip(score_columns(self.spec), scores, strict=True)]
        standard += [
            (p.prediction, "prediction", self._columns(source)["prediction"]),
            (p.latency_ms, "latency_ms", "DOUBLE"),
        ]
        standard += [(p.status, "status", "VARCHAR"), (p.subject, "subject", "VARCHAR")]
        columns += [(name, at, t) for name, at, t in standard if name]
        kinds = {"numeric": "DOUBLE", "categorical": "VARCHAR", "embedding": "DOUBLE[]"}
        columns += [(n, sql.name(f"f_{n}"), kinds[k]) for n, k in (self.schema.fields if self.schema else {}).items()]
        return raw_row(
            [
                *{name: (name, at, t) for name, at, t in columns}.values(),
                ("invalid_fields", "invalid_fields", "VARCHAR"),
            ]
        )

    def _tally(self, name: str) -> None:
        """Write ``tally_<source>``: what became of the rows of each night. A late row that was in already isn't counted."""
        known = (
            "event_date, version, role" if name == "predictions" else "night as event_date, '' as version, '' as role"
        )
        latest = "event_time" if name == "predictions" else "available_at"
        length = LONGEST_TEXT
        self.work.engine.run(
            f"create or replace temp table tally_{name} as select night, coalesce(event_date, night) as event_date, {sql.text(name)} as source, "
            f"case when length(version) > {length} then '' else coalesce(version, '') end as version, "
            f"case when length(role) > {length} then '' else coalesce(role, '') end as role, "
            "cast(sum(accepted + duplicates + quarantined) as bigint) as delivered, cast(sum(accepted) as bigint) as accepted, "
            "cast(sum(duplicates) as bigint) as duplicates, cast(sum(quarantined) as bigint) as quarantined, max(latest) as latest_event_time from ("
            f"select night, {known}, cast(fate is null as bigint) as accepted, cast(fate is not null as bigint) as duplicates, 0 as quarantined, "
            f"case when fate is null then {latest} end as latest from candidates c left join fates f on c.rowid = f.candidate "
            "where reason is null and (fate is null or (fate = 'duplicate' and own_date = night)) union all "
            f"select night, event_date, version, role, 0, 0, 1, null from refused_{name}) group by 1, 2, 3, 4, 5"
        )

    def _no_labels(self) -> None:
        """Empty tables for a model without labels: every night has every table."""
        engine = self.work.engine
        columns = {n: t for n, t in label_columns(self.spec).items() if n != "arrival_date"}
        listed = ", ".join(f"{n} {t}" for n, t in {"night": "DATE", **columns, "reason": "VARCHAR"}.items())
        engine.run(f"create or replace temp table rows_labels ({listed})")
        engine.run("create or replace temp table fates_labels (candidate bigint, fate varchar)")
        for table in ("refused", "tally"):
            engine.run(f"create or replace temp table {table}_labels as select * from {table}_predictions where false")

    # -- writing ---------------------------------------------------------------------------------------------------

    def _write(self, night: date, values: SegmentValues) -> None:
        """Publish a night's files; that of predictions last, for it says that the night was taken in."""
        engine, home, model, that = self.work.engine, self.home, self.spec.model, _date(night)
        listed = ", ".join(
            f"cast({that if n == 'arrival_date' else n} as {t}) as {n}"
            for n, t in quarantine.COLUMNS.items()
            if n != "source"
        )
        refused = " union all ".join(
            f"select {sql.text(s)} as source, * from refused_{s} where night = {that}"
            for s in ("predictions", "labels")
        )
        listed = listed.replace(" as arrival_date,", " as arrival_date, source,", 1)
        engine.write(
            f"select {listed} from (select source, night, file, line, reason, raw, digest from ({refused})) order by source, file, line, digest",
            home.quarantine_file(model, night),
        )
        engine.write(self._accepted("labels", night), home.lake_file(model, "labels", night))
        tally = " union all ".join(f"select * from tally_{s} where night = {that}" for s in ("predictions", "labels"))
        engine.write(
            f"select night as arrival_date, * exclude (night) from ({tally}) order by source desc, event_date, version, role",
            home.lake_file(model, "intake", night),
        )
        values.write(night, home.lake_file(model, "segment_values", night))
        engine.write(self._accepted("predictions", night), home.lake_file(model, "predictions", night))

    def _accepted(self, source: str, night: date) -> str:
        columns: Mapping[str, str] = self._columns(source)
        if source == "predictions" and self.schema and night < self.schema.decided_on:
            columns = prediction_columns(self.spec, None)
        chosen = ", ".join("night as arrival_date" if n == "arrival_date" else sql.name(n) for n in columns)
        return (
            f"select {chosen} from rows_{source} r where night = {_date(night)} and reason is null "
            f"and r.rowid not in (select candidate from fates_{source})"
        )

    def _settle_facts(self) -> None:
        for source in self.sources:
            for file, dates, unknown in self._wanted(source):
                source.facts[source.key(file)] = source.fact(file).took(dates, unknown, self.nights)

    def _notes(self, night: date) -> tuple[str, ...]:
        """What a person should know of the night's files: sources that are gone, columns that came or went."""
        notes = [note for source in self.sources for note in source.notes]
        if self.schema is None:
            return tuple(notes)
        source = self.sources[0]
        standard = {n.lower() for n in standard_columns(self.spec)}
        for file in source.files:
            facts = source.fact(file)
            if night.isoformat() not in facts.rows or night < self.schema.decided_on:
                continue
            new = [c for c in facts.columns if c and not self.schema.known(c) and c.lower() not in standard]
            gone = sorted(
                {
                    f.lower(): f for f in self.schema.features if f.lower() not in {c.lower() for c in facts.columns}
                }.values()
            )
            if new:
                notes.append(
                    f"{file.path}: new column{'s' if len(new) > 1 else ''} {_named(new)}, not monitored unless features lists it"
                )
            if gone:
                notes.append(f"{file.path}: no column{'s' if len(gone) > 1 else ''} {_named(gone)}, read as missing")
        return tuple(notes)


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(repr(n[:80]) for n in names[:5])
    return shown + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _date(d: date) -> str:
    return f"date {sql.text(d.isoformat())}"


def _among(dates: Collection[date]) -> str:
    return f"own_date in ({', '.join(_date(d) for d in sorted(dates))})"
