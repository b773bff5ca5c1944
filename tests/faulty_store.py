"""A proxy before the real store that fails as a test says: it refuses connections, answers 503, breaks answers off.

    with FaultyStore(store.endpoint) as faulty:
        through = open_store(replace(store.settings, endpoint=faulty.endpoint))
        faulty.answer_503(2)

Bytes pass unchanged but for ``Connection: close``, which the client's signature does not cover: one request a
connection, so that a fault is one request's and not its neighbour's.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import BinaryIO

_SLOW_DOWN = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>SlowDown</Code><Message>come again</Message></Error>'
)
_ANSWER_503 = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/xml\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_SLOW_DOWN), _SLOW_DOWN)
)


class FaultyStore:
    """A loopback proxy; every switch may be thrown from any thread while requests run.

    Args:
        upstream: ``host:port`` of the real server.

    Attributes:
        endpoint: ``host:port`` of the proxy; stays the same while it refuses.
        asked: Method and target of every request that arrived, in order.
    """

    def __init__(self, upstream: str) -> None:
        host, _, port = upstream.rpartition(":")
        self._upstream = (host, int(port))
        self._listener = _bound(0)
        self.endpoint = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.asked: list[tuple[str, str]] = []
        self._lock = threading.Lock()
        self._faults: list[tuple[str, int]] = []
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._refusing = True

    def __enter__(self) -> FaultyStore:
        self.heal()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.refuse()
        self._listener.close()
        for thread in self._threads:
            thread.join(timeout=20)
            assert not thread.is_alive(), "a thread of the proxy did not end"

    # ---- the switches

    def answer_503(self, count: int) -> None:
        """Answer the next `count` requests 503 without asking the real server."""
        self._plan("503", count)

    def break_off(self, count: int, *, after_bytes: int = 0) -> None:
        """Let the next `count` requests through and close the connection after `after_bytes` of their answers."""
        self._plan("break", count, after_bytes)

    def refuse(self) -> None:
        """Refuse connections and break the running ones off, as a server that was killed; the port stays ours."""
        with self._lock:
            if self._refusing:
                return
            self._refusing = True
            port = self._listener.getsockname()[1]
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes `_accept`, which closing does not
            self._listener.close()
            self._listener = _bound(port)
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def heal(self) -> None:
        """Listen again, and forget the faults that were planned."""
        with self._lock:
            self._faults.clear()
            if not self._refusing:
                return
            self._refusing = False
            self._listener.listen(128)
            self._start(self._accept, self._listener)

    # ---- inside

    def _plan(self, fault: str, count: int, after_bytes: int = 0) -> None:
        with self._lock:
            self._faults += [(fault, after_bytes)] * count

    def _start(self, target, *args) -> None:  # type: ignore[no-untyped-def]
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:  # refusing
                return
            with self._lock:
                self._threads = [thread for thread in self._threads if thread.is_alive()]
                self._start(self._serve, connection)

    def _serve(self, client: socket.socket) -> None:
        with client, client.makefile("rb") as reader, self._kept(client), suppress(OSError):
            head, body = _request(reader)
            if not head:
                return
            method, target, _ = head.split(b" ", 2)
            with self._lock:
                self.asked.append((method.decode(), target.decode()))
                fault, after_bytes = self._faults.pop(0) if self._faults else ("", 0)
            if fault == "503":
                client.sendall(_ANSWER_503)
                return
            with socket.create_connection(self._upstream) as server, self._kept(server):
                server.sendall(head[:-2] + b"Connection: close\r\n\r\n" + body)
                left = after_bytes if fault else None
                while left != 0 and (chunk := server.recv(1 << 16 if left is None else left)):
                    client.sendall(chunk)
                    left = None if left is None else left - len(chunk)
                if left == 0:  # the real server has done its work before the client hears nothing of it
                    while server.recv(1 << 16):
                        pass

    def _kept(self, connection: socket.socket) -> _Kept:
        return _Kept(self, connection)


class _Kept:
    """Names a connection to `refuse` for as long as it is used."""

    def __init__(self, proxy: FaultyStore, connection: socket.socket) -> None:
        self._proxy, self._connection = proxy, connection

    def __enter__(self) -> None:
        with self._proxy._lock:
            if self._proxy._refusing:
                with suppress(OSError):
                    self._connection.shutdown(socket.SHUT_RDWR)
            self._proxy._open.add(self._connection)

    def __exit__(self, *_: object) -> None:
        with self._proxy._lock:
            self._proxy._open.discard(self._connection)


def _bound(port: int) -> socket.socket:
    """Hold a port without listening: the kernel refuses who connects, and gives the port to nobody else."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    return listener


def _request(reader: BinaryIO) -> tuple[bytes, bytes]:
    """Return head, ending with its empty line, and body; both empty when nothing came."""
    lines = []
    while (line := reader.readline()) not in (b"\r\n", b""):
        lines.append(line)
    if not line:
        return b"", b""
    headers = dict(line.lower().split(b":", 1) for line in lines[1:])
    return b"".join([*lines, b"\r\n"]), reader.read(int(headers.get(b"content-length", b"0")))
