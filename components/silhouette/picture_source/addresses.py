"""What a URL of the picture service may lead to: the guard against being sent to places that are not for us.

Reads nothing but the answers of the resolver that it is given. `parse` takes a URL apart, `check` says to which
addresses a host may be connected to. A listing, a redirect and a name server may all be in hostile hands, so:

* an address counts, never a name: whoever connects, connects to one of the very addresses that `check` returned;
* an address is recognised in every notation before any resolver is asked (decimal, octal, hexadecimal, short,
  percent-encoded, full-width digits, IPv6 that carries IPv4);
* what is not public is refused, except the exact host and port that the settings allow.

The ranges are those of IANA's special-purpose address registries (RFC 6890 and its successors).
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Set
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import quote, unquote, urljoin

from silhouette.errors import PictureError

Resolver = Callable[[str, int], list[str]]
"""Host and port to IP addresses; OSError when there are none."""

_LONGEST_URL, _LONGEST_HOST, _SHOWN = 8000, 254, 200
_PORTS = {"http": 80, "https": 443}
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^?#]*)(?:\?([^#]*))?(?:#.*)?", re.DOTALL)
_AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]*))?", re.DOTALL)
_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*", re.ASCII)
_NUMBER = re.compile(r"([0-9]+|0x[0-9a-f]*)", re.ASCII)  # a last label like this makes all of it an address
_SENDABLE = "!$%&'()*+,/:;=@[]~"  # these stay as they are in a path; a query has `?` as well

_IPV4 = [
    (IPv4Network(network), kind)
    for network, kind in (
        ("0.0.0.0/8", "this machine itself"), ("10.0.0.0/8", "private"), ("100.64.0.0/10", "shared by a provider"),
        ("127.0.0.0/8", "loopback"), ("168.63.129.16/32", "a cloud's metadata"), ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"), ("192.0.0.0/24", "reserved"), ("192.0.2.0/24", "for documentation"),
        ("192.88.99.0/24", "reserved"), ("192.168.0.0/16", "private"), ("198.18.0.0/15", "for benchmarks"),
        ("198.51.100.0/24", "for documentation"), ("203.0.113.0/24", "for documentation"),
        ("224.0.0.0/4", "multicast"), ("240.0.0.0/4", "reserved"),
    )
]  # fmt: skip
_IPV6 = [
    (IPv6Network(network), kind)
    for network, kind in (
        ("::/128", "this machine itself"), ("::1/128", "loopback"), ("fc00::/7", "private"),
        ("fe80::/10", "link-local"), ("ff00::/8", "multicast"), ("2001:db8::/32", "for documentation"),
        ("3fff::/20", "for documentation"), ("2001::/23", "reserved"),  # Teredo among them: it carries an IPv4 address
        ("2002::/16", "a tunnel to an IPv4 address"), ("3ffe::/16", "reserved"),
    )
]  # fmt: skip
_IPV6_PUBLIC = IPv6Network("2000::/3")  # all that was ever given out; the rest is reserved
_NAT64 = IPv6Network("64:ff9b::/96")  # how an IPv6-only cluster reaches IPv4; its local form 64:ff9b:1::/48 is private


@dataclass(frozen=True, kw_only=True)
class Target:
    """A URL taken apart.

    Attributes:
        scheme: ``http`` or ``https``.
        host: Lower case, in ASCII, without a last dot; IPv6 in its shortest form without brackets.
        port: Of the URL or the scheme's.
        path: With the query, as it is sent; holds secrets at times.
    """

    scheme: str
    host: str
    port: int
    path: str

    @property
    def origin(self) -> tuple[str, str, int]:
        """Return what a token belongs to."""
        return self.scheme, self.host, self.port

    @property
    def authority(self) -> str:
        """Return host and port as the Host header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        """Return the whole URL."""
        return f"{self.scheme}://{self.authority}{self.path}"

    def shown(self) -> str:
        """Return the URL for a message: without its query, which may be a signature."""
        path, _, query = self.path.partition("?")
        return f"{self.scheme}://{self.authority}{path[:_SHOWN]}{'?...' if query else ''}"


