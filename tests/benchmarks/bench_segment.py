"""How fast people are found, beside ultralytics' own command and beside the bare network; what a resume costs.

The pictures are the photographs of people below SILHOUETTE_SHARED_DATA, the model is the YOLOv8n-seg there; without
them a line says so, and the shipped model and made pictures take their place. Ours is a whole `silhouette segment` in a
process of its own, its start included: pictures from a real store, contours into a real PostgreSQL, both on the same
cores. The export for ONNX Runtime is made once, in the warm-up.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from pipelines.embedded import down, up
from silhouette.config import load_config
from silhouette.contracts import dataset as datasets
from silhouette.contracts.dataset import PictureRow
from silhouette.database import connect, segmentations
from silhouette.database.segmentations import Segmentation
from silhouette.detector import load_detector, model_digest_of
from silhouette.detector_onnx import OnnxDetector
from silhouette.imaging import open_picture
from silhouette.segment_people.segment import segment_people
from silhouette.settings import store_settings
from silhouette.store import open_store
from tests.benchmarks import Benchmark
from tests.benchmarks.ingest_setup import photographs

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT / (os.environ.get("SILHOUETTE_SHARED_DATA") or "../shared/data")
REAL_MODEL, SHIPPED_MODEL = SHARED / "models" / "yolov8n-seg.pt", ROOT / "samples" / "model" / "people-seg.pt"
CONFIG = load_config({}).segmentation
PROGRAMS = Path(sys.executable).parent
WRITE_AT_ONCE = 5000


@dataclass(frozen=True, kw_only=True)
class Group:
    """Pictures in a store and in a folder; `work` is what `silhouette segment` reads, `scratch` what may be written."""

    environ: dict[str, str]
    model: Path
    files: Sequence[Path]
    work: Path
    scratch: Path


@contextmanager
def services() -> Iterator[tuple[dict[str, str], Path]]:
    """Start a store and a database that know nothing; the other value is a folder."""
    with tempfile.TemporaryDirectory(prefix="silhouette-bench-") as folder:
        try:
            yield dict(up(Path(folder) / "state", services=("postgres", "object_store")).environment), Path(folder)
        finally:
            down(Path(folder) / "state")


def _jpegs(count: int) -> tuple[Path, list[bytes]]:
    """Return a model, and so many pictures for it."""
    if REAL_MODEL.is_file():
        kept = ("segmentation/*/images", "classify/*/*/*")
        real = (path for folder in kept for path in sorted(SHARED.glob(f"{folder}/*.jpg")))
        return REAL_MODEL, [path.read_bytes() for path in islice(real, count)]
    print(f"no {REAL_MODEL}: measured on made pictures instead, by the shipped model", file=sys.stderr)
    return SHIPPED_MODEL, list(photographs(count, width=640, height=480, quality=85))


@contextmanager
def group_of(count: int) -> Iterator[Group]:
    model, jpegs = _jpegs(count)
    with services() as (environ, folder):
        store, rows, files = open_store(store_settings(environ)), [], []
        store.ensure_bucket()
        (folder / "pictures").mkdir()
        for number, data in enumerate(jpegs):
            files.append(folder / "pictures" / f"{number:05d}.jpg")
            files[-1].write_bytes(data)
            opened, sha256 = open_picture(data), hashlib.sha256(data).hexdigest()
            rows.append(
                PictureRow(
                    picture_id=files[-1].stem, object_key=f"pictures/{sha256[:2]}/{sha256}.jpg", sha256=sha256,
                    width=opened.width, height=opened.height, label="", pixset_id="", split="",
                )
            )  # fmt: skip
            store.put_bytes(rows[-1].object_key, data)
        datasets.write_rows(folder / "work" / "dataset", group="benchmark", classes=(), rows=rows, refused=())
        yield Group(environ=environ, model=model, files=files, work=folder / "work", scratch=folder)


def _forget(group: Group) -> None:
    with connect(group.environ["SILHOUETTE_POSTGRES_DSN"]) as connection:
        connection.execute("TRUNCATE segmentations, people")


def _segment(environ: dict[str, str], *, work: Path, model: Path, cwd: Path) -> tuple[dict[str, float], float]:
    """Run the command; return its report and the seconds that it took."""
    command = [PROGRAMS / "silhouette", "--json", "segment", "--group", "benchmark", "--work", work]
    start = time.perf_counter()
    done = subprocess.run(
        [*command, "--model-path", model], cwd=cwd, env={**os.environ, **environ}, check=True, stdout=subprocess.PIPE
    )
    return json.loads(done.stdout), time.perf_counter() - start


def ours_per_s(group: Group) -> float:
    _forget(group)
    report, seconds = _segment(group.environ, work=group.work, model=group.model, cwd=group.scratch)
    if report["pictures"] != len(group.files):
        raise RuntimeError(f"{len(group.files)} pictures must be segmented, got {report}")
    return len(group.files) / seconds


def yolo_per_s(group: Group) -> float:
    """Run ultralytics' command on the same pictures: people alone, contours as text, no pictures drawn."""
    with tempfile.TemporaryDirectory(dir=group.scratch) as out:
        settings = {
            "model": group.model, "source": group.files[0].parent, "imgsz": CONFIG.image_size, "conf": CONFIG.min_score,
            "save_txt": True, "save": False, "project": out, "device": "cpu",
            "classes": 0,
        }  # fmt: skip
        command = [PROGRAMS / "yolo", "segment", "predict", *(f"{name}={value}" for name, value in settings.items())]
        quiet = {"YOLO_CONFIG_DIR": out, "YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "false", "ULTRALYTICS_SAFE_LOAD": "1"}
        start = time.perf_counter()
        subprocess.run(command, cwd=out, env={**os.environ, **quiet}, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - start
        if not list(Path(out).rglob("*.txt")):
            raise RuntimeError("the other side must have saved contours, it saved none")
    return len(group.files) / seconds


# ---- the bare network


def work_per_s(group: Group) -> float:
    """Segment in this process: reading, decoding, finding, tracing, writing; with the model's loading, without ours."""
    _forget(group)
    store = open_store(store_settings(group.environ))
    with connect(group.environ["SILHOUETTE_POSTGRES_DSN"]) as connection:
        report = segment_people(
            dataset=group.work / "dataset", model=str(group.model), store=store, connection=connection, config=CONFIG
        )
    return report.pictures_per_s


def bare_per_s(group: Group) -> float:
    """Run the network that ours takes on letterboxed pictures in memory, from as many threads as it gains from."""
    detector = load_detector(group.model, image_size=CONFIG.image_size, store=open_store(store_settings(group.environ)))
    if not isinstance(detector, OnnxDetector):
        raise RuntimeError(f"the bare network is measured on a CPU, got {type(detector).__name__}")
    ready = []
    for path in group.files:
        pixels = open_picture(path.read_bytes()).pixels
        ready.append(detector.fit((pixels.shape[0], pixels.shape[1])).letterbox(pixels)[None])
    with ThreadPoolExecutor(detector.lanes) as pool:
        start = time.perf_counter()
        for _ in pool.map(detector.forward, ready):
            pass
        return len(ready) / (time.perf_counter() - start)


# ---- nothing new


@contextmanager
def known_group(count: int) -> Iterator[Group]:
    """Make a group all of whose pictures this model has seen."""
    with services() as (environ, folder):
        rng = np.random.default_rng(0)
        sha256s = [rng.bytes(32).hex() for _ in range(count)]
        rows = (
            PictureRow(
                picture_id=f"{number:09d}", object_key=f"pictures/{sha256[:2]}/{sha256}.jpg", sha256=sha256,
                width=1200, height=900, label="", pixset_id="", split="",
            )
            for number, sha256 in enumerate(sha256s)
        )  # fmt: skip
        datasets.write_rows(folder / "work" / "dataset", group="benchmark", classes=(), rows=rows, refused=())
        open_store(store_settings(environ)).ensure_bucket()
        digest = model_digest_of(
            SHIPPED_MODEL, person_class=CONFIG.person_class, image_size=CONFIG.image_size, min_score=CONFIG.min_score
        )
        with connect(environ["SILHOUETTE_POSTGRES_DSN"]) as connection:
            for start in range(0, count, WRITE_AT_ONCE):
                part = sha256s[start : start + WRITE_AT_ONCE]
                found = [Segmentation(picture_sha256=one, width=1200, height=900, people=()) for one in part]
                segmentations.add(connection, model_digest=digest, found=found)
        yield Group(environ=environ, model=SHIPPED_MODEL, files=(), work=folder / "work", scratch=folder)


def resume_s(group: Group) -> float:
    report, seconds = _segment(group.environ, work=group.work, model=group.model, cwd=group.scratch)
    if report["pictures"] or not report["already_done"]:
        raise RuntimeError(f"nothing may be left to segment, got {report}")
    return seconds


RATE = {"unit": "pictures/s", "better": "higher", "small": partial(group_of, 3)}

BENCHMARK = (
    Benchmark(name="segment.yolo", ours=ours_per_s, other=yolo_per_s, target=1.8, setup=partial(group_of, 116), **RATE),
    Benchmark(
        name="segment.bare", ours=work_per_s, other=bare_per_s, target=0.85, setup=partial(group_of, 300), **RATE
    ),
    Benchmark(
        name="segment.resume", ours=resume_s, other=10.0, repetitions=3,
        setup=partial(known_group, 200_000), small=partial(known_group, 2_000),
    ),
)  # fmt: skip
