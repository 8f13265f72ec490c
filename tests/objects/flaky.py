"""A way to a server on which connections are lost."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlparse


@dataclass
class Flaky:
    """``refused``: connections still to be closed at once; ``answers_lost``: requests that are still to be passed on, and
    whose connection is then closed without the answer, where they begin with one of ``methods``."""

    target: tuple[str, int]
    refused: int = 0
    answers_lost: int = 0
    methods: tuple[bytes, ...] = (b"PUT",)
    address: str = ""
    lost: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def serve(self, listening: socket.socket) -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            with self._lock:
                if self.refused:
                    self.refused -= 1
                    self.lost += 1
                    return
            with socket.create_connection(self.target) as upstream:
                asked: list[bytes] = []
                threading.Thread(target=self._back, args=(upstream, client, asked), daemon=True).start()
                while data := client.recv(65536):
                    if data.split(b" ", 1)[0] in (b"GET", b"HEAD", b"PUT", b"POST", b"DELETE"):
                        asked.append(data)
                    upstream.sendall(data)

    def _back(self, upstream: socket.socket, client: socket.socket, asked: list[bytes]) -> None:
        with contextlib.suppress(OSError):
            while data := upstream.recv(65536):
                with self._lock:
                    lose = self.answers_lost and data.startswith(b"HTTP/1.1 200") and asked[-1].startswith(self.methods)
                    if lose:
                        self.answers_lost -= 1
                        self.lost += 1
                if lose:
                    client.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(data)


@contextlib.contextmanager
def flaky(address: str) -> Iterator[Flaky]:
    """A server at an address of its own that passes on to ``address``."""
    parsed = urlparse(address)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        way = Flaky((str(parsed.hostname), int(parsed.port or 80)))
        way.address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        threading.Thread(target=way.serve, args=(listening,), daemon=True).start()
        yield way
