"""Addresses of pages: the same path for the live page and for the file, whatever a model or segment is called."""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

LIVE = "http://127.0.0.1:8700"
"""Where `mlobs serve` is, unless ``MLOBS_URL`` says otherwise."""

PLAIN = re.compile(r"[A-Za-z0-9_-]")
LONGEST = 120
"""Characters of a name in an address; of a longer one the digest tells it apart."""

SECTIONS = ("incidents", "segments", "versions", "fairness", "explanation", "decisions", "data")


def base_url() -> str:
    """Where the live pages are reached, without a slash at the end: ``MLOBS_URL``, else this machine's own."""
    given = os.environ.get("MLOBS_URL", "").strip().rstrip("/")
    parts = urlsplit(given)
    return given if parts.scheme in ("http", "https") and parts.netloc and not parts.query else LIVE


def coded(name: str) -> str:
    """A name as one part of a path: what is no letter, digit, _ or - becomes ``~`` and its bytes in hexadecimal.

    Unlike with ``%``, no browser, server or file system reads such a part as another one: not ``..``, not ``a/b``.

    >>> coded("country=DE & device=../ios")
    'country~3DDE~20~26~20device~3D~2E~2E~2Fios'
    """
    whole = name.encode("utf-8", "surrogatepass")
    parts = (chr(b) if b < 128 and PLAIN.match(chr(b)) else f"~{b:02X}" for b in whole)
    text = "".join(parts) or "~"
    if len(text) <= LONGEST:
        return text
    return f"{text[: LONGEST - 18].rstrip('~0123456789ABCDEF')}~~{hashlib.sha256(whole).hexdigest()[:16]}"


def path_of(model: str = "", section: str = "", item: str = "") -> str:
    """The path of a page: ``/``, ``/models/<model>/``, ``/models/<model>/<section>/`` or one item of a section."""
    if not model:
        return "/"
    parts = ["models", coded(model), section, coded(item) if item else ""]
    return "/" + "".join(f"{part}/" for part in parts if part)


def parts_of(path: str) -> list[str]:
    """The parts of a path as it was asked for, with or without the last slash or ``index.html``."""
    return [part for part in path.removesuffix("index.html").split("/") if part]


def names(part: str, name: str) -> bool:
    """Whether a part of a path is a name, as written by :func:`coded` or as the name itself."""
    return part in (name, coded(name))


def file_of(path: str) -> str:
    """The file of a page, relative to the folder of reports."""
    return f"{path.strip('/')}/index.html".lstrip("/")


@dataclass(frozen=True)
class Links:
    """Addresses as one page writes them: relative ones to files, or absolute ones below ``prefix`` on a live page."""

    here: str
    prefix: str | None = None

    def to(self, model: str = "", section: str = "", item: str = "") -> str:
        path = path_of(model, section, item)
        if self.prefix is not None:
            return self.prefix + path
        return quote(posixpath.relpath(f"/{file_of(path)}", self.here), safe="/~_-.")

    def action(self, name: str) -> str:
        """Where a form of the live page posts to."""
        return f"{self.prefix or ''}/actions/{name}"
