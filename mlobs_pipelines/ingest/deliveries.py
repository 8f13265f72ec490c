"""A source's delivered files, each once, with what each holds; and opening one, protected and checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

from mlobs_pipelines.engine.duckdb import DuckDBEngine, Error
from mlobs_pipelines.ingest import cache, protect
from mlobs_pipelines.ingest.cache import UNKNOWN, Facts
from mlobs_pipelines.ingest.columns import check_columns, labels_of, required_columns
from mlobs_pipelines.ingest.conform import dates
from mlobs_pipelines.ingest.readers import PAYLOADS, Opened, UnreadableError, damaged, open_file
from mlobs_pipelines.ingest.sources import Delivered, IngestError, Listing, digest, fetch, list_delivered, nearest
from mlobs_pipelines.ingest.workspace import EngineFactory, Workspace
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store.layout import Home

Progress = Callable[[str], None]


class Deliveries:
    """What one source ('predictions' or 'labels') of a model holds tonight."""

    def __init__(self, home: Home, spec: ModelSpec, source: str, work: Workspace, facts: dict[str, Facts]) -> None:
        self.home, self.spec, self.source, self._work = home, spec, source, work
        part = labels_of(spec) if source == "labels" else spec.predictions
        if part.format not in PAYLOADS:
            known = ", ".join(sorted(PAYLOADS))
            raise IngestError(
                f"{source}.format: no reader is called {part.format!r}{nearest(part.format, PAYLOADS)}; known: {known}"
            )
        self._part = part
        self.remembered = facts
        self.files: list[Delivered] = []
        self.facts: dict[str, Facts] = {}
        self.copies: dict[str, Facts] = {}
        self.notes: list[str] = []
        self._opened: dict[str, tuple[int, Opened]] = {}
        self._numbers: dict[str, int] = {}

    def scan(self, *, may_be_empty: bool, progress: Progress | None = None) -> None:
        """List the files and learn what each new one holds.

        Raises:
            IngestError: the source matches nothing (unless it exists and ``may_be_empty``), or no file can be used.
        """
        listing = list_delivered(self.home, self._part.source)
        self._check(listing, may_be_empty=may_be_empty)
        self.files = self._once_each(listing)
        for number, file in enumerate(self.files, 1):
            known = self._known(file)
            if known is None or not known.rows:
                if progress:
                    progress(f"looking at {file.path} ({number} of {len(self.files)})")
                self.facts[self.key(file)] = self._look(file, known)
            else:
                self.facts[self.key(file)] = known
        broken = [(f, self.fact(f).error) for f in self.files if self.fact(f).error]
        if self.files and len(broken) == len(self.files):
            file, error = broken[0]
            others = f" (nor can the other {len(broken) - 1} files)" if len(broken) > 1 else ""
            raise IngestError(f"{self.source}.source: {file.path} {error}{others}")

    def _check(self, listing: Listing, *, may_be_empty: bool) -> None:
        self.notes = [f"{self.source}.source: {entry} is not there" for entry in listing.missing]
        self.notes += [f"{self.source}.source: {entry} holds no file" for entry in listing.empty]
        if listing.files or (listing.empty and may_be_empty):
            return
        entry = (*listing.missing, *listing.empty)[0] if (listing.missing or listing.empty) else "[]"
        if listing.missing:
            raise IngestError(
                f"{self.source}.source: there is no {entry}{self._near(entry)}; paths are relative to the home folder"
            )
        raise IngestError(
            f"{self.source}.source: {entry} holds no file that can be read; deliver one, or correct the source"
        )

    def _near(self, entry: str) -> str:
        folder = (self.home.root / entry).parent
        if "://" in entry or not folder.is_dir():
            return ""
        return nearest(Path(entry).name, sorted(p.name for p in folder.iterdir()))

    def _once_each(self, listing: Listing) -> list[Delivered]:
        """Files with the same bytes are one delivery: the first by path stands for all."""
        sizes = Counter(f.size for f in listing.files if f.kind != "duckdb")
        seen: set[tuple[int, str]] = set()
        once = []
        for file in listing.files:
            if file.kind != "duckdb" and sizes[file.size] > 1:
                known = self._known(file) or Facts(file.fingerprint)
                try:
                    sha256 = known.sha256 or digest(self._local(file))
                except OSError:
                    sha256 = f"unreadable {file.path}"
                else:
                    self.remembered[self.key(file)] = replace(known, sha256=sha256)
                if (file.size, sha256) in seen:
                    self.copies[self.key(file)] = Facts(file.fingerprint, sha256=sha256)
                    continue
                seen.add((file.size, sha256))
            once.append(file)
        return once

    def key(self, file: Delivered) -> str:
        """Under which the file's facts are kept."""
        return cache.key(self.source, file)

    def fact(self, file: Delivered) -> Facts:
        """What is known of the file."""
        return self.facts[self.key(file)]

    def _known(self, file: Delivered) -> Facts | None:
        known = self.remembered.get(self.key(file))
        return known if known and known.fingerprint == file.fingerprint else None

    def _local(self, file: Delivered) -> Path:
        number = self._numbers.setdefault(self.key(file), len(self._numbers))
        return fetch(file, self._work.stage, f"{self.source}_{number}")

    def _look(self, file: Delivered, known: Facts | None) -> Facts:
        sha256 = known.sha256 if known else None
        try:
            opened = self.open(file)
            rows: Counter[str] = Counter()
            if opened.columns:
                for d, count in self._work.engine.rows(dates(self.spec, self.source, opened)):
                    rows[d.isoformat() if d else UNKNOWN] += count
            if opened.malformed:
                rows[UNKNOWN] += self._work.engine.rows(f"select count(*) from {opened.malformed}")[0][0]
        except UnreadableError as error:
            self._work.alive()
            return Facts(file.fingerprint, error=str(error))
        except Error as error:
            self._work.alive()
            return Facts(file.fingerprint, error=damaged(file.kind, error))
        held = {d: n for d, n in sorted(rows.items()) if n}
        return Facts(file.fingerprint, held, tuple(c.name for c in opened.columns), sha256)

    def open(self, file: Delivered) -> Opened:
        """Open a file: dropped columns gone, hashed ones hashed, needed ones there.

        Raises:
            UnreadableError: the file as a whole can't be used; says why.
        """
        engine = self._work.engine
        generation, opened = self._opened.get(self.key(file), (0, None))
        if opened is not None and generation == self._work.generation:
            return opened
        try:
            local = self._local(file)
        except OSError as error:
            raise UnreadableError(f"can't be read: {error.strerror or type(error).__name__}") from error
        opened = open_file(engine, file.kind, local, local.parent, file.table, self._part.format)
        if self.spec.predictions.hash:
            protect.define_keyed_hash(engine, protect.key(self.home))
        opened = protect.protected(opened, self.spec, id_column=self._part.id)
        if opened.columns:
            check_columns(opened, required_columns(self.spec, self.source))
        self._opened[self.key(file)] = (self._work.generation, opened)
        return opened

    def fail(self, file: Delivered, reason: str) -> None:
        """Note that a file turned out to be unusable as a whole."""
        self.facts[self.key(file)] = Facts(file.fingerprint, error=reason)

    @property
    def arrival_dates(self) -> set[date]:
        """All arrival dates that the files hold."""
        return {date.fromisoformat(d) for f in self.facts.values() for d in f.rows if d != UNKNOWN}


def sources_of(home: Home, spec: ModelSpec, work: Workspace) -> list[Deliveries]:
    """The sources of a model, predictions first, with what is remembered of their files."""
    protect.check(spec)
    facts = cache.load(home, spec)
    return [
        Deliveries(home, spec, name, work, facts)
        for name in ("predictions", "labels")
        if name == "predictions" or spec.labels
    ]


def remember(home: Home, spec: ModelSpec, sources: list[Deliveries]) -> None:
    """Keep the facts of the files that are there now."""
    cache.save(home, spec, {k: f for source in sources for k, f in (source.copies | source.facts).items()})


def arrival_dates(
    home: Home, spec: ModelSpec, *, engine_factory: EngineFactory = DuckDBEngine, progress: Progress | None = None
) -> list[date]:
    """All arrival dates (in the model's timezone) that the delivered predictions and labels hold, ascending.

    Raises:
        IngestError: a source matches nothing, or none of its files can be used.
    """
    with Workspace(home, spec.model, engine_factory) as work:
        sources = sources_of(home, spec, work)
        for source in sources:
            source.scan(may_be_empty=source.source == "labels", progress=progress)
        remember(home, spec, sources)
        return sorted(set().union(*(source.arrival_dates for source in sources)))
