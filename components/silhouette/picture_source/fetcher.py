"""Fetch URLs that a possibly hostile service names, within limits: the only HTTP of the picture source.

Writes nothing. `Fetcher.get` is one GET request with all that it takes: every connection is made to an address that
addresses.py has just checked (also after a redirect, also when a name is looked up again), redirects are counted,
sizes are capped while the body arrives, silence and trickles end by the clock, and what may pass is tried again, as
late as `Retry-After` asks. `Fetcher.put` sends something to the token's own origin within the same limits, once:
whether it may be sent again is for the caller to know. The bearer token goes to one origin and nowhere else.

Proxies are not used, whatever the environment says: behind a proxy it is the proxy that looks the name up, and a
guard that cannot see the address cannot refuse it.
"""

from __future__ import annotations

import functools
import io
import logging
import math
import ssl
import threading
import time
from collections.abc import Iterable, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

import httpcore2
import stamina

from silhouette.errors import PictureError
from silhouette.picture_source import addresses
from silhouette.picture_source.addresses import Resolver, Target

logging.getLogger("httpcore2").setLevel(logging.INFO)  # it tells of every byte at DEBUG, headers included

ATTEMPTS, LONGEST_WAIT_S, MAX_REDIRECTS = 5, 60.0, 5
_CONNECT_S, _SILENCE_S, _ATTEMPT_S, _TOTAL_S, _KEEPALIVE_S = 10.0, 30.0, 60.0, 120.0, 30.0
_TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}
_REDIRECTS = {301, 302, 303, 307, 308}
_HEAD_BYTES = 4 << 10  # the first read after a request; what comes with the head is copied once more than the rest
_DRAINED_BYTES = 64 << 10  # an answer as small as this is read to its end, so that the connection can be used again
_HEADERS = [(b"Accept", b"*/*"), (b"Accept-Encoding", b"identity"), (b"User-Agent", b"silhouette")]
_BROKEN = (httpcore2.TimeoutException, httpcore2.NetworkError, httpcore2.ProtocolError)
_UNSENT = (httpcore2.ConnectError, httpcore2.ConnectTimeout, httpcore2.PoolTimeout, httpcore2.LocalProtocolError)


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """What a source brought of a picture.

    Attributes:
        data: The bytes; None: those that the caller's ETag names are current.
        etag: Of the bytes, to ask with next time; empty when the source gives none.
    """

    data: bytes | None
    etag: str = ""


