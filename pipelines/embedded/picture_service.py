"""The picture service in miniature: serves sample groups as docs/picture_service.openapi.yaml describes.

``python -m pipelines.embedded.picture_service --port N --root FOLDER`` serves, on loopback, every group under FOLDER
(FOLDER itself, or its sub-folders): a group is a folder with ``group.json`` (``name``, ``classes``) and
``pictures.jsonl`` (a line a picture: ``picture_id``, ``file``, ``label``, ``pixset_id``, ``split``). The bearer token
is SILHOUETTE_PICTURE_SERVICE_TOKEN. Files are read when asked for and their ETag is the SHA-256 of what is really
there, so that groups may be added and pictures changed while it runs. Documents that come back (`ret_meta`) are kept in
a file beside (`pipelines.embedded.returned_documents`).
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import hmac
import json
import mimetypes
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from pipelines.embedded.returned_documents import DOCUMENTS_NAME, Received, ReturnedDocuments
from silhouette.contracts import ret_meta
from silhouette.errors import InputError, SettingError, SilhouetteError

DEFAULT_LIMIT, MAX_LIMIT = 100, 1000
MAX_DOCUMENT_BYTES = 1 << 20
TOKEN_VARIABLE = "SILHOUETTE_PICTURE_SERVICE_TOKEN"  # noqa: S105  the variable's name, no token


class _Refusal(Exception):  # noqa: N818  an answer, not a fault
    """An answer other than 200."""

    def __init__(self, status: int, error: str, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": error, "message": message, **more}


class Catalogue:
    """The groups below a folder, read again whenever their files change."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lines: dict[Path, tuple[tuple[int, int], dict[str, dict[str, Any]]]] = {}
        self._digests: dict[Path, tuple[tuple[int, int], str]] = {}

    def groups(self) -> dict[str, tuple[Path, list[str]]]:
        """Return folder and classes of every group by name."""
        found = {}
        folders = [self._root, *sorted(path for path in self._root.iterdir() if path.is_dir())]
        for folder in folders:
            try:
                head = json.loads((folder / "group.json").read_text(encoding="utf-8"))
                lines = folder / "pictures.jsonl"
            except (FileNotFoundError, json.JSONDecodeError):  # no group, or one that is being written
                continue
            if lines.is_file():
                found[str(head.get("group") or head["name"])] = (folder, [str(name) for name in head["classes"]])
        return found

    def pictures(self, group: str, folder: Path) -> list[dict[str, Any]]:
        """Return the metadata of a group's pictures, sorted by id."""
        described = (self._describe(group, folder, record) for record in self._records(folder).values())
        return [item for item in described if item is not None]

    def picture(self, picture_id: str) -> tuple[dict[str, Any], Path] | None:
        """Return a picture's metadata and file, or None; one in several groups carries all its labels."""
        found: tuple[dict[str, Any], Path] | None = None
        for group, (folder, _) in self.groups().items():
            record = self._records(folder).get(picture_id)
            described = record and self._describe(group, folder, record)
            if not record or not described:
                continue
            if found:
                found[0]["labels"].update(described["labels"])
            else:
                found = described, folder / str(record["file"])
        return found

    def pixset(self, pixset_id: str) -> list[dict[str, Any]]:
        """Return the metadata of a pixset's pictures, sorted by id."""
        names = {
            name
            for folder, _ in self.groups().values()
            for name, record in self._records(folder).items()
            if pixset_id and record.get("pixset_id") == pixset_id
        }
        return [found[0] for found in map(self.picture, sorted(names)) if found]

    def _records(self, folder: Path) -> dict[str, dict[str, Any]]:
        path = folder / "pictures.jsonl"
        stamp = _stamp(path)
        if self._lines.get(path, (None,))[0] != stamp:
            lines = path.read_text(encoding="utf-8").splitlines()
            records = {str(record["picture_id"]): record for record in map(json.loads, filter(str.strip, lines))}
            self._lines[path] = (stamp, dict(sorted(records.items())))
        return self._lines[path][1]

    def _describe(self, group: str, folder: Path, record: Mapping[str, Any]) -> dict[str, Any] | None:
        path = folder / str(record["file"])
        if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
            return None  # outside the group's folder, or gone: not a picture of ours
        sha256 = self._digest(path)
        described = {
            "picture_id": str(record["picture_id"]),
            "labels": {group: str(record["label"])} if record.get("label") else {},
            "pixset_id": str(record.get("pixset_id") or ""),
            "split": str(record.get("split") or ""),
            "etag": f'"{sha256}"',
            "sha256": sha256,
            "size_bytes": path.stat().st_size,
            "content_type": mimetypes.guess_type(path.name)[0] or "application/octet-stream",
            "url": f"/pictures/{quote(str(record['picture_id']), safe='')}/content",
        }
        size = {name: int(record[name]) for name in ("width", "height") if record.get(name)}
        return {**described, **size}

    def _digest(self, path: Path) -> str:
        stamp = _stamp(path)
        if self._digests.get(path, (None,))[0] != stamp:
            self._digests[path] = (stamp, hashlib.sha256(path.read_bytes()).hexdigest())
        return self._digests[path][1]


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def create_app(root: Path, token: str, *, documents: Path | None = None) -> Starlette:
    """Make the ASGI application.

    Args:
        root: A group's folder, or a folder of such.
        token: What ``Authorization: Bearer`` must carry.
        documents: The file that keeps the documents that come back; None: below `root`.

    Raises:
        SettingError: The token is empty, or `root` is no folder.
    """
    if not token:
        raise SettingError(f"{TOKEN_VARIABLE} must be set, it is empty; the picture service serves nobody without it")
    if not root.is_dir():
        raise SettingError(f"--root must be a folder, {root} is none; make the samples first")
    catalogue, returned = Catalogue(root), ReturnedDocuments(documents or root / DOCUMENTS_NAME)

    async def answer(request: Request) -> Response:
        segments = [unquote(part) for part in _raw_path(request).split("/")[1:]]
        if segments == ["health"]:
            return JSONResponse({"status": "ok"})
        try:
            _authorise(request, token)
            if request.method == "PUT":
                body = await _document(request)
                return await run_in_threadpool(_put, catalogue, returned, request, segments, body)
            return await run_in_threadpool(_route, catalogue, returned, request, segments)
        except _Refusal as refusal:
            headers = {"WWW-Authenticate": "Bearer"} if refusal.status == 401 else None
            return JSONResponse(refusal.body, refusal.status, headers)

    # one route: a name may hold %2F, which a router's path parameters would take apart
    return Starlette(routes=[Route("/{rest:path}", answer, methods=["GET", "PUT"])])


