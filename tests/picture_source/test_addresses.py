"""The guard: what is not public is refused in every notation, before anything is looked up or contacted."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from silhouette.errors import PictureError
from silhouette.picture_source import addresses
from silhouette.picture_source.addresses import check, parse

PUBLIC, PUBLIC6 = "93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"


def unasked(host: str, port: int) -> list[str]:
    raise AssertionError(f"{host} was looked up")


def refusal(url: str, resolve: addresses.Resolver = unasked) -> str:
    """Return the reason for which a URL is refused."""
    try:
        target = parse(url)
        found = check(target.host, target.port, resolve=resolve)
    except PictureError as error:
        return error.reason
    return f"none: {found}"


NOT_PUBLIC = [
    "127.0.0.1", "127.255.255.254", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "172.16.0.1",
    "172.31.255.255", "192.168.0.1", "169.254.169.254", "169.254.170.2", "168.63.129.16", "100.100.100.200",
    "0.0.0.0", "0.1.2.3", "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1",
    "240.0.0.1", "255.255.255.255",
]  # fmt: skip
NOT_PUBLIC_6 = [
    "::1", "::", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "::127.0.0.1", "::10.0.0.1",
    "0:0:0:0:0:ffff:7f00:1", "64:ff9b::127.0.0.1", "64:ff9b::a00:1", "64:ff9b::169.254.169.254", "64:ff9b:1::808:808",
    "2002:7f00:1::", "2002:a00:1::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1", "3fff::1", "fc00::1",
    "fd00:ec2::254", "fdff::1", "fe80::1", "febf::1", "fec0::1", "ff02::1", "100::1", "5f00::1", "4000::1",
    "fe80::1%25eth0", "fe80::1%eth0", "2606:4700::1%25eth0",
]  # fmt: skip
NOTATIONS = [
    "2130706433", "0x7f000001", "0X7F000001", "017700000001", "0177.0.0.1", "0x7f.0.0.1", "127.1", "127.0.1", "0",
    "127.0.0.1.", "１２７.０.０.１", "127。0。0。1", "①②⑦.⓪.⓪.①", "127%2e0%2e0%2e1", "%31%32%37.0.0.1", "%3A%3A1",
    "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518", "0xa.1", "12.0x", "256.256.256.256",
    "1.2.3.4.5", "08.8.8.8", "0x0", "4294967296", "1.0x100000000",
]  # fmt: skip


@pytest.mark.parametrize("host", [*NOT_PUBLIC, *(f"[{address}]" for address in NOT_PUBLIC_6), *NOTATIONS])
@pytest.mark.parametrize("where", ["http://{}/x", "https://{}:8443"])
def test_an_address_that_is_not_public_is_refused_without_a_lookup(host: str, where: str) -> None:
    assert refusal(where.format(host)) == "forbidden_address"


@pytest.mark.parametrize(
    "host", [PUBLIC, f"[{PUBLIC6}]", "9.255.255.255", "172.32.0.1", "100.128.0.1", "126.255.255.255"]
)
def test_a_public_address_is_connected_to_as_it_is(host: str) -> None:
    target = parse(f"http://{host}/")
    assert check(target.host, 80, resolve=unasked) == [host.strip("[]")]


def test_an_address_that_carries_a_public_one_is_as_public_as_that() -> None:
    assert check("::ffff:808:808", 80, resolve=unasked) == ["::ffff:808:808"]
    assert check("64:ff9b::808:808", 80, resolve=unasked) == ["64:ff9b::808:808"]  # the one way out of an IPv6 cluster


@pytest.mark.parametrize("private", [*NOT_PUBLIC, *NOT_PUBLIC_6, "no address", ""])
@pytest.mark.parametrize("order", [1, -1])
def test_a_name_with_one_answer_that_is_not_public_is_refused(private: str, order: int) -> None:
    answers = [PUBLIC, private, PUBLIC6][::order]
    assert refusal("http://pictures.example/", lambda host, port: answers) == "forbidden_address"


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST.", "metadata.google.internal", "127.0.0.1.nip.example", "a_b-c"]
)
def test_a_name_is_judged_by_its_answers_alone(host: str) -> None:
    assert refusal(f"http://{host}/", lambda host, port: ["127.0.0.1"]) == "forbidden_address"
    target = parse(f"http://{host}/")
    assert check(target.host, 80, resolve=lambda host, port: [PUBLIC]) == [PUBLIC]


def test_the_refusal_names_host_address_and_the_way_out() -> None:
    with pytest.raises(
        PictureError, match=r"store.example \(10.0.0.7\) is private.*add store.example:9000 to SILHOUETTE"
    ):
        check("store.example", 9000, resolve=lambda host, port: ["10.0.0.7"])
    with pytest.raises(PictureError, match=r"::1 is loopback.*add \[::1\]:9000 to SILHOUETTE_ALLOWED_ADDRESSES"):
        check("::1", 9000, resolve=unasked)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "store.example"])
def test_an_allowed_host_passes_at_its_port_and_at_no_other(host: str) -> None:
    allowed, resolve = {(host, 9000)}, lambda host, port: ["10.0.0.7"]
    assert check(host, 9000, allowed=allowed, resolve=resolve) == [host if host != "store.example" else "10.0.0.7"]
    with pytest.raises(PictureError, match="forbidden_address"):
        check(host, 9001, allowed=allowed, resolve=resolve)
    with pytest.raises(PictureError, match="forbidden_address"):
        check("127.0.0.2", 9000, allowed=allowed, resolve=resolve)


@pytest.mark.parametrize("host", ["2130706433", "0177.0.0.1", "127.1", "[::ffff:127.0.0.1]", "localhost"])
def test_another_spelling_of_an_allowed_host_is_not_that_host(host: str) -> None:
    target = parse(f"http://{host}:9000/")
    with pytest.raises(PictureError, match="forbidden_address"):
        check(target.host, target.port, allowed={("127.0.0.1", 9000)}, resolve=lambda host, port: ["127.0.0.1"])


@pytest.mark.parametrize(
    "url",
    [
        "", "x", "/x", "//host/x", "file:///etc/passwd", "file://host/x", "ftp://host/", "gopher://host:70/_x",
        "data:,x", "javascript:x", "jar:http://host!/", "unix:///socket", "http:host", "http:/host", "http://",
        "http:///x", "http://:80/", "http://host:0/", "http://host:65536/", "http://host:-1/", "http://host:8x/",
        "http://host:８０/", "http://user@host/", "http://user:pw@host/", "http://@host/", "http://host@127.0.0.1/",
        "http://127.0.0.1@host/", "http://127.0.0.1%40host/", "http://ho st/", "http://host\\@127.0.0.1/",
        "http://host\r\nX: y/", "http://host/\x00", "http://host/a\tb", "http://ho%00st/", "http://ho%2Fst/", "http://[::1",
        "http://::1/", "http://[::1]x/", "http://[x]/", "http://[127.0.0.1]/", "http://[]/", "http://a..b/", "http://.a/",
        "http://a.../", f"http://{'a' * 64}.example/", f"http://{'a.' * 130}example/", "http://host/\ud800", "http://\ud800/",
        "http://é" + "é" * 300 + "/", f"http://host/{'x' * 8000}", "http://host:" + "9" * 5000,
    ],
)  # fmt: skip
def test_what_is_no_plain_http_url_is_refused_in_one_line(url: str) -> None:
    with pytest.raises(PictureError) as caught:
        parse(url)
    assert caught.value.reason == "bad_url"
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "whole"),
    [
        ("HTTP://Host", "http://host/"),
        ("https://host:443/x", "https://host/x"),
        ("http://host:080/", "http://host/"),
        ("http://host:/x", "http://host/x"),
        ("http://host.:8080/", "http://host:8080/"),
        ("http://münchen.example/ä b?q=ж&x=%20#part", "http://xn--mnchen-3ya.example/%C3%A4%20b?q=%D0%B6&x=%20"),
        ("http://[2606:0:0::1]:81", "http://[2606::1]:81/"),
        ("http://host?q", "http://host/?q"),
        ("http://host/a@b:c;d=(e)'[f]~", "http://host/a@b:c;d=(e)'[f]~"),
    ],
)
def test_a_url_has_one_form(url: str, whole: str) -> None:
    assert str(parse(url)) == whole
    assert str(parse(whole)) == whole


@pytest.mark.parametrize(
    ("reference", "whole"),
    [
        ("there", "http://host:81/api/there"),
        ("/there?x", "http://host:81/there?x"),
        ("?x=1", "http://host:81/api/here?x=1"),
        ("//other/x", "http://other/x"),
        ("../../../x", "http://host:81/x"),
        ("https://other/x", "https://other/x"),
    ],
)
def test_a_reference_is_read_from_where_it_stands(reference: str, whole: str) -> None:
    assert str(parse(reference, base=parse("http://host:81/api/here"))) == whole


def test_a_message_shows_no_query_and_no_endless_path() -> None:
    assert parse("https://host/a?X-Signature=secret").shown() == "https://host/a?..."
    assert len(parse(f"https://host/{'a' * 5000}").shown()) < 300


@pytest.mark.parametrize("error", [socket.gaierror(-2, "Name or service not known"), UnicodeError("label too long")])
def test_a_lookup_that_fails_is_one_clear_error(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: object, **more: object) -> None:
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    with pytest.raises(OSError, match=r"^pictures.example cannot be resolved \((Name or service|not a host name)"):
        addresses.resolve("pictures.example", 80)


def test_a_name_without_any_address_is_a_failed_lookup() -> None:
    with pytest.raises(OSError, match="has no address"):
        check("pictures.example", 80, resolve=lambda host, port: [])


def test_the_systems_resolver_gives_each_address_once() -> None:
    found = addresses.resolve("127.0.0.1", 80)
    assert found == ["127.0.0.1"]


# ---- properties

PRIVATE = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
]
private = st.one_of([st.ip_addresses(v=4, network=network) for network in PRIVATE])


def _written(number: int, parts: int, spell: list[Callable[[int], str]], last_dot: str) -> str:
    """Write an IPv4 address in `parts` parts: the last one holds all bytes that are left."""
    heads = [number >> 8 * (3 - place) & 0xFF for place in range(parts - 1)]
    numbers = [*heads, number & (1 << 8 * (5 - parts)) - 1]
    return ".".join(write(value) for write, value in zip(spell, numbers, strict=False)) + last_dot


spellings = st.sampled_from(
    [str, hex, lambda value: f"0{value:o}", lambda value: f"0X{value:08X}", lambda value: f"000{value:o}"]
)


@given(private, st.integers(1, 4), st.lists(spellings, min_size=4, max_size=4), st.sampled_from(["", "."]))
def test_any_private_ipv4_address_is_refused_in_any_notation(
    address: ipaddress.IPv4Address, parts: int, spell: list[Callable[[int], str]], last_dot: str
) -> None:
    assert refusal(f"http://{_written(int(address), parts, spell, last_dot)}:8080/x") == "forbidden_address"


@given(private, st.sampled_from(["::ffff:0:0/96", "::/96", "64:ff9b::/96", "64:ff9b:1::/96"]))
def test_any_private_ipv4_address_inside_an_ipv6_address_is_refused(
    address: ipaddress.IPv4Address, prefix: str
) -> None:
    carrier = ipaddress.IPv6Address(int(ipaddress.IPv6Network(prefix).network_address) + int(address))
    assert refusal(f"http://[{carrier}]/") == "forbidden_address"
    assert refusal(f"http://[{carrier.exploded}]/") == "forbidden_address"


@given(private)
def test_any_private_ipv4_address_behind_a_tunnel_is_refused(address: ipaddress.IPv4Address) -> None:
    sixtofour = ipaddress.IPv6Address(0x2002 << 112 | int(address) << 80 | 1)
    teredo = ipaddress.IPv6Address(0x20010000 << 96 | int(address) ^ 0xFFFFFFFF)
    assert refusal(f"http://[{sixtofour}]/") == refusal(f"http://[{teredo}]/") == "forbidden_address"


@given(st.ip_addresses())
def test_only_what_is_public_to_the_standard_library_is_public(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    try:
        found = check(str(address), 80, resolve=unasked)
    except PictureError:
        return
    assert found == [str(address)]
    assert address.is_global


@given(st.text(max_size=60), st.sampled_from(["", "http://", "https://h", "http://h:", "http://[", "//"]))
def test_any_text_is_a_url_or_is_refused(text: str, start: str) -> None:
    base = parse("http://host/a/b")
    for origin in (None, base):
        try:
            target = parse(start + text, base=origin)
        except PictureError as error:
            assert error.reason in ("bad_url", "forbidden_address")  # noqa: PT017  any text may be either
            continue
        assert parse(str(target)) == target
        assert target.scheme in ("http", "https")
        assert str(target).isascii()
        assert str(target).isprintable()
        assert " " not in str(target)
