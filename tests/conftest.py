"""What tests share: real services in a state folder of their own, each isolated by its own bucket and database.

services_env   PostgreSQL and the object store, up for the session: their SILHOUETTE_* variables
store          a bucket of this test module;            fresh_store   a bucket of this one test
postgres_dsn   a database of this test module;          `connection` to it, its tables empty
environ        this test's environment names this module's bucket and database
triton_url     a real Triton (slow to start, once a session); `triton` is the opened client
served_store   the bucket in which that Triton looks for its models
shared_data    ``shared_data("hostile")``: a path below SILHOUETTE_SHARED_DATA, or the test is skipped
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis
import psycopg
import pytest
import stamina
from minio.deleteobjects import DeleteObject
from psycopg import sql

from pipelines.embedded import down, ports, up
from silhouette.database import connect
from silhouette.settings import store_settings
from silhouette.store import Store, open_store

CHECKOUT = Path(__file__).resolve().parents[1]
_SHARED_DATA = os.environ.get("SILHOUETTE_SHARED_DATA", "../shared/data")


def pytest_configure(config: pytest.Config) -> None:
    # Pillow's remarks on damaged EXIF are expected of hostile pictures; imaging.py silences them for the same reason
    config.addinivalue_line("filterwarnings", r"ignore::UserWarning:PIL\.")
    hypothesis.settings.register_profile("house", deadline=None)  # a loaded machine is no failure
    hypothesis.settings.load_profile("house")
    # a state file, a bucket or a service of the developer must never be what a test works on
    for name in [name for name in os.environ if name.startswith("SILHOUETTE_") and name != "SILHOUETTE_SHARED_DATA"]:
        del os.environ[name]


@pytest.fixture(autouse=True)
def _no_retries() -> Iterator[None]:
    """Try once and do not sleep; a test of retries calls ``stamina.set_testing(True, attempts=3)``."""
    stamina.set_testing(True, attempts=1)
    yield
    stamina.set_testing(True, attempts=1)


@pytest.fixture(autouse=True)
def _own_environment() -> Iterator[None]:
    """Give every test the environment that it found: a command takes the addresses of running services into it."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        if name.startswith(("SILHOUETTE_", "WANDB_")):
            del os.environ[name]


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    root = Path(_SHARED_DATA)
    root = root if root.is_absolute() else CHECKOUT / root

    def find(relative: str) -> Path:
        path = root / relative
        if not path.exists():
            pytest.skip(f"needs {relative} below SILHOUETTE_SHARED_DATA, which is {root} and has none")
        return path

    return find


@pytest.fixture
def unused_port() -> int:
    """A port on which nobody listens."""
    return ports.choose(1)[0]


@pytest.fixture(scope="session")
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The state folder of this session's services; whatever was started in it is stopped at the end."""
    folder = tmp_path_factory.mktemp("services") / "state"
    yield folder
    down(folder)


@pytest.fixture(scope="session")
def services_env(state_dir: Path) -> dict[str, str]:
    return dict(up(state_dir, services=("postgres", "object_store")).environment)


def _bucket(services_env: dict[str, str]) -> Iterator[Store]:
    store = open_store(replace(store_settings(services_env), bucket=f"test-{secrets.token_hex(6)}"))
    store.ensure_bucket()
    yield store
    client = store._client  # only tests ever remove a bucket
    list(client.remove_objects(store.bucket, [DeleteObject(key) for key in store.list_keys("")]))
    client.remove_bucket(store.bucket)


@pytest.fixture(scope="module")
def store(services_env: dict[str, str]) -> Iterator[Store]:
    yield from _bucket(services_env)


@pytest.fixture
def fresh_store(services_env: dict[str, str]) -> Iterator[Store]:
    yield from _bucket(services_env)


@pytest.fixture(scope="session")
def served_store(services_env: dict[str, str]) -> Store:
    store = open_store(store_settings(services_env))
    store.ensure_bucket()
    return store


@pytest.fixture(scope="module")
def postgres_dsn(services_env: dict[str, str]) -> Iterator[str]:
    server = services_env["SILHOUETTE_POSTGRES_DSN"]
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    yield f"{server.rpartition('/')[0]}/{name}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def connection(postgres_dsn: str) -> Iterator[psycopg.Connection]:
    with connect(postgres_dsn) as opened:
        opened.execute("TRUNCATE segmentations, people, badlist, pictures, labels, datasets, groups, ret_meta_posts")
        yield opened


@pytest.fixture
def environ(
    services_env: dict[str, str], store: Store, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    own = {**services_env, "SILHOUETTE_S3_BUCKET": store.bucket, "SILHOUETTE_POSTGRES_DSN": postgres_dsn}
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    return own


@pytest.fixture(scope="session")
def triton_url(state_dir: Path, served_store: Store) -> str:
    return up(state_dir, services=("triton",)).environment["SILHOUETTE_TRITON_URL"]


@pytest.fixture(scope="session")
def triton(triton_url: str) -> Any:
    from silhouette.triton_client import open_triton

    return open_triton(triton_url)