def _raw_path(request: Request) -> str:
    raw: bytes = request.scope.get("raw_path") or quote(request.scope["path"]).encode()
    return raw.decode("ascii", "replace").partition("?")[0]


def _authorise(request: Request, token: str) -> None:
    given = request.headers.get("authorization", "").encode()
    if not hmac.compare_digest(given, f"Bearer {token}".encode()):
        raise _Refusal(401, "unauthorized", "the header Authorization must be `Bearer <token>` with the right token")


async def _document(request: Request) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_DOCUMENT_BYTES:
            raise _Refusal(413, "too_large", f"a document has at most {MAX_DOCUMENT_BYTES} bytes")
    return bytes(body)


def _put(
    catalogue: Catalogue, returned: ReturnedDocuments, request: Request, segments: list[str], body: bytes
) -> Response:
    """Take a document: of a picture that is here, as it is here, in a schema that is known."""
    match segments:
        case ["pictures", picture_id, "ret_meta"]:
            picture, _ = _picture(catalogue, picture_id)
        case _:
            raise _Refusal(404, "not_found", "there is no such address; see docs/picture_service.openapi.yaml")
    try:
        document = ret_meta.read(body, where="the body")
    except InputError as error:
        raise _Refusal(422, "bad_document", str(error)) from None
    if request.headers.get("idempotency-key", "") != document.content_digest:
        raise _Refusal(422, "bad_key", "Idempotency-Key must be the document's content_digest")
    if document.picture.picture_id != picture_id:
        raise _Refusal(422, "bad_document", f"the document must be of picture {picture_id!r}")
    if document.picture.sha256 != picture["sha256"]:
        raise _Refusal(409, "picture_changed", f"the document is of other bytes than picture {picture_id!r} has")
    received, is_new = returned.take(picture_id, document.content_digest, body)
    return JSONResponse(_receipt(received), 201 if is_new else 200)


def _receipt(received: Received) -> dict[str, Any]:
    return {"receipt": received.receipt, "content_digest": received.content_digest, "received_at": received.at}


