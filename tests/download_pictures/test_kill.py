"""kill -9 while pictures come in, and again: nothing is lost, nothing fetched twice, nothing half visible."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import random
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from silhouette.config import load_config
from silhouette.store import Store, open_store
from tests.download_pictures.faulty_service import (
    FaultyService,
    download_by_command,
    download_command,
    environment_of,
    some_pictures,
)

WORKERS = load_config({}).pictures.workers


@dataclass
class Place:
    """A service, and where a process puts what it brings."""

    service: FaultyService
    store: Store
    dsn: str
    environment: dict[str, str]
    work: Path

    def start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            download_command(self.service, self.work),
            env=self.environment,
            cwd=self.environment["TMPDIR"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def dataset_in_store(self) -> list[bytes]:
        return [self.store.get_bytes(key) for key in self.store.list_keys("datasets/")]


@pytest.fixture
def place(services_env: dict[str, str], fresh_store: Store, fresh_dsn: str, tmp_path: Path) -> Iterator[Place]:
    with FaultyService(some_pictures(180), page=70) as service:
        environment = environment_of(services_env, service, store=fresh_store, dsn=fresh_dsn, scratch=tmp_path / "tmp")
        yield Place(service, fresh_store, fresh_dsn, environment, tmp_path / "work")


@pytest.fixture
def undisturbed(place: Place, services_env: dict[str, str], tmp_path: Path) -> Callable[[], dict[str, bytes]]:
    """Download the same service's pictures into another bucket and database, and return the files of the dataset."""

    def run() -> dict[str, bytes]:
        bucket, name = f"test-{secrets.token_hex(6)}", f"test_{secrets.token_hex(6)}"
        store = open_store(replace(place.store.settings, bucket=bucket))
        store.ensure_bucket()
        server, pause_s = services_env["SILHOUETTE_POSTGRES_DSN"], place.service.pause_s
        place.service.pause_s = 0.0
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            dsn = f"{server.rpartition('/')[0]}/{name}"
            environment = environment_of(services_env, place.service, store=store, dsn=dsn, scratch=tmp_path / "tmp 2")
            done = download_by_command(place.service, environment, tmp_path / "alone")
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        place.service.pause_s = pause_s
        assert done.returncode == 0, done.stderr
        for key in list(store.list_keys("")):
            store.remove(key)
        store._client.remove_bucket(bucket)  # only tests ever remove a bucket
        return files_of(tmp_path / "alone")

    return run


def files_of(work: Path) -> dict[str, bytes]:
    return {name: (work / "dataset" / name).read_bytes() for name in ("dataset.csv", "dataset.json", "quarantine.csv")}


def check_what_is_there(place: Place) -> int:
    """Check what must be true at every moment; return how many pictures are recorded."""
    objects = set(place.store.list_keys("pictures/"))
    for key, data in place.store.get_many(sorted(objects)):
        assert key.split("/")[-1].partition(".")[0] == hashlib.sha256(data).hexdigest(), f"half an object: {key}"
    with psycopg.connect(place.dsn) as connection:
        try:
            rows = connection.execute("SELECT name, object_key FROM pictures").fetchall()
        except psycopg.errors.UndefinedTable:  # killed before the first table was made
            return 0
    assert {key for _, key in rows} <= objects, "a record names an object that is not there"
    assert len({name for name, _ in rows}) == len(rows)
    return len(rows)


def wait_until(process: subprocess.Popen[bytes], condition: Callable[[], bool], *, within_s: float = 120) -> None:
    deadline = time.monotonic() + within_s
    while process.poll() is None and not condition():
        assert time.monotonic() < deadline, "the process neither ended nor got so far"
        time.sleep(0.003)


def kill(process: subprocess.Popen[bytes]) -> bool:
    """Kill a process, unless it has ended; return whether it was killed."""
    process.kill()
    code = process.wait()
    assert code in (-9, 0)
    return code == -9


def check_the_end(place: Place, kills: int, expected: dict[str, bytes], asked: dict[str, int]) -> None:
    total, again = len(place.service.pictures), sum(asked.values()) - len(place.service.pictures)
    assert files_of(place.work) == expected
    assert place.dataset_in_store() == [expected["dataset.csv"]]
    assert check_what_is_there(place) == total
    assert len(list(csv.reader(io.StringIO(expected["dataset.csv"].decode())))) == total + 1
    assert asked.keys() == place.service.pictures.keys(), "nothing is lost"
    assert again <= kills * WORKERS, f"{again} pictures were fetched again after {kills} kills"
    (meta,) = place.store.list_keys("meta/")
    lines = [json.loads(line) for line in gzip.decompress(place.store.get_bytes(meta)).splitlines()]
    assert [line["picture_id"] for line in lines] == sorted(place.service.pictures)


def test_a_download_that_is_killed_three_times_ends_as_if_it_had_not_been(
    place: Place, undisturbed: Callable[[], dict[str, bytes]]
) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    chance, known = random.Random(seed), 0
    place.service.pause_s = 0.02
    for _ in range(3):
        process, before = place.start(), place.service.contents_sent()
        wanted = before + chance.randrange(1, 40)
        wait_until(process, lambda wanted=wanted: place.service.contents_sent() >= wanted)
        time.sleep(chance.uniform(0, 0.05))
        assert kill(process), "it ended before it could be killed"
        assert place.dataset_in_store() == [], "a dataset is visible before a run finished"
        assert not (place.work / "dataset" / "dataset.csv").exists()
        recorded = check_what_is_there(place)
        assert place.service.contents_sent() - recorded <= WORKERS * 3
        assert recorded >= known, "a record was lost"
        known = recorded
    done = download_by_command(place.service, place.environment, place.work)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["reused"], report["fetched"]) == (known, len(place.service.pictures) - known)
    asked = dict(place.service.asked)
    check_the_end(place, 3, undisturbed(), asked)


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2])
def test_a_download_that_is_killed_twelve_times_at_any_moment_ends_as_if_it_had_not_been(
    place: Place, undisturbed: Callable[[], dict[str, bytes]], seed: int
) -> None:
    chance, kills, known = random.Random(seed), 0, 0
    place.service.pause_s = 0.03
    expected = undisturbed()
    place.service.forget()
    for number in range(12):
        process, total = place.start(), len(place.service.pictures)
        if number % 3 == 0:  # while it starts, lists or has just begun
            time.sleep(chance.uniform(0, 2.5))
        elif number < 9:
            wanted = place.service.contents_sent() + chance.randrange(1, 30)
            wait_until(process, lambda wanted=wanted: place.service.contents_sent() >= wanted)
        else:  # while the dataset is written
            wait_until(process, lambda: set(place.service.sent) == set(place.service.pictures))
            time.sleep(chance.uniform(0, 1.5))
        kills += kill(process)
        visible = place.dataset_in_store()
        assert visible in ([], [expected["dataset.csv"]]), "half a dataset is visible"
        recorded = check_what_is_there(place)
        assert recorded >= known, "a record was lost"
        assert not visible or recorded == total, "a dataset is visible before all of it is there"
        known = recorded
        print(f"seed {seed}, kill {number}: {recorded} recorded, {place.service.asked.total()} asked")
    done = download_by_command(place.service, place.environment, place.work)
    assert done.returncode == 0, done.stderr
    check_the_end(place, kills, expected, dict(place.service.asked))
