"""The picture service over HTTP: its only client, and the owner of the bearer token.

Reads what docs/picture_service.openapi.yaml describes, through fetcher.py, which holds the limits and the guard. The
token goes to the service's own origin and nowhere else: not to another host that a listing's `url` names, not along
a redirect.

A fault of one picture is a `PictureError` of that picture; only a listing that cannot be had is a `ServiceError`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Annotated, Any, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from silhouette.contracts.dataset import RefusedPicture
from silhouette.errors import PictureError, ServiceError, SettingError
from silhouette.picture_source import addresses
from silhouette.picture_source.fetcher import Fetched, Fetcher
from silhouette.picture_source.listing import SourcePicture, split_of
from silhouette.settings import PictureServiceSettings

PAGE = 1000
_MAX_PAGES = 100_000  # a hundred million pictures: a listing that invents cursors would fill the disk
_MAX_PAGE_BYTES = 16 << 20
_SHOWN = 200
_REFUSALS = {404: "missing", 410: "withdrawn", 401: "forbidden", 403: "forbidden", 451: "forbidden"}
_NO_TEXT = re.compile("[\0\ud800-\udfff]")  # what neither PostgreSQL nor UTF-8 can hold
_SURROGATE_JSON = re.compile(rb"\\u[dD][89a-fA-F]")

Entry = SourcePicture | RefusedPicture
"""One line of a listing; refused is what cannot be stored as text, or lies where no URL leads."""


class Answer(BaseModel):
    """What the service says, read."""

    model_config = ConfigDict(extra="ignore")  # a service may tell more than we know


class Group(Answer):
    """A group as the service describes it."""

    group: str
    classes: Annotated[list[str], Field(fail_fast=True)]  # a long list of errors would fill the memory


class Groups(Answer):
    """``GET /groups``."""

    groups: Annotated[list[Group], Field(fail_fast=True)]


class ListedPicture(Answer):
    """A picture's metadata."""

    picture_id: str = Field(min_length=1)
    labels: dict[str, Any] = {}
    """Only the one of the group that is asked for matters, so only that one is checked."""
    pixset_id: str = ""
    split: str = ""
    etag: str = Field(min_length=1)
    sha256: str = Field(default="", pattern="^([0-9a-f]{64})?$")
    url: str = ""


class Page(Answer):
    """One page of a listing; `next_cursor` null ends it."""

    pictures: Annotated[list[ListedPicture], Field(fail_fast=True)]
    next_cursor: str | None = None


Model = TypeVar("Model", bound=Answer)


