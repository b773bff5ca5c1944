"""Build the images, parents first: `make images`, `make image/cpu`, or `python images/build.py [IMAGE ...]`.

Reads images/<image>/Dockerfile and images/bases.env. Makes `silhouette/<image>:<tag>`, the tag that
silhouette/containers.py computes and the compiled pipelines name, with docker, podman or buildah, whichever is
there; and for each build/sbom/<image>.cdx.json, what is in it (images/sbom.py). An image that is there under its
tag is not built again: the tag says what is in it.

    --registry PREFIX   build as PREFIX/silhouette/<image>:<tag>
    --push              push what was built, for which the registry's login must be there
    -- ...              further words for the engine's `build`, such as --network=host
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from images import sbom
from silhouette import __version__
from silhouette.containers import PARENTS, image_reference
from silhouette.errors import InputError, ServiceError, SilhouetteError

ROOT = Path(__file__).resolve().parents[1]
ENGINES = ("docker", "podman", "buildah")
_ANSWER_S = 30


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A program that builds images: its name and its path."""

    name: str
    path: str

    def call(self, *words: str, timeout_s: float | None = None) -> subprocess.CompletedProcess[str]:
        """Run it and return what it said; it is not an error when it fails."""
        try:
            return subprocess.run([self.path, *words], capture_output=True, text=True, check=False, timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise ServiceError(
                f"{self.name} must answer `{words[0]}` within {timeout_s:.0f} s, it did not; restart it"
            ) from error

    def has(self, reference: str) -> bool:
        """Tell whether an image is there."""
        words = ["inspect", "--type", "image"] if self.name == "buildah" else ["image", "inspect"]
        return self.call(*words, reference, timeout_s=_ANSWER_S).returncode == 0


def find_engine() -> Engine:
    """Return the first engine that is installed and answers.

    Raises:
        ServiceError: None is, or its daemon does not answer.
    """
    refusals = []
    for name in ENGINES:
        path = shutil.which(name)
        if path is None:
            continue
        engine = Engine(name=name, path=path)
        done = engine.call("info", timeout_s=_ANSWER_S)
        if done.returncode == 0:
            return engine
        refusals.append(f"{name} is installed and says: {' '.join(done.stderr.split())[-200:]}")
    reason = "; ".join(refusals) or "none is on the PATH"
    raise ServiceError(f"images are built with one of {', '.join(ENGINES)}: {reason}; install or start one")


def read_bases(path: Path = ROOT / "images" / "bases.env") -> dict[str, str]:
    """Read `NAME=reference` lines; a variable of the environment with that name goes before.

    Raises:
        InputError: A reference floats: it has no version, or the version `latest`.
    """
    bases = {}
    for line in filter(None, map(str.strip, path.read_text(encoding="utf-8").splitlines())):
        if not line.startswith("#"):
            name, _, reference = line.partition("=")
            bases[name] = os.environ.get(name) or reference
    for name, reference in bases.items():
        if is_floating(reference):
            raise InputError(
                f"{name} must be name:version or name:version@sha256:..., got {reference!r}; name a version"
            )
    return bases


def is_floating(reference: str) -> bool:
    """Tell whether an image's reference may mean something else tomorrow."""
    name, _, digest = reference.partition("@")
    version = name.rpartition("/")[2].partition(":")[2]
    return not digest.startswith("sha256:") and version in ("", "latest")


def with_parents(images: Sequence[str]) -> list[str]:
    """Return the images and what they are built from, parents first.

    Raises:
        InputError: There is no such image.
    """
    if unknown := [image for image in images if image not in PARENTS]:
        raise InputError(f"an image must be one of {', '.join(PARENTS)}, got {unknown[0]!r}; see `make help`")
    wanted = {name for image in images for name in (*PARENTS[image], image)}
    return [image for image in PARENTS if image in wanted]


def reference(image: str, registry: str) -> str:
    """Return the name under which an image is built."""
    return f"{registry.rstrip('/')}/{image_reference(image)}" if registry else image_reference(image)


def build_words(image: str, *, bases: Mapping[str, str], registry: str, more: Sequence[str]) -> list[str]:
    """Return the engine's words that build one image from the root of the checkout."""
    parents = PARENTS[image]
    values = {**bases, "VERSION": image_reference(image).rpartition(":")[2]}
    if parents:
        values["PARENT"] = reference(parents[-1], registry)
    dockerfile = ROOT / "images" / image / "Dockerfile"
    asked = {line.split()[1].partition("=")[0] for line in dockerfile.read_text().splitlines() if line[:4] == "ARG "}
    words = ["build", "--file", str(dockerfile), "--tag", reference(image, registry)]
    for name in sorted(asked & values.keys()):
        words += ["--build-arg", f"{name}={values[name]}"]
    return [*words, *more, str(ROOT)]


def build(images: Sequence[str], *, registry: str = "", push: bool = False, more: Sequence[str] = ()) -> None:
    """Build images and write their bills of material.

    Args:
        images: Of `PARENTS`; their parents are built as well.
        registry: Prefix of their names; empty for none.
        push: Push each after it was built.
        more: Further words for the engine's `build`.

    Raises:
        InputError: An unknown image, or a base image that floats.
        ServiceError: No engine, or it failed; its own words are above.
    """
    ordered, bases, engine = with_parents(images), read_bases(), find_engine()
    for image in ordered:
        name = reference(image, registry)
        if engine.has(name):
            print(f"{name} is there")
        else:
            print(f"{engine.name} builds {name}", flush=True)
            words = build_words(image, bases=bases, registry=registry, more=more)
            if subprocess.run([engine.path, *words], check=False).returncode:
                raise ServiceError(f"{engine.name} must build {name}, it failed; its reason stands above")
        path = sbom.write(image, name, engine)
        print(f"  what is in it: {path.relative_to(ROOT)}")
        if push and subprocess.run([engine.path, "push", name], check=False).returncode:
            raise ServiceError(f"{engine.name} must push {name}, it failed; log in to the registry, then push again")


def main() -> None:
    """Build what the command line names."""
    parser = argparse.ArgumentParser(description=f"Build the images of Silhouette {__version__}.")
    parser.add_argument("images", nargs="*", metavar="IMAGE", help=f"of {', '.join(PARENTS)}; default: all")
    parser.add_argument("--registry", default="", help="prefix of the images' names")
    parser.add_argument("--push", action="store_true", help="push what was built")
    words = sys.argv[1:]
    own, more = (words[: words.index("--")], words[words.index("--") + 1 :]) if "--" in words else (words, [])
    given = parser.parse_args(own)
    try:
        build(given.images or list(PARENTS), registry=given.registry, push=given.push, more=more)
    except SilhouetteError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
