"""A picture service on loopback that fails as a test says, and the download from it, here and in a process of its own.

    with FaultyService(some_pictures(20)) as service:
        service.fail("p003", status(500), times=2)
        report = download_here(service, store, connection, tmp_path / "out")

It takes documents back as well: `fail_document` answers the next of them with a fault, before or after it was taken.

A fault writes what it likes to the socket: a wrong length, half a body, no end. Every switch may be thrown from any
thread while requests run, and pictures may come, go and change. `asked` counts the requests for a picture's bytes,
`sent` those of them that were answered with the whole of them.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import psycopg

from silhouette.config import Config
from silhouette.download_pictures.download import DownloadReport, download_pictures
from silhouette.settings import PictureServiceSettings
from silhouette.store import Store
from tests.loopback import TOKEN, jpeg, small_config

_RUN = "from silhouette.cli import main; main()"


@dataclass(frozen=True, kw_only=True)
class Served:
    """A picture of the service; without `stamp` and `etag` both follow the bytes, as they should."""

    data: bytes
    label: str = "a"
    pixset_id: str = ""
    stamp: str = ""
    etag: str = ""
    promises_sha256: bool = False
    url: str = ""

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def sent_etag(self) -> str:
        return self.etag or f'"{self.sha256[:16]}"'


@dataclass(frozen=True, kw_only=True)
class Returned:
    """A document that the service took."""

    key: str
    receipt: str
    body: bytes

    def told(self, *, whole: bool) -> dict[str, Any]:
        found = {"receipt": self.receipt, "content_digest": self.key}
        return {**found, "document": json.loads(self.body)} if whole else found


Fault = Callable[["_Handler", bytes], None]
"""Answers one request for a picture's bytes."""


def some_pictures(number: int, **more: Any) -> dict[str, Served]:
    """Make pictures p000, p001, ... of two classes in turn."""
    return {f"p{each:03d}": Served(data=jpeg(each), label="ab"[each % 2], **more) for each in range(number)}


# ---- the faults


def status(code: int, **headers: str) -> Fault:
    """Answer with a status and nothing else; headers with ``_`` for ``-``."""

    def answer(handler: _Handler, _data: bytes) -> None:
        handler.answer(code, b"no", {name.replace("_", "-"): value for name, value in headers.items()})

    return answer


def refusal(code: int, error: str, message: str, **headers: str) -> Fault:
    """Answer with a status and the service's own words."""

    def answer(handler: _Handler, _data: bytes) -> None:
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        handler.answer(code, json.dumps({"error": error, "message": message}).encode(), told)

    return answer


def hang(seconds: float) -> Fault:
    """Say nothing for so long, then close."""

    def wait(handler: _Handler, _data: bytes) -> None:
        time.sleep(seconds)
        handler.close_connection = True

    return wait


def hang_up(handler: _Handler, _data: bytes) -> None:
    """Close the connection without an answer."""
    handler.close_connection = True