def _route(catalogue: Catalogue, returned: ReturnedDocuments, request: Request, segments: list[str]) -> Response:
    match segments:
        case ["groups"]:
            groups = catalogue.groups().items()
            return JSONResponse({"groups": [_group(catalogue, name, *found) for name, found in groups]})
        case ["groups", group]:
            return JSONResponse(_group(catalogue, group, *_known(catalogue, group)))
        case ["groups", group, "pictures"]:
            return JSONResponse(_page(request, catalogue.pictures(group, _known(catalogue, group)[0])))
        case ["pixsets", pixset, "pictures"]:
            pictures = catalogue.pixset(pixset)
            if not pictures:
                raise _Refusal(404, "unknown_pixset", f"there is no pixset {pixset!r}")
            return JSONResponse(_page(request, pictures))
        case ["pictures", picture_id]:
            return JSONResponse(_picture(catalogue, picture_id)[0])
        case ["pictures", picture_id, "content"]:
            return _content(request, *_picture(catalogue, picture_id))
        case ["pictures", picture_id, "ret_meta"]:
            _picture(catalogue, picture_id)
            received = returned.latest(picture_id)
            if received is None:
                raise _Refusal(404, "no_ret_meta", f"there is no document of picture {picture_id!r}")
            return JSONResponse({**_receipt(received), "document": json.loads(received.document)})
    raise _Refusal(404, "not_found", "there is no such address; see docs/picture_service.openapi.yaml")


def _known(catalogue: Catalogue, group: str) -> tuple[Path, list[str]]:
    groups = catalogue.groups()
    if group not in groups:
        raise _Refusal(404, "unknown_group", f"there is no group {group!r}", known=sorted(groups))
    return groups[group]


def _group(catalogue: Catalogue, name: str, folder: Path, classes: list[str]) -> dict[str, Any]:
    return {"group": name, "classes": classes, "pictures": len(catalogue.pictures(name, folder))}


def _picture(catalogue: Catalogue, picture_id: str) -> tuple[dict[str, Any], Path]:
    found = catalogue.picture(picture_id)
    if found is None:
        raise _Refusal(404, "unknown_picture", f"there is no picture {picture_id!r}")
    return found


def _page(request: Request, pictures: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Cut a page: the cursor names the last id that was sent, so that it survives pictures that come and go."""
    given = request.query_params.get("limit", str(DEFAULT_LIMIT))
    if not (given.isascii() and given.isdigit()) or not 1 <= int(given) <= MAX_LIMIT:
        raise _Refusal(400, "bad_limit", f"limit must be a whole number from 1 to {MAX_LIMIT}, got {given!r}")
    cursor = request.query_params.get("cursor", "")
    try:
        after = base64.b64decode(cursor.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError):
        raise _Refusal(400, "bad_cursor", f"cursor must be a next_cursor of an earlier page, got {cursor!r}") from None
    rest = [picture for picture in pictures if not cursor or picture["picture_id"] > after]
    page = rest[: int(given)]
    more = len(rest) > len(page)
    last = base64.urlsafe_b64encode(page[-1]["picture_id"].encode()).decode() if more else None
    return {"pictures": page, "next_cursor": last}


def _content(request: Request, picture: Mapping[str, Any], path: Path) -> Response:
    headers = {"ETag": picture["etag"], "X-Content-Type-Options": "nosniff"}
    wanted = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if picture["etag"] in wanted or wanted == ["*"]:
        return Response(status_code=304, headers=headers)
    return FileResponse(path, media_type=picture["content_type"], headers=headers)


def main(arguments: Sequence[str] | None = None, *, serve: Callable[..., None] | None = None) -> int:
    """Serve until stopped; return the exit code."""
    import uvicorn

    parser = argparse.ArgumentParser(prog="python -m pipelines.embedded.picture_service", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; default: %(default)s")
    parser.add_argument("--port", type=int, required=True, help="port to listen on")
    parser.add_argument("--root", type=Path, required=True, help="folder of a group, or of several")
    parser.add_argument("--documents", type=Path, help="file that keeps what comes back; default: in the root folder")
    options = parser.parse_args(arguments)
    try:
        app = create_app(options.root, os.environ.get(TOKEN_VARIABLE, ""), documents=options.documents)
    except SilhouetteError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    (serve or uvicorn.run)(app, host=options.host, port=options.port, log_level="warning", access_log=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
