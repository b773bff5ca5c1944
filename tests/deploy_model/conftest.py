"""A group that is served for one test."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from silhouette.names import safe_key
from silhouette.store import Store
from silhouette.triton_client import Triton


@pytest.fixture
def group(served_store: Store, triton: Triton) -> Iterator[str]:
    """A group of this one test, taken away at its end."""
    name = f"hats {secrets.token_hex(4)}"
    yield name
    for key in [key for key in served_store.list_keys("") if f"/{safe_key(name)}/" in key]:
        served_store.remove(key)
    triton.unload(safe_key(name))
