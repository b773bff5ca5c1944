"""Who else brings pictures from a service into a bucket: a bare client that looks at nothing, and tools of a shell."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiohttp
import urllib3
from minio import Minio

from silhouette.store import open_store
from tests.benchmarks.ingest_service import TOKEN, picture_id
from tests.benchmarks.ingest_setup import Place

CONNECTIONS, THREADS = 16, 8  # more gain nothing
COPIER = next(filter(shutil.which, ("rclone", "mc")), "rclone")


def bare_s(urls: list[str], place: Place) -> float:
    """Fetch everything, then put everything; return the seconds."""
    start = time.perf_counter()
    bodies = asyncio.run(_fetch(urls))
    _put(place, bodies)
    return time.perf_counter() - start


async def _fetch(urls: list[str]) -> list[bytes]:
    bodies, numbers = [b""] * len(urls), iter(range(len(urls)))
    headers = {"Authorization": f"Bearer {TOKEN}"}

    async def work(session: aiohttp.ClientSession) -> None:
        for number in numbers:
            async with session.get(urls[number]) as answer:
                answer.raise_for_status()
                bodies[number] = await answer.read()

    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        await asyncio.gather(*(work(session) for _ in range(CONNECTIONS)))
    return bodies


def _put(place: Place, bodies: list[bytes]) -> None:
    client = Minio(
        place.store.endpoint, access_key=place.store.access_key, secret_key=place.store.secret_key, secure=False,
        region="us-east-1", http_client=urllib3.PoolManager(maxsize=THREADS),
    )  # fmt: skip

    def put(numbered: tuple[int, bytes]) -> None:
        number, body = numbered
        client.put_object(place.store.bucket, f"pictures/{picture_id(number)}.jpg", io.BytesIO(body), len(body))

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(put, enumerate(bodies)))


def tools_s(urls: list[str], place: Place) -> float:
    """Fetch with wget, then copy with rclone or mc; return the seconds."""
    with tempfile.TemporaryDirectory(prefix="silhouette-bench-") as folder:
        listed, files = Path(folder) / "urls", Path(folder) / "files"
        listed.write_text("".join(f"{url}\n" for url in urls))
        header = f"--header=Authorization: Bearer {TOKEN}"
        wget = ["wget", "--quiet", "--no-proxy", "--force-directories", "--no-host-directories", header]
        start = time.perf_counter()
        subprocess.run([*wget, f"--directory-prefix={files}", f"--input-file={listed}"], check=True)
        subprocess.run(_copying(place, files), check=True, env=_environ(place))
        seconds = time.perf_counter() - start
    if (found := sum(1 for _ in open_store(place.store).list_keys("pictures/"))) != len(urls):
        raise RuntimeError(f"wget and {COPIER} must bring {len(urls)} pictures, they brought {found}")
    return seconds


def _copying(place: Place, files: Path) -> list[str]:
    if COPIER == "mc":
        return ["mc", "mirror", "--quiet", "--max-workers=8", str(files), f"bench/{place.store.bucket}"]
    return ["rclone", "copy", "--transfers=8", "--s3-no-check-bucket", str(files), f":s3:{place.store.bucket}"]


def _environ(place: Place) -> dict[str, str]:
    """Return our environment without the user's own AWS settings, with the keys of this store."""
    key, secret, url = place.store.access_key, place.store.secret_key, f"http://{place.store.endpoint}"
    ours = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return ours | {
        "MC_HOST_bench": f"http://{key}:{secret}@{place.store.endpoint}", "RCLONE_S3_PROVIDER": "Other",
        "RCLONE_S3_ENDPOINT": url, "RCLONE_S3_ACCESS_KEY_ID": key, "RCLONE_S3_SECRET_ACCESS_KEY": secret,
        "RCLONE_S3_FORCE_PATH_STYLE": "true", "RCLONE_CONFIG": os.devnull,
    }  # fmt: skip
