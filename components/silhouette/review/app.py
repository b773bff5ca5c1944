"""The addresses of the review page: the page itself, its pictures, and the JSON that its script asks for."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from silhouette.database import doubts
from silhouette.errors import InputError, PictureError, SilhouetteError
from silhouette.review import asking
from silhouette.review.asking import MOST_AT_ONCE, DecideAsked, FittingAsked, ModelAsked, PageAsked, UndoAsked
from silhouette.review.desk import REASONS
from silhouette.review.guard import Guard
from silhouette.review.pictures import NotShownError
from silhouette.store import MissingObjectError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp

    from silhouette.database.review_queue import Place
    from silhouette.review.connections import Connections
    from silhouette.review.desk import Desk
    from silhouette.review.guard import Access
    from silhouette.review.pictures import Pictures, Served
    from silhouette.review.preparation import Preparation
    from silhouette.store import Store

MAX_BODY_BYTES = 1 << 18  # 500 verdicts take 50 kB
_MEDIA_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml", "html": "text/html"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Room:
    """What the handlers work with; `model` is the digest, or the start of one, to begin with; empty: the latest."""

    desk: Desk
    pictures: Pictures
    preparation: Preparation
    connections: Connections
    store: Store
    model: str = ""


def create_app(room: Room, access: Access) -> ASGIApp:
    """Make the ASGI application.

    Args:
        room: What it shows and does.
        access: Who may ask.
    """
    handlers = _Handlers(room)
    routes = [
        *_page(),
        Route("/health", _health, methods=["GET"]),
        Route("/ready", handlers.ready, methods=["GET"]),
        Route("/api/group", handlers.group, methods=["GET"]),
        Route("/api/counts", handlers.counts, methods=["GET"]),
        Route("/api/pictures", handlers.page, methods=["GET"]),
        Route("/api/fitting", handlers.fitting, methods=["GET"]),
        Route("/api/pictures/{sha256}", handlers.detail, methods=["GET"]),
        Route("/api/verdicts", handlers.decide, methods=["POST"]),
        Route("/api/undo", handlers.undo, methods=["POST"]),
        Route("/thumbnails/{sha256}", handlers.thumbnail, methods=["GET"]),
        Route("/pictures/{sha256}", handlers.picture, methods=["GET"]),
    ]
    return Guard(Starlette(routes=routes, exception_handlers={SilhouetteError: _refuse}), access)


def _health(_: Request) -> Response:
    """Say that the process is alive; nothing is asked of the services."""
    return JSONResponse({"status": "ok"})


class _Handlers:
    def __init__(self, room: Room) -> None:
        self._room = room
        self._known: list[str] = []  # models, the latest first; asked for again when the page does, or names another

    def ready(self, _: Request) -> Response:
        """Say whether PostgreSQL and the store answer."""
        self._room.connections.run(doubts.newest)
        self._room.store.exists("installation-id")
        return JSONResponse({"status": "ready"})

    def group(self, request: Request) -> Response:
        """What the page needs to know once."""
        desk = self._room.desk
        models = desk.models()
        self._known = [item.model_digest for item in models]
        return _json(
            {
                "group": desk.group,
                "models": models,
                "model": resolve_model(self._known, self._room.model) if models else "",
                "labels": desk.labels(),
                "reviewer": request.scope["reviewer"],
                "reasons": REASONS,
                "most_at_once": MOST_AT_ONCE,
            }
        )

    def counts(self, request: Request) -> Response:
        """How many there are, by status, under the filters; and how far the preparation is."""
        asked = asking.from_query(PageAsked, request.query_params)
        model_digest = self._model(asked.model)
        found = self._room.desk.count(model_digest=model_digest, filters=asked.filters())
        return _json(
            {
                "statuses": found.statuses,
                "total": found.total,
                "prepared": found.prepared,
                "problem": self._room.preparation.problem,
            }
        )

    def page(self, request: Request) -> Response:
        """A page of the queue."""
        asked = asking.from_query(PageAsked, request.query_params)
        page = self._room.desk.page(
            model_digest=self._model(asked.model), filters=asked.filters(), order=asked.order, after=asked.after,
            limit=asked.limit,
        )  # fmt: skip
        return _json({"cards": page.cards, "after": _after(page.after)})

    def fitting(self, request: Request) -> Response:
        """All pictures that fit the filters, some thousands at once, for one verdict on them."""
        asked = asking.from_query(FittingAsked, request.query_params)
        pictures, after = self._room.desk.fitting(
            model_digest=self._model(asked.model), filters=asked.filters(), after=asked.after
        )
        return _json({"pictures": pictures, "after": _after(after)})

    def detail(self, request: Request) -> Response:
        """One picture, exactly, with its history."""
        asked = asking.from_query(ModelAsked, request.query_params)
        seen = _sha256(request)
        return _json(self._room.desk.detail(model_digest=self._model(asked.model), sha256=seen))

    async def decide(self, request: Request) -> Response:
        """Give a verdict on some pictures."""
        asked = asking.from_body(DecideAsked, await _body(request))
        return await self._answer(
            lambda: self._room.desk.decide(
                model_digest=self._model(asked.model), status=asked.status, reason=asked.reason,
                pictures=asked.pictures, reviewer=request.scope["reviewer"],
            )
        )  # fmt: skip

    async def undo(self, request: Request) -> Response:
        """Take verdicts back."""
        asked = asking.from_body(UndoAsked, await _body(request))
        return await self._answer(
            lambda: self._room.desk.undo(
                model_digest=self._model(asked.model), pictures=asked.pictures, reviewer=request.scope["reviewer"]
            )
        )

    def thumbnail(self, request: Request) -> Response:
        """A small JPEG."""
        return _picture(request, self._room.pictures.thumbnail)

    def picture(self, request: Request) -> Response:
        """The picture as it is worked with."""
        return _picture(request, self._room.pictures.picture)

    async def _answer(self, work: Callable[[], Any]) -> Response:
        return _json({"outcomes": await run_in_threadpool(work)})

    def _model(self, given: str) -> str:
        """Return the digest that is meant, and have it prepared."""
        wanted = given or self._room.model
        if wanted not in self._known:
            self._known = [item.model_digest for item in self._room.desk.models()]
        found = resolve_model(self._known, wanted)
        self._room.preparation.want(found)
        return found


def _after(place: Place | None) -> str | None:
    return f"{place.doubt!r}:{place.segmentation_id}" if place else None


def resolve_model(known: list[str], given: str) -> str:
    """Return the digest of a model of the group by its start; the first one known when none is given.

    Raises:
        InputError: No model has seen the group, or none or several start so.
    """
    if not known:
        raise InputError(
            "a group must have been segmented to be reviewed, no model has seen one of its pictures;"
            " run `silhouette segment` first"
        )
    fitting = [digest for digest in known if digest.startswith(given)]
    if not given or len(fitting) == 1:
        return fitting[0]
    listed = ", ".join(digest[:12] for digest in known)
    raise InputError(f"a model must be one that has seen the group ({listed}), got {given[:64]!r}; name one of these")


def _page() -> list[Route]:
    """Return the routes of the page's own files; the HTML is at the root."""
    routes = []
    for file in (files("silhouette.review") / "page").iterdir():
        kind = file.name.rpartition(".")[2]
        address = "/" if kind == "html" else f"/{file.name}"
        routes.append(Route(address, _file(file.read_bytes(), _MEDIA_TYPES[kind]), methods=["GET"]))
    return routes


