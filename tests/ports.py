"""Ports on loopback for the tests' own servers."""

from __future__ import annotations

import random
import socket

_OWN = range(20_000, 32_000)
"""Below those that the system gives to connections and to whoever asks for port 0: nobody takes one of these by chance,
neither before its server has started nor while it is dead."""


def free_port() -> int:
    """A port that nothing listens on."""
    tried = random.SystemRandom()  # two processes of a run, seeded alike, would choose alike
    while True:
        port = tried.choice(_OWN)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
