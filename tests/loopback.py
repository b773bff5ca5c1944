"""Servers on loopback and small groups of pictures, for tests of what comes in."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pipelines.embedded import ports
from silhouette.config import Config, load_config

TOKEN = "a token of the tests"


def jpeg(seed: int, *, width: int = 40, height: int = 30) -> bytes:
    """Make a small picture, a different one for every seed."""
    colour = np.random.default_rng(seed).integers(0, 256, 3)
    stream = io.BytesIO()
    pixels = np.full((height, width, 3), colour, np.uint8)
    pixels[:4, :4] = seed % 256
    Image.fromarray(pixels).save(stream, "JPEG", comment=f"picture {seed}")
    return stream.getvalue()


def small_config(**dataset: int) -> Config:
    """Return the shipped configuration with small limits."""
    config = load_config({})
    return config.model_copy(
        update={
            "dataset": config.dataset.model_copy(update={"min_pictures_per_class": 2, **dataset}),
            "pictures": config.pictures.model_copy(update={"workers": 4}),
        }
    )


def write_classes(root: Path, counts: dict[str, int], *, first: int = 0) -> Path:
    """Write a folder with one sub-folder per class."""
    number = first
    for label, count in counts.items():
        (root / label).mkdir(parents=True, exist_ok=True)
        for _ in range(count):
            (root / label / f"{number:03d}.jpg").write_bytes(jpeg(number))
            number += 1
    return root


def write_group(folder: Path, *, name: str, classes: list[str], each: int = 3, prefix: str = "p") -> Path:
    """Write a group as the reference picture service serves it."""
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    (folder / "group.json").write_text(json.dumps({"name": name, "classes": classes}), encoding="utf-8")
    lines = []
    for number in range(each * len(classes)):
        picture_id = f"{prefix}{number:03d}"
        (folder / "pictures" / f"{number}.jpg").write_bytes(jpeg(number))
        lines.append(
            {
                "picture_id": picture_id,
                "file": f"pictures/{number}.jpg",
                "label": classes[number % len(classes)],
                "pixset_id": f"shoot {number // 2}",
                "width": 40,
                "height": 30,
            }
        )
    (folder / "pictures.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return folder


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """Serve an ASGI application on a free loopback port and yield its URL."""
    (port,) = ports.choose(1)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        assert time.monotonic() < deadline, "the server did not start in 20 s"
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=20)
        assert not thread.is_alive()


class Scripted:
    """A server that answers as the test says, and remembers what it was asked."""

    def __init__(self, answer: Callable[[str, int], Response]) -> None:
        self.asked: list[tuple[str, str]] = []
        self._answer = answer
        self.app = Starlette(routes=[Route("/{rest:path}", self._handle, methods=["GET", "PUT"])])

    def _handle(self, request: Request) -> Response:
        path = request.scope["raw_path"].decode()
        self.asked.append((path, request.headers.get("authorization", "")))
        return self._answer(path, sum(1 for asked, _ in self.asked if asked == path))
