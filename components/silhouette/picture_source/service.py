"""The picture service over HTTP: its only client, and the owner of the bearer token.

Reads what docs/picture_service.openapi.yaml describes. The token goes to the service's own origin and nowhere
else: not to another host that a listing's `url` names, not along a redirect. Answers 429 and 5xx and broken
connections are tried again a bounded number of times, as late as `Retry-After` asks.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, TypeVar
from urllib.parse import quote

import httpx2
import stamina
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from silhouette.errors import PictureError, ServiceError, SettingError
from silhouette.picture_source.listing import SourcePicture, split_of
from silhouette.settings import PictureServiceSettings

logging.getLogger("httpx2").setLevel(logging.WARNING)  # it tells of every request at INFO, one line a picture

PAGE = 500
ATTEMPTS, TIMEOUT_S, LONGEST_WAIT_S = 5, 30.0, 60.0
_MAX_REDIRECTS = 5
_MAX_PAGE_BYTES = 64 << 20
_TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore")  # a service may tell more than we know


class Group(_Answer):
    """A group as the service describes it."""

    group: str
    classes: list[str]


class Groups(_Answer):
    """``GET /groups``."""

    groups: list[Group]


class ListedPicture(_Answer):
    """A picture's metadata."""

    picture_id: str = Field(min_length=1)
    labels: dict[str, str] = {}
    pixset_id: str = ""
    split: str = ""
    etag: str = Field(min_length=1)
    sha256: str = Field(default="", pattern="^([0-9a-f]{64})?$")
    url: str = ""


class Page(_Answer):
    """One page of a listing; `next_cursor` null ends it."""

    pictures: list[ListedPicture]
    next_cursor: str | None = None


Model = TypeVar("Model", bound=_Answer)


class _BusyError(Exception):
    """The service asks to come again."""

    def __init__(self, status: int, wait_s: float | None) -> None:
        super().__init__(f"answered {status}")
        self.wait_s = wait_s


def _again(error: Exception) -> bool | float:
    """Tell stamina whether to try again, and when."""
    if isinstance(error, _BusyError):
        return True if error.wait_s is None else min(error.wait_s, LONGEST_WAIT_S)
    return isinstance(error, httpx2.TransportError)


