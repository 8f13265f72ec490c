"""What every request must pass and every answer carries, whatever page it is about.

- The ``Host`` must be one of ours: a name on the web that points to 127.0.0.1 reads nothing here (DNS rebinding).
- Only GET, HEAD and POST; a POST must come from a page of ours (``Sec-Fetch-Site``, ``Origin``) and be small.
- A strict Content-Security-Policy: no script, nothing fetched, forms to ourselves only, in nobody's frame.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse

from mlobs_pipelines.report.site import style_source

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LARGEST_BODY = 64 * 1024
"""Bytes of a form: a comment of some thousand characters, and its token."""


def policy() -> str:
    """The Content-Security-Policy of every answer."""
    return (
        f"default-src 'none'; style-src {style_source()}; img-src data:; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    )


class Guard:
    """ASGI middleware around the pages.

    Args:
        app: what is guarded.
        hosts: names, with a port where there is one, under which we may be called.
    """

    def __init__(self, app: App, hosts: Iterable[str]) -> None:
        self.app = app
        self.hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answer = self._sealed(send)
        refusal = self._refusal(scope["method"], Headers(scope=scope))
        if refusal is None:
            await self.app(scope, _bounded(receive), answer)
        else:
            await PlainTextResponse(f"{refusal[1]}\n", refusal[0])(scope, receive, answer)

    def _refusal(self, method: str, headers: Headers) -> tuple[int, str] | None:
        host = headers.get("host", "").lower()
        if host not in self.hosts:
            return 421, "This address is not one under which these pages are served"
        if method not in ("GET", "HEAD", "POST"):
            return 405, "Only GET, HEAD and POST are understood"
        return self._unasked(host, headers) if method == "POST" else None

    def _unasked(self, host: str, headers: Headers) -> tuple[int, str] | None:
        """Why a form is not taken: it comes from elsewhere, or is too large."""
        if headers.get("sec-fetch-site", "same-origin") != "same-origin":
            return 403, "A form must be sent from a page of this server"
        origin = headers.get("origin")
        if origin is not None and origin.lower().partition("://")[2] != host:
            return 403, "A form must be sent from a page of this server"
        size = headers.get("content-length", "")
        if not size.isdigit() or int(size) > LARGEST_BODY:
            return 413, f"A form has at most {LARGEST_BODY:,} bytes, and says how many"
        return None

    def _sealed(self, send: Send) -> Send:
        async def sealed(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                kept = [(k, v) for k, v in message["headers"] if k.lower() != b"server"]
                message["headers"] = [*kept, *((k.encode(), v.encode()) for k, v in _HEADERS.items())]
                message["headers"].append((b"content-security-policy", policy().encode()))
            await send(message)

        return sealed


_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


def _bounded(receive: Receive) -> Receive:
    """A body that ends where it may, whatever its length was said to be."""
    seen = 0

    async def bounded() -> MutableMapping[str, Any]:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        return message if seen <= LARGEST_BODY else {"type": "http.disconnect"}

    return bounded
