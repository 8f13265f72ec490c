"""Some nights taken in together: find the rows whose fate is open, decide it, write the accepted rows straight on.

A delivered file is read twice. The first time only what says whether a row may be refused: nearly all rows are beyond
doubt then, and of the others alone a copy is made. The second time the accepted rows go from the file to the lake.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import pyarrow as pa

from mlobs_pipelines.engine import sql
from mlobs_pipelines.engine.duckdb import Error, scan
from mlobs_pipelines.ingest import arrays, duplicates, keys, quarantine
from mlobs_pipelines.ingest.accepted import publish, stage
from mlobs_pipelines.ingest.cache import taking
from mlobs_pipelines.ingest.columns import label_columns, prediction_columns
from mlobs_pipelines.ingest.conform import conform_labels, conform_predictions
from mlobs_pipelines.ingest.deliveries import Deliveries
from mlobs_pipelines.ingest.parts import Asked, Part, own_date_among, parts, whole
from mlobs_pipelines.ingest.readers import Opened, UnreadableError, damaged
from mlobs_pipelines.ingest.schema import Schema, decide, differences, read_schema, write_schema
from mlobs_pipelines.ingest.sources import Delivered, IngestError, unchanged
from mlobs_pipelines.ingest.workspace import Workspace
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.layout import Home

_EXTRA = {"file": "INTEGER", "ordinal": "BIGINT", "line": "BIGINT", "reason": "VARCHAR", "raw": "VARCHAR"}


class Batch:
    """Consecutive nights, all of them new but the first, which may be the latest one run again."""

    def __init__(
        self, home: Home, spec: ModelSpec, work: Workspace, sources: Sequence[Deliveries], nights: Sequence[date]
    ) -> None:
        self.home, self.spec, self.work, self.sources, self.nights = home, spec, work, sources, nights
        lake = home.lake_nights(spec.model, "predictions").all()
        self.lake = [n for n in lake if n not in set(nights)]
        self.first = nights[0]
        self.schema: Schema | None = read_schema(home, spec.model)
        self._one_by_one = False

    def take_in(self) -> dict[date, tuple[str, ...]]:
        """Write every file of the nights; notes per night."""
        while not self._take_in():
            pass
        self._settle_facts()
        return {n: self._notes(n) for n in self.nights}

    def _take_in(self) -> bool:
        """Once through; False where a file turned out to be unusable, and all is to be done again without it."""
        if self.schema is None and not self._decide_schema():
            return False
        shutil.rmtree(self._folder, ignore_errors=True)
        for source in self.sources:
            if not self._settle(source) or not self._stage(source):
                return False
        if not self._unchanged():
            return False
        publish(self.work.engine, self.home, self.spec, self.schema, self.nights, self._folder)
        return True

    # -- reading ---------------------------------------------------------------------------------------------------

    @property
    def _folder(self) -> Path:
        """Where the accepted rows wait until all that rests on them is written."""
        return self.work.root / "accepted"

    def _columns(self, source: str) -> dict[str, str]:
        """Columns of a source's lake files. The nights before the schema was decided have no fields."""
        if source == "labels":
            return label_columns(self.spec)
        return prediction_columns(self.spec, self._fields)

    @property
    def _fields(self) -> Schema | None:
        """The schema, where the nights are not before it was decided."""
        return self.schema if self.schema and self.nights[-1] >= self.schema.decided_on else None

    def _wanted(
        self, source: Deliveries, nights: Collection[date] = ()
    ) -> list[tuple[Delivered, Collection[date], bool]]:
        """What ``nights``, by default all, must look at of each sound file: rows of which dates, and of unknown date."""
        running = nights or self.nights
        found = [(f, *source.fact(f).wanted(running, set(self.lake))) for f in source.files if not source.fact(f).error]
        return [(f, d, unknown) for f, d, unknown in found if d or unknown]

    def _parts(self, source: Deliveries, do: Callable[[Part], None], nights: Collection[date] = ()) -> bool:
        """Do something for all files that ``nights``, by default all, must look at; False where one turned out unusable.

        Where several fail together, each is looked at alone the next time: that tells which of them it was.
        """
        sound, asked = True, []
        for file, dates, unknown in self._wanted(source, nights):
            try:
                asked.append(Asked(source.files.index(file), source.open(file), dates, unknown))
            except UnreadableError as error:
                if not self._failed(source, file, error):
                    return False
                sound = False
        for part in parts(asked, self.nights, one_by_one=self._one_by_one):
            try:
                do(part)
            except (UnreadableError, Error) as error:
                if len(part.files) > 1:
                    self._one_by_one = True
                    self.work.alive()
                    return False
                if not self._failed(source, source.files[part.files[0]], error):
                    return False
                sound = False
        return sound

    def _rows(self, source: Deliveries, part: Part, only: str = "") -> str:
        """SQL for a part's rows, conformed, each with its night; ``only`` is a table that names them by file and ordinal."""
        opened = part.opened
        if not opened.columns:
            return ""
        if only:
            chosen = f"(select r.* from {opened.relation} r semi join {only} using (file, ordinal))"
            opened = replace(opened, relation=chosen)
        conformed = (
            conform_labels(self.spec, opened)
            if source.source == "labels"
            else conform_predictions(self.spec, self.schema, opened)
        )
        return f"(select {self._night()} as night, * from ({conformed}) where {part.wanted})"

    def _decide_schema(self) -> bool:
        """Decide which fields are stored if some night has an accepted row; False where all is to be done again."""
        source = self.sources[0]
        found: list[int] = []

        def look(part: Part) -> None:
            if rows := self._rows(source, part):
                one = len(part.files) == 1  # then its first accepted row says it all
                held = "select file" if one else "select distinct file"
                query = f"{held} from {rows} where reason is null{' limit 1' if one else ''}"
                found.extend(number for (number,) in self.work.engine.rows(query))

        for night in self.nights:
            if not self._parts(source, look, [night]):
                return False
            if found:
                break
        else:
            return True
        files = [source.files[number] for number in sorted(found)]
        try:
            self.schema = decide(self.work.engine, self.spec, [source.open(file) for file in files], night)
        except Error as error:
            # Some column that only features need is damaged in one of them: find out which, and go on without it.
            broken = self._blame(
                source, files, lambda o: f"select {', '.join(c.at for c in o.columns)} from {o.relation}"
            )
            if not broken:
                raise IngestError(f"predictions.source: {damaged('any of its formats', error)}") from error
            return False
        write_schema(self.home, self.spec.model, self.schema)
        return True

    def _blame(
        self, source: Deliveries, files: Collection[Delivered], query: Callable[[Opened], str]
    ) -> list[Delivered]:
        """Those of the files of which not all can be read, after a query over all of them failed; each is noted."""
        self.work.alive()
        broken = []
        for file in files:
            try:
                self.work.engine.rows(f"select bit_xor(hash(t)) from ({query(source.open(file))}) t")
            except (UnreadableError, Error) as error:
                self._failed(source, file, error)
                broken.append(file)
        return broken

    def _failed(self, source: Deliveries, file: Delivered, error: UnreadableError | Error) -> bool:
        source.fail(file, str(error) if isinstance(error, UnreadableError) else damaged(file.kind, error))
        return self.work.alive()

    def _night(self) -> str:
        """SQL for the night that takes a row: that of its own date, else the first (late rows, rows of unknown date)."""
        return f"case when {own_date_among(self.nights)} then own_date else {sql.date(self.first)} end"

    # -- deciding --------------------------------------------------------------------------------------------------

    def _settle(self, source: Deliveries) -> bool:
        """Write ``excluded_<source>`` (rows of files that are not accepted), ``refused_<source>``, ``repeated_<source>``."""
        engine, name = self.work.engine, source.source
        number = keys.number(name)
        engine.run("create or replace temp table claims (number ubigint)")

        def claim(part: Part) -> None:
            if rows := self._rows(source, part):
                engine.run(f"insert into claims select case when reason is null then {number} end from {rows}")

        if not self._parts(source, claim):
            return False
        before, held = keys.came_before(
            engine, self.home, self.spec.model, name, self._held(name), self.first, "claims"
        )
        twice = keys.repeated(engine, "claims")
        engine.run(f"create or replace temp table contested as {twice} union {before}")
        if not self._load(source):
            return False
        contents = (
            ["label"]
            if name == "labels"
            else [c for c in self._columns(name) if c not in ("arrived_at", "arrival_date")]
        )
        lake = scan([self.home.lake_file(self.spec.model, name, n) for n in held]) if held else None
        raw = duplicates.raw(self.spec, self._fields, name)
        engine.run(f"create or replace temp table excluded_{name} (file integer, ordinal bigint)")
        quarantine.forget_refused_stragglers(engine, name, raw)
        let_go = self.home.lake_nights(self.spec.model, name).let_go(held)
        duplicates.settle(engine, name, contents, lake, let_go)
        engine.run(
            f"insert into excluded_{name} select file, ordinal from candidates c join fates f on c.rowid = f.candidate"
        )
        self._refuse(source, raw)
        return True

    def _held(self, source: str) -> list[date]:
        """The other nights, from the first on that has rows."""
        # Nights before the schema was decided accepted no prediction, and their files lack its columns.
        since = date.min if source == "labels" else self.schema.decided_on if self.schema else date.max
        return [n for n in self.lake if n >= since]

    def _load(self, source: Deliveries) -> bool:
        """Write ``candidates``: of all rows only those that may not be accepted, conformed, with all of their columns."""
        engine, name = self.work.engine, source.source
        columns = {n: t for n, t in self._columns(name).items() if n != "arrival_date"}
        typed = {"night": "DATE", "own_date": "DATE", **columns, **_EXTRA}
        engine.run(
            f"create or replace temp table candidates ({', '.join(f'{sql.name(n)} {t}' for n, t in typed.items())})"
        )
        self._refused_before(source)
        doubts = []
        if engine.rows("select 1 from claims where number is null limit 1"):
            doubts.append("reason is not null")
        if engine.rows("select 1 from contested limit 1"):
            doubts.append(f"{keys.number(name)} in (select number from contested)")
        stragglers = bool(engine.rows("select 1 from refused_before limit 1"))
        chosen = ", ".join(sql.name(n) for n in typed)

        def load(part: Part) -> None:
            asked = [*doubts, *(["own_date is distinct from night"] if part.late and stragglers else [])]
            rows = self._rows(source, part)
            if rows and asked:
                # First by the few columns that tell, then those rows whole.
                engine.run(
                    f"create or replace temp table doubtful as select file, ordinal from {rows} where {' or '.join(asked)}"
                )
                engine.run(f"insert into candidates select {chosen} from {self._rows(source, part, 'doubtful')}")
            for number, lines in part.malformed:
                self._insert(f"select line, reason, raw, {number} as file from {lines}")

        if not self._parts(source, load):
            return False
        for i, file in enumerate(source.files):
            if error := source.fact(file).error:
                self._insert(f"select {sql.text('the file ' + error)} as reason, {i} as file")
        return True

    def _refused_before(self, source: Deliveries) -> None:
        """Write ``refused_before``, which only matters where some row may have been looked at before."""
        wanted = self._wanted(source)
        late = any(unknown or not set(dates) <= set(self.nights) for _, dates, unknown in wanted)
        if late or any(source.fact(f).error for f in source.files):
            quarantine.refused_before(self.work.engine, self.home, self.spec.model, self.nights)
        else:
            self.work.engine.run("create or replace temp table refused_before (digest varchar)")

    def _insert(self, rows: str) -> None:
        self.work.engine.run(f"insert into candidates by name select {sql.date(self.first)} as night, * from ({rows})")

    def _refuse(self, source: Deliveries, raw: str) -> None:
        """Write ``refused_<source>`` and, of the rows that were in already, ``repeated_<source>``."""
        engine, name = self.work.engine, source.source
        names = ", ".join(f"({i}, {sql.text(f.path)})" for i, f in enumerate(source.files)) or "(-1, '')"
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
            f"select r.* exclude (file), path as file, {quarantine.digest(name, file='path')} as digest "
            f"from ({refused}) r join (values {names}) t(number, path) on number = r.file"
            ") where own_date is not distinct from night or digest not in (select digest from refused_before)"
        )
        # A late row that was in already isn't counted.
        engine.run(
            f"create or replace temp table repeated_{name} as select night, {known} from candidates c "
            "join fates f on c.rowid = f.candidate where fate = 'duplicate' and own_date = night"
        )

    # -- writing ---------------------------------------------------------------------------------------------------

    def _stage(self, source: Deliveries) -> bool:
        """Write the accepted rows below the run's own folder, night by night, straight from the delivered files."""
        engine, name = self.work.engine, source.source
        if self._stage_arrays(source):
            return True
        chosen = ", ".join("night as arrival_date" if n == "arrival_date" else sql.name(n) for n in self._columns(name))
        excluded = {row[0] for row in engine.rows(f"select distinct file from excluded_{name}")}
        accepted: list[str] = []

        def accept(part: Part) -> None:
            if rows := self._rows(source, part):
                others = f"anti join excluded_{name} using (file, ordinal)" if excluded & set(part.files) else ""
                accepted.append(f"select {chosen}, night from {rows} {others} where reason is null")

        if not self._parts(source, accept):
            return False
        if not accepted:
            return True
        try:
            stage(engine, name, " union all ".join(accepted), self._folder, self.nights)
        except Error as error:
            broken = self._blame(
                source,
                [file for file, _, _ in self._wanted(source)],
                lambda opened: f"select {chosen} from {self._rows(source, whole(opened)) or '(select null)'}",
            )
            if not broken:
                raise IngestError(f"{name}.source: {damaged('any of its formats', error)}") from error
            return False
        return True

    def _stage_arrays(self, source: Deliveries) -> bool:
        """Write the accepted predictions as arrays where all files can be taken so; else, and where one is damaged, SQL
        has to do it, or to say why not."""
        if source.source == "labels" or self._fields is None:
            return False
        wanted = self._wanted(source)
        rows = sum(sum(source.fact(file).rows.values()) for file, _, _ in wanted)
        if not wanted or (len(wanted) > 1 and rows < len(wanted) * arrays.LEAST):
            return False
        found: dict[Path, list[arrays.Rows]] = {}
        excluded = f"excluded_{source.source}"
        try:
            for file, dates, unknown in wanted:
                nights = {taking(day, self.nights) for day in dates} | ({self.first} if unknown else set())
                if len(nights) > 1:  # each of them would read the file again
                    return False
                (night,) = nights
                asked = Asked(source.files.index(file), source.open(file), dates, unknown)
                (part,) = parts([asked], self.nights, one_by_one=True)
                target = self._folder / source.source / f"night={night}" / "data_0.parquet"
                found.setdefault(target, []).append(
                    arrays.rows_of(self.work.engine, self.spec, self._fields, part, night, excluded)
                )
            arrays.write(self.work.engine, found, list(self._columns(source.source)))
        except (arrays.UnfitError, UnreadableError, Error, pa.ArrowException, OSError):
            shutil.rmtree(self._folder / source.source, ignore_errors=True)
            return False
        return True

    def _unchanged(self) -> bool:
        """Whether every file is still the one that was looked at first: a night is of one state of it, or without it."""
        sound = True
        for source in self.sources:
            for file, _, _ in self._wanted(source):
                if not unchanged(file):
                    source.fail(file, "was changed while it was read; the next night takes it in")
                    sound = False
        return sound

    def _settle_facts(self) -> None:
        for source in self.sources:
            for file, dates, unknown in self._wanted(source):
                source.facts[source.key(file)] = source.fact(file).took(dates, unknown, self.nights)

    def _notes(self, night: date) -> tuple[str, ...]:
        """What a person should know of the night's files: sources that are gone, columns that came or went."""
        notes = [note for source in self.sources for note in source.notes]
        if self.schema is None or night < self.schema.decided_on:
            return tuple(notes)
        source = self.sources[0]
        for file in source.files:
            facts = source.fact(file)
            if night.isoformat() in facts.rows:
                notes += [f"{file.path}: {said}" for said in differences(self.spec, self.schema, facts.columns)]
        return tuple(notes)