class PictureService:
    """An open connection to the picture service; safe to share between threads.

    Args:
        settings: Where it is, the token, and what else may be at an address that is not public.
        workers: Connections at most.
        fetcher: Instead of one made from `settings`, for tests.

    Attributes:
        where: The service in words, with its address.
        kind: The service in words that may be stored anywhere.
        origin: Whose names the pictures' ids are.
        by_content: Pictures are known by their ids.
    """

    kind = "the picture service"
    origin = "service"
    by_content = False

    def __init__(self, settings: PictureServiceSettings, *, workers: int = 8, fetcher: Fetcher | None = None) -> None:
        rule = "SILHOUETTE_PICTURE_SERVICE_URL must be http://host:port"
        try:
            self._base = addresses.parse(settings.url.rstrip("/"))
        except PictureError as error:  # the value is not repeated: it may hold a password
            raise SettingError(f"{rule} ({error.detail}); correct it") from None
        if "?" in self._base.path:
            raise SettingError(f"{rule} without a query, got {self._base.shown()}; correct it")
        if not _sendable(settings.token):
            raise SettingError(
                "SILHOUETTE_PICTURE_SERVICE_TOKEN must be one line of printable ASCII, it is not; correct it"
            )
        self.where = f"the picture service at {str(self._base).rstrip('/')}"
        self._fetcher = fetcher or Fetcher(
            token=settings.token,
            token_origin=self._base.origin,
            allowed={*_allowed(settings), (self._base.host, self._base.port)},
            workers=workers,
        )

    def close(self) -> None:
        """Close the connections."""
        self._fetcher.close()

    def groups(self) -> list[str]:
        """Return the names of all groups."""
        answer = self._json(self._url("groups"), Groups)
        assert answer is not None
        return [item.group for item in answer.groups]

    def classes(self, group: str) -> list[str] | None:
        """Return a group's classes in order, or None when the service does not know the group."""
        answer = None if _NO_TEXT.search(group) else self._json(self._url("groups", group), Group, missing_ok=True)
        if answer and "\0" in "".join(answer.classes):
            raise self._against_contract(f"classes of {group!r} must be text without NUL and lone surrogates")
        return answer.classes if answer else None

    def pictures(self, group: str) -> Iterator[Entry]:
        """Yield all pictures of a group, page by page; one may come twice while the listing changes."""
        url = self._url("groups", group, "pictures")
        first = self._page(url, "")
        assert first is not None
        yield from self._entries(url, first, group)

    def pixset_pictures(self, pixset: str, group: str = "") -> Iterator[Entry] | None:
        """Return all pictures of a pixset with their labels of `group`, None when the service does not know it."""
        if _NO_TEXT.search(pixset):
            return None
        url = self._url("pixsets", pixset, "pictures")
        first = self._page(url, "", missing_ok=True)
        return None if first is None else self._entries(url, first, group)

    def fetch(self, picture: SourcePicture, *, max_bytes: int, etag: str = "") -> Fetched:
        """Return a picture's bytes, or that those which `etag` names are current.

        Raises:
            PictureError: The picture is not there (``missing``, ``withdrawn``), is refused to us (``forbidden``), is
                larger than `max_bytes` (``too_many_bytes``), is where we do not go (``bad_url``,
                ``forbidden_address``, ``redirect_loop``), or could not be had in all attempts (``unavailable``):
                many of those in succession mean that the service is down.
        """
        asked = etag if _sendable(etag) else ""
        headers = {"If-None-Match": asked} if asked else {}
        answer = self._fetcher.get(picture.locator, max_bytes=max_bytes, headers=headers)
        if answer.status in _REFUSALS:
            raise PictureError(_REFUSALS[answer.status], f"the server answered {answer.status}")
        if answer.status == 304 and asked:
            return Fetched(data=None, etag=asked)
        if answer.status != 200:
            raise PictureError("unavailable", f"the server must answer 200 for a picture, got {answer.status}")
        found = answer.headers.get("etag", "").strip()
        return Fetched(data=answer.body, etag=found if _sendable(found) else "")

    # ---- inside

    def _url(self, *segments: str) -> str:
        return "/".join([str(self._base).rstrip("/"), *(_segment(part) for part in segments)])

    def _page(self, url: str, cursor: str, *, missing_ok: bool = False) -> Page | None:
        asked = f"{url}?limit={PAGE}" + (f"&cursor={quote(cursor, safe='')}" if cursor else "")
        return self._json(asked, Page, missing_ok=missing_ok)

    def _entries(self, url: str, page: Page, group: str) -> Iterator[Entry]:
        seen: set[str] = set()
        while True:
            for picture in page.pictures:
                yield self._listed(picture, group)
            cursor = page.next_cursor or ""
            if not cursor:
                return
            if cursor in seen:
                raise ServiceError(
                    f"{self.where} must end its listing, it gave the cursor {cursor[:80]!r} twice; report it"
                )
            seen.add(cursor)
            if len(seen) > _MAX_PAGES:
                raise ServiceError(f"{self.where} must end its listing, it has more than {_MAX_PAGES} pages; report it")
            following = self._page(url, cursor)
            assert following is not None
            page = following

    def _listed(self, picture: ListedPicture, group: str) -> Entry:
        label, shown = picture.labels.get(group, ""), _shown(picture.picture_id)
        if not isinstance(label, str):
            raise self._against_contract(f"the label of {shown!r} must be a text, got {type(label).__name__}")
        if "\0" in f"{picture.picture_id}{label}{picture.pixset_id}":
            detail = "id, label and pixset must be text without NUL and lone surrogates"
            return RefusedPicture(picture_id=shown, reason="bad_name", detail=detail)
        split = split_of(picture.split)
        if split is None:
            raise self._against_contract(
                f"a split must be train, val or test, got {picture.split[:_SHOWN]!r} for {shown!r}"
            )
        url = self._url("pictures", picture.picture_id, "content")
        if picture.url:
            try:
                url = str(addresses.parse(picture.url, base=self._base))
            except PictureError as error:
                return RefusedPicture(picture_id=picture.picture_id, reason=error.reason, detail=error.detail)
        return SourcePicture(
            picture_id=picture.picture_id,
            label=label,
            pixset_id=picture.pixset_id,
            split=split,
            stamp=picture.sha256 or picture.etag,
            sha256=picture.sha256,
            locator=url,
        )

    def _json(self, url: str, model: type[Model], *, missing_ok: bool = False) -> Model | None:
        status, body = self._get(url)
        if status == 404 and missing_ok:
            return None
        if status in (401, 403):
            raise SettingError(
                f"{self.where} refused the token (it answered {status}); correct SILHOUETTE_PICTURE_SERVICE_TOKEN"
            )
        if status != 200:
            raise ServiceError(f"{self.where} must answer 200, got {status} for {url}; correct the URL or report it")
        try:
            return read_answer(model, body)
        except ValidationError as error:
            first: Any = error.errors(include_input=False, include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise self._against_contract(f"{place[:_SHOWN]} {first['msg'][:_SHOWN]} in {url}") from None

    def _against_contract(self, detail: str) -> ServiceError:
        says = " ".join(detail.split())  # one line, whatever the service's names contain
        return ServiceError(f"{self.where} must answer as docs/picture_service.openapi.yaml says: {says}; report it")

    def _get(self, url: str) -> tuple[int, bytes]:
        """Return status and body of what must be had: a fault of it is a fault of the service."""
        try:
            answer = self._fetcher.get(url, max_bytes=_MAX_PAGE_BYTES)
        except PictureError as error:
            if error.reason == "unavailable":
                raise ServiceError(
                    f"{self.where} must answer, {error.detail}; start it or correct SILHOUETTE_PICTURE_SERVICE_URL,"
                    " then run again: what is done stays"
                ) from error
            raise ServiceError(f"{self.where} must answer {url} itself: {error}; report it") from error
        return answer.status, answer.body


def _allowed(settings: PictureServiceSettings) -> set[tuple[str, int]]:
    try:
        return {(addresses.normal_host(host), port) for host, port in settings.allowed_addresses}
    except (PictureError, ValueError) as error:
        raise SettingError(f"SILHOUETTE_ALLOWED_ADDRESSES must be host:port,host:port ({error}); correct it") from None


def read_answer(model: type[Model], body: bytes) -> Model:
    """Read an answer; NUL and lone surrogates become NUL and an escape, so that they can be told by the NUL."""
    try:
        answer = model.model_validate_json(body)
        if rb"\u0000" not in body:
            return answer
    except ValidationError:
        if not _SURROGATE_JSON.search(body):
            raise
    try:
        content = _marked(json.loads(body))
    except (ValueError, RecursionError):
        return model.model_validate_json(body)  # says what is wrong
    return model.model_validate(content)


def _marked(value: Any) -> Any:
    if isinstance(value, str):
        return _NO_TEXT.sub(lambda found: f"\0u{ord(found[0]):04x}", value)
    if isinstance(value, list):
        return [_marked(item) for item in value]
    if isinstance(value, dict):
        return {_marked(key): _marked(item) for key, item in value.items()}
    return value


def _shown(name: str) -> str:
    """Return a name that can be stored and read, whatever it was."""
    return name.replace("\0", "\\")[:_SHOWN]


def _segment(text: str) -> str:
    """Quote one segment of a path; ``.`` and ``..`` would be taken for folders."""
    return quote(text, safe="") if text.strip(".") else text.replace(".", "%2E")


def _sendable(value: str) -> bool:
    """Tell whether a text can be the value of a header."""
    return value.isascii() and (value.isprintable() or not value) and len(value) <= 4000