def _file(content: bytes, media_type: str) -> Callable[[Request], Response]:
    def answer(_: Request) -> Response:
        return Response(content, media_type=media_type, headers={"Cache-Control": "no-cache"})

    return answer


def _json(content: Any) -> Response:
    text = json.dumps(content, default=_plain, ensure_ascii=False, allow_nan=False)
    return Response(text.encode("utf-8", "replace"), media_type="application/json")


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
    return value.isoformat()


def _sha256(request: Request) -> str:
    given = str(request.path_params["sha256"])
    if len(given) != 64 or not set(given) <= set("0123456789abcdef"):
        raise NotShownError(f"a picture is named by its SHA-256, got {given[:80]!r}; reload the page")
    return given


def _picture(request: Request, serve: Callable[[str], Served]) -> Response:
    sha256 = _sha256(request)
    served = serve(sha256)  # also when the browser has it: it may be on the badlist since
    # by the hash of its bytes: what was got once never changes
    headers = {"ETag": f'"{sha256}"', "Cache-Control": "private, max-age=86400, immutable"}
    if f'"{sha256}"' in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(served.data, media_type=served.media_type, headers=headers)


async def _body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise InputError(f"a request must have at most {MAX_BODY_BYTES} bytes; choose fewer pictures at once")
    return body


def _refuse(_: Request, error: Exception) -> Response:
    if isinstance(error, NotShownError | MissingObjectError):
        status = 404
    elif isinstance(error, PictureError):
        status = 422
    else:
        status = 400 if isinstance(error, InputError) else 503
    return JSONResponse({"error": " ".join(str(error).split())}, status)