@dataclass(frozen=True, kw_only=True)
class Response:
    """An answer: `headers` by lower-case name; `body` of a GET is empty unless `status` is 200."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


class Fetcher:
    """A pool of guarded connections; safe to share between threads.

    Args:
        token: The bearer token; empty: none.
        token_origin: The only origin that gets it.
        allowed: Hosts and ports that may be at any address.
        workers: Connections at most; more threads wait for one.
        resolve: The resolver; tests bring their own.
        network: What makes the connections; tests bring their own.
        silence_s: Seconds without a byte after which an attempt has failed.
        attempt_s: Seconds that one attempt may take, redirects included.
        total_s: Seconds that all attempts for one URL may take, waits between them excluded.
    """

    def __init__(
        self,
        *,
        token: str = "",
        token_origin: tuple[str, str, int] | None = None,
        allowed: Set[tuple[str, int]] = frozenset(),
        workers: int = 8,
        resolve: Resolver = addresses.resolve,
        network: httpcore2.NetworkBackend | None = None,
        silence_s: float = _SILENCE_S,
        attempt_s: float = _ATTEMPT_S,
        total_s: float = _TOTAL_S,
    ) -> None:
        self._token, self._token_origin = token, token_origin
        self._attempt_s, self._total_s = attempt_s, total_s
        self._deadline = _Deadline()
        self._timeouts = {"connect": _CONNECT_S, "read": silence_s, "write": silence_s, "pool": attempt_s}
        self._pool = httpcore2.ConnectionPool(
            ssl_context=_certificates(),
            max_connections=workers,
            max_keepalive_connections=workers,
            keepalive_expiry=_KEEPALIVE_S,
            network_backend=_Guard(network or httpcore2.SyncBackend(), resolve, allowed, self._deadline),
        )

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    def get(self, url: str, *, max_bytes: int, headers: Mapping[str, str] | None = None) -> Response:
        """Return the answer to a GET request, after as many attempts as it takes and is allowed.

        Raises:
            PictureError: ``bad_url``, ``forbidden_address``, ``redirect_loop``, ``too_many_bytes``, or
                ``unavailable``: no whole answer in all attempts.
        """
        target = addresses.parse(url)
        left_s, number = self._total_s, 0
        retries = stamina.retry_context(on=_again, attempts=ATTEMPTS, timeout=None, wait_initial=0.2, wait_max=10.0)
        try:
            for attempt in retries:
                with attempt:
                    number, started = attempt.num, time.monotonic()
                    self._deadline.at = started + min(self._attempt_s, left_s)
                    try:
                        return self._follow(target, max_bytes=max_bytes, headers=headers or {})
                    except (_BusyError, *_BROKEN) as error:
                        left_s -= time.monotonic() - started
                        if left_s <= 0:
                            raise _OutOfTimeError(_why(error)) from error
                        raise
        except (_BusyError, _OutOfTimeError, *_BROKEN) as error:
            detail = f"{self._shown(target)} did not answer in {number} attempts ({_why(error)})"
            raise PictureError("unavailable", detail) from error
        raise AssertionError("stamina neither returned nor raised")

    def put(self, url: str, body: bytes, *, max_bytes: int, headers: Mapping[str, str]) -> Response:
        """Send a body to the service once and return its answer, whatever the status; no redirect is followed.

        Raises:
            PictureError: ``bad_url``, ``forbidden_address``, ``too_many_bytes``; ``unsent``: the service cannot be
                reached, nothing was sent; ``unanswered``: it may have been sent, no whole answer came.
        """
        target = addresses.parse(url)
        if target.origin != self._token_origin:
            raise PictureError("forbidden_address", "a document goes to the service itself and nowhere else")
        self._deadline.at = time.monotonic() + self._attempt_s
        bearer = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        try:
            return self._ask(target, max_bytes=max_bytes, headers={**headers, **bearer}, body=body)
        except _BROKEN as error:
            reason = "unsent" if isinstance(error, _UNSENT) else "unanswered"
            raise PictureError(reason, f"{self._shown(target)} did not answer ({_why(error)})") from error

    # ---- inside

    def _follow(self, target: Target, *, max_bytes: int, headers: Mapping[str, str]) -> Response:
        first, own = target, True
        for _ in range(MAX_REDIRECTS + 1):
            own = own and target.origin == self._token_origin  # once elsewhere, nobody can send it back to us
            bearer = {"Authorization": f"Bearer {self._token}"} if own and self._token else {}
            answer = self._ask(target, max_bytes=max_bytes, headers={**headers, **bearer})
            if answer.status not in _REDIRECTS:
                return answer
            target = self._next(target, answer.headers.get("location", ""))
        raise PictureError("redirect_loop", f"{self._shown(first)} redirects more than {MAX_REDIRECTS} times")

    def _next(self, target: Target, location: str) -> Target:
        try:
            if location:
                return addresses.parse(location, base=target)
        except PictureError as error:
            if error.reason != "bad_url":
                raise
        raise PictureError("redirect_loop", f"{self._shown(target)} redirects to what is no http or https URL")

    def _ask(
        self, target: Target, *, max_bytes: int, headers: Mapping[str, str], body: bytes | None = None
    ) -> Response:
        """Send one request, GET or with a body PUT, and read its answer.

        Raises:
            _BusyError: The answer to a GET is to come again.
            PictureError: The body is larger than `max_bytes`, or compressed.
        """
        url = httpcore2.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path)
        told = [(name.encode("ascii"), value.encode("ascii")) for name, value in headers.items()]
        ours = [(b"Host", target.authority.encode("ascii")), *_HEADERS, *told]
        method = "GET" if body is None else "PUT"
        if body is not None:
            ours.append((b"Content-Length", str(len(body)).encode("ascii")))
        with self._pool.stream(
            method, url, headers=ours, content=body, extensions={"timeout": self._timeouts}
        ) as response:
            found: dict[str, str] = {}
            for raw_name, raw_value in response.headers:
                name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
                found[name] = f"{found[name]}, {value}" if name in found else value
            if response.status == 200 or (body is not None and response.status == 201):
                return Response(status=response.status, headers=found, body=_body(response, found, max_bytes))
            if body is not None:
                return Response(status=response.status, headers=found, body=_words(response, found, max_bytes))
            _drain(response, found)
            if response.status in _TRY_AGAIN:
                raise _BusyError(response.status, retry_after_s(found.get("retry-after", ""), found.get("date", "")))
            return Response(status=response.status, headers=found)

    def _shown(self, target: Target) -> str:
        return str(target)[:500] if target.origin == self._token_origin else target.shown()


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Return what tells a good certificate; all of the system's are read, which takes as long as many a picture."""
    return httpcore2.default_ssl_context()


def retry_after_s(value: str, date: str) -> float | None:
    """Return the seconds that a Retry-After header asks for, None for nonsense.

    Args:
        value: Seconds, or an HTTP date (RFC 9110, 10.2.3).
        date: The Date header beside it: whether our clocks agree does not matter then.
    """
    if value.isascii() and value.isdigit():
        return float(value[:9])
    until, now = _http_date(value), _http_date(date)
    return None if until is None else max(0.0, until - (time.time() if now is None else now))


