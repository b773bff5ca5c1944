"""What two models say of pictures: `ret-meta build` beside `infer` run twice; posting beside what the service takes.

The pictures are the ingest benchmark's photographs, each with two people, so that decoding and cutting are what costs.
Both sides are the work functions in this process with the same Triton, which serves two small models: what the models
themselves cost is the same for both. The documents of the warm-up are removed before every turn.

Posting goes to a service on loopback that needs 20 ms for a document. What it can take is what a bare client gets
through, which sends the same bodies over as many connections, knows no store and keeps no ledger. How much memory a
post takes is measured beside one of a tenth of the documents. All clients are processes of their own.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np

from pipelines.embedded import down, up
from silhouette.build_ret_meta.build import build_ret_meta
from silhouette.classify_pictures.classify import classify_pictures
from silhouette.config import GroupConfig, load_config
from silhouette.contracts import contours, ret_meta
from silhouette.contracts import dataset as datasets
from silhouette.contracts.dataset import Dataset, PictureRow
from silhouette.contracts.ret_meta import Made, Model, Picture
from silhouette.contracts.ret_meta import Segmentation as Found
from silhouette.database import connect, labels, segmentations
from silhouette.database.people import PersonRow
from silhouette.database.segmentations import Segmentation
from silhouette.deploy_model.deploy import deploy_model
from silhouette.names import safe_key
from silhouette.settings import picture_service_settings, store_settings
from silhouette.snapshot_contours.snapshot import snapshot_contours
from silhouette.store import Store, open_store
from silhouette.triton_client import open_triton
from tests.benchmarks import Benchmark
from tests.benchmarks.ingest_setup import photographs
from tests.deploy_model import bundles
from tests.download_pictures.faulty_service import FaultyService, Served

GROUP, OTHER, SEGMENTER = "summer test", "other", "a" * 64
WIDTH, HEIGHT = 1200, 900
CROP = 224
PAUSE_S, WORKERS = 0.02, 8


@dataclass(frozen=True, kw_only=True)
class Place:
    """A group that was downloaded and segmented, where its services are, and a folder."""

    environ: dict[str, str]
    store: Store
    folder: Path
    count: int


@contextmanager
def _services(*names: str) -> Iterator[tuple[dict[str, str], Path]]:
    with tempfile.TemporaryDirectory(prefix="silhouette-bench-") as folder:
        try:
            yield dict(up(Path(folder) / "state", services=names).environment), Path(folder)
        finally:
            down(Path(folder) / "state")


def _people() -> tuple[PersonRow, ...]:
    found = []
    for x, size in ((300, 1.0), (850, 0.7)):
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        cv2.ellipse(mask, (x, 450), (round(130 * size), round(380 * size)), 0, 0, 360, 255, -1)
        outline = contours.from_mask(mask)
        left, top, right, bottom = map(float, contours.box(outline))
        found.append(PersonRow(box_xyxy=(left, top, right, bottom), score=0.9, contours=contours.encode(outline)))
    return tuple(found)


@contextmanager
def served_group(count: int) -> Iterator[Place]:
    """Make a group of photographs with two people each, and serve two models."""
    with _services("postgres", "object_store", "triton") as (environ, folder):
        store, rows, people = open_store(store_settings(environ)), [], _people()
        store.ensure_bucket()
        for number, data in enumerate(photographs(count, width=WIDTH, height=HEIGHT, quality=85)):
            sha256 = hashlib.sha256(data).hexdigest()
            key = f"pictures/{sha256[:2]}/{sha256}.jpg"
            store.put_bytes(key, data)
            rows.append(
                PictureRow(
                    picture_id=f"{number:06d}", object_key=key, sha256=sha256, width=WIDTH, height=HEIGHT, label="red"
                )
            )
        head = datasets.write(folder / "dataset", Dataset(group=GROUP, classes=bundles.CLASSES, rows=tuple(rows)))
        store.put_file("datasets/" + safe_key(GROUP) + ".csv", folder / "dataset" / datasets.CSV_NAME)
        with connect(environ["SILHOUETTE_POSTGRES_DSN"]) as connection:
            labels.replace(connection, group=GROUP, dataset_digest=head.digest, pictures=rows)
            found = [Segmentation(picture_sha256=row.sha256, width=WIDTH, height=HEIGHT, people=people) for row in rows]
            segmentations.add(connection, model_digest=SEGMENTER, found=found)
        triton = open_triton(environ["SILHOUETTE_TRITON_URL"])
        for number, group in enumerate((GROUP, OTHER)):
            judged = bundles.make(folder / f"model-{number}", group=group, size=CROP, strength=9.0 - number)
            deploy_model(
                bundle=judged.bundle, evaluation=judged.evaluation, store=store, triton=triton,
                out=folder / f"deployed-{number}",
            )  # fmt: skip
        yield Place(environ=environ, store=store, folder=folder, count=count)


def build_per_s(place: Place) -> float:
    for key in list(place.store.list_keys("ret_meta/")):
        place.store.remove(key)
    groups = {name: GroupConfig(classes=list(bundles.CLASSES)) for name in (GROUP, OTHER)}
    start = time.perf_counter()
    with connect(place.environ["SILHOUETTE_POSTGRES_DSN"]) as connection:
        report = build_ret_meta(
            groups=[GROUP], out=place.folder / "out", store=place.store, connection=connection,
            triton=open_triton(place.environ["SILHOUETTE_TRITON_URL"]),
            config=load_config({}).model_copy(update={"groups": groups}),
        )  # fmt: skip
    if (report.new, report.people, len(report.models)) != (place.count, 2 * place.count, 2):
        raise RuntimeError(f"{place.count} documents of two models must be made, got {report}")
    return place.count / (time.perf_counter() - start)


def infer_twice_per_s(place: Place) -> float:
    start = time.perf_counter()
    with connect(place.environ["SILHOUETTE_POSTGRES_DSN"]) as connection:
        frozen = snapshot_contours(
            dataset=place.folder / "dataset", model_digest=SEGMENTER, store=place.store, connection=connection
        )
    for group in (GROUP, OTHER):
        report = classify_pictures(
            dataset=place.folder / "dataset", snapshot_digest=frozen.digest, model=safe_key(group),
            out=place.folder / "inference", store=place.store, config=load_config({}).dataset,
            triton=open_triton(place.environ["SILHOUETTE_TRITON_URL"]),
        )  # fmt: skip
        if report.people != 2 * place.count:
            raise RuntimeError(f"{2 * place.count} people must be classified, got {report}")
    return place.count / (time.perf_counter() - start)


# ---- posting


@contextmanager
def documents_of(count: int) -> Iterator[Place]:
    """Put so many documents into a store, and their pictures into a dataset."""
    with _services("postgres", "object_store") as (environ, folder):
        store, rows = open_store(store_settings(environ)), []
        store.ensure_bucket()
        told = {
            GROUP: Model(
                classes=["a", "b"], onnx_sha256="1" * 64, experiment="e", crops_digest="c", abstain_below=0.0,
                gate="passed",
            )
        }  # fmt: skip
        made = Made(at="2026-01-01T00:00:00Z", code_version="1", inputs_digest="0" * 64, datasets={}, answered_by={})
        for number in range(count):
            sha256 = f"{number:064x}"
            row = PictureRow(picture_id=f"{number:06d}", object_key=sha256, sha256=sha256, width=9, height=9, label="a")
            rows.append(row)
        head = datasets.write(folder / "dataset", Dataset(group=GROUP, classes=("a", "b"), rows=tuple(rows)))
        store.put_file("datasets/" + safe_key(GROUP) + ".csv", folder / "dataset" / datasets.CSV_NAME)

        def document(row: PictureRow) -> tuple[str, bytes]:
            picture = Picture(picture_id=row.picture_id, sha256=row.sha256, width=9, height=9)
            found = Found(model_digest=SEGMENTER, review_status="nobody")
            whole = ret_meta.make(picture=picture, segmentation=found, people=[], models=told, made=made)
            return ret_meta.store_key(row.picture_id), ret_meta.to_bytes(whole)

        store.put_many(map(document, rows))
        with connect(environ["SILHOUETTE_POSTGRES_DSN"]) as connection:
            labels.replace(connection, group=GROUP, dataset_digest=head.digest, pictures=rows)
        yield Place(environ=environ, store=store, folder=folder, count=count)


def _posted(place: Place, how: str = "post") -> dict[str, Any]:
    """Post all documents to a new service."""
    served = {f"{number:06d}": Served(data=b"") for number in range(place.count)}
    with FaultyService(served, group=GROUP) as service:
        service.pause_s = PAUSE_S
        done = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.bench_ret_meta", how, str(place.count)],
            env={**os.environ, **place.environ, **service.environment}, stdout=subprocess.PIPE, check=True,
        )  # fmt: skip
        if service.puts.total() != place.count:
            raise RuntimeError(f"{place.count} documents must be sent once each, got {service.puts.total()}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def post_per_s(place: Place) -> float:
    return float(_posted(place)["documents_per_s"])


def bare_per_s(place: Place) -> float:
    return float(_posted(place, "bare")["documents_per_s"])


def post_memory_mb(places: tuple[Place, Place]) -> float:
    return float(_posted(places[0])["peak_mb"])


def small_post_memory_mb(places: tuple[Place, Place]) -> float:
    return float(_posted(places[1])["peak_mb"])


@contextmanager
def large_and_small(count: int) -> Iterator[tuple[Place, Place]]:
    with documents_of(count) as large, documents_of(count // 10) as small:
        yield large, small


def bare(count: int) -> dict[str, float]:
    """Send bodies of the usual size over as many connections as `post` has, and nothing else."""
    settings = picture_service_settings()
    address = urlsplit(settings.url)
    body = b"x" * 900

    def send(first: int) -> None:
        connection = HTTPConnection(str(address.hostname), address.port)
        for number in range(first, count, WORKERS):
            headers = {"Authorization": f"Bearer {settings.token}", "Idempotency-Key": "0" * 64}
            connection.request("PUT", f"/pictures/{number:06d}/ret_meta", body=body, headers=headers)
            if connection.getresponse().read()[:1] != b"{":
                raise RuntimeError("the bare client must get receipts")
        connection.close()

    start = time.perf_counter()
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(send, range(WORKERS)))
    return {"documents_per_s": count / (time.perf_counter() - start)}


def post() -> dict[str, float]:
    """Post the group of the environment; return the rate and the most memory that it took."""
    from silhouette.picture_source.returned import RetMetaService
    from silhouette.post_ret_meta.post import post_ret_meta

    service = RetMetaService(picture_service_settings(), workers=WORKERS)
    with connect() as connection:
        report = post_ret_meta(
            groups=[GROUP], store=open_store(), connection=connection, service=service, workers=WORKERS
        )
    service.close()
    report.require_all()
    status = Path("/proc/self/status").read_text()  # getrusage would tell of the process that started this one
    peak_mb = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    return {"documents_per_s": report.documents_per_s, "peak_mb": peak_mb}


BENCHMARK = (
    Benchmark(
        name="ret_meta.build", ours=build_per_s, other=infer_twice_per_s, unit="pictures/s", better="higher",
        target=0.8, repetitions=3, setup=partial(served_group, 2000), small=partial(served_group, 6),
    ),
    Benchmark(
        name="ret_meta.post", ours=post_per_s, other=bare_per_s, unit="documents/s", better="higher",
        target=0.8, repetitions=3, setup=partial(documents_of, 4000), small=partial(documents_of, 30),
    ),
    Benchmark(
        name="ret_meta.post_memory", ours=post_memory_mb, other=small_post_memory_mb, unit="MB", target=1.05,
        repetitions=2, warmups=0, setup=partial(large_and_small, 10_000), small=partial(large_and_small, 20),
    ),
)  # fmt: skip

if __name__ == "__main__":
    print(json.dumps(bare(int(sys.argv[2])) if sys.argv[1] == "bare" else post()))
