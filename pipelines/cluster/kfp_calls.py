"""One call of KFP's generated client: how long it may take, when it is tried again, and what a person is told.

Every call has a timeout. What fails on the way (connection, 429, 5xx) is tried again for as long as `patience_s`;
what makes something looks first whether it is there, so that an answer that was lost on the way makes nothing
twice. Credentials that are refused are read anew, once, before it is said.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

from pipelines.cluster.access import Access
from silhouette.errors import ServiceError

TIMEOUT_S = (5.0, 30.0)  # to connect, to answer
PATIENCE_S = 20.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 5.0
_PAGE = 100
_TRANSIENT = {408, 429, 500, 502, 503, 504}
_UNAUTHORIZED = {301, 302, 303, 307, 401}  # a login page in front of KFP redirects
_MESSAGE_LENGTH = 300
NOT_FOUND = 404

T = TypeVar("T")


class UnreachableError(ServiceError):
    """KFP does not answer, or answers that it cannot now."""


class RefusedLoginError(ServiceError):
    """KFP does not accept the credentials."""


class RefusedError(ServiceError):
    """KFP answered and refused; `status` is HTTP's."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Calls:
    """Calls of KFP's API.

    Args:
        open_access: Reads credentials and makes clients; called again when they are refused.
        patience_s: For how long a failed call is tried again, in seconds.
    """

    def __init__(self, open_access: Callable[[], Access], *, patience_s: float = PATIENCE_S) -> None:
        self._open = open_access
        self.access = open_access()
        self.patience_s = patience_s

    def text(self, path: str, *, what: str) -> str:
        """Return the body of a path that the generated client does not know."""

        def ask(client: Any) -> str:
            answer = client.call_api(
                path,
                "GET",
                header_params={"Accept": "*/*"},
                auth_settings=["Bearer"],
                _return_http_data_only=True,
                _preload_content=False,
                _request_timeout=TIMEOUT_S,
            )
            return str(answer.data.decode(errors="replace"))

        return self._persistently(ask, what=what)

    def call(self, service: Callable[[Any], Any], method: str, *arguments: Any, what: str, **options: Any) -> Any:
        """Call something that may be done twice without harm, and again while it fails on the way."""
        return self._persistently(lambda client: _ask(client, service, method, arguments, options), what=what)

    def once(self, service: Callable[[Any], Any], method: str, *arguments: Any, what: str, **options: Any) -> Any:
        """Call something that makes another one each time; a failure on the way is left to `made`."""
        return self._speaking(lambda client: _ask(client, service, method, arguments, options), what=what)

    def listed(
        self, service: Callable[[Any], Any], method: str, *arguments: Any, field: str, limit: int, **options: Any
    ) -> list[Any]:
        """Return at most `limit` entries of a listing, page by page."""
        found: list[Any] = []
        token = ""
        while True:
            size = min(_PAGE, limit - len(found))
            page = self.call(service, method, *arguments, page_size=size, page_token=token, **options)
            found += getattr(page, field) or []
            token = page.next_page_token or ""
            if not token or len(found) >= limit:
                return found[:limit]

    def made(self, find: Callable[[], list[Any]], make: Callable[[], Any]) -> Any:
        """Return what there is, or make it; look again whenever it is not known whether it was made."""

        def attempt() -> Any:
            if found := find():
                return found[0]
            try:
                return make()
            except RefusedError as error:
                if error.status == 409 and (found := find()):  # somebody was faster
                    return found[0]
                raise

        return self._patiently(attempt)

    def _persistently(self, ask: Callable[[Any], T], *, what: str) -> T:
        return self._patiently(lambda: self._speaking(ask, what=what))

    def _patiently(self, attempt: Callable[[], T]) -> T:
        until, pause = time.monotonic() + self.patience_s, _FIRST_PAUSE_S
        while True:
            try:
                return attempt()
            except UnreachableError:
                if time.monotonic() + pause >= until:
                    raise
            time.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - no secret
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _speaking(self, ask: Callable[[Any], T], *, what: str) -> T:
        try:
            return self._translated(ask, what=what)
        except RefusedLoginError:
            self.access = self._open()  # a token file, an exec plugin or a kubeconfig may have a fresh one by now
            return self._translated(ask, what=what)

    def _translated(self, ask: Callable[[Any], T], *, what: str) -> T:
        import kfp_server_api
        import urllib3

        where = self.access.where
        try:
            return ask(self.access.kfp)
        except kfp_server_api.ApiException as error:
            raise _told(error, what=what, access=self.access) from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            told = " ".join(str(error.__cause__ or error).split())[:_MESSAGE_LENGTH]
            raise UnreachableError(
                f"KFP at {where} must be reachable to {what}, got {type(error).__name__}: {told};"
                " see whether it runs, then run it again"
            ) from None
        except ValueError as error:  # an answer that is none of KFP's
            raise self.not_kfp(str(error), what=what) from None

    def not_kfp(self, said: str, *, what: str) -> UnreachableError:
        """Return the error of an answer that is none of KFP's."""
        return UnreachableError(
            f"KFP at {self.access.where} must answer in its own words to {what}, got {' '.join(said.split())[:120]!r};"
            " see whether the address is KFP's"
        )


def _ask(
    client: Any, service: Callable[[Any], Any], method: str, arguments: tuple[Any, ...], options: dict[str, Any]
) -> Any:
    import kfp_server_api

    return getattr(service(kfp_server_api)(client), method)(*arguments, _request_timeout=TIMEOUT_S, **options)


def _told(error: Any, *, what: str, access: Access) -> ServiceError:
    """Return what a person is told of KFP's refusal."""
    said = said_by(error.body) or str(error.reason)
    if error.status in _UNAUTHORIZED:
        return RefusedLoginError(
            f"KFP at {access.where} must accept the login to {what}, it is missing, refused or expired"
            f" ({error.status}); {access.way_out} and run it again"
        )
    if error.status in _TRANSIENT:
        return UnreachableError(f"KFP at {access.where} must work to {what}, it says {error.status}: {said}; try later")
    if error.status == 403:
        return RefusedError(f"KFP must let you {what}, it says 403: {said}; ask for the right", 403)
    return RefusedError(f"KFP must be able to {what}, it says {error.status}: {said}; correct that", error.status)


def said_by(body: Any) -> str:
    """Return the message in an error's body, on one line: of KFP, of its upload server, or of Kubernetes."""
    text = body.decode(errors="replace") if isinstance(body, bytes) else str(body or "")
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    if isinstance(content, dict):
        text = str(content.get("error_message") or content.get("message") or content.get("error") or "")
    return " ".join(text.split())[:_MESSAGE_LENGTH]
