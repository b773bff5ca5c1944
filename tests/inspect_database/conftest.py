"""The world of these tests, new for each."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from silhouette.database import connect
from silhouette.store import Store
from tests.export_masks import worlds
from tests.export_masks.worlds import World


@pytest.fixture
def connection(postgres_dsn: str) -> Iterator[psycopg.Connection]:
    with connect(postgres_dsn) as opened:
        opened.execute("TRUNCATE segmentations, people, badlist, pictures, labels, datasets, groups")
        yield opened


@pytest.fixture
def world(fresh_store: Store, connection: psycopg.Connection) -> World:
    return worlds.filled(fresh_store, connection)
