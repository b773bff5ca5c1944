from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from silhouette.store import Store
from tests.ret_meta_world import World


@pytest.fixture
def world(fresh_store: Store, connection: psycopg.Connection, tmp_path: Path) -> World:
    return World(fresh_store, connection, tmp_path)
