"""HTTP on loopback, for the screen beside the line and for Prometheus.

POST /flags     {"frame_id": "…", "kind": "false-positive" | "missed"}, with `Authorization: Bearer <token>`
GET  /metrics   Prometheus text
GET  /health    200 while frames come and nothing is wrong, else 503; the agent's status as JSON
"""

from __future__ import annotations

import hmac
import json
import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from edgeloop.edge.flags import Flag, flag_now
from edgeloop.edge.meter import AgentStatus, Histogram
from edgeloop.edge.metrics import CONTENT_TYPE, exposition
from edgeloop.errors import BadInput

LARGEST_BODY = 4096  # bytes; a flag has about 60
LINGER_SECONDS, LINGER_BYTES = 1.0, 2**18  # of a request that was refused
PATIENCE_SECONDS = 5.0  # for a client that says nothing
POLL_SECONDS = 0.1  # how soon `close` is noticed
JSON = "application/json"
LOOPBACK = re.compile(r"127(\.\d{1,3}){3}")
LAST_PORT = 65535

Address = tuple[str, int]
Answer = tuple[HTTPStatus, str, str]  # status, content type, body


class Endpoint:
    """The server, in threads of its own.

    Attributes:
        address: where it listens; the port is the real one when 0 was asked for.
    """

    def __init__(
        self,
        address: str,
        token: str,
        status: Callable[[], AgentStatus],
        loop: Histogram,
        flag: Callable[[Flag], tuple[str, bool]],
    ) -> None:
        """Listen.

        Args:
            address: `127.0.0.1:8765`; loopback only.
            token: what a client must know to flag.
            status: how the agent is.
            loop: times of the frames.
            flag: records a flag; returns its key and whether the image is kept.

        Raises:
            BadInput: the address is no loopback address, or taken.
        """
        host, port = loopback(address)
        handler = type("Handler", (_Handler,), {"token": token, "status": staticmethod(status), "loop": loop,
                                                "flag": staticmethod(flag)})  # fmt: skip
        try:
            self._server = ThreadingHTTPServer((host, port), handler)
        except OSError as problem:
            raise BadInput(f"cannot listen on {address} ({problem.strerror}); choose another port.") from problem
        self._server.daemon_threads = True
        self.address = f"{host}:{self._server.server_address[1]}"
        threading.Thread(
            target=self._server.serve_forever, args=(POLL_SECONDS,), name="edgeloop-endpoint", daemon=True
        ).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


def loopback(address: str) -> Address:
    """Host and port of an address on this machine alone.

    Raises:
        BadInput: anything else.
    """
    host, _, port = address.rpartition(":")
    host = "127.0.0.1" if host == "localhost" else host
    if not LOOPBACK.fullmatch(host) or not port.isdecimal() or int(port) > LAST_PORT:
        raise BadInput(
            f"expected a loopback address such as 127.0.0.1:8765, came {address!r}; for other machines put a proxy "
            f"with TLS in front."
        )
    return host, int(port)


class _Handler(BaseHTTPRequestHandler):
    """One request. The class that serves carries what it needs as attributes."""

    token: str
    status: Callable[[], AgentStatus]
    loop: Histogram
    flag: Callable[[Flag], tuple[str, bool]]

    server_version, sys_version = "edgeloop", ""
    timeout = PATIENCE_SECONDS

    def do_GET(self) -> None:  # the name that http.server calls
        """Metrics and health, for anybody on this machine."""
        if not self._is_local():
            return
        if self.path == "/metrics":
            self._answer((HTTPStatus.OK, CONTENT_TYPE, exposition(self.status(), self.loop)))
        elif self.path == "/health":
            status = self.status()
            well = status.connected and not status.problems
            self._answer((HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE, JSON, status.to_json()))
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "expected /metrics, /health or POST /flags")

    def do_POST(self) -> None:
        """A flag, from who knows the token."""
        if not self._is_local():
            return
        if self.path != "/flags":
            self._refuse(HTTPStatus.NOT_FOUND, "expected POST /flags")
        elif not self._is_known():
            self._refuse(HTTPStatus.UNAUTHORIZED, "expected `Authorization: Bearer <token>` with the device's token")
        elif (document := self._document()) is not None:
            self._take(document)

    def _take(self, document: dict[str, Any]) -> None:
        try:
            word = flag_now(str(document.get("frame_id", "")), str(document.get("kind", "")))
            key, kept = self.flag(word)
        except BadInput as problem:
            self._refuse(HTTPStatus.BAD_REQUEST, str(problem))
            return
        self._answer((HTTPStatus.CREATED, JSON, json.dumps({"flag": key, "image": "kept" if kept else "gone"})))

    def _is_local(self) -> bool:
        """Whether the client knows this machine by a local name; a web page whose own name points here does not."""
        host = self.headers.get("Host", "").rsplit(":", 1)[0]
        if host == "localhost" or LOOPBACK.fullmatch(host):
            return True
        self._refuse(HTTPStatus.MISDIRECTED_REQUEST, "expected this machine's loopback address as host")
        return False

    def _is_known(self) -> bool:
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self.token.encode())

    def _document(self) -> dict[str, Any] | None:
        """The body as a JSON object; None when it was refused."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "expected a Content-Length")
            return None
        if int(length) > LARGEST_BODY:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected at most {LARGEST_BODY} bytes")
            return None
        try:
            document = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            document = None
        if isinstance(document, dict):
            return document
        self._refuse(HTTPStatus.BAD_REQUEST, 'expected JSON: {"frame_id": "…", "kind": "false-positive" or "missed"}')
        return None

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        self.close_connection = True  # what is left of the body would be read as a request
        self._answer((status, JSON, json.dumps({"error": reason}, ensure_ascii=False)))
        self._linger()

    def _linger(self) -> None:
        """Take what still comes, for a moment: closing on unread bytes resets the connection, answer and all."""
        self.connection.settimeout(LINGER_SECONDS)
        left = LINGER_BYTES
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            while left > 0 and (chunk := self.connection.recv(min(left, 4096))):
                left -= len(chunk)

    def _answer(self, answer: Answer) -> None:
        status, kind, body = answer
        content = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        if status == HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", "Bearer")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base's name
        """Nothing: a scrape every few seconds is no news."""
