"""A database of each test's own, so that nothing is known at its start."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from silhouette.database import connect


@pytest.fixture
def fresh_dsn(services_env: dict[str, str]) -> Iterator[str]:
    server, name = services_env["SILHOUETTE_POSTGRES_DSN"], f"test_{secrets.token_hex(6)}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield f"{server.rpartition('/')[0]}/{name}"
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def connection(fresh_dsn: str) -> Iterator[psycopg.Connection]:
    with connect(fresh_dsn) as opened:
        yield opened