class PictureService:
    """An open connection to the picture service; safe to share between threads."""

    def __init__(self, settings: PictureServiceSettings) -> None:
        try:
            self._base = httpx2.URL(settings.url.rstrip("/"))
        except httpx2.InvalidURL as error:
            raise SettingError(
                f"SILHOUETTE_PICTURE_SERVICE_URL must be http://host:port ({error}); correct it"
            ) from None
        if self._base.scheme not in ("http", "https") or not self._base.host:
            raise SettingError(
                f"SILHOUETTE_PICTURE_SERVICE_URL must be http://host:port, got {settings.url!r}; correct it"
            )
        self.where = f"the picture service at {settings.url}"
        self._token = settings.token
        self._client = httpx2.Client(
            timeout=TIMEOUT_S,
            follow_redirects=True,  # the client drops our Authorization header when the origin changes
            max_redirects=_MAX_REDIRECTS,
            headers={"Accept-Encoding": "identity"},  # sizes are checked on what arrives
            trust_env=self._base.host not in _LOOPBACK,  # a proxy cannot reach our loopback
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def groups(self) -> list[str]:
        """Return the names of all groups."""
        answer = self._json(self._url("groups"), Groups)
        assert answer is not None
        return [item.group for item in answer.groups]

    def classes(self, group: str) -> list[str] | None:
        """Return a group's classes in order, or None when the service does not know the group."""
        answer = self._json(self._url("groups", group), Group, missing_ok=True)
        return None if answer is None else answer.classes

    def pictures(self, group: str) -> Iterator[SourcePicture]:
        """Yield all pictures of a group, page by page."""
        yield from self._pages(self._url("groups", group, "pictures"), group)

    def pixset_pictures(self, pixset: str, group: str) -> Iterator[SourcePicture]:
        """Yield all pictures of a pixset with their labels of `group`."""
        yield from self._pages(self._url("pixsets", pixset, "pictures"), group)

    def fetch(self, picture: SourcePicture, *, max_bytes: int) -> bytes:
        """Return a picture's bytes.

        Raises:
            PictureError: It is not there (``missing``), is refused to us (``forbidden``) or is larger than
                `max_bytes` (``too_many_bytes``).
            ServiceError: The service does not answer, after all attempts; the run ends and can be repeated.
        """
        status, body = self._get(picture.locator, max_bytes=max_bytes)
        if status in (404, 410):
            raise PictureError("missing", f"the service answered {status}")
        if status in (401, 403, 451):
            raise PictureError("forbidden", f"{httpx2.URL(picture.locator).host} answered {status}")
        if status != 200:
            raise ServiceError(f"{self.where} must answer 200 for a picture, got {status} for {picture.locator}")
        return body

    # ---- inside

    def _url(self, *segments: str) -> str:
        return "/".join([str(self._base).rstrip("/"), *(_segment(part) for part in segments)])

    def _pages(self, url: str, group: str) -> Iterator[SourcePicture]:
        cursor: str | None = ""
        seen: set[str] = set()
        while cursor is not None:
            asked = f"{url}?limit={PAGE}" + (f"&cursor={quote(cursor, safe='')}" if cursor else "")
            page = self._json(asked, Page)
            assert page is not None
            for picture in page.pictures:
                yield self._listed(picture, group)
            cursor = page.next_cursor or None
            if cursor in seen:
                raise ServiceError(f"{self.where} must end its listing, it gave the cursor {cursor!r} twice; report it")
            seen.add(cursor or "")

    def _listed(self, picture: ListedPicture, group: str) -> SourcePicture:
        url = picture.url or self._url("pictures", picture.picture_id, "content")
        split = split_of(picture.split)
        if split is None:
            raise ServiceError(
                f"{self.where} must give a split of train, val or test, got {picture.split!r} for"
                f" {picture.picture_id!r}; report it"
            )
        return SourcePicture(
            picture_id=picture.picture_id,
            label=picture.labels.get(group, ""),
            pixset_id=picture.pixset_id,
            split=split,
            stamp=picture.sha256 or picture.etag,
            sha256=picture.sha256,
            locator=str(self._base.join(url)),
        )

    def _json(self, url: str, model: type[Model], *, missing_ok: bool = False) -> Model | None:
        status, body = self._get(url, max_bytes=_MAX_PAGE_BYTES)
        if status == 404 and missing_ok:
            return None
        if status in (401, 403):
            raise SettingError(
                f"{self.where} refused the token (it answered {status}); correct SILHOUETTE_PICTURE_SERVICE_TOKEN"
            )
        if status != 200:
            raise ServiceError(f"{self.where} must answer 200, got {status} for {url}; correct the URL or report it")
        try:
            return model.model_validate_json(body)
        except ValidationError as error:
            first: Any = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ServiceError(
                f"{self.where} must answer as docs/picture_service.openapi.yaml says: {where} {first['msg']} in {url}"
            ) from None

    def _get(self, url: str, *, max_bytes: int) -> tuple[int, bytes]:
        """Return status and body, after as many attempts as it takes and is allowed."""
        retries = stamina.retry_context(on=_again, attempts=ATTEMPTS, timeout=None, wait_initial=0.2, wait_max=10.0)
        try:
            for attempt in retries:
                with attempt:
                    return self._get_once(url, max_bytes=max_bytes)
        except httpx2.TooManyRedirects:
            raise ServiceError(f"{self.where} must not redirect more than {_MAX_REDIRECTS} times, {url} does") from None
        except (_BusyError, httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise ServiceError(
                f"{self.where} must answer, {url} did not in {ATTEMPTS} attempts"
                f" ({type(error).__name__.strip('_')}: {error}); start it or correct SILHOUETTE_PICTURE_SERVICE_URL,"
                " then run again: what is done stays"
            ) from error
        raise AssertionError("stamina neither returned nor raised")

    def _get_once(self, url: str, *, max_bytes: int) -> tuple[int, bytes]:
        target = httpx2.URL(url)
        headers = {}
        if self._token and _origin(target) == _origin(self._base):
            headers["Authorization"] = f"Bearer {self._token}"
        with self._client.stream("GET", target, headers=headers) as response:
            if response.status_code in _TRY_AGAIN:
                raise _BusyError(response.status_code, _retry_after(response.headers.get("Retry-After", "")))
            declared = response.headers.get("Content-Length", "0")
            body = bytearray()
            if declared.isdigit() and int(declared) > max_bytes:
                raise PictureError("too_many_bytes", f"at most {max_bytes} bytes are read, the server has {declared}")
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > max_bytes:
                    raise PictureError("too_many_bytes", f"at most {max_bytes} bytes are read, the server sends more")
            return response.status_code, bytes(body)


def _segment(text: str) -> str:
    """Quote one segment of a path; ``.`` and ``..`` would be taken for folders."""
    return quote(text, safe="") if text.strip(".") else text.replace(".", "%2E")


def _origin(url: httpx2.URL) -> tuple[str, str, int]:
    return url.scheme, url.host, url.port or {"http": 80, "https": 443}.get(url.scheme, 0)


def _retry_after(value: str) -> float | None:
    """Return the seconds that a Retry-After header asks for; its date form is treated as absent."""
    return float(value) if value.isascii() and value.isdigit() else None
