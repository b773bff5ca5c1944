"""The images that steps run in, and the decorators that put a step into one.

    cpu    decode, store, database, judge, Triton client; no torch
    torch  cpu + torch, timm, Lightning, ONNX export
    yolo   torch + ultralytics (AGPL-3.0 stays in this image)
    triton the inference server; no step runs in it

An image's tag is the version and a hash of what enters the image: the package, the shipped configuration, the
image's lock and Dockerfile, the names of the images that they start from. Compiled pipelines, docs and tests do
not enter it. Both caches of KFP know a step by its image's name, so new code means new tags means no stale result.
"""

import functools
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kfp import dsl

from silhouette import __version__

REPOSITORY = "silhouette"  # `silhouette/cpu:TAG`; a registry's prefix is added when a run is submitted
PARENTS = {"cpu": (), "torch": ("cpu",), "yolo": ("cpu", "torch"), "triton": ()}
WITHOUT_PACKAGE = ("triton",)

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parents[1]


def _content(image: str) -> Iterator[Path]:
    if image not in WITHOUT_PACKAGE:
        for path in sorted(_PACKAGE.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path
        yield _CHECKOUT / "config" / "default.yaml"
    yield _CHECKOUT / "images" / "bases.env"
    for name in (*PARENTS[image], image):
        yield from sorted((_CHECKOUT / "images" / name).glob("*"))


@functools.cache
def image_reference(image: str) -> str:
    """Return ``silhouette/<image>:<version>-<12 hexadecimal digits>`` for the checkout as it is.

    Args:
        image: ``cpu``, ``torch``, ``yolo`` or ``triton``.
    """
    digest = hashlib.sha256()
    for path in _content(image):
        data = path.read_bytes()
        digest.update(f"{path.relative_to(_CHECKOUT).as_posix()} {len(data)}\n".encode())
        digest.update(data)
    return f"{REPOSITORY}/{image}:{__version__}-{digest.hexdigest()[:12]}"


def _component(function: Callable[..., Any], image: str) -> Any:
    return dsl.component(function, base_image=image_reference(image), install_kfp_package=False)


def cpu_step(function: Callable[..., Any]) -> Any:
    """Make a component of `function` that runs in the cpu image."""
    return _component(function, "cpu")


def torch_step(function: Callable[..., Any]) -> Any:
    """Make a component of `function` that runs in the torch image."""
    return _component(function, "torch")


def yolo_step(function: Callable[..., Any]) -> Any:
    """Make a component of `function` that runs in the yolo image."""
    return _component(function, "yolo")
