"""What must never be stored is taken out before anything else happens: dropped columns, and hashed ones."""

from __future__ import annotations

import os
import secrets
from dataclasses import replace
from pathlib import Path

from mlobs_pipelines.engine.duckdb import DuckDBEngine
from mlobs_pipelines.ingest.readers import Opened, without_lines
from mlobs_pipelines.ingest.sources import IngestError
from mlobs_pipelines.ingest.values import as_text
from mlobs_pipelines.spec.model import ModelSpec
from mlobs_pipelines.store import storage
from mlobs_pipelines.store.layout import Home

_BLOCK = 64


def key(home: Home) -> bytes:
    """The key of the hash: the text of ``MLOBS_HASH_KEY``, else of the home's own key file, made once.

    Raises:
        IngestError: the home's object store knows of another key.
    """
    found = _key(home)
    if not storage.same_key(home, found):
        raise IngestError(
            "values were hashed with another key on another machine; set MLOBS_HASH_KEY to the key of that one (its "
            f"{home.hash_key.name}), or what was hashed before can't be matched"
        )
    return found


def _key(home: Home) -> bytes:
    given = os.environ.get("MLOBS_HASH_KEY", "").strip()
    if given:
        return given.encode()
    path = home.hash_key
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with os.fdopen(handle, "w") as file:
                file.write(secrets.token_hex(32))
                file.flush()
                os.fsync(file.fileno())
            _link_once(draft, path)
        finally:
            draft.unlink(missing_ok=True)
    text = path.read_text().strip()
    if not text:
        raise IngestError(
            f"the hash key file {path.name} is empty; restore it, or values hashed before can't be matched"
        )
    return text.encode()


def _link_once(draft: Path, path: Path) -> None:
    """Publish the key unless another process was first: two keys would be two identities."""
    try:
        os.link(draft, path)
    except FileExistsError:
        return


def define_keyed_hash(engine: DuckDBEngine, secret: bytes) -> None:
    """Give the engine ``keyed_hash(text)``: HMAC-SHA256 (RFC 2104) in hex, the same as Python's ``hmac``."""
    import hashlib

    block = (hashlib.sha256(secret).digest() if len(secret) > _BLOCK else secret).ljust(_BLOCK, b"\0")
    inner, outer = (_blob(bytes(b ^ pad for b in block)) for pad in (0x36, 0x5C))
    engine.run(f"create or replace temp macro keyed_hash(x) as sha256({outer} || unhex(sha256({inner} || encode(x))))")


def _blob(data: bytes) -> str:
    return "'" + "".join(f"\\x{b:02X}" for b in data) + "'::blob"


def protected(opened: Opened, spec: ModelSpec, *, id_column: str) -> Opened:
    """The same file without dropped columns, hashed ones as keyed hashes, the text of malformed lines withheld.

    ``id_column`` is the source's own name for the id: hashing the id of predictions hashes that of labels too.
    """
    p = spec.predictions
    if not p.drop and not p.hash:
        return opened
    hashed = set(p.hash) | ({id_column} if p.id in p.hash else set())
    dropped = {name.lower() for name in p.drop}
    folded = {name.lower() for name in hashed}
    columns, selected = [], []
    for column in opened.columns:
        if column.name.lower() in dropped:
            continue
        if column.name.lower() in folded:
            columns.append(replace(column, type="VARCHAR", hidden=True))
            selected.append(f"keyed_hash({as_text(column)}) as {column.at}, ")
        else:
            columns.append(column)
            selected.append(f"{column.at}, ")
    relation = f"(select {''.join(selected)}line, ordinal from {opened.relation})"
    return without_lines(replace(opened, columns=tuple(columns), relation=relation))


def check(spec: ModelSpec) -> None:
    """Refuse a spec that drops or hashes what the pipeline can't do without.

    Raises:
        IngestError: names the column.
    """
    p = spec.predictions
    scores = [p.score, *(p.scores or {}).values()]
    outputs = scores if spec.task != "regression" else [p.prediction]
    needed = {p.id, p.time, p.arrived_at, p.version, p.role, *outputs} - {None}
    fields = {f for cut in spec.segment_fields for f in cut}
    features = {*(spec.features.numeric or []), *(spec.features.categorical or []), *spec.features.embedding}
    for name in p.drop:
        if name in needed | fields | features | {p.subject, p.prediction, p.latency_ms, p.status}:
            raise IngestError(
                f"predictions.drop: column {name!r} is used elsewhere in the spec; take it out of one of them"
            )
    for name in p.hash:
        if name in (needed - {p.id}) | {
            *(spec.features.numeric or []),
            *spec.features.embedding,
            p.latency_ms,
            p.status,
        }:
            raise IngestError(
                f"predictions.hash: column {name!r} is used as a number, time or version and can't be hashed"
            )