def _http_date(value: str) -> float | None:
    try:
        found = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()  # one of its forms names no zone


def _again(error: Exception) -> bool | float:
    """Tell stamina whether to try again, and when."""
    if isinstance(error, _BusyError):
        return True if error.wait_s is None else min(error.wait_s, LONGEST_WAIT_S)
    return isinstance(error, _BROKEN)


def _why(error: Exception) -> str:
    """Say in a few words what broke; a server's own words may be long and have line breaks."""
    words = " ".join(str(error).split())[:120]
    if isinstance(error, httpcore2.LocalProtocolError):  # it quotes our headers, and one is the token
        return type(error).__name__
    return words if isinstance(error, _BusyError | _OutOfTimeError) else f"{type(error).__name__}: {words}"


def _body(response: httpcore2.Response, headers: Mapping[str, str], max_bytes: int) -> bytes:
    coding = headers.get("content-encoding", "").strip().lower()
    if coding not in ("", "identity"):
        detail = f"bytes must come as they are, the server sent Content-Encoding {coding[:40]!r}"
        raise PictureError("unavailable", detail)
    declared = headers.get("content-length", "")
    if declared.isdigit() and int(declared) > max_bytes:
        raise PictureError("too_many_bytes", f"at most {max_bytes} bytes are read, the server has {declared}")
    body, size = io.BytesIO(), 0
    for chunk in response.iter_stream():
        size += len(chunk)
        if size > max_bytes:
            raise PictureError("too_many_bytes", f"at most {max_bytes} bytes are read, the server sends more")
        body.write(chunk)
    return body.getvalue()


def _words(response: httpcore2.Response, headers: Mapping[str, str], max_bytes: int) -> bytes:
    """Return what an answer says beside its status, which is all that counts; nothing when it says too much."""
    with suppress(PictureError, *_BROKEN):
        return _body(response, headers, max_bytes)
    return b""


def _drain(response: httpcore2.Response, headers: Mapping[str, str]) -> None:
    """Read a small answer that nobody needs; of a large one the connection is closed."""
    declared, size = headers.get("content-length", ""), 0
    if declared.isdigit() and int(declared) > _DRAINED_BYTES:
        return
    with suppress(*_BROKEN):  # the status is all that counts
        for chunk in response.iter_stream():
            size += len(chunk)
            if size > _DRAINED_BYTES:
                return


class _BusyError(Exception):
    """The service asks to come again."""

    def __init__(self, status: int, wait_s: float | None) -> None:
        super().__init__(f"answered {status}")
        self.wait_s = wait_s


class _OutOfTimeError(Exception):
    """All attempts together took too long."""


class _Deadline(threading.local):
    """When this thread's attempt ends, by `time.monotonic`."""

    at = math.inf

    def within(self, timeout: float | None, error: type[Exception]) -> float:
        """Return the shorter of `timeout` and what is left."""
        left = self.at - time.monotonic()
        if left <= 0:
            raise error("the time for this attempt is over")
        return left if timeout is None else min(timeout, left)


class _Guard(httpcore2.NetworkBackend):
    """Connects to checked addresses only; the name stays what TLS asks the certificate for."""

    def __init__(
        self, network: httpcore2.NetworkBackend, resolve: Resolver, allowed: Set[tuple[str, int]], deadline: _Deadline
    ) -> None:
        self._network, self._resolve, self._allowed, self._deadline = network, resolve, allowed, deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        """Look the host up, check all its addresses, and connect to the first that answers."""
        try:
            found = addresses.check(host, port, allowed=self._allowed, resolve=self._resolve)
        except OSError as error:
            raise httpcore2.ConnectError(str(error)) from None
        failure: Exception = httpcore2.ConnectError(f"{host} has no address")
        for address in found:
            try:
                left = self._deadline.within(timeout, httpcore2.ConnectTimeout)
                stream = self._network.connect_tcp(address, port, left, local_address, socket_options)
                return _TimedStream(stream, self._deadline)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure


class _TimedStream(httpcore2.NetworkStream):
    """A stream on which nothing outlasts the deadline of the attempt: no trickle, no endless header."""

    def __init__(self, stream: httpcore2.NetworkStream, deadline: _Deadline) -> None:
        self._stream, self._deadline = stream, deadline
        self._head = True

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        wanted, self._head = min(max_bytes, _HEAD_BYTES) if self._head else max_bytes, False
        return self._stream.read(wanted, self._deadline.within(timeout, httpcore2.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._head = True
        self._stream.write(buffer, self._deadline.within(timeout, httpcore2.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        try:
            left = self._deadline.within(timeout, httpcore2.ConnectTimeout)
        except httpcore2.ConnectTimeout:
            self.close()
            raise
        return _TimedStream(self._stream.start_tls(ssl_context, server_hostname, left), self._deadline)

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)
