"""A small HTTP server on loopback whose faults can be switched on: what the stand-ins below are made of."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass
class Fault:
    """What goes wrong with the next requests of a kind.

    Attributes:
        method: HTTP's.
        part: Of the path.
        kind: ``drop`` (closed before it is done), ``drop_after`` (done, and the answer lost), or a status.
        times: How often.
    """

    method: str
    part: str
    kind: str | int
    times: int = 1


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Refuse(Exception):
    """Answer with a status and a body."""

    def __init__(self, status: int, content: Any, **headers: str) -> None:
        super().__init__(status)
        self.status, self.content, self.headers = status, content, headers


@dataclass
class StandIn:
    """A server; `answer` returns a JSON-able value, bytes, or raises `Refuse`."""

    faults: list[Fault] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    token: str = ""

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 1 << 16  # an answer is one packet: no waiting for a delayed acknowledgement

            def _handle(self) -> None:
                outer._handle(self)

            do_GET = do_POST = do_DELETE = do_HEAD = do_PATCH = _handle

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Any:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, asked: Asked) -> Any:
        raise NotImplementedError

    def made(self, method: str, part: str) -> list[Asked]:
        """Return the requests of a kind so far."""
        return [asked for asked in self.asked if asked.method == method and part in asked.path]

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        url = urlsplit(handler.path)
        length = int(handler.headers.get("Content-Length") or 0)
        asked = Asked(
            method=handler.command,
            path=unquote(url.path),
            query={name: values[0] for name, values in parse_qs(url.query).items()},
            headers={name.lower(): value for name, value in handler.headers.items()},
            body=handler.rfile.read(length) if length else b"",
        )
        with self.lock:
            self.asked.append(asked)
            fault = self._fault(asked)
            if fault == "drop":
                handler.close_connection = True
                return
            try:
                if isinstance(fault, int):
                    raise Refuse(fault, {"error": "a fault of the test", "code": 14, "message": "a fault of the test"})
                if self.token and asked.headers.get("authorization") != f"Bearer {self.token}":
                    raise Refuse(401, {"error": "Unauthorized", "message": "Request header error: no user identity"})
                status, content, headers = 200, self.answer(asked), {}
            except Refuse as refused:
                status, content, headers = refused.status, refused.content, refused.headers
        if fault == "drop_after":
            handler.close_connection = True
            return
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        handler.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if asked.method != "HEAD":
            handler.wfile.write(body)

    def _fault(self, asked: Asked) -> str | int:
        for fault in self.faults:
            if fault.times > 0 and fault.method == asked.method and fault.part in asked.path:
                fault.times -= 1
                return fault.kind
        return ""


Answer = Callable[[Asked], Any]
