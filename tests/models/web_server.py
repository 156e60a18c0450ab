"""A local web server with given responses."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PUBLIC = "93.184.215.14"
"""A public address that the tests use for every host and never connect to."""


@dataclass
class Answer:
    """A response; `length` is the declared length if it differs from the real one."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None


@dataclass
class WebServer:
    """A server and the requests that it received."""

    port: int
    answers: dict[str, Answer]
    asked: list[str] = field(default_factory=list)
    connected: list[tuple[str, str]] = field(default_factory=list)

    def open(self, host: str, address: str) -> http.client.HTTPConnection:
        """Replace a TLS connection to a public address, and record the address."""
        self.connected.append((host, address))
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)


@contextmanager
def web_server(answers: dict[str, Answer]) -> Iterator[WebServer]:
    """Serve responses by path until the context ends."""
    listening = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server = WebServer(listening.server_address[1], answers)
    listening.RequestHandlerClass = _handler(server)
    threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield server
    finally:
        listening.shutdown()
        listening.server_close()


def _handler(server: WebServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            server.asked.append(f"{self.headers['Host']}{self.path}")
            answer = server.answers.get(self.path.partition("?")[0], Answer(status=404))
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body) if answer.length is None else answer.length))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(answer.body)

        do_GET: Callable[..., None] = answer  # noqa: N815 the base class's name
        do_HEAD: Callable[..., None] = answer  # noqa: N815

        def log_message(self, *arguments: object) -> None:
            pass

    return Handler
