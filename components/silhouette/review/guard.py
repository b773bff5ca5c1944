"""Who may ask, and what every answer forbids the browser.

On a laptop the right to ask is a random token in the address that the command prints; it becomes a cookie that no
script and no other site can use, and leaves the address bar. Behind a proxy that knows its users, the proxy says who
asks, in a header. In both places the name that the browser called us by has to be one of ours: another site whose
name was turned to this address is none (DNS rebinding). What changes something has to come from our own page.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.requests import cookie_parser
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

OPEN_PATHS = ("/health", "/ready")  # behind a proxy only; they tell nothing
OUR_HEADER = "x-silhouette-review"  # a page of another site cannot send it without being asked first, and we say no
MAX_REVIEWER = 200
_ANSWERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True, kw_only=True)
class Access:
    """Who may ask.

    Attributes:
        hosts: What the browser may call us, ``host`` or ``host:port`` in lower case.
        token: The secret of this process; empty behind a proxy.
        cookie: The name of the cookie that keeps it; a name a port, for browsers do not tell ports apart.
        reviewer: Who reviews with the token.
        user_header: The header in which the proxy says who asks; empty without a proxy.
        base_path: Below which the page is, without a slash at the end; empty: at the root.
    """

    hosts: frozenset[str]
    token: str = ""
    cookie: str = "silhouette_review"
    reviewer: str = ""
    user_header: str = ""
    base_path: str = ""

    def __post_init__(self) -> None:
        assert bool(self.token) != bool(self.user_header), "either the token or the proxy says who asks"


class _RefusedError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Guard:
    """ASGI middleware that lets through who may ask; ``scope["reviewer"]`` says who that is.

    Args:
        app: What is guarded.
        access: Who may ask.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let it through."""
        if scope["type"] != "http":
            return
        headers, path = Headers(scope=scope), self._inner_path(scope["path"])
        refused: Response | None = None
        try:
            if path not in OPEN_PATHS or not self._access.user_header:
                self._check_host(headers)
                refused = self._enter(scope, path)
                if refused is None:
                    scope["reviewer"] = self._reviewer(headers)
                    _check_site(scope["method"], path, headers, self._access.hosts)
        except _RefusedError as error:
            kind = JSONResponse if path.startswith("/api/") else PlainTextResponse
            message = f"error: {error}"
            refused = kind({"error": str(error)} if kind is JSONResponse else message, status_code=error.status)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered = MutableHeaders(scope=message)
                for name, value in _ANSWERS.items():
                    answered[name] = value
                answered.setdefault("Cache-Control", "no-store")
            await send(message)

        inner = {**scope, "path": path, "root_path": ""}
        await (refused or self._app)(inner, receive, send_guarded)

    def _inner_path(self, path: str) -> str:
        """Return the path below ours, whether the proxy took the base path off or not."""
        base = self._access.base_path
        return path[len(base) :] if base and (path == base or path.startswith(f"{base}/")) else path

    def _check_host(self, headers: Mapping[str, str]) -> None:
        host = headers.get("host", "").lower()
        if host not in self._access.hosts:
            raise _RefusedError(
                403, f"the page must be asked for as one of {', '.join(sorted(self._access.hosts))}, got {host[:80]!r};"
                " allow another name with --allow-host"
            )  # fmt: skip

    def _enter(self, scope: Scope, path: str) -> Response | None:
        """Complete an address that lacks its last slash; turn a token in the address into a cookie."""
        access = self._access
        if not path:
            return RedirectResponse(f"{access.base_path}/", status_code=307)
        given = QueryParams(scope["query_string"]).get("token")
        if path != "/" or given is None or not access.token:
            return None
        if not _same(given, access.token):
            raise _RefusedError(401, "the token must be the one of this run, this one is not; take the printed address")
        answer = RedirectResponse(f"{access.base_path}/", status_code=303)
        answer.set_cookie(access.cookie, access.token, httponly=True, samesite="strict", path=f"{access.base_path}/")
        return answer

    def _reviewer(self, headers: Mapping[str, str]) -> str:
        access = self._access
        if access.token:
            if not _same(cookie_parser(headers.get("cookie", "")).get(access.cookie, ""), access.token):
                raise _RefusedError(
                    401, "a request must carry the token of this run; open the address that `silhouette review` printed"
                )  # fmt: skip
            return access.reviewer
        raw = headers.get(access.user_header, "").encode("latin-1")
        name = raw.decode("utf-8", "replace").strip()
        if not 1 <= len(name) <= MAX_REVIEWER or not name.isprintable():
            raise _RefusedError(
                401, f"the proxy must name its user in {access.user_header}, 1 to {MAX_REVIEWER} characters, it does"
                " not; log in there"
            )  # fmt: skip
        return name


def _same(given: str, secret: str) -> bool:
    return hmac.compare_digest(given.encode(), secret.encode())


def _check_site(method: str, path: str, headers: Mapping[str, str], hosts: frozenset[str]) -> None:
    """Refuse what another site's page asks for, and changes that our own page did not send."""
    if path != "/" and headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        raise _RefusedError(403, "only the review page itself may ask for this; open that")
    if method in ("GET", "HEAD"):
        return
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() not in hosts:
        raise _RefusedError(403, f"a change must come from the review page, got {origin[:80]!r}; open that")
    if headers.get(OUR_HEADER) != "1" or headers.get("content-type", "").partition(";")[0] != "application/json":
        raise _RefusedError(403, f"a change must be JSON with the header {OUR_HEADER}: 1, it is not; reload the page")
