"""What the tables cost: writing people beside a bare COPY of the same bytes, and counting a group of a million people.

The people are those that segment_people writes, in its transactions of some hundred pictures, each row checked for
being there already. The other side is COPY of the same rows, packed beforehand, into the same two tables with their
keys and checks, in one transaction. (Into tables without any, COPY is four times as fast again: that is what keys and
checks cost, and what no writer gets around.)
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import psycopg

from silhouette.contracts import contours as contour_bytes
from silhouette.contracts.contours import from_mask
from silhouette.contracts.dataset import PictureRow
from silhouette.database import connect, labels, segmentations
from silhouette.database.people import PersonRow
from silhouette.database.pictures import write_often
from silhouette.database.report import count_groups
from silhouette.database.segmentations import Segmentation
from silhouette.segment_people.segment import WRITE_AT_ONCE
from tests.benchmarks import Benchmark
from tests.benchmarks.bench_segment import services

MODEL, GROUP = "a" * 64, "benchmark"
PEOPLE_A_PICTURE = 2
TABLES = {
    "segmentations": "(id, picture_sha256, model_digest, width, height, people_count)",
    "people": "(segmentation_id, person_index, box_xyxy, score, contours)",
}


@dataclass(frozen=True, kw_only=True)
class Written:
    """People to write: as segmentations, and as the bytes of a binary COPY into each table."""

    connection: psycopg.Connection
    found: list[Segmentation]
    packed: dict[str, list[bytes]]
    people: int


def _outlines(count: int) -> list[bytes]:
    """Draw people of some hundred points, all different."""
    import cv2

    rng = np.random.default_rng(0)
    packed = []
    for _ in range(count):
        mask = np.zeros((480, 320), np.uint8)
        angles = np.sort(rng.uniform(0, 2 * np.pi, 40))
        radii = rng.uniform(0.6, 1.0, 40)[:, None] * [140, 220]
        ring = np.array([160, 240]) + radii * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        cv2.fillPoly(mask, [np.round(ring).astype(np.int32)], 255)
        packed.append(contour_bytes.encode(from_mask(mask)))
    return packed


@contextmanager
def people_to_write(count: int) -> Iterator[Written]:
    outlines, rng = _outlines(500), np.random.default_rng(1)
    people = [
        PersonRow(box_xyxy=(10.5, 20.25, 300.0, 470.0), score=0.75, contours=outlines[number % len(outlines)])
        for number in range(count)
    ]
    found = [
        Segmentation(
            picture_sha256=rng.bytes(32).hex(), width=1200, height=900,
            people=tuple(people[start : start + PEOPLE_A_PICTURE]),
        )
        for start in range(0, count, PEOPLE_A_PICTURE)
    ]  # fmt: skip
    with services() as (environ, _), connect(environ["SILHOUETTE_POSTGRES_DSN"]) as connection:
        segmentations.add(connection, model_digest=MODEL, found=found)
        write_often(connection)  # as segment_people has it; the other side has one commit only
        packed = {}
        for table, columns in TABLES.items():
            with (
                connection.cursor() as cursor,
                cursor.copy(f"COPY {table} {columns} TO STDOUT (FORMAT BINARY)") as copy,
            ):
                packed[table] = [bytes(block) for block in copy]
        yield Written(connection=connection, found=found, packed=packed, people=count)


def _empty(written: Written) -> None:
    written.connection.execute("TRUNCATE segmentations, people")
    written.connection.execute("CHECKPOINT")


def ours_per_s(written: Written) -> float:
    _empty(written)
    start = time.perf_counter()
    for first in range(0, len(written.found), WRITE_AT_ONCE):
        part = written.found[first : first + WRITE_AT_ONCE]
        segmentations.add(written.connection, model_digest=MODEL, found=part)
    return _rate(written, time.perf_counter() - start)


def bare_per_s(written: Written) -> float:
    _empty(written)
    start = time.perf_counter()
    with written.connection.transaction(), written.connection.cursor() as cursor:
        for table, columns in TABLES.items():
            with cursor.copy(f"COPY {table} {columns} FROM STDIN (FORMAT BINARY)") as copy:
                for block in written.packed[table]:
                    copy.write(block)
    return _rate(written, time.perf_counter() - start)


def _rate(written: Written, seconds: float) -> float:
    row = written.connection.execute("SELECT count(*) FROM people").fetchone()
    if row != (written.people,):
        raise RuntimeError(f"{written.people} people must be there, got {row}")
    return written.people / seconds


# ---- counting


@contextmanager
def counted_group(people: int) -> Iterator[psycopg.Connection]:
    """Make a group with so many people, two a picture, in all states, beside another group of the same model."""
    with services() as (environ, _), connect(environ["SILHOUETTE_POSTGRES_DSN"]) as connection:
        half = people // PEOPLE_A_PICTURE
        connection.execute(
            """
            INSERT INTO segmentations (picture_sha256, model_digest, width, height, people_count)
            SELECT encode(sha256(n::text::bytea), 'hex'), %s, 1200, 900, %s FROM generate_series(1, %s) n
            """,
            (MODEL, PEOPLE_A_PICTURE, 2 * half),
        )
        connection.execute(
            """
            INSERT INTO people SELECT s.id, n, ARRAY[0, 0, 1, 1], 0.5, 'x' FROM segmentations s, generate_series(0, 1) n
            """
        )
        connection.execute(
            """
            UPDATE segmentations SET status = (ARRAY['approved', 'rejected', 'nobody'])[1 + id % 3],
                revision = revision + 1, reviewer = 'benchmark', reason = 'benchmark' WHERE id % 4 > 0
            """
        )
        rows = connection.execute("SELECT picture_sha256 FROM segmentations ORDER BY id").fetchall()
        for group, part in ((GROUP, rows[:half]), ("other", rows[half:])):
            named = (
                PictureRow(
                    picture_id=f"{group} {number}", object_key="", sha256=row[0], width=1, height=1, label="dress"
                )
                for number, row in enumerate(part)
            )
            labels.replace(connection, group=group, dataset_digest="d" * 64, pictures=named)
        connection.execute("VACUUM ANALYZE")  # as autovacuum would have by then
        yield connection


def count(connection: psycopg.Connection) -> None:
    (found,) = count_groups(connection, group=GROUP)
    counted = sum(item.people for item in found.statuses)
    if counted != PEOPLE_A_PICTURE * found.contents:
        raise RuntimeError(f"every person must be counted, got {counted} on {found.contents} pictures")


BENCHMARK = (
    Benchmark(
        name="database.write_people", ours=ours_per_s, other=bare_per_s, unit="people/s", better="higher", target=0.5,
        setup=partial(people_to_write, 100_000), small=partial(people_to_write, 1_000),
    ),
    Benchmark(
        name="database.count_group", ours=count, other=1.0, setup=partial(counted_group, 1_000_000),
        small=partial(counted_group, 2_000),
    ),
)  # fmt: skip