def parse(url: str, *, base: Target | None = None) -> Target:
    """Take a URL apart.

    Args:
        url: Absolute, or relative to `base`.
        base: Where it was found.

    Raises:
        PictureError: It is no http or https URL or names a user (``bad_url``), or its host is an address with a
            zone (``forbidden_address``).
    """
    if len(url) > _LONGEST_URL:
        raise _bad(f"at most {_LONGEST_URL} characters long, it has {len(url)}")
    if any(character <= "\x1f" or character in "\x7f\\" for character in url):  # what parsers disagree about
        raise _bad("free of control characters and backslashes")
    try:
        matched = _URL.fullmatch(url if base is None else urljoin(str(base), url))
        scheme = matched[1].lower() if matched else ""
        if matched is None or scheme not in _PORTS:
            raise _bad(f"http:// or https://, got {scheme or 'no'} scheme")
        if "@" in matched[2]:
            raise _bad("without user and password")
        authority = _AUTHORITY.fullmatch(matched[2])
        if authority is None:
            raise _bad("http://host or http://host:port")
        port = int(authority[2] or _PORTS[scheme])
        if not 1 <= port <= 65535:
            raise _bad(f"with a port of 1 to 65535, got {port}")
        query = f"?{quote(matched[4], safe=_SENDABLE + '?')}" if matched[4] is not None else ""
        path = (quote(matched[3], safe=_SENDABLE) or "/") + query
        return Target(scheme=scheme, host=normal_host(authority[1]), port=port, path=path)
    except ValueError as error:  # urljoin, IDNA, ipaddress and lone surrogates
        raise _bad(f"well-formed ({type(error).__name__} in its host or path)") from None


def normal_host(host: str) -> str:
    """Return a host in the one form in which hosts are compared.

    Raises:
        ValueError: It is none.
        PictureError: It is an IPv6 address with a zone (``forbidden_address``).
    """
    plain = unquote(host)
    if ":" in plain or plain.startswith("["):
        address, zone, _ = plain.removeprefix("[").removesuffix("]").partition("%")
        if zone:
            raise PictureError("forbidden_address", f"{str(IPv6Address(address))!r} has a zone: it is link-local")
        return str(IPv6Address(address))
    if not plain.isascii() and len(plain) <= _LONGEST_HOST:  # the codec is slow on what is far too long
        plain = plain.encode("idna").decode("ascii")
    plain = plain.lower().removesuffix(".")
    if not _HOST.fullmatch(plain):
        raise ValueError("no host name")
    return plain


def resolve(host: str, port: int) -> list[str]:
    """Ask the system's resolver.

    Raises:
        OSError: It does not know the host, or does not answer.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        detail = error.strerror if isinstance(error, OSError) else "not a host name"
        raise OSError(f"{host} cannot be resolved ({detail})") from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def check(host: str, port: int, *, allowed: Set[tuple[str, int]] = frozenset(), resolve: Resolver) -> list[str]:
    """Return the addresses to which `host` may be connected to.

    Args:
        host: As `Target.host` has it.
        port: The port.
        allowed: Exact hosts and ports that may be anywhere.
        resolve: Asked for names only, never for an address in whatever notation.

    Raises:
        PictureError: ``forbidden_address``; one address that is not public is enough.
        OSError: The resolver does not know the host.
    """
    literal = _literal(host)
    answers = resolve(host, port) if literal is None else [literal]
    if not answers:
        raise OSError(f"{host} cannot be resolved (it has no address)")
    if (host, port) in allowed:
        return answers
    for answer in answers:
        if kind := _forbidden(answer):
            means = "" if answer == host else f" ({answer})"
            brackets = f"[{host}]" if ":" in host else host
            raise PictureError(
                "forbidden_address",
                f"a picture must be at a public address, {host}{means} is {kind}; if the host is yours, add"
                f" {brackets}:{port} to SILHOUETTE_ALLOWED_ADDRESSES",
            )
    return answers


def _literal(host: str) -> str | None:
    """Return the address that a host spells out, in the usual notation; None for a name."""
    if ":" in host:
        return host
    if not _NUMBER.fullmatch(host.rpartition(".")[2]):
        return None
    try:
        return socket.inet_ntoa(socket.inet_aton(host))  # decimal, octal, hexadecimal, fewer than four parts
    except OSError:
        raise PictureError("forbidden_address", f"{host} looks like an IPv4 address and is none") from None


def _forbidden(answer: str) -> str:
    """Say what an address is that we do not connect to; empty for a public one."""
    try:
        address = ip_address(answer)
    except ValueError:
        return "no address"
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return "link-local"
        carried = address.ipv4_mapped or (IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None)
        if carried is None:
            found = (kind for network, kind in _IPV6 if address in network)
            return next(found, "" if address in _IPV6_PUBLIC else "reserved")
        address = carried
    return next((kind for network, kind in _IPV4 if address in network), "")


def _bad(rule: str) -> PictureError:
    return PictureError("bad_url", f"a URL must be {rule}")