def reset(handler: _Handler, _data: bytes) -> None:
    """Reset the connection without an answer, as a process that is killed."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True


def cut_short(handler: _Handler, data: bytes) -> None:
    """Promise the whole body, send half of it and close."""
    handler.head(200, {"Content-Length": str(len(data))})
    handler.wfile.write(data[: len(data) // 2])
    handler.close_connection = True


def length_too_small(handler: _Handler, data: bytes) -> None:
    """Promise half of the body, send all of it and keep the connection."""
    handler.head(200, {"Content-Length": str(len(data) // 2)})
    handler.wfile.write(data)


def length_nonsense(handler: _Handler, data: bytes) -> None:
    """Promise a number of bytes that is none."""
    handler.head(200, {"Content-Length": "many"})
    handler.wfile.write(data)
    handler.close_connection = True


def endless(handler: _Handler, data: bytes) -> None:
    """Send without an end and without a length."""
    handler.head(200, {"Connection": "close"})
    while True:
        handler.wfile.write(data)


def trickle(pause_s: float) -> Fault:
    """Promise the whole body and send it byte by byte."""

    def answer(handler: _Handler, data: bytes) -> None:
        handler.head(200, {"Content-Length": str(len(data))})
        for at in range(len(data)):
            handler.wfile.write(data[at : at + 1])
            time.sleep(pause_s)

    return answer


# ---- the service


class FaultyService:
    """A loopback picture service with switchable faults.

    Args:
        pictures: What it has, by id; change it at any time.
        group: Its only group.
        classes: Of that group.
        page: Pictures a page; the cursor is a number of pictures, so pages shift when pictures come or go.

    Attributes:
        asked: Requests for a picture's bytes, by id.
        sent: Those that were answered with all of them.
        tokens: The Authorization headers that came.
        pause_s: Before every answer with bytes.
        before_page: Called with the number of every page, from 1, before it is made.
        cursor_of: Makes the cursor of the next page out of the number of pictures that were listed.
        listing_faults: Answer the next requests for a page, first in first out.
        returned: Every document that was ever taken, by picture, the latest last.
        puts: Documents that came, by picture, taken or not.
        questions: How often the document of a picture was asked for.
        on_their_way: The most documents that came at the same time.
    """

    def __init__(
        self,
        pictures: Mapping[str, Served],
        *,
        group: str = "g",
        classes: tuple[str, ...] = ("a", "b"),
        page: int = 1000,
    ) -> None:
        self.pictures = dict(pictures)
        self.group, self.classes, self.page = group, classes, page
        self.asked: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()
        self.not_modified: Counter[str] = Counter()
        self.tokens: set[str] = set()
        self.pause_s = 0.0
        self.before_page: Callable[[int], None] = lambda _number: None
        self.cursor_of: Callable[[int], str] = str
        self.listing_faults: list[Fault] = []
        self.returned: defaultdict[str, list[Returned]] = defaultdict(list)
        self.puts: Counter[str] = Counter()
        self.questions: Counter[str] = Counter()
        self.on_their_way = 0
        self._now = 0
        self._document_faults: defaultdict[str, list[tuple[Fault, bool]]] = defaultdict(list)
        self.lock = threading.Lock()
        self._faults: defaultdict[str, list[Fault]] = defaultdict(list)
        self._always: dict[str, Fault] = {}
        self._pages = 0

    def __enter__(self) -> FaultyService:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.service = self
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join(timeout=20)
        self._server.break_off()
        self._server.server_close()
        assert not self._server.errors, self._server.errors

    @property
    def settings(self) -> PictureServiceSettings:
        return PictureServiceSettings(url=self.url, token=TOKEN)

    @property
    def environment(self) -> dict[str, str]:
        return {"SILHOUETTE_PICTURE_SERVICE_URL": self.url, "SILHOUETTE_PICTURE_SERVICE_TOKEN": TOKEN}

    def fail(self, picture_id: str, fault: Fault, *, times: int | None = None) -> None:
        """Answer the next requests for a picture's bytes with a fault; None: all of them."""
        with self.lock:
            if times is None:
                self._always[picture_id] = fault
            else:
                self._faults[picture_id] += [fault] * times

    def fail_document(self, picture_id: str, fault: Fault, *, times: int = 1, taken: bool = False) -> None:
        """Answer the next documents of a picture with a fault; `taken`: after they were taken."""
        with self.lock:
            self._document_faults[picture_id] += [(fault, taken)] * times

    def heal(self) -> None:
        """Forget all faults."""
        with self.lock:
            self._document_faults.clear()
            self._faults.clear()
            self._always.clear()
            self.listing_faults.clear()

    def forget(self) -> None:
        """Begin to count again."""
        with self.lock:
            self.asked.clear()
            self.sent.clear()
            self.not_modified.clear()

    def contents_sent(self) -> int:
        with self.lock:
            return self.sent.total()

    # ---- what the handler asks for

    def fault_of(self, picture_id: str) -> Fault | None:
        with self.lock:
            self.asked[picture_id] += 1
            planned = self._faults[picture_id]
            return planned.pop(0) if planned else self._always.get(picture_id)

    def document_fault_of(self, picture_id: str) -> tuple[Fault | None, bool]:
        with self.lock:
            self.puts[picture_id] += 1
            planned = self._document_faults[picture_id]
            return planned.pop(0) if planned else (None, True)

    def take(self, picture_id: str, key: str, body: bytes) -> Returned:
        """Keep a document, unless the latest of the picture has this key."""
        with self.lock:
            there = self.returned[picture_id]
            if not there or there[-1].key != key:
                there.append(Returned(key=key, receipt=f"receipt {picture_id} {len(there) + 1}", body=body))
            return there[-1]

    @contextmanager
    def taking(self) -> Iterator[None]:
        with self.lock:
            self._now += 1
            self.on_their_way = max(self.on_their_way, self._now)
        try:
            yield
        finally:
            with self.lock:
                self._now -= 1

    def listing(self, cursor: str, *, pixset: str | None = None) -> dict[str, Any]:
        with self.lock:
            self._pages = self._pages + 1 if cursor else 1
        self.before_page(self._pages)
        start = int("".join(filter(str.isdigit, cursor)) or 0)
        items = [(name, item) for name, item in self.pictures.items() if pixset in (None, item.pixset_id)]
        end = start + self.page
        return {
            "pictures": [self._listed(*item) for item in items[start:end]],
            "next_cursor": self.cursor_of(end) if end < len(items) else None,
        }

    def _listed(self, picture_id: str, item: Served) -> dict[str, Any]:
        found: dict[str, Any] = {
            "picture_id": picture_id,
            "labels": {self.group: item.label} if item.label else {},
            "pixset_id": item.pixset_id,
            "etag": item.stamp or item.sent_etag,
        }
        if item.promises_sha256:
            found["sha256"] = item.sha256
        if item.url:
            found["url"] = item.url
        return found


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    service: FaultyService

    def __init__(self, *args: Any) -> None:
        self.errors: list[str] = []
        self._open: set[socket.socket] = set()
        super().__init__(*args)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def break_off(self) -> None:
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exception() if sys.version_info >= (3, 12) else sys.exc_info()[1]
        if not isinstance(error, OSError):  # that the other side went away is what some tests are about
            self.errors.append(repr(error))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, *_: Any) -> None:
        pass

    def head(self, code: int, headers: Mapping[str, str]) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def answer(self, code: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.head(code, {"Content-Length": str(len(body)), **(headers or {})})
        self.wfile.write(body)

    def do_GET(self) -> None:
        service, split = self.server.service, urlsplit(self.path)
        service.tokens.add(self.headers.get("Authorization", ""))
        parts = [unquote(part) for part in split.path.split("/")[1:]]
        if len(parts) == 3 and parts[0] == "pictures" and parts[2] == "content":
            self._content(service, parts[1])
        elif len(parts) == 3 and parts[0] == "pictures" and parts[2] == "ret_meta":
            with service.lock:
                service.questions[parts[1]] += 1
                latest = service.returned[parts[1]][-1:]
            self._json(latest[0].told(whole=True)) if latest else self.answer(404)
        elif parts == ["groups"]:
            self._json({"groups": [{"group": service.group, "classes": service.classes}]})
        elif parts == ["groups", service.group]:
            self._json({"group": service.group, "classes": service.classes})
        elif len(parts) == 3 and parts[2] == "pictures" and parts[:2] == ["groups", service.group]:
            self._page(service, split.query)
        elif len(parts) == 3 and parts[2] == "pictures" and parts[0] == "pixsets":
            self._page(service, split.query, pixset=parts[1])
        else:
            self.answer(404)

    def do_PUT(self) -> None:
        service = self.server.service
        service.tokens.add(self.headers.get("Authorization", ""))
        parts = [unquote(part) for part in urlsplit(self.path).path.split("/")[1:]]
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if parts[0] != "pictures" or parts[2:] != ["ret_meta"] or parts[1] not in service.pictures:
            self.answer(404)
            return
        if len(body) < int(self.headers["Content-Length"]):  # whoever sent it was killed
            return
        with service.taking():
            if service.pause_s:
                time.sleep(service.pause_s)
            fault, taken = service.document_fault_of(parts[1])
            if taken:
                received = service.take(parts[1], self.headers["Idempotency-Key"], body)
            if fault is not None:
                fault(self, body)
            else:
                self._json(received.told(whole=False))

    def _json(self, content: Any) -> None:
        self.answer(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _page(self, service: FaultyService, query: str, *, pixset: str | None = None) -> None:
        listing = service.listing(parse_qs(query).get("cursor", [""])[0], pixset=pixset)
        if pixset is not None and not listing["pictures"]:
            self.answer(404)
        elif service.listing_faults:
            service.listing_faults.pop(0)(self, json.dumps(listing).encode())
        else:
            self._json(listing)

    def _content(self, service: FaultyService, picture_id: str) -> None:
        fault, item = service.fault_of(picture_id), service.pictures.get(picture_id)
        if service.pause_s:
            time.sleep(service.pause_s)
        if item is None:
            self.answer(404)
        elif fault is not None:
            fault(self, item.data)
        elif self.headers.get("If-None-Match") == item.sent_etag:
            with service.lock:
                service.not_modified[picture_id] += 1
            self.head(304, {"ETag": item.sent_etag})
        else:
            self.answer(200, item.data, {"ETag": item.sent_etag})
            with service.lock:
                service.sent[picture_id] += 1


# ---- the download from it


def limited(**limits: float) -> Config:
    """Return a small configuration with other limits at the door."""
    config = small_config()
    return config.model_copy(update={"pictures": config.pictures.model_copy(update=limits)})


def download_here(
    service: FaultyService,
    store: Store,
    connection: psycopg.Connection,
    out: Path,
    *,
    config: Config | None = None,
) -> DownloadReport:
    """Download the service's group in this process."""
    return download_pictures(
        group=service.group,
        source=None,
        out=out,
        store=store,
        connection=connection,
        config=config or small_config(),
        picture_service=service.settings,
    )


def environment_of(
    services_env: Mapping[str, str], service: FaultyService, *, store: Store, dsn: str, scratch: Path
) -> dict[str, str]:
    """Return the environment of a process that downloads from the service into a bucket and a database of its own."""
    scratch.mkdir(parents=True, exist_ok=True)
    return {
        **os.environ,
        **services_env,
        **service.environment,
        "SILHOUETTE_S3_ENDPOINT": store.endpoint,
        "SILHOUETTE_S3_BUCKET": store.bucket,
        "SILHOUETTE_POSTGRES_DSN": dsn,
        "TMPDIR": str(scratch),  # what a killed run leaves behind goes with the test
    }


def download_command(service: FaultyService, work: Path) -> list[str]:
    """Return the command line of a download; it prints its report as JSON."""
    return [sys.executable, "-c", _RUN, "--json", "download", "--group", service.group, "--work", str(work)]


def download_by_command(
    service: FaultyService, environment: Mapping[str, str], work: Path, *, timeout_s: float = 300
) -> subprocess.CompletedProcess[str]:
    """Download the service's group as `silhouette download` does, and wait for its end."""
    return subprocess.run(
        download_command(service, work),
        env=environment,
        cwd=environment["TMPDIR"],  # no state folder of a checkout is found from there
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
