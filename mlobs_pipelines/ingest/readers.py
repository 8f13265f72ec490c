"""One reader per format: a local file -> a relation with columns c0, c1, … and the lines that are malformed.

Adding a format is adding one function to ``READERS`` and its file endings to ``sources.EXTENSIONS``. A reader of
logged payloads (the spec's ``format``) is one function in ``PAYLOADS`` that turns one ``Opened`` into another.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from mlobs_pipelines.engine import sql
from mlobs_pipelines.engine.duckdb import DuckDBEngine, Error, disk_full, misspoken, out_of_memory
from mlobs_pipelines.ingest.sources import IngestError

LONGEST_LINE = 4_000_000
"""Bytes of the longest line of text that is read; longer ones are quarantined."""
LONGEST_RAW = 65_536
"""Characters of a refused line that are kept."""
MOST_COLUMNS = 10_000
MOST_ROWS_PER_BYTE = 10
MOST_ROWS_UNCHECKED = 1_000_000
"""A Parquet file of more rows than this, and more a byte than rows with an id each can be, is a bomb."""

_REJECTED = {
    "MISSING COLUMNS": "has fewer columns than the header",
    "TOO MANY COLUMNS": "has more columns than the header",
    "UNQUOTED VALUE": "has a quote that is not closed as CSV wants it",
    "INVALID ENCODING": "is not UTF-8 text",
    "LINE SIZE OVER MAXIMUM": f"is longer than {LONGEST_LINE // 1_000_000} MB",
}


class UnreadableError(Exception):
    """The whole file can't be read; the message says why, without the file's name."""


@dataclass(frozen=True)
class Column:
    """A column as delivered: its name, the engine's type, and the safe name it has in the relation.

    ``hidden``: its values must not be shown (they are kept as a keyed hash only). ``number`` and ``time``: columns of
    the relation that hold the value read as such already, where ``values.parsed_once`` has put them.
    """

    name: str
    type: str
    at: str
    hidden: bool = False
    number: str | None = None
    time: str | None = None


@dataclass(frozen=True)
class Opened:
    """A file ready to be queried: ``relation`` has each column under its ``at``, and ``line`` and ``ordinal`` BIGINT.

    ``ordinal`` tells the rows apart and is the same in every query of a run; ``line`` is what people are told.
    ``malformed`` is a relation of line, reason, raw; ``None`` where there is no malformed line. ``parquet`` is a file of
    which each row is that of its place's ``ordinal``, with the columns as they are but those that are hidden.
    """

    columns: tuple[Column, ...]
    relation: str
    malformed: str | None = None
    parquet: Path | None = None

    def column(self, name: str) -> Column | None:
        """The column of exactly this name."""
        return next((c for c in self.columns if c.name == name), None)


Reader = Callable[[DuckDBEngine, Path, Path, str | None], Opened]
"""Engine, local file, folder for staged files, table (of a database) -> what was opened."""


def read_parquet(engine: DuckDBEngine, path: Path, stage: Path, table: str | None) -> Opened:  # noqa: ARG001
    """A Parquet file, column by column, with the number of each row."""
    ((rows,),) = engine.rows(f"select num_rows from parquet_file_metadata({sql.text(str(path))})")
    if rows > MOST_ROWS_UNCHECKED and rows > MOST_ROWS_PER_BYTE * path.stat().st_size:
        raise UnreadableError(
            f"claims {rows} rows in {path.stat().st_size} bytes: no log of predictions is that uniform"
        )
    scan = f"read_parquet({sql.text(str(path))}, hive_partitioning = false"
    described = engine.rows(f"describe select * from {scan})")
    # The engine renames a column that clashes with another, so names are taken from the file's own schema.
    elements = engine.rows(f"select name, num_children from parquet_schema({sql.text(str(path))})")
    names, at = [], 1
    while at < len(elements):
        names.append(str(elements[at][0]))
        at = _after(elements, at)
    if len(names) != len(described):
        names = [str(row[0]) for row in described]
    _refuse_clashes(names)
    columns = tuple(Column(n, str(row[1]), f"c{i}") for i, (n, row) in enumerate(zip(names, described, strict=True)))
    if "file_row_number" in {n.lower() for n in names}:
        return _numbered_copy(engine, columns, f"{scan})", stage)
    rows = f"{scan}, file_row_number = true)"
    numbers = "cast(file_row_number + 1 as bigint) as line, file_row_number as ordinal"
    return Opened(columns, f"(select {_aliased(columns)}{numbers} from {rows})", parquet=path)


def _after(elements: list[tuple[Any, ...]], at: int) -> int:
    """Index of the schema element after the one at ``at`` and all its children."""
    following = at + 1
    for _ in range(elements[at][1] or 0):
        following = _after(elements, following)
    return following


def _numbered_copy(engine: DuckDBEngine, columns: tuple[Column, ...], rows: str, stage: Path) -> Opened:
    """What has no row numbers of its own, copied into a staged file, whose rows have."""
    staged = stage / f"{hashlib.md5(rows.encode(), usedforsecurity=False).hexdigest()}.parquet"
    engine.run(f"copy (select {_aliased(columns)[:-2]} from {rows}) to {sql.text(str(staged))} (format parquet)")
    return Opened(columns, _staged(columns, staged))


def _staged(columns: tuple[Column, ...], staged: Path) -> str:
    listed = "".join(f"{c.at}, " for c in columns)
    rows = f"read_parquet({sql.text(str(staged))}, file_row_number = true)"
    return f"(select {listed}cast(null as bigint) as line, file_row_number as ordinal from {rows})"


def _aliased(columns: tuple[Column, ...]) -> str:
    return "".join(f"{sql.name(c.name)} as {c.at}, " for c in columns)


def _refuse_clashes(names: list[str]) -> None:
    if not names:
        raise UnreadableError("has no columns")
    if len(names) > MOST_COLUMNS:
        raise UnreadableError(f"has {len(names)} columns; {MOST_COLUMNS} are allowed")
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.lower(), name)
        if other is not name:
            raise UnreadableError(f"has two columns with one name, {other[:80]!r} and {name[:80]!r}")


def read_duckdb(engine: DuckDBEngine, path: Path, stage: Path, table: str | None) -> Opened:
    """A table (``table`` or ``schema.table``) of a DuckDB file, read-only."""
    path = path.resolve()  # predictions and labels may be two tables of one file, which can be attached once only
    alias = f"db_{hashlib.md5(str(path).encode(), usedforsecurity=False).hexdigest()[:16]}"
    attached = {row[0] for row in engine.rows("select database_name from duckdb_databases()")}
    if alias not in attached:
        engine.run(f"attach {sql.text(str(path))} as {alias} (read_only, type duckdb)")
    owner = engine.rows(
        f"select schema_name, table_name, true from duckdb_tables() where database_name = {sql.text(alias)} "
        f"union all select schema_name, view_name, false from duckdb_views() where database_name = {sql.text(alias)}"
    )
    named = [found for found in owner if table in (found[1], f"{found[0]}.{found[1]}")]
    if not named:
        tables = ", ".join(sorted(repr(t) for s, t, _ in owner if s == "main"))
        raise UnreadableError(f"has no table {table!r}; it has {tables or 'none'}")
    whole = f"{alias}.{sql.name(named[0][0])}.{sql.name(named[0][1])}"
    described = engine.rows(f"describe select * from {whole}")
    columns = tuple(Column(str(row[0]), str(row[1]), f"c{i}") for i, row in enumerate(described))
    if not named[0][2]:
        return _numbered_copy(engine, columns, whole, stage)
    return Opened(columns, f"(select {_aliased(columns)}cast(null as bigint) as line, rowid as ordinal from {whole})")


def read_csv(engine: DuckDBEngine, path: Path, stage: Path, table: str | None) -> Opened:  # noqa: ARG001
    """A CSV file with a header, also gzip: every column as text, parsed once into a staged Parquet file."""
    names, delimiter = _csv_header(path)
    _refuse_clashes(names)
    columns = tuple(Column(n, "VARCHAR", f"c{i}") for i, n in enumerate(names))
    staged = stage / f"{path.name}.parquet"
    listed = ", ".join(f"{c.at}: 'VARCHAR'" for c in columns)
    options = (
        f"header = true, delim = {sql.text(delimiter)}, quote = '\"', escape = '\"', allow_quoted_nulls = false, "
        f"columns = {{{listed}}}"
    )
    rejected = _stage_text(engine, path, staged, options)
    return Opened(columns, _staged(columns, staged), rejected)


def _csv_header(path: Path) -> tuple[list[str], str]:
    """Names in the first record, and the delimiter: the most frequent of , ; tab | outside quotes."""
    try:
        with _text(path) as handle:
            first = handle.readline(LONGEST_LINE)
            if not first:
                raise UnreadableError("is empty: it has no header line")
            bare = "".join(first.split('"')[::2])
            delimiter = max((",", ";", "\t", "|"), key=bare.count)
            handle.seek(0)
            names = next(csv.reader(handle, delimiter=delimiter), [])
    except (OSError, EOFError) as error:
        raise UnreadableError(f"can't be decompressed or read: {error}") from error
    except UnicodeDecodeError as error:
        raise UnreadableError("is not UTF-8 text") from error
    except csv.Error as error:
        raise UnreadableError(f"has no CSV header: {error}") from error
    if not names:
        raise UnreadableError("begins with an empty line instead of a header")
    return names, delimiter


def _text(path: Path) -> io.TextIOWrapper:
    return io.TextIOWrapper(_bytes(path), encoding="utf-8-sig", newline="")


def _bytes(path: Path) -> IO[bytes]:
    with path.open("rb") as handle:
        zipped = handle.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if zipped else path.open("rb")  # type: ignore[return-value]


def _stage_text(engine: DuckDBEngine, path: Path, staged: Path, options: str, chosen: str = "*") -> str | None:
    """Parse a file of lines into ``staged``; the relation of refused lines, or None."""
    table = f"refused_{staged.name.split('.')[0]}"
    try:
        _parse(engine, path, staged, options, chosen, table)
    except Error as error:
        # The parser wants one kind of line end in a file; logs written by several systems mix them.
        if "invalid state" not in str(error):
            raise
        same = staged.with_suffix(".lines")
        _with_one_line_end(path, same)
        _parse(engine, same, staged, options, chosen, table)
    if not engine.rows(f"select 1 from {table} limit 1"):
        return None
    reasons = " ".join(f"when {sql.text(k)} then {sql.text(v)}" for k, v in _REJECTED.items())
    return (
        f"(select cast(line as bigint) as line, min('the line ' || case cast(error_type as varchar) {reasons} else 'is malformed' end) "
        f"as reason, left(min(csv_line), {LONGEST_RAW}) as raw from {table} group by line)"
    )


def _parse(engine: DuckDBEngine, path: Path, staged: Path, options: str, chosen: str, table: str) -> None:
    with path.open("rb") as handle:
        compression = "gzip" if handle.read(2) == b"\x1f\x8b" else "none"
    engine.run(f"drop table if exists {table}")
    engine.run(f"drop table if exists {table}_scans")
    reading = (
        f"read_csv({sql.text(str(path))}, auto_detect = false, {options}, compression = {sql.text(compression)}, "
        f"store_rejects = true, rejects_table = {sql.text(table)}, rejects_scan = {sql.text(table + '_scans')}, "
        f"max_line_size = {LONGEST_LINE})"
    )
    engine.run(f"copy (select {chosen} from {reading}) to {sql.text(str(staged))} (format parquet)")


def _with_one_line_end(path: Path, target: Path) -> None:
    with _bytes(path) as source, target.open("wb") as copy:
        rest = b""
        while chunk := source.read(1 << 20):
            chunk = rest + chunk
            rest = b"\r" if chunk.endswith(b"\r") else b""
            copy.write(chunk.removesuffix(b"\r").replace(b"\r\n", b"\n").replace(b"\r", b"\n"))
        copy.write(rest and b"\n")


def read_jsonl(engine: DuckDBEngine, path: Path, stage: Path, table: str | None) -> Opened:  # noqa: ARG001
    """JSON lines, also gzip: every value as text; lines that are no JSON object are malformed."""
    lines = stage / f"{path.name}.lines.parquet"
    # No JSON text has a raw control character, so none can be cut in two by this delimiter.
    options = "header = false, delim = '\x01', quote = '', escape = '', nullstr = '\x02', columns = {line: 'VARCHAR'}"
    kind = "case when json_valid(line) then json_type(line) end as kind"
    rejected = _stage_text(engine, path, lines, options, f"line, {kind}")
    scan = f"(select line, kind from read_parquet({sql.text(str(lines))}) where trim(line, ' \t\r') != '')"
    verdict = (
        "case when kind is null then 'the line is not JSON' "
        "when kind != 'OBJECT' then 'the line is not a JSON object' end"
    )
    broken = f"(select line, {verdict} as reason from {scan} where kind is distinct from 'OBJECT')"
    malformed = [f"select * from {rejected}"] if rejected else []
    if engine.rows(f"select 1 from {broken} limit 1"):
        malformed += _numbered(engine, path, broken)
    kept = f"select line from {scan} where kind = 'OBJECT'"
    names = sorted(str(row[0]) for row in engine.rows(f"select distinct unnest(json_keys(line)) from ({kept})"))
    refused = f"({' union all '.join(malformed)})" if malformed else None
    if not names:
        return Opened((), "(select cast(null as bigint) as line, cast(null as bigint) as ordinal where false)", refused)
    _refuse_clashes(names)
    columns = tuple(Column(n, "VARCHAR", f"c{i}") for i, n in enumerate(names))
    pointers = ", ".join(sql.text("/" + n.replace("~", "~0").replace("/", "~1")) for n in names)
    values = ", ".join(f"v[{i + 1}] as {c.at}" for i, c in enumerate(columns))
    staged = stage / f"{path.name}.parquet"
    query = f"select {values} from (select json_extract_string(line, [{pointers}]) as v from ({kept}))"
    engine.run(f"copy ({query}) to {sql.text(str(staged))} (format parquet)")
    return Opened(columns, _staged(columns, staged), refused)


def _numbered(engine: DuckDBEngine, path: Path, broken: str) -> list[str]:
    """Queries for the lines that are broken JSON, with their numbers where a second look at the file finds them."""
    wanted = {row[0] for row in engine.rows(f"select distinct md5(line) from {broken}")}
    numbers: list[int] = []
    digests: list[str] = []
    with _bytes(path) as handle:
        number = 0
        while line := handle.readline(LONGEST_LINE):
            number += 1
            digest = hashlib.md5(line.rstrip(b"\r\n"), usedforsecurity=False).hexdigest()
            if digest in wanted:
                numbers.append(number)
                digests.append(digest)
    view = f"numbered_{path.name.split('.')[0]}"
    engine.register(view, pa.table({"line": pa.array(numbers, pa.int64()), "digest": pa.array(digests, pa.string())}))
    # A line that the second look did not find (cut by a bare carriage return, say) is kept without a number.
    text = f"(select md5(line) as digest, reason, left(line, {LONGEST_RAW}) as raw from {broken})"
    return [
        f"select n.line, t.reason, t.raw from {view} n join (select distinct * from {text}) t using (digest)",
        f"select cast(null as bigint) as line, reason, raw from {text} where digest not in (select digest from {view})",
    ]


READERS: dict[str, Reader] = {
    "parquet": read_parquet,
    "csv": read_csv,
    "jsonl": read_jsonl,
    "duckdb": read_duckdb,
}
"""Reader by name."""

PAYLOADS: dict[str, Callable[[Opened], Opened]] = {"standard": lambda opened: opened}
"""What turns a file of some logged-payload format into rows of one prediction each."""


def open_file(
    engine: DuckDBEngine, kind: str, path: Path, stage: Path, table: str | None = None, payload: str = "standard"
) -> Opened:
    """Open a file with the reader of its kind.

    Raises:
        UnreadableError: the file as a whole can't be read; says why.
    """
    if kind not in READERS:
        raise UnreadableError(f"is of no known kind; known are {', '.join(sorted(READERS))}")
    try:
        if kind != "duckdb" and path.stat().st_size == 0 and kind != "jsonl":
            raise UnreadableError("is empty (0 bytes)")
        return PAYLOADS[payload](READERS[kind](engine, path, stage, table))
    except Error as error:
        raise UnreadableError(damaged(kind, error)) from error
    except OSError as error:
        raise UnreadableError(f"can't be read: {error.strerror or type(error).__name__}") from error


def damaged(kind: str, error: Error) -> str:
    """One stable sentence for an engine's error about a file, whose own words vary from run to run.

    Raises:
        IngestError: the disk is full.
        Error: the SQL was at fault.
    """
    if disk_full(error):
        raise IngestError("the disk is full; free space in the home folder and run the night again") from error
    if out_of_memory(error):
        return "needs more memory than MLOBS_MEMORY allows; raise it, and the next night takes the file in"
    if misspoken(error):
        raise error
    said = str(error).lower()
    if kind == "duckdb":
        held = "lock" in said
        return (
            "is held by a process that writes to it; try again when it is done"
            if held
            else "is not a DuckDB database that can be read"
        )
    return f"can't be read as {kind}: it is damaged or incomplete"


def without_lines(opened: Opened) -> Opened:
    """The same file, the text of its malformed lines withheld."""
    if opened.malformed is None:
        return opened
    return replace(opened, malformed=f"(select line, reason, cast(null as varchar) as raw from {opened.malformed})")
