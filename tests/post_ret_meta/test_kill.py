"""kill -9 while documents are built and posted, and again: every document is exactly once in the service."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
import yaml

from silhouette.build_ret_meta.build import build_ret_meta
from silhouette.contracts import ret_meta
from tests.download_pictures.faulty_service import FaultyService, Served
from tests.ret_meta_world import GROUP, World, config_of

NAMES = [f"p{number:03d}" for number in range(120)]
_RUN = "from silhouette.cli import main; main()"


@dataclass
class Place:
    """A world, a service that knows its pictures, and processes that work in them."""

    world: World
    service: FaultyService
    environment: dict[str, str]

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-c", _RUN, "ret-meta", *command, "--groups", GROUP],
            env=self.environment, cwd=self.environment["TMPDIR"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip

    def finish(self, *command: str) -> None:
        process = self.start(*command)
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said.decode()

    def taken(self) -> dict[str, int]:
        with self.service.lock:
            return {name: len(found) for name, found in self.service.returned.items() if found}

    def documents(self) -> set[str]:
        return {key for key in self.world.store.list_keys("ret_meta/") if "/runs/" not in key}


@pytest.fixture
def place(world: World, services_env: dict[str, str], postgres_dsn: str, tmp_path: Path) -> Iterator[Place]:
    for number, name in enumerate(NAMES):
        world.add(name, "red", [("red", 80, 1.0)] * (number % 3))
    world.write()
    models = {GROUP: world.model().model_dump(exclude_defaults=True)}
    groups = {GROUP: {"classes": ["red", "green", "blue"]}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"models": models, "groups": groups}))
    (tmp_path / "tmp").mkdir()
    with FaultyService({name: Served(data=b"x") for name in NAMES}, group=GROUP) as service:
        environment = {
            **os.environ, **services_env, **service.environment,
            "SILHOUETTE_S3_BUCKET": world.store.bucket, "SILHOUETTE_POSTGRES_DSN": postgres_dsn,
            "SILHOUETTE_CONFIG": str(tmp_path / "mine.yaml"), "TMPDIR": str(tmp_path / "tmp"),
        }  # fmt: skip
        yield Place(world, service, environment)


def wait_for(process: subprocess.Popen[bytes], condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while process.poll() is None and not condition():
        assert time.monotonic() < deadline, "the process neither ended nor got so far"
        time.sleep(0.002)


def kill(process: subprocess.Popen[bytes]) -> bool:
    """Kill a process, unless it has ended; return whether it was killed."""
    process.kill()
    _, said = process.communicate()
    assert process.returncode in (-9, 0), said.decode()
    return process.returncode == -9


def post_until_killed(place: Place, kills: int, chance: random.Random) -> int:
    """Post and kill at random points, so often; return how often it was killed."""
    done = 0
    for _ in range(kills):
        before = sum(place.taken().values())
        process = place.start("post")
        wanted = before + chance.randrange(0, len(NAMES) // kills)
        wait_for(process, lambda wanted=wanted: sum(place.taken().values()) > wanted)
        time.sleep(chance.uniform(0, 0.03))
        done += kill(process)
        assert set(place.taken().values()) <= {1}, "a document is there twice"
    return done


def check_the_end(place: Place) -> None:
    assert place.taken() == dict.fromkeys(NAMES, 1), "every document exactly once"
    for name in NAMES:
        (received,) = place.service.returned[name]
        assert received.body == place.world.store.get_bytes(ret_meta.store_key(name))
    with psycopg.connect(place.environment["SILHOUETTE_POSTGRES_DSN"]) as connection:
        receipts = connection.execute(
            "SELECT picture_id, count(*), min(receipt) FROM ret_meta_posts WHERE receipt <> '' GROUP BY 1 ORDER BY 1"
        ).fetchall()
        open_ones = connection.execute("SELECT count(*) FROM ret_meta_posts WHERE ended_at IS NULL").fetchone()
    assert receipts == [(name, 1, f"receipt {name} 1") for name in NAMES]
    assert open_ones == (0,)


def build_here(place: Place) -> None:
    config = config_of(summer_test=place.world.model())
    build_ret_meta(groups=[GROUP], config=config, **place.world.tools)


def test_a_post_that_is_killed_four_times_ends_with_every_document_exactly_once(place: Place) -> None:
    build_here(place)
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    place.service.pause_s = 0.03
    assert post_until_killed(place, 4, random.Random(seed)) == 4
    place.finish("post")
    check_the_end(place)
    assert place.service.puts.total() == len(NAMES), "what had arrived was asked for, not sent again"


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2])
def test_a_post_that_is_killed_fifteen_times_at_any_moment_ends_with_every_document_exactly_once(
    place: Place, seed: int
) -> None:
    build_here(place)
    chance = random.Random(seed)
    place.service.pause_s = 0.03
    for number in range(15):
        process = place.start("post")
        if number % 3:
            before = sum(place.taken().values())
            wanted = before + chance.randrange(0, 12)
            wait_for(process, lambda wanted=wanted: sum(place.taken().values()) > wanted)
            time.sleep(chance.uniform(0, 0.05))
        else:  # while it starts
            time.sleep(chance.uniform(0, 1.5))
        kill(process)
        assert set(place.taken().values()) <= {1}, "a document is there twice"
    place.finish("post")
    check_the_end(place)


def test_a_build_that_is_killed_three_times_ends_as_if_it_had_not_been(place: Place) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    chance, before, kills = random.Random(seed), 0, 0
    for _ in range(3):
        process = place.start("build")
        wanted = before + chance.randrange(0, len(NAMES) // 4)
        wait_for(process, lambda wanted=wanted: len(place.documents()) > wanted)
        kills += kill(process)
        found = place.documents()
        assert len(found) >= before, "a document was lost"
        before = len(found)
        for key in found:
            ret_meta.read(place.world.store.get_bytes(key), where=key)  # whole, or it would be refused
    assert kills, "it was never killed in time"
    times = {name: place.world.document(name).made.at for name in NAMES if ret_meta.store_key(name) in found}
    place.finish("build")
    assert place.documents() == {ret_meta.store_key(name) for name in NAMES}
    assert {name: place.world.document(name).made.at for name in times} == times, "what was made was made again"
    for name in NAMES:
        assert len(place.world.document(name).people) == int(name[1:]) % 3
    place.finish("post")
    check_the_end(place)
