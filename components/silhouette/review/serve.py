"""Serve the review page of a group until somebody stops it."""

from __future__ import annotations

import errno
import ipaddress
import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from silhouette.database import groups, review_queue
from silhouette.errors import InputError, ServiceError
from silhouette.review.app import Room, create_app, resolve_model
from silhouette.review.connections import Connections
from silhouette.review.desk import Desk
from silhouette.review.guard import MAX_REVIEWER, Access
from silhouette.review.pictures import Pictures
from silhouette.review.preparation import Preparation

if TYPE_CHECKING:
    import psycopg
    import uvicorn
    from starlette.types import ASGIApp

    from silhouette.store import Store

_STOP_S = 3  # what runs is given this long to end


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the page is served, and for whom.

    Attributes:
        reviewer: Who reviews; not used behind a proxy, which says who.
        bind: The address to listen on.
        port: To listen on; 0: a free one.
        user_header: The header in which a proxy says who asks; empty: a token is made instead.
        hosts: Further names that browsers may call us by, ``host`` or ``host:port``.
        base_path: Below which a proxy has the page.
    """

    reviewer: str = ""
    bind: str = "127.0.0.1"
    port: int = 0
    user_header: str = ""
    hosts: Sequence[str] = field(default=())
    base_path: str = ""


def serve(
    *,
    group: str,
    model: str,
    store: Store,
    place: Place,
    told: Callable[[str], None],
    dsn: str | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        group: Its name.
        model: The digest of the segmenter, or its start; empty: the one that saw the group last.
        store: Has the pictures.
        place: Where and for whom.
        told: Called with the address once it is listened on; behind a proxy without a token.
        dsn: Of PostgreSQL; None: from the environment.

    Raises:
        InputError: The group is unknown, empty or not segmented, the place is not to be served, or the port is taken.
        ServiceError: PostgreSQL cannot be reached.
        KeyboardInterrupt: SIGINT came; everything was closed. (It may also return.)
    """
    import uvicorn

    _check(place)
    connections = Connections(dsn)
    preparation: Preparation | None = None
    try:
        group_id, model_digest = connections.run(lambda connection: _found(connection, group, model))
        listening = _listen(place)
        with listening:
            port = int(listening.getsockname()[1])
            access = _access(place, port)
            preparation = Preparation(connections, group_id=group_id)
            preparation.want(model_digest)
            app = create_app(
                Room(
                    desk=Desk(connections, group=group, group_id=group_id),
                    pictures=Pictures(store, connections, group_id=group_id),
                    preparation=preparation,
                    connections=connections,
                    store=store,
                    model=model_digest if model else "",
                ),
                access,
            )
            preparation.start()
            told(_address(place, port, access))
            uvicorn.Server(_settings(app)).run(sockets=[listening])
    finally:
        if preparation is not None:
            preparation.stop()
        connections.close()


def _settings(app: ASGIApp) -> uvicorn.Config:
    import uvicorn

    return uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,  # it would show the token
        lifespan="off",
        ws="none",
        proxy_headers=False,  # who asks is told by our own header only
        server_header=False,
        timeout_graceful_shutdown=_STOP_S,
        limit_concurrency=200,
    )


def _found(connection: psycopg.Connection, group: str, model: str) -> tuple[int, str]:
    group_id = groups.find_group(connection, group)
    if not review_queue.labels_of(connection, group_id):
        raise InputError(f"a group must have pictures to be reviewed, {group!r} has none; run `silhouette download`")
    known = [item.model_digest for item in groups.models_of(connection, group_id)]
    return group_id, resolve_model(known, model)


def _check(place: Place) -> None:
    try:
        loopback = place.bind == "localhost" or ipaddress.ip_address(place.bind).is_loopback
    except ValueError:
        raise InputError(f"--bind must be an IP address, got {place.bind!r}; take 127.0.0.1") from None
    if not loopback and not place.user_header:
        raise InputError(
            f"--bind must be a loopback address unless a proxy says who asks, got {place.bind};"
            " leave it out, or say --user-header"
        )
    if place.user_header and not place.hosts:
        raise InputError("--user-header needs the name under which the proxy is reached, got none; say --allow-host")
    if not place.user_header and not 1 <= len(place.reviewer.strip()) <= MAX_REVIEWER:
        raise InputError(
            f"a reviewer must have a name of 1 to {MAX_REVIEWER} characters, got {place.reviewer[:80]!r};"
            " say --reviewer NAME"
        )
    if not 0 <= place.port <= 65535:
        raise InputError(f"--port must be 0 to 65535, got {place.port}; 0 takes a free one")
    base = place.base_path
    if base and (not base.startswith("/") or base.endswith("/") or "//" in base or not base.isascii()):
        raise InputError(f"--base-path must be like /review, got {base!r}; correct it")


def _listen(place: Place) -> socket.socket:
    family = socket.AF_INET6 if ":" in place.bind else socket.AF_INET
    try:
        return socket.create_server((place.bind, place.port), family=family, backlog=128)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise InputError(
                f"--port must be free, somebody listens on {place.bind}:{place.port}; leave it out to take a free one"
            ) from None
        raise ServiceError(
            f"the page must be able to listen on {place.bind}:{place.port}, got: {error.strerror}; correct --bind"
        ) from None


def _access(place: Place, port: int) -> Access:
    given = {host.lower() for host in place.hosts}
    if place.user_header:
        return Access(
            hosts=frozenset(given), user_header=place.user_header.lower(), base_path=place.base_path, cookie="",
        )  # fmt: skip
    names = {"127.0.0.1", "localhost", "[::1]"}
    return Access(
        hosts=frozenset({f"{name}:{port}" for name in names} | given),
        token=secrets.token_urlsafe(24),
        cookie=f"silhouette_review_{port}",
        reviewer=place.reviewer.strip(),
        base_path=place.base_path,
    )


def _address(place: Place, port: int, access: Access) -> str:
    host = f"[{place.bind}]" if ":" in place.bind else place.bind
    query = f"?token={access.token}" if access.token else ""
    return f"http://{host}:{port}{place.base_path}/{query}"
