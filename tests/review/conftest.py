"""A small group in a real database and a real store, two models' people on it, and the page's application over it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import psycopg
import pytest
from starlette.testclient import TestClient

from silhouette.contracts import contours
from silhouette.contracts.dataset import PictureRow
from silhouette.database import connect, labels, pictures, segmentations
from silhouette.database.people import PersonRow
from silhouette.database.pictures import PictureRecord
from silhouette.database.segmentations import Segmentation
from silhouette.review.app import Room, create_app
from silhouette.review.connections import Connections
from silhouette.review.desk import Desk
from silhouette.review.guard import Access
from silhouette.review.pictures import Pictures
from silhouette.review.preparation import Preparation
from silhouette.store import Store
from tests.loopback import jpeg

GROUP = "it's лето"
MODEL, OTHER = "a" * 64, "b" * 64
WIDTH, HEIGHT = 80, 60
TOKEN = "the-token-of-this-test"
HOST = "127.0.0.1:1"

Box = tuple[int, int, int, int]


def person(score: float, box: Box = (0, 0, 40, 30)) -> PersonRow:
    """Somebody who fills a box."""
    x0, y0, x1, y1 = box
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[y0:y1, x0:x1] = 255
    packed = contours.encode(contours.from_mask(mask))
    return PersonRow(box_xyxy=tuple(map(float, box)), score=score, contours=packed)  # type: ignore[arg-type]


@dataclass
class World:
    """The group: picture `number` has the bytes of `tests.loopback.jpeg(number)` and the id ``picture <number>``."""

    connection: psycopg.Connection
    store: Store
    dsn: str
    group_id: int = 0
    rows: dict[int, PictureRow] = field(default_factory=dict)

    def sha(self, number: int) -> str:
        return self.rows[number].sha256

    def put(self, *numbers: int, labelled: str = "dress") -> None:
        """Bring pictures into the group, beside those that are there."""
        for number in numbers:
            data = jpeg(number, width=WIDTH, height=HEIGHT)
            sha256 = hashlib.sha256(data).hexdigest()
            key = f"pictures/{sha256[:2]}/{sha256}.jpg"
            self.store.put_bytes(key, data)
            self.rows[number] = PictureRow(
                picture_id=f"picture {number}", object_key=key, sha256=sha256, width=WIDTH, height=HEIGHT,
                label=labelled,
            )  # fmt: skip
            self.keep(number, object_key=key)
        self.label(*self.rows)

    def keep(self, number: int, *, object_key: str) -> None:
        row = self.rows[number]
        record = PictureRecord(
            origin="content", name=row.sha256, picture_id=row.picture_id, stamp=row.sha256, sha256=row.sha256,
            width=WIDTH, height=HEIGHT, object_key=object_key, judged_by="", store_id="",
        )  # fmt: skip
        pictures.keep(self.connection, record)

    def label(self, *numbers: int) -> None:
        """Make the group of these pictures."""
        rows = [self.rows[number] for number in numbers]
        digest = hashlib.sha256(repr(rows).encode()).hexdigest()
        labels.replace(self.connection, group=GROUP, dataset_digest=digest, pictures=rows)
        found = self.connection.execute("SELECT id FROM groups WHERE name = %s", (GROUP,)).fetchone()
        assert found
        self.group_id = found[0]

    def segment(self, people: dict[int, list[PersonRow]], *, model: str = MODEL) -> None:
        found = [
            Segmentation(picture_sha256=self.sha(number), width=WIDTH, height=HEIGHT, people=tuple(who))
            for number, who in people.items()
        ]
        assert segmentations.add(self.connection, model_digest=model, found=found) == len(people)

    def status(self, number: int, *, model: str = MODEL) -> tuple[str, int, str, str]:
        row = self.connection.execute(
            "SELECT status, revision, reviewer, reason FROM segmentations"
            " WHERE picture_sha256 = %s AND model_digest = %s",
            (self.sha(number), model),
        ).fetchone()
        assert row
        return row  # type: ignore[return-value]


@pytest.fixture
def world(postgres_dsn: str, store: Store) -> Iterator[World]:
    """An empty one."""
    with connect(postgres_dsn) as opened:
        opened.execute("TRUNCATE segmentations, people, badlist, pictures, labels, datasets, groups")
        yield World(connection=opened, store=store, dsn=postgres_dsn)


@pytest.fixture
def group(world: World) -> World:
    """Six pictures as one model saw them; by doubt: 1 (0.7), 2 (0.5), 4 and 3 (0.4), 5 (0.2), 0 (0.1)."""
    world.put(0, 1, 2, 3, 5)
    world.put(4, labelled="skirt")
    world.segment(
        {
            0: [person(0.9, (0, 0, 80, 30))],
            1: [person(0.95), person(0.3, (50, 30, 70, 50))],
            2: [],
            3: [person(0.6, (0, 0, 8, 6))],
            4: [person(0.6)],
            5: [person(0.8)],
        }
    )
    return world


@pytest.fixture
def connections(world: World) -> Iterator[Connections]:
    opened = Connections(world.dsn)
    yield opened
    opened.close()


@pytest.fixture
def room(group: World, connections: Connections) -> Room:
    """The page's room, prepared."""
    return make_room(group, connections)


def make_room(world: World, connections: Connections, *, store: Store | None = None) -> Room:
    preparation = Preparation(connections, group_id=world.group_id)
    preparation.prepare(MODEL)
    store = store or world.store
    return Room(
        desk=Desk(connections, group=GROUP, group_id=world.group_id),
        pictures=Pictures(store, connections, group_id=world.group_id),
        preparation=preparation,
        connections=connections,
        store=store,
    )


def client_of(room: Room, *, reviewer: str = "anna") -> TestClient:
    """A browser that has the token."""
    access = Access(hosts=frozenset({HOST}), token=TOKEN, cookie="review", reviewer=reviewer)
    client = TestClient(create_app(room, access), base_url=f"http://{HOST}", follow_redirects=False)
    client.cookies.set("review", TOKEN)
    return client


@pytest.fixture
def client(room: Room) -> TestClient:
    return client_of(room)
