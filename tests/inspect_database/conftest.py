"""The world of these tests, new for each."""

from __future__ import annotations

import psycopg
import pytest

from silhouette.store import Store
from tests.export_masks import worlds
from tests.export_masks.worlds import World


@pytest.fixture
def world(fresh_store: Store, connection: psycopg.Connection) -> World:
    return worlds.filled(fresh_store, connection)
