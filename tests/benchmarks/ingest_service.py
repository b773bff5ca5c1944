"""The picture services of the ingest benchmarks, each a process of its own: the reference service, and a simulated one.

The simulated one lists and sends any number of pictures with as little work a request as the contract allows:

python -m tests.benchmarks.ingest_service PORT PICTURES FOLDER DELAY_S

It serves PICTURES pictures of the group `GROUP` out of the JPEG files of FOLDER, which it holds in memory: each id gets
one of them with the id written into a comment, so that no two pictures have the same bytes. The listing has an ETag
and no SHA-256, so a client can skip nothing. Each answer comes DELAY_S later, as from far away. Beyond the contract:
``/served`` tells how often bytes were sent.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from pipelines.embedded import ports
from silhouette.settings import PictureServiceSettings

GROUP, CLASSES, TOKEN = "bench", ("even", "odd"), "a token of the benchmarks"
_JSON = ((b"content-type", b"application/json"),)
_START_S = 30

Message = MutableMapping[str, Any]
Headers = tuple[tuple[bytes, bytes], ...]


def picture_id(number: int) -> str:
    return f"p{number:07d}"


def etag(number: int) -> str:
    return f'"{number:07d}-1"'


def with_comment(jpeg: bytes, text: str) -> bytes:
    """Write a text into a JPEG: the same picture, other bytes."""
    comment = text.encode()
    return jpeg[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + jpeg[2:]


class App:
    """Args: how many pictures, the JPEGs that they are made of, and the seconds that an answer takes."""

    def __init__(self, pictures: int, jpegs: list[bytes], delay_s: float) -> None:
        self._pictures, self._jpegs, self._delay_s, self._served = pictures, jpegs, delay_s, 0

    async def __call__(
        self, scope: Message, _receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        if self._delay_s:
            await asyncio.sleep(self._delay_s)
        status, headers, body = self._answer(scope)
        length = ((b"content-length", str(len(body)).encode()),)
        await send({"type": "http.response.start", "status": status, "headers": [*headers, *length]})
        await send({"type": "http.response.body", "body": body})

    def _answer(self, scope: Message) -> tuple[int, Headers, bytes]:
        path = scope["path"]
        if path == "/health":
            return 200, _JSON, b'{"status": "ok"}'
        if (b"authorization", f"Bearer {TOKEN}".encode()) not in scope["headers"]:
            return 401, _JSON, b'{"error": "unauthorized", "message": "the token is missing or wrong"}'
        if path.startswith("/pictures/") and path.endswith("/content"):
            number = int(path.split("/")[2][1:])
            self._served += 1
            return 200, ((b"content-type", b"image/jpeg"), (b"etag", etag(number).encode())), self._bytes(number)
        if path == f"/groups/{GROUP}":
            return 200, _JSON, json.dumps({"group": GROUP, "classes": CLASSES}).encode()
        if path == f"/groups/{GROUP}/pictures":
            return 200, _JSON, self._page(parse_qs(scope["query_string"].decode()))
        if path == "/served":
            return 200, _JSON, str(self._served).encode()
        return 404, _JSON, b'{"error": "not_found", "message": "there is no such thing"}'

    def _bytes(self, number: int) -> bytes:
        return with_comment(self._jpegs[number % len(self._jpegs)], picture_id(number))

    def _page(self, query: dict[str, list[str]]) -> bytes:
        first = int(query.get("cursor", ["0"])[0])
        end = min(self._pictures, first + int(query["limit"][0]))
        listed = [
            {  # the label goes with the JPEG, for those who look alike
                "picture_id": picture_id(number), "etag": etag(number), "pixset_id": f"shoot {number // 40}",
                "labels": {GROUP: CLASSES[number % len(self._jpegs) % 2 if len(self._jpegs) > 1 else number % 2]},
            }
            for number in range(first, end)
        ]  # fmt: skip
        return json.dumps({"pictures": listed, "next_cursor": str(end) if end < self._pictures else None}).encode()


@contextmanager
def serving(pictures: int, folder: Path, *, delay_s: float = 0.0) -> Iterator[PictureServiceSettings]:
    """Serve `pictures` pictures made of the JPEGs in `folder`, simulated; an answer takes `delay_s` seconds more."""
    (port,) = ports.choose(1)
    arguments = [str(port), str(pictures), str(folder), str(delay_s)]
    with _running(port, ["tests.benchmarks.ingest_service", *arguments]) as settings:
        yield settings


@contextmanager
def reference(pictures: int, folder: Path) -> Iterator[PictureServiceSettings]:
    """Serve `pictures` pictures made of the JPEGs in `folder` as files, by the project's reference service."""
    (port,) = ports.choose(1)
    jpegs = [path.read_bytes() for path in sorted(folder.iterdir())]
    with tempfile.TemporaryDirectory(prefix="silhouette-bench-") as made:
        root, lines = Path(made), []
        (root / "pictures").mkdir()  # the service looks for groups in the folder above
        (root / "group.json").write_text(json.dumps({"name": GROUP, "classes": CLASSES}))
        for number in range(pictures):
            name, which = picture_id(number), number % len(jpegs)
            (root / "pictures" / f"{name}.jpg").write_bytes(with_comment(jpegs[which], name))
            shown = {
                "picture_id": name,
                "file": f"pictures/{name}.jpg",
                "label": CLASSES[which % 2],
                "pixset_id": f"s{number // 40}",
            }
            lines.append(json.dumps(shown))
        (root / "pictures.jsonl").write_text("\n".join(lines))
        with _running(port, ["pipelines.embedded.picture_service", "--port", str(port), "--root", made]) as settings:
            yield settings


@contextmanager
def _running(port: int, module: list[str]) -> Iterator[PictureServiceSettings]:
    environ = {**os.environ, "SILHOUETTE_PICTURE_SERVICE_TOKEN": TOKEN}
    process = subprocess.Popen([sys.executable, "-m", *module], env=environ)
    try:
        settings = PictureServiceSettings(url=f"http://127.0.0.1:{port}", token=TOKEN)
        deadline = time.monotonic() + _START_S
        while True:
            try:
                _read(settings, "health")
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        yield settings
    finally:
        process.kill()
        process.wait()


def served(settings: PictureServiceSettings) -> int:
    """Return how many pictures were sent."""
    return int(_read(settings, "served"))


def _read(settings: PictureServiceSettings, path: str) -> bytes:
    request = urllib.request.Request(f"{settings.url}/{path}", headers={"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request, timeout=_START_S) as response:
        content: bytes = response.read()
    return content


def main(port: int, pictures: int, folder: Path, delay_s: float) -> None:
    import uvicorn

    jpegs = [path.read_bytes() for path in sorted(folder.iterdir())]
    app = App(pictures, jpegs, delay_s)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error", access_log=False, lifespan="off")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4]))
