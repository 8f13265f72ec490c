"""A receiver of webhooks in a process of its own: `python receiver.py LOG PORT ANSWER…`.

Every POST is a line of LOG: path, headers, body. The n-th is answered by the n-th ANSWER, and the last one by all after it:
a status (`200`, `429:7` with Retry-After: 7, `302`), `reset` (the connection is torn after the message was taken in), `hang`
(no answer), `drip` (an answer that never ends), `kill:PIDFILE` (the sender dies before it hears an answer), `echo:STATUS`
(the path and headers of the request in the answer). Prints the port when it listens.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Receiver(BaseHTTPRequestHandler):
    count = 0
    log: Path
    answers: list[str]

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        answer = self.answers[min(Receiver.count, len(self.answers) - 1)]
        Receiver.count += 1
        with self.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"path": self.path, "headers": dict(self.headers), "body": body}) + "\n")
        word, _, detail = answer.partition(":")
        if word == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
        elif word == "hang":
            time.sleep(60)
        elif word == "drip":
            self.connection.sendall(b"HTTP/1.1 200 OK\r\n")
            for i in range(600):
                self.connection.sendall(b"X-%d: a\r\n" % i)
                time.sleep(0.1)
        elif word == "kill":
            os.kill(int(Path(detail).read_text()), signal.SIGKILL)
        elif word == "echo":
            self.answer(int(detail or 400), f"{self.path} {self.headers}".encode())
        else:
            self.answer(int(word), b"ok" if word == "200" else b"no", detail)

    def answer(self, status, body, after=""):
        self.send_response(status)
        if after:
            self.send_header("Retry-After", after)
        if status == 302:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass

    def finish(self):
        with contextlib.suppress(OSError, ValueError):
            super().finish()


if __name__ == "__main__":
    Receiver.log, Receiver.answers = Path(sys.argv[1]), sys.argv[3:]
    ThreadingHTTPServer.handle_error = lambda *_: None
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Receiver)
    print(server.server_address[1], flush=True)
    server.serve_forever()
