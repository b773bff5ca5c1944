from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from silhouette.database import connect
from silhouette.store import Store
from tests.ret_meta_world import World


@pytest.fixture
def connection(postgres_dsn: str) -> Iterator[psycopg.Connection]:
    with connect(postgres_dsn) as opened:
        opened.execute("TRUNCATE segmentations, people, badlist, pictures, labels, datasets, groups, ret_meta_posts")
        yield opened


@pytest.fixture
def world(fresh_store: Store, connection: psycopg.Connection, tmp_path: Path) -> World:
    return World(fresh_store, connection, tmp_path)
