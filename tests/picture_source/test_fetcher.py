"""The fetcher: where it connects, what it waits for, what it reads, and when it gives up."""

from __future__ import annotations

import itertools
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpcore2
import pytest
import stamina
from starlette.responses import RedirectResponse, Response

from silhouette.errors import PictureError
from silhouette.picture_source.fetcher import Fetcher, _again, _BusyError, retry_after_s
from tests.loopback import Scripted, serving

PUBLIC = "93.184.215.14"  # nobody contacts it: the network of these tests has no wires
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole"


class Names:
    """A resolver that gives one answer after the other, the last one for ever, and remembers what it was asked."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self.asked: list[tuple[str, int]] = []
        self._answers = {
            name.replace("_", "."): itertools.chain(some, itertools.repeat(some[-1])) for name, some in answers.items()
        }

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append((host, port))
        if host not in self._answers:
            raise OSError(f"{host} cannot be resolved (no such name)")
        return next(self._answers[host])


class Stream(httpcore2.NetworkStream):
    """A connection that answers each request with what the test says, then ends."""

    def __init__(self, network: Network) -> None:
        self._network, self._left = network, b""
        self.closed = False

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        some, self._left = self._left[:max_bytes], self._left[max_bytes:]
        return some

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if buffer:
            self._network.sent.append(buffer)
            self._left += self._network.answer(buffer)

    def close(self) -> None:
        self.closed = True

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        assert ssl_context.check_hostname
        assert ssl_context.verify_mode == ssl.CERT_REQUIRED
        self._network.tls.append(server_hostname)
        return self

    def get_extra_info(self, info: str) -> Any:
        return None


class Network(httpcore2.NetworkBackend):
    """Records what would have been contacted; sends nothing anywhere."""

    def __init__(self, answer: Callable[[bytes], bytes] = lambda request: WHOLE, dead: Iterable[str] = ()) -> None:
        self.contacted: list[tuple[str, int]] = []
        self.tls: list[str | None] = []
        self.sent: list[bytes] = []
        self.answer, self._dead = answer, set(dead)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore2.NetworkStream:
        self.contacted.append((host, port))
        if host in self._dead:
            raise httpcore2.ConnectError("refused")
        return Stream(self)


@contextmanager
def opened(**options: Any) -> Iterator[Fetcher]:
    fetcher = Fetcher(**options)
    try:
        yield fetcher
    finally:
        fetcher.close()


def reason(fetcher: Fetcher, url: str, *, max_bytes: int = 1000) -> str:
    with pytest.raises(PictureError) as caught:
        fetcher.get(url, max_bytes=max_bytes)
    assert "\n" not in str(caught.value)
    return caught.value.reason


def redirect(location: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} Elsewhere\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode("latin-1")


# ---- where it connects

FORBIDDEN = [
    "http://127.0.0.1/", "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://169.254.169.254/latest/meta-data/",
    "http://10.1.2.3/", "http://100.64.0.1/", "http://[fc00::1]/", "http://0.0.0.0/", "http://2130706433/",
    "http://0177.0.0.1/", "http://0x7f.1/", "http://127.1/", "http://mixed.example/", "http://inside.example/",
    "https://127.0.0.1:8443/", "http://[64:ff9b::7f00:1]/", "http://168.63.129.16/", "http://[fe80::1%25eth0]/",
    "http://127.0.0.1./", "http://INSIDE.example./",
]  # fmt: skip
NOT_HTTP = ["file:///etc/passwd", "http://user:password@pictures.example/", "ftp://pictures.example/", "gopher://a/"]


def names() -> Names:
    return Names(pictures_example=[[PUBLIC]], mixed_example=[[PUBLIC, "10.0.0.1"]], inside_example=[["192.168.0.1"]])


@pytest.mark.parametrize("url", FORBIDDEN)
def test_a_forbidden_address_is_never_contacted(url: str) -> None:
    network = Network()
    with opened(resolve=names(), network=network) as fetcher:
        assert reason(fetcher, url) == "forbidden_address"
    assert network.contacted == []


@pytest.mark.parametrize("url", FORBIDDEN)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_forbidden_address_is_never_contacted_after_a_redirect(url: str, status: int) -> None:
    network = Network(lambda request: redirect(url, status))
    with opened(resolve=names(), network=network) as fetcher:
        assert reason(fetcher, "http://pictures.example/p") == "forbidden_address"
    assert network.contacted == [(PUBLIC, 80)]


@pytest.mark.parametrize("url", NOT_HTTP)
def test_what_is_no_plain_http_url_is_never_asked_for(url: str) -> None:
    network, resolver = Network(), names()
    with opened(resolve=resolver, network=network) as fetcher:
        assert reason(fetcher, url) == "bad_url"
    assert network.contacted == resolver.asked == []


@pytest.mark.parametrize("url", [*NOT_HTTP, "", "http://[x]/", "http://pictures.example:0/", "/a\\b"])
def test_a_redirect_to_what_is_no_plain_http_url_is_not_followed(url: str) -> None:
    network = Network(lambda request: redirect(url))
    with opened(resolve=names(), network=network) as fetcher:
        assert reason(fetcher, "http://pictures.example/p") == "redirect_loop"
    assert network.contacted == [(PUBLIC, 80)]


def test_a_redirect_to_a_private_address_sends_no_packet_there() -> None:
    inside = Scripted(lambda path, _: Response(b"secret"))
    outside = Scripted(lambda path, _: RedirectResponse(f"{places['inside']}/admin"))
    places: dict[str, str] = {}
    with serving(inside.app) as places["inside"], serving(outside.app) as url:
        allowed = {("127.0.0.1", int(url.rpartition(":")[2]))}
        with opened(allowed=allowed) as fetcher:
            assert reason(fetcher, f"{url}/p") == "forbidden_address"
    assert [path for path, _ in outside.asked] == ["/p"]
    assert inside.asked == []


def test_a_name_that_changes_its_answer_is_contacted_where_it_was_checked() -> None:
    network, resolver = Network(), Names(rebound_example=[[PUBLIC], ["127.0.0.1"]])
    with opened(resolve=resolver, network=network) as fetcher:
        assert fetcher.get("http://rebound.example/p", max_bytes=10).body == b"whole"
    assert resolver.asked == [("rebound.example", 80)]  # once: what was checked is what is connected to
    assert network.contacted == [(PUBLIC, 80)]


def test_every_new_connection_is_checked_again() -> None:
    closing = WHOLE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    network, resolver = Network(lambda request: closing), Names(rebound_example=[[PUBLIC], ["127.0.0.1"]])
    with opened(resolve=resolver, network=network) as fetcher:
        assert fetcher.get("http://rebound.example/p", max_bytes=10).body == b"whole"
        assert reason(fetcher, "http://rebound.example/p") == "forbidden_address"
    assert network.contacted == [(PUBLIC, 80)]


def test_a_retry_is_checked_again() -> None:
    stamina.set_testing(True, attempts=5)
    network, resolver = Network(lambda request: b""), Names(rebound_example=[[PUBLIC], ["169.254.169.254"]])
    with opened(resolve=resolver, network=network) as fetcher:
        assert reason(fetcher, "http://rebound.example/p") == "forbidden_address"
    assert network.contacted == [(PUBLIC, 80)]


def test_a_connection_is_used_again_without_another_lookup() -> None:
    network, resolver = Network(), names()
    with opened(resolve=resolver, network=network) as fetcher:
        for _ in range(3):
            fetcher.get("http://pictures.example/p", max_bytes=10)
    assert len(network.contacted) == len(resolver.asked) == 1
    assert len(network.sent) == 3


@pytest.mark.parametrize("host", ["inside.example", "10.1.2.3", "[::1]"])
def test_an_allowed_host_and_port_passes_and_no_other_port_of_it(host: str) -> None:
    network = Network()
    with opened(resolve=names(), network=network, allowed={(host.strip("[]"), 9000)}) as fetcher:
        assert fetcher.get(f"http://{host}:9000/p", max_bytes=10).body == b"whole"
        assert reason(fetcher, f"http://{host}:9001/p") == "forbidden_address"
        assert reason(fetcher, f"http://{host}/p") == "forbidden_address"
    assert [port for _, port in network.contacted] == [9000]


def test_tls_asks_for_the_name_and_not_for_the_address() -> None:
    network = Network()
    with opened(resolve=names(), network=network) as fetcher:
        fetcher.get("https://Pictures.example./p", max_bytes=10)
    assert network.contacted == [(PUBLIC, 443)]
    assert network.tls == ["pictures.example"]
    assert b"\r\nHost: pictures.example\r\n" in network.sent[0]


def test_the_next_checked_address_is_tried_when_one_does_not_answer() -> None:
    network, resolver = Network(dead=["2606:4700::1"]), Names(two_example=[["2606:4700::1", PUBLIC]])
    with opened(resolve=resolver, network=network) as fetcher:
        assert fetcher.get("http://two.example:8080/p", max_bytes=10).body == b"whole"
    assert network.contacted == [("2606:4700::1", 8080), (PUBLIC, 8080)]


def test_a_name_that_nobody_knows_is_a_fault_of_the_picture() -> None:
    stamina.set_testing(True, attempts=3)
    resolver = names()
    with opened(resolve=resolver, network=Network()) as fetcher, pytest.raises(PictureError) as caught:
        fetcher.get("http://gone.example/p", max_bytes=10)
    assert caught.value.reason == "unavailable"
    assert "gone.example cannot be resolved (no such name)" in caught.value.detail
    assert len(resolver.asked) == 3


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"])
def test_no_proxy_of_the_environment_is_used(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    network = Network()
    with opened(resolve=names(), network=network) as fetcher:
        fetcher.get("http://pictures.example/p", max_bytes=10)
    assert network.contacted == [(PUBLIC, 80)]


# ---- the token, and what messages show

OWN = ("http", "pictures.example", 80)


def bearers(network: Network) -> list[bool]:
    return [b"Bearer hidden" in request for request in network.sent]


def test_the_token_goes_to_its_origin_alone() -> None:
    network = Network()
    resolver = Names(pictures_example=[[PUBLIC]], other_example=[[PUBLIC]])
    with opened(resolve=resolver, network=network, token="hidden", token_origin=OWN) as fetcher:
        for url in (
            "http://pictures.example/",
            "http://pictures.example:81/",
            "https://pictures.example/",
            "http://other.example/",
        ):
            fetcher.get(url, max_bytes=10)
    assert bearers(network) == [True, False, False, False]


def test_the_token_stays_at_home_once_another_host_had_its_say() -> None:
    hops = iter([redirect("http://other.example/x"), redirect("http://pictures.example/admin"), WHOLE])
    network = Network(lambda request: next(hops))
    resolver = Names(pictures_example=[[PUBLIC]], other_example=[[PUBLIC]])
    with opened(resolve=resolver, network=network, token="hidden", token_origin=OWN) as fetcher:
        assert fetcher.get("http://pictures.example/p", max_bytes=10).body == b"whole"
    assert bearers(network) == [True, False, False]


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 503 No\r\n\r\n", redirect("/round?sig=hidden"), redirect("ftp://x:hidden@y/?hidden")]
)
def test_no_message_shows_a_token_or_the_query_of_another_host(answer: bytes) -> None:
    resolver = Names(pictures_example=[[PUBLIC]], other_example=[[PUBLIC]])
    with opened(resolve=resolver, network=Network(lambda _: answer), token="hidden", token_origin=OWN) as fetcher:
        for url in (
            "http://other.example/p?X-Amz-Signature=hidden#hidden",
            "http://pictures.example/p",
            "http://u:hidden@x/",
        ):
            with pytest.raises(PictureError) as caught:
                fetcher.get(url, max_bytes=10)
            assert "hidden" not in str(caught.value).replace("/round?sig=hidden", "")


# ---- redirects


def test_redirects_are_followed_up_to_five() -> None:
    hops = iter([*(redirect(f"/{number}", status) for number, status in enumerate([301, 302, 303, 307, 308])), WHOLE])
    network = Network(lambda request: next(hops))
    with opened(resolve=names(), network=network) as fetcher:
        assert fetcher.get("http://pictures.example/p", max_bytes=10).body == b"whole"
    assert [request.split()[1] for request in network.sent] == [b"/p", b"/0", b"/1", b"/2", b"/3", b"/4"]


def test_more_redirects_are_a_loop_and_not_tried_again() -> None:
    stamina.set_testing(True, attempts=5)
    network = Network(lambda request: redirect("/round"))
    with opened(resolve=names(), network=network) as fetcher:
        assert reason(fetcher, "http://pictures.example/p") == "redirect_loop"
    assert len(network.sent) == 6


def test_a_redirecting_service_keeps_its_connection() -> None:
    network = Network(lambda request: WHOLE if b"GET /there" in request else redirect("/there"))
    with opened(resolve=names(), network=network) as fetcher:
        for _ in range(3):
            fetcher.get("http://pictures.example/p", max_bytes=10)
    assert len(network.contacted) == 1


@pytest.mark.parametrize("status", [300, 304, 305, 404, 410, 418, 501])
def test_another_status_is_an_answer(status: int) -> None:
    network = Network(lambda request: f"HTTP/1.1 {status} So\r\nETag: x\r\nContent-Length: 0\r\n\r\n".encode())
    with opened(resolve=names(), network=network) as fetcher:
        answer = fetcher.get("http://pictures.example/p", max_bytes=10)
    assert (answer.status, answer.headers["etag"], answer.body) == (status, "x", b"")


# ---- what is read


def answering(answer: bytes, *, attempts: int = 3) -> tuple[str, int]:
    """Return the reason for which an answer is refused, and how often it was asked for."""
    stamina.set_testing(True, attempts=attempts)
    network = Network(lambda request: answer)
    with opened(resolve=names(), network=network) as fetcher:
        return reason(fetcher, "http://pictures.example/p", max_bytes=10), len(network.sent)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3, 4\r\n\r\ncut!",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\ncut!",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0x3\r\n\r\ncut",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwhole",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nwhole\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nwhole\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx",
        b"HTTP/1.1 200",
        b"<html>",
        b"\x16\x03\x01\x00",
        b"HTTP/1.1 200 OK\r\nA\nB: c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: " + b"x" * 200_000 + b"\r\n\r\n",
    ],
)
def test_a_broken_answer_is_tried_again_and_then_a_fault_of_the_picture(answer: bytes) -> None:
    assert answering(answer) == ("unavailable", 3)


def test_a_broken_answer_does_not_spoil_the_next() -> None:
    stamina.set_testing(True, attempts=3)
    answers = iter([b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\ncut", WHOLE + b"too much", WHOLE, WHOLE])
    network = Network(lambda request: next(answers))
    with opened(resolve=names(), network=network) as fetcher:
        assert fetcher.get("http://pictures.example/1", max_bytes=100).body == b"whole"
        assert fetcher.get("http://pictures.example/2", max_bytes=100).body == b"whole"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n" + b"x" * 11,
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * 11,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 11 + b"0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\nB\r\n"
        + b"x" * 11
        + b"\r\n0\r\n\r\n",
    ],
)
def test_more_than_the_cap_is_refused_at_once(answer: bytes) -> None:
    assert answering(answer) == ("too_many_bytes", 1)


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate, gzip", "GZIP", "x"])
def test_a_compressed_answer_is_refused_with_its_coding(coding: str) -> None:
    network = Network(lambda request: WHOLE.replace(b"\r\n\r\n", f"\r\nContent-Encoding: {coding}\r\n\r\n".encode()))
    with opened(resolve=names(), network=network) as fetcher, pytest.raises(PictureError, match=coding.lower()):
        fetcher.get("http://pictures.example/p", max_bytes=10)
    assert b"Accept-Encoding: identity" in network.sent[0]


@pytest.mark.parametrize("size", [0, 1, 4096, 65_536, 300_001])
def test_bytes_arrive_as_they_were_sent(size: int) -> None:
    body = bytes(number % 251 for number in range(size))
    network = Network(lambda request: b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (size, body))
    with opened(resolve=names(), network=network) as fetcher:
        assert fetcher.get("http://pictures.example/p", max_bytes=size).body == body


# ---- retries


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_burst_of_busy_answers_is_outlasted(status: int) -> None:
    stamina.set_testing(True, attempts=5)
    answers = itertools.chain([f"HTTP/1.1 {status} No\r\nContent-Length: 2\r\n\r\nno".encode()] * 4, [WHOLE])
    network = Network(lambda request: next(answers))
    with opened(resolve=names(), network=network) as fetcher:
        assert fetcher.get("http://pictures.example/p", max_bytes=10).body == b"whole"
    assert len(network.sent) == 5
    assert len(network.contacted) == 1


def test_a_server_that_stays_busy_is_named_after_a_bounded_number_of_attempts() -> None:
    stamina.set_testing(True, attempts=99, cap=True)
    network = Network(lambda request: b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
    with opened(resolve=names(), network=network) as fetcher:
        with pytest.raises(
            PictureError, match=r"http://pictures.example/p did not answer in 5 attempts \(answered 503\)"
        ):
            fetcher.get("http://pictures.example/p", max_bytes=10)
    assert len(network.sent) == 5


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("0", 0.0),
        ("7", 7.0),
        ("99999999999999", 999_999_999.0),
        ("Sun, 06 Nov 1994 08:49:49 GMT", 12.0),
        ("Sunday, 06-Nov-94 08:49:49 GMT", 12.0),
        ("Sun Nov  6 08:49:49 1994", 12.0),
        ("Sun, 06 Nov 1994 08:49:00 GMT", 0.0),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("٧", None),
        ("Sun, 99 Nov 1994 08:49:49 GMT", None),
    ],
)
def test_retry_after_is_read_in_both_forms(value: str, wait: float | None) -> None:
    assert retry_after_s(value, "Sun, 06 Nov 1994 08:49:37 GMT") == wait


def test_a_date_without_a_zone_is_not_in_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert retry_after_s("Sun Nov  6 08:49:49 1994", "Sun, 06 Nov 1994 08:49:37 GMT") == 12.0
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_retry_after_date_counts_from_our_clock_when_the_server_tells_no_time() -> None:
    assert retry_after_s("Fri, 01 Jan 1999 00:00:00 GMT", "") == 0.0
    assert (retry_after_s("Fri, 01 Jan 2999 00:00:00 GMT", "nonsense") or 0.0) > 1e9


def test_a_wait_is_at_most_a_minute_and_jittered_when_the_server_says_none() -> None:
    assert _again(_BusyError(429, 99_999.0)) == 60.0
    assert _again(_BusyError(429, 0.0)) == 0.0
    assert _again(_BusyError(429, None)) is True
    assert _again(httpcore2.ReadTimeout()) is True
    assert _again(PictureError("too_many_bytes", "")) is False


@pytest.mark.parametrize("header", ["9", "Sun, 06 Nov 1994 08:49:46 GMT"])
def test_retry_after_is_really_waited_for(header: str, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    stamina.set_testing(False)
    monkeypatch.setattr(time, "sleep", slept.append)
    busy = (
        f"HTTP/1.1 429 No\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: {header}\r\nContent-Length: 0\r\n\r\n"
    )
    answers = iter([busy.encode(), WHOLE])
    with opened(resolve=names(), network=Network(lambda request: next(answers))) as fetcher:
        assert fetcher.get("http://pictures.example/p", max_bytes=10).body == b"whole"
    assert slept == [9.0]


# ---- real sockets on loopback

Talk = Callable[[socket.socket], None]


@pytest.fixture
def talking() -> Iterator[Callable[[Talk], int]]:
    """Start servers that say on every connection what the test says, byte by byte; returns their port."""
    with ExitStack() as stack:

        def start(talk: Talk) -> int:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

            def one(connection: socket.socket) -> None:
                with connection:
                    try:
                        connection.recv(65536)
                        talk(connection)
                    except OSError:
                        pass  # the client has hung up: that is what these tests are about

            def serve() -> None:
                while True:
                    try:
                        connection, _ = listener.accept()
                    except OSError:
                        return
                    threading.Thread(target=one, args=(connection,), daemon=True).start()

            threading.Thread(target=serve, daemon=True).start()
            stack.callback(listener.shutdown, socket.SHUT_RDWR)
            port: int = listener.getsockname()[1]
            return port

        yield start


def dripping(head: bytes, drop: bytes) -> Talk:
    def talk(connection: socket.socket) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(drop)
            time.sleep(0.01)

    return talk


@pytest.mark.parametrize(
    ("head", "drop"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"extension"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    ],
)
def test_a_trickle_ends_by_the_clock_however_it_drips(head: bytes, drop: bytes, talking: Callable[[Talk], int]) -> None:
    stamina.set_testing(True, attempts=2)
    port = talking(dripping(head, drop))
    with opened(allowed={("127.0.0.1", port)}, attempt_s=0.2, silence_s=20) as fetcher:
        assert reason(fetcher, f"http://127.0.0.1:{port}/p", max_bytes=10**7) == "unavailable"


def test_all_attempts_together_have_a_limit(talking: Callable[[Talk], int]) -> None:
    stamina.set_testing(True, attempts=5)
    port = talking(dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"x"))
    with opened(allowed={("127.0.0.1", port)}, attempt_s=20, total_s=0.2) as fetcher:
        with pytest.raises(PictureError, match="did not answer in 1 attempts"):
            fetcher.get(f"http://127.0.0.1:{port}/p", max_bytes=10**7)


def test_silence_ends_sooner_than_the_attempt(talking: Callable[[Talk], int]) -> None:
    never = threading.Event()
    port = talking(lambda connection: never.wait(30) and None)
    with opened(allowed={("127.0.0.1", port)}, silence_s=0.1, attempt_s=30) as fetcher:
        assert reason(fetcher, f"http://127.0.0.1:{port}/p") == "unavailable"
    never.set()


def test_an_endless_body_is_cut_off_at_the_cap(talking: Callable[[Talk], int]) -> None:
    sent: list[int] = []

    def talk(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            sent.append(connection.send(b"x" * 65536))

    port = talking(talk)
    with opened(allowed={("127.0.0.1", port)}) as fetcher:
        assert reason(fetcher, f"http://127.0.0.1:{port}/p", max_bytes=100_000) == "too_many_bytes"
    assert sum(sent) < 50_000_000


def test_an_endless_answer_to_an_error_is_not_read(talking: Callable[[Talk], int]) -> None:
    def talk(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 404 Not Found\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    port = talking(talk)
    with opened(allowed={("127.0.0.1", port)}) as fetcher:
        assert fetcher.get(f"http://127.0.0.1:{port}/p", max_bytes=10).status == 404


def test_no_more_connections_than_workers_are_open_at_once() -> None:
    lock, now, most = threading.Lock(), [0], [0]

    def answer(path: str, nth: int) -> Response:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.01)
        with lock:
            now[0] -= 1
        return Response(b"ok")

    server = Scripted(answer)
    with serving(server.app) as url:
        allowed = {("127.0.0.1", int(url.rpartition(":")[2]))}
        with opened(allowed=allowed, workers=2) as fetcher:
            found: list[bytes] = []
            threads = [
                threading.Thread(
                    target=lambda number=number: found.append(fetcher.get(f"{url}/{number}", max_bytes=10).body)  # type: ignore[misc]
                )
                for number in range(12)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    assert found == [b"ok"] * 12
    assert most[0] <= 2
