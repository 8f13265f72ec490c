"""``mlobs serve``: the pages live."""

from __future__ import annotations

import click

from mlobs_pipelines.cli import Door, command, main
from mlobs_pipelines.errors import UserError

FRESH_SECONDS = 30.0
"""How often the pages look for what other machines published at the home's object store, where it has one."""


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address of this machine to serve on.")
@click.option("--port", default=8700, show_default=True, type=click.IntRange(0, 65535))
@click.option(
    "--behind-proxy",
    "proxies",
    multiple=True,
    metavar="ADDRESS",
    help="Address of a proxy that asks readers who they are; may be given again.",
)
@click.option(
    "--user-header", default="X-Forwarded-User", show_default=True, help="Header in which the proxy names them."
)
@command
def serve(door: Door, host: str, port: int, proxies: tuple[str, ...], user_header: str) -> None:
    """Serve the pages on this machine, where incidents are acknowledged and decisions made."""
    import socket

    import uvicorn

    from mlobs_pipelines.report.serve.app import Proxy, build_app, local_site
    from mlobs_pipelines.store import storage

    proxy = Proxy(frozenset(proxies), user_header.lower()) if proxies else None
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as place:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        local_site(door.home, port, host, proxy)  # before anything listens
        try:
            place.bind((host, port))
        except OSError as error:
            raise UserError(f"{host}:{port} can't be used: {error.strerror}; choose another with --port") from None
        place.listen(128)  # whoever reads the address below may come at once
        port = place.getsockname()[1]
        site = local_site(door.home, port, host, proxy)
        door.say(f"http://{host}:{port}{site.prefix}/  (Ctrl-C ends it)")
        storage.keep_fresh(door.home, FRESH_SECONDS, lambda line: click.echo(f"mlobs: {line}", err=True))
        config = uvicorn.Config(
            build_app(site),
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=10,
            limit_concurrency=100,
        )
        uvicorn.Server(config).run(sockets=[place])
