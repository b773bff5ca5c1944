"""A migrated database of this module, emptied for each test; databases of a test's own; logins with one role."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql

from silhouette.database import segmentations
from silhouette.database.people import PersonRow
from silhouette.database.segmentations import Segmentation

MODEL = "a" * 64
PERSON = PersonRow(box_xyxy=(1.5, 2.0, 30.0, 40.25), score=0.75, contours=b"\x01\x00\xff")


def sha(number: int) -> str:
    return f"{number:064x}"


def segment(connection: psycopg.Connection, *people: int) -> None:
    """Segment pictures 0, 1, ... with so many people each."""
    found = [
        Segmentation(picture_sha256=sha(number), width=64, height=48, people=(PERSON,) * count)
        for number, count in enumerate(people)
    ]
    segmentations.add(connection, model_digest=MODEL, found=found)


@pytest.fixture
def new_dsn(services_env: dict[str, str]) -> Iterator[Callable[[], str]]:
    """Makes empty databases, which are gone after the test."""
    server = services_env["SILHOUETTE_POSTGRES_DSN"]
    made: list[str] = []

    def make() -> str:
        made.append(f"test_{secrets.token_hex(6)}")
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(made[-1])))
        return f"{server.rpartition('/')[0]}/{made[-1]}"

    with psycopg.connect(server, autocommit=True) as admin:
        yield make
        for name in made:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def login(dsn: str, *, role: str | None = None) -> Iterator[str]:
    """A login without any right but those of `role`; yields its connection string to the same database."""
    name, password = f"login_{secrets.token_hex(6)}", secrets.token_hex(8)
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(name), sql.Literal(password)))
        if role:
            admin.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), sql.Identifier(name)))
        try:
            yield f"postgresql://{name}:{password}@{dsn.rpartition('@')[2]}"
        finally:
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (name,))
            admin.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))
