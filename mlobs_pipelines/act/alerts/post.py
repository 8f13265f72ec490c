"""One HTTP POST with a hard limit on its time, and what the answer means for a message.

Redirects are not followed: a message with a signature goes where its owner said, or nowhere. The environment's proxies are
used as elsewhere (``HTTPS_PROXY``, ``NO_PROXY``).
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from mlobs_pipelines import __version__
from mlobs_pipelines.act.alerts.channel import TIMEOUT, NotNowError, Receipt
from mlobs_pipelines.act.alerts.message import plain

AGENT = f"mlobs/{__version__}"

LONGEST_ANSWER = 4096

AGAIN = frozenset({408, 409, 425, 429})
"""Of the answers 400 to 499 those that may be another one later."""


def post_json(url: str, document: Any, headers: Mapping[str, str] | None = None, *, part: str = "message") -> Receipt:
    """POST a document as JSON; see :func:`post`."""
    body = json.dumps(document, ensure_ascii=False).encode()
    return post(url, body, {"Content-Type": "application/json; charset=utf-8", **(headers or {})}, part=part)


def post(
    url: str, body: bytes, headers: Mapping[str, str], *, part: str = "message", timeout: float = TIMEOUT
) -> Receipt:
    """POST ``body``; the receipt says whether it was taken in or refused for good.

    Raises:
        NotNowError: no answer within ``timeout`` seconds, or one that may be another one later: 408, 425, 429, 5xx.
    """
    try:
        status, after, said = _answer(url, body, {"User-Agent": AGENT, **headers}, timeout)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NotNowError(f"no answer ({_why(error)})", whole_channel=True) from None
    detail = f"HTTP {status}" + (f": {said}" if said else "")
    if 200 <= status < 300:
        return Receipt(part, detail)
    if status in AGAIN or status >= 500:
        raise NotNowError(detail, after=after, whole_channel=status == 429)
    if 300 <= status < 400:
        return Receipt(part, f"{detail} (a redirect, which is not followed: write the final address)", refused=True)
    return Receipt(part, detail, refused=True)


def _answer(url: str, body: bytes, headers: dict[str, str], timeout: float) -> tuple[int, str | None, str]:
    connection, target, more = _connection(url, timeout)
    with contextlib.closing(connection), limited(timeout, lambda: connection.sock):
        connection.request("POST", target, body=body, headers={**headers, **more})
        answer = connection.getresponse()
        said = answer.read(LONGEST_ANSWER)
        return answer.status, answer.getheader("Retry-After"), plain(said.decode("utf-8", "replace"), 100)


def _connection(url: str, timeout: float) -> tuple[http.client.HTTPConnection, str, dict[str, str]]:
    """A connection to a URL's host or to the proxy before it, what to ask it for, and headers for the proxy."""
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    secure = parts.scheme == "https"
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    host = parts.hostname or ""
    proxy = urllib.request.getproxies().get(parts.scheme)
    if not proxy or urllib.request.proxy_bypass(host):
        return kind(host, parts.port, timeout=timeout), target, {}
    through = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    permit = _proxy_permit(through.username, through.password)
    connection = kind(through.hostname or "", through.port or 8080, timeout=timeout)
    if secure:
        connection.set_tunnel(host, parts.port or 443, headers=permit)
        return connection, target, {}
    return connection, url, permit


def _proxy_permit(user: str | None, password: str | None) -> dict[str, str]:
    if not user:
        return {}
    pair = f"{unquote(user)}:{unquote(password or '')}".encode()
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair).decode()}"}


@contextlib.contextmanager
def limited(seconds: float, current: Callable[[], socket.socket | None]) -> Iterator[None]:
    """Cut the connection when the block takes longer: a socket's own timeout starts anew with every byte.

    Raises:
        TimeoutError: it was cut; what the block read until then is no answer.
    """
    late = threading.Event()

    def cut() -> None:
        late.set()
        sock = current()
        if sock is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)  # not TLS's own, which would wait for the other side

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
    if late.is_set():
        raise TimeoutError


def _why(error: Exception) -> str:
    """An error's kind and the system's word for it; never its arguments, which may hold the address."""
    number = error.strerror if isinstance(error, OSError) else None
    return plain(f"{type(error).__name__}: {number}" if number else type(error).__name__, 100)
