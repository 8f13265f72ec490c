"""The pages over HTTP: GET shows, POST /actions/<what> says something into the log. No session, no account, no script."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import ipaddress
import logging
import os
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from mlobs_pipelines.act.people import whoami
from mlobs_pipelines.errors import UserError
from mlobs_pipelines.report.serve.forms import ACTIONS, carry_out
from mlobs_pipelines.report.serve.guard import App, Guard
from mlobs_pipelines.report.serve.metrics import exposition
from mlobs_pipelines.report.serve.tokens import COOKIE, Tokens
from mlobs_pipelines.report.site import Live, Page, render, trouble
from mlobs_pipelines.store.layout import Home
from mlobs_pipelines.store.results import PublishError, publish

PORT = 8700

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Proxy:
    """A server that stands before us and says who a reader is: addresses it may have, and the header with the name."""

    addresses: frozenset[str]
    header: str = "x-forwarded-user"


@dataclass(frozen=True)
class Site:
    """Where and for whom pages are served.

    ``hosts``: names, with their ports, under which readers may call; ``prefix``: the path below which the pages are.
    """

    home: Home
    hosts: frozenset[str]
    prefix: str = ""
    proxy: Proxy | None = None
    dagster_url: str = ""
    mlflow_url: str = ""
    tokens: Tokens = field(default_factory=Tokens)


def local_site(home: Home, port: int = PORT, host: str = "127.0.0.1", proxy: Proxy | None = None) -> Site:
    """The site on an address of this machine, with what the environment says: ``MLOBS_URL`` (the address readers use),
    ``DAGSTER_URL`` and ``MLFLOW_TRACKING_URI``.

    Raises:
        UserError: the address is not of this machine alone, and no proxy stands before it.
    """
    if proxy is None and not _loopback(host):
        raise UserError(
            f"{host} is reached from other machines, and these pages ask nobody who they are; serve on 127.0.0.1, or put "
            "a proxy that does before them and say --behind-proxy ADDRESS"
        )
    names = {f"{name}:{port}" for name in (host, "127.0.0.1", "localhost", "[::1]")}
    public = urlsplit(os.environ.get("MLOBS_URL", ""))
    if public.netloc:
        names.add(public.netloc)
    tracking = os.environ.get("MLFLOW_TRACKING_URI", "")
    return Site(
        home,
        frozenset(names),
        prefix=public.path.rstrip("/"),
        proxy=proxy,
        dagster_url=os.environ.get("DAGSTER_URL", ""),
        mlflow_url=tracking if tracking.startswith(("http://", "https://")) else "",
    )


def build_app(site: Site) -> App:
    """The ASGI application of a site."""
    pages = _Pages(site)
    routes = [
        Route("/healthz", pages.health, methods=["GET"]),
        Route("/metrics", pages.metrics, methods=["GET"]),
        Route("/actions/{action}", pages.act, methods=["POST"]),
        Route("/{path:path}", pages.show, methods=["GET"]),
    ]
    return Guard(Starlette(routes=routes), site.hosts)


class _Pages:
    def __init__(self, site: Site) -> None:
        self.site = site
        self.publishing: asyncio.Task[None] | None = None
        self.unpublished = False

    async def health(self, request: Request) -> Response:
        del request
        return PlainTextResponse("ok\n" if self.site.home.results.exists() else "no results yet\n")

    async def metrics(self, request: Request) -> Response:
        del request
        try:
            text = await run_in_threadpool(exposition, self.site.home, dt.datetime.now(dt.UTC))
        except UserError as error:
            return PlainTextResponse(f"# {error}\n", 503)
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    async def show(self, request: Request) -> Response:
        cookie = request.cookies.get(COOKIE)
        nonce = self.site.tokens.nonce(cookie)
        tag = self._tag(request.url.path, nonce, self._actor(request))
        if request.headers.get("if-none-match") == tag and cookie == nonce:
            return Response(status_code=304, headers={"etag": tag})
        page = await run_in_threadpool(self._rendered, request.url.path, self._live(request, nonce))
        response = HTMLResponse(page.html, page.status, {"cache-control": "private, no-cache"})
        if page.status == 200:
            response.headers["etag"] = tag
        if cookie != nonce:
            secure = self.site.proxy is not None and request.headers.get("x-forwarded-proto") == "https"
            response.set_cookie(COOKIE, nonce, httponly=True, samesite="strict", secure=secure, path="/")
        return response

    async def act(self, request: Request) -> Response:
        live = self._live(request, self.site.tokens.nonce(request.cookies.get(COOKIE)))
        try:
            fields = dict(parse_qsl((await request.body()).decode("utf-8", "replace"), keep_blank_values=True))
        except ValueError:
            return self._said(live, "That form is not understood", 400)
        action = request.path_params["action"]
        if action not in ACTIONS:
            return self._said(live, "There is no such action", 404)
        if not self.site.tokens.valid(request.cookies.get(COOKIE), fields.get("csrf", "")):
            return self._said(
                live, "This form is too old, or not from here: go back, load the page anew, send again", 403
            )
        actor = self._known(request) or fields.get("actor", "")
        try:
            path = await run_in_threadpool(carry_out, self.site.home, action, fields, actor)
        except UserError as error:
            return self._said(live, str(error), 409)
        self._publish_soon()
        return RedirectResponse(f"{self.site.prefix}{path}", 303)

    def _rendered(self, path: str, live: Live) -> Page:
        now = dt.datetime.now(dt.UTC)
        try:
            return render(self.site.home, path, now=now, live=live)
        except UserError as error:
            return trouble(str(error), now=now, live=live, status=503)
        except Exception:
            _LOG.exception("page %r", path[:200])
            return trouble("This page can't be made; the server's log says why", now=now, live=live, status=500)

    def _said(self, live: Live, text: str, status: int) -> Response:
        page = trouble(text, now=dt.datetime.now(dt.UTC), live=live, status=status)
        return HTMLResponse(page.html, page.status, {"cache-control": "no-store"})

    def _live(self, request: Request, nonce: str) -> Live:
        return Live(
            csrf_token=self.site.tokens.token(nonce),
            actor=self._actor(request),
            base_url=f"{self.site.prefix}/",
            dagster_url=self.site.dagster_url,
            mlflow_url=self.site.mlflow_url,
        )

    def _actor(self, request: Request) -> str:
        """The name that forms begin with: whom the proxy names, else whoever runs the server."""
        return self._known(request) or (whoami() if self.site.proxy is None else "")

    def _known(self, request: Request) -> str:
        """Whom a proxy that we trust names; nobody else's word is taken."""
        proxy, client = self.site.proxy, request.client
        if proxy is None or client is None or client.host not in proxy.addresses:
            return ""
        return request.headers.get(proxy.header, "")[:200]

    def _tag(self, path: str, nonce: str, actor: str) -> str:
        """What tells that a page is still the same: the snapshot, the log, the hour, and the reader's own form."""
        seen = [path, nonce, actor, dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H")]
        for file in (self.site.home.results, self.site.home.log / "decisions.jsonl"):
            stat = file.stat() if file.exists() else None
            seen.append(f"{stat.st_mtime_ns} {stat.st_size} {stat.st_ino}" if stat else "-")
        return f'"{hashlib.sha256(chr(10).join(seen).encode("utf-8", "replace")).hexdigest()[:32]}"'

    def _publish_soon(self) -> None:
        """Let queries see it, too; pages read the log themselves. What comes while one publishes is published after it."""
        self.unpublished = True
        if self.publishing is None or self.publishing.done():
            self.publishing = asyncio.create_task(self._publish())

    async def _publish(self) -> None:
        while self.unpublished:
            self.unpublished = False
            try:
                await run_in_threadpool(publish, self.site.home)
            except PublishError as error:
                _LOG.warning("%s", error)


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
