"""How fast pictures come in, how much memory that takes, and what finding out that nothing is new costs.

The service, the store and the database are real and on loopback; both sides of a comparison ask the same service for
the same bytes and put them into a bucket of the same server. Ours does all that the step does: guard, SHA-256,
opening, perceptual hash, records in PostgreSQL, dataset, quality report.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from silhouette.contracts.dataset import PictureRow
from silhouette.download_pictures import door
from silhouette.imaging import check_picture, open_picture
from silhouette.settings import PictureServiceSettings
from silhouette.store import Store, open_store
from silhouette.working_copy import read_picture
from tests.benchmarks import Benchmark
from tests.benchmarks.ingest_peers import COPIER, bare_s, tools_s
from tests.benchmarks.ingest_service import picture_id, reference, served, serving
from tests.benchmarks.ingest_setup import (
    CONFIG,
    Place,
    download,
    fresh_place,
    peak_mb_of_download,
    photographs,
    remember,
    small_pictures,
    written,
)  # fmt: skip

ORDINARY = {"width": 1200, "height": 900, "quality": 82}  # about 200 kB
LARGE = {"width": 4000, "height": 3000, "quality": 90}  # 12 megapixels, about 2.5 MB

Serving = Callable[[int, Path], AbstractContextManager[PictureServiceSettings]]

# ---- pictures a second


@dataclass(frozen=True, kw_only=True)
class Served:
    """A service that runs, and what it has."""

    service: PictureServiceSettings
    urls: list[str]


@contextmanager
def service_of(number: int, *, distinct: int, service_by: Serving) -> Iterator[Served]:
    with written(photographs(distinct, **ORDINARY)) as folder, service_by(number, folder) as service:
        urls = [f"{service.url}/pictures/{picture_id(index)}/content" for index in range(number)]
        yield Served(service=service, urls=urls)


def ours_per_s(given: Served) -> float:
    with fresh_place() as place:
        start = time.perf_counter()
        report = download(place, given.service)
        seconds = time.perf_counter() - start
    if not report.pictures == report.fetched == len(given.urls):
        raise RuntimeError(f"{len(given.urls)} pictures must come in, got {report}")
    return len(given.urls) / seconds


def peer_per_s(given: Served, *, seconds_of: Callable[[list[str], Place], float]) -> float:
    with fresh_place() as place:
        return len(given.urls) / seconds_of(given.urls, place)


# ---- memory


@contextmanager
def small_files(number: int) -> Iterator[Path]:
    with written(small_pictures(number)) as folder:
        yield folder


def peak_mb(folder: Path, *, share: float) -> float:
    """Return the most memory that a process takes which downloads as many pictures as this share of the files."""
    number = round(share * sum(1 for _ in folder.iterdir()))
    with fresh_place() as place, serving(number, folder) as service:
        return peak_mb_of_download(place, service)


# ---- nothing new


@contextmanager
def known_group(number: int) -> Iterator[tuple[Place, PictureServiceSettings]]:
    """Make a group all of whose pictures are in the store and in the records."""
    with written(small_pictures(1)) as folder, serving(number, folder) as service, fresh_place() as place:
        remember(place, number)
        yield place, service


def resume_s(given: tuple[Place, PictureServiceSettings]) -> float:
    place, service = given
    start = time.perf_counter()
    report = download(place, service)
    seconds = time.perf_counter() - start
    if report.reused != report.pictures or served(service):
        raise RuntimeError(f"no picture may be fetched, the service sent {served(service)}: {report}")
    return seconds


# ---- opening


@contextmanager
def one_thread(number: int, *, size: dict[str, int]) -> Iterator[list[bytes]]:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield list(photographs(number, **size))
    finally:
        cv2.setNumThreads(threads)


def open_ms(jpegs: list[bytes]) -> float:
    """Open pictures as the door does."""
    limits, probe_side = CONFIG.pictures, door._PROBE_SIDE
    start = time.perf_counter()
    for data in jpegs:
        check_picture(
            data, max_megapixels=limits.max_megapixels, working_side=limits.working_side, probe_side=probe_side
        )
    return 1000 * (time.perf_counter() - start) / len(jpegs)


def bare_open_ms(jpegs: list[bytes], *, flag: int, longest_side: int | None) -> float:
    """Decode at the same scale, shrink to the same size if ours does; know nothing and check nothing."""
    start = time.perf_counter()
    for data in jpegs:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flag | cv2.IMREAD_IGNORE_ORIENTATION)
        if longest_side:
            scale = longest_side / max(pixels.shape)
            size = round(pixels.shape[1] * scale), round(pixels.shape[0] * scale)
            cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return 1000 * (time.perf_counter() - start) / len(jpegs)


# ---- working copies


@contextmanager
def large_in_store(number: int) -> Iterator[tuple[Store, list[PictureRow]]]:
    with fresh_place() as place:
        store, rows = open_store(place.store), []
        for index, data in enumerate(photographs(number, **LARGE)):
            came = door.admit(data, promised_sha256="", store=store, limits=CONFIG.pictures)
            rows.append(
                PictureRow(
                    picture_id=picture_id(index), label="", pixset_id="", split="", near_group="", sha256=came.sha256,
                    object_key=came.object_key, width=came.width, height=came.height, working_key=came.working_key,
                    working_width=came.working_width, working_height=came.working_height,
                )
            )  # fmt: skip
        yield store, rows


def read_copies_ms(given: tuple[Store, list[PictureRow]]) -> float:
    store, rows = given
    start = time.perf_counter()
    for row in rows:
        read_picture(store, row)
    return 1000 * (time.perf_counter() - start) / len(rows)


def read_originals_ms(given: tuple[Store, list[PictureRow]]) -> float:
    store, rows = given
    start = time.perf_counter()
    for row in rows:
        open_picture(store.get_bytes(row.object_key))
    return 1000 * (time.perf_counter() - start) / len(rows)


distant = partial(serving, delay_s=0.02)


def ingest(service_by: Serving) -> dict[str, Any]:
    return {
        "ours": ours_per_s, "unit": "pictures/s", "better": "higher", "repetitions": 3,
        "setup": partial(service_of, 2000, distinct=400, service_by=service_by),
        "small": partial(service_of, 30, distinct=15, service_by=service_by),
    }  # fmt: skip


DECODE = {"ours": open_ms, "unit": "ms/picture", "target": 1.2, "repetitions": 9}
bare, tools = partial(peer_per_s, seconds_of=bare_s), partial(peer_per_s, seconds_of=tools_s)

BENCHMARK = (
    Benchmark(name="ingest.bare", other=bare, target=0.6, **ingest(reference)),
    # a service that costs nothing: what is left is the two of us, and the store
    Benchmark(name="ingest.bare_simulated", other=bare, target=0.6, **ingest(serving)),
    Benchmark(name="ingest.tools", other=tools, needs=("wget", COPIER), **ingest(reference)),
    # wget asks for one picture after the other, which costs nothing on loopback and everything across a network
    Benchmark(name="ingest.tools_at_20_ms", other=tools, needs=("wget", COPIER), **ingest(distant)),
    Benchmark(
        name="ingest.memory", ours=partial(peak_mb, share=1.0), other=partial(peak_mb, share=0.05), unit="MB",
        target=1.15, repetitions=1, warmups=0, setup=partial(small_files, 20_000), small=partial(small_files, 40),
    ),
    Benchmark(
        name="ingest.resume", ours=resume_s, other=60.0, repetitions=1, warmups=0,
        setup=partial(known_group, 200_000), small=partial(known_group, 2_000),
    ),
    Benchmark(
        name="ingest.open_200kb", other=partial(bare_open_ms, flag=cv2.IMREAD_REDUCED_COLOR_8, longest_side=None),
        setup=partial(one_thread, 60, size=ORDINARY), small=partial(one_thread, 2, size=ORDINARY), **DECODE,
    ),
    Benchmark(
        name="ingest.open_12mp", other=partial(bare_open_ms, flag=cv2.IMREAD_REDUCED_COLOR_2, longest_side=1600),
        setup=partial(one_thread, 6, size=LARGE), small=partial(one_thread, 1, size=LARGE), **DECODE,
    ),
    Benchmark(
        name="ingest.working_copy", ours=read_copies_ms, other=read_originals_ms, unit="ms/picture", target=0.5,
        setup=partial(large_in_store, 6), small=partial(large_in_store, 1),
    ),
)  # fmt: skip
