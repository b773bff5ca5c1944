"""What the ingest benchmarks need: pictures, and a store and a database of their own for every repetition."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from pipelines.embedded import down, up
from samples.photographs import photograph
from silhouette.config import load_config
from silhouette.database import connect, pictures
from silhouette.download_pictures.door import judged_by
from silhouette.download_pictures.download import DownloadReport, download_pictures
from silhouette.picture_source.service import PictureService
from silhouette.settings import PictureServiceSettings, StoreSettings, postgres_dsn, store_settings
from silhouette.store import open_store
from tests.benchmarks.ingest_service import GROUP, etag, picture_id

CONFIG = load_config({})
SUBJECTS = ("astronaut.png", "coffee.png", "chelsea.png", "rocket.jpg", "motorcycle_left.png", "hubble_deep_field.jpg")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where pictures go: a bucket and a database."""

    store: StoreSettings
    dsn: str


def photographs(count: int, *, width: int, height: int, quality: int) -> Iterator[bytes]:
    """Yield JPEGs of parts of photographs, with the noise of a camera; the same ones every time."""
    for number in range(count):
        rng = np.random.default_rng(number)
        whole = photograph(SUBJECTS[number % len(SUBJECTS)])
        share = rng.uniform(0.55, 0.95)
        high, wide = (int(share * side) for side in whole.shape[:2])
        top, left = rng.integers(whole.shape[0] - high), rng.integers(whole.shape[1] - wide)
        pixels = cv2.resize(whole[top : top + high, left : left + wide], (width, height), interpolation=cv2.INTER_CUBIC)
        noise = np.empty_like(pixels, dtype=np.int8)
        cv2.setRNGSeed(number)
        cv2.randn(noise, (0, 0, 0), (6, 6, 6))
        noisy = cv2.add(pixels, noise, dtype=cv2.CV_8U)
        yield _jpeg(cv2.cvtColor(noisy, cv2.COLOR_RGB2BGR), quality)


def small_pictures(count: int) -> Iterator[bytes]:
    """Yield JPEGs of about a kilobyte, no two of which look alike."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        yield _jpeg(cv2.resize(rng.integers(0, 256, (6, 8, 3), np.uint8), (40, 30)), 75)


def _jpeg(pixels_bgr: np.typing.NDArray[np.uint8], quality: int) -> bytes:
    return cv2.imencode(".jpg", pixels_bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


@contextmanager
def written(jpegs: Iterator[bytes]) -> Iterator[Path]:
    """Write pictures into a folder of their own."""
    with tempfile.TemporaryDirectory(prefix="silhouette-bench-") as folder:
        for number, data in enumerate(jpegs):
            (Path(folder) / f"{number:05d}.jpg").write_bytes(data)
        yield Path(folder)


@contextmanager
def fresh_place() -> Iterator[Place]:
    """Start a store and a database that know nothing, and take them down: a used store is slower than a new one."""
    with tempfile.TemporaryDirectory(prefix="silhouette-bench-") as folder:
        state = Path(folder) / "state"
        try:
            environ = up(state, services=("postgres", "object_store")).environment
            place = Place(store=store_settings(environ), dsn=postgres_dsn(environ))
            connect(place.dsn).close()  # the tables are made
            yield place
        finally:
            down(state)


def download(place: Place, service: PictureServiceSettings) -> DownloadReport:
    """Do what the step does."""
    with tempfile.TemporaryDirectory(prefix="silhouette-bench-") as folder, connect(place.dsn) as connection:
        return download_pictures(
            group=GROUP, source=None, out=Path(folder), store=open_store(place.store), connection=connection,
            config=CONFIG, picture_service=service,
        )  # fmt: skip


def remember(place: Place, number: int) -> None:
    """Put objects and records of so many pictures there, as earlier runs would have left them."""
    store, limits = open_store(place.store), CONFIG.pictures
    rng, store_id = np.random.default_rng(0), store.installation_id()
    sha256s = [rng.bytes(32).hex() for _ in range(number)]
    hashes = rng.integers(-(1 << 63), 1 << 63, number)
    keys = [f"pictures/{sha256[:2]}/{sha256}.jpg" for sha256 in sha256s]
    kept = next(small_pictures(1))
    store.put_many((key, kept) for key in keys)
    records = (
        pictures.PictureRecord(
            origin=PictureService.origin, name=picture_id(index), picture_id=picture_id(index), stamp=etag(index),
            etag=etag(index), sha256=sha256, size_bytes=200_000, width=1200, height=900, object_key=keys[index],
            phash=int(hashes[index]), judged_by=judged_by(limits), store_id=store_id,
        )
        for index, sha256 in enumerate(sha256s)
    )  # fmt: skip
    with connect(place.dsn) as connection:
        pictures.write_often(connection)
        pictures.restore(connection, records)


def peak_mb_of_download(place: Place, service: PictureServiceSettings) -> float:
    """Download in a process of its own and return the most memory that it had."""
    given = json.dumps({"store": asdict(place.store), "dsn": place.dsn, "url": service.url, "token": service.token})
    command = [sys.executable, "-m", "tests.benchmarks.ingest_setup"]
    done = subprocess.run(command, input=given, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    given = json.load(sys.stdin)
    place = Place(store=StoreSettings(**given["store"]), dsn=given["dsn"])
    download(place, PictureServiceSettings(url=given["url"], token=given["token"]))
    # not ru_maxrss: that starts with the memory of the process which started this one
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(int(line.split()[1]) / 1000)


if __name__ == "__main__":
    main()
