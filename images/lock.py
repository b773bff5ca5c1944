"""Pin what is installed: `make lock`, or `python -m images.lock [--upgrade] [--subsets-only]`.

Reads pyproject.toml. Writes requirements.lock, every package that any place needs, resolved once, pinned and
hashed; and beside each Dockerfile images/<image>/requirements.lock, the lines of it that this image's extra
needs on Linux. A subset is cut out of the full lock, never resolved for itself, so that all images and the
laptop run the same releases. Nothing is ever installed that is not in a lock:
`pip install --require-hashes --no-deps -r requirements.lock`. images/cpu/build.lock is what the first
stage of the cpu image makes the package's wheel with, images/triton/image.lock what the triton image adds.

images/triton/requirements.lock is not made here: the embedded Triton has a venv of its own with an older numpy.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path

from packaging.markers import Marker

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.lock"
IMAGES = ("cpu", "torch", "yolo")  # each is an extra of pyproject.toml
SERVED = ("pillow",)  # for models in Python that decode pictures inside the server
UNWANTED = ("opencv-python",)  # ultralytics asks for it; it overwrites the cv2 of opencv-python-headless
NO_STEP_CALLS = (
    "kfp-server-api",
)  # kfp's client needs it, its executor does not; there is no wheel, so it would be built
OLDEST_PYTHON = "3.11"
LINUX = [
    {
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
        "platform_machine": machine,
        "python_version": python,
        "python_full_version": f"{python}.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    for machine, python in product(("x86_64", "aarch64"), ("3.11", "3.12", "3.13"))
]
_PIN = re.compile(r"(?P<name>[a-z0-9][a-z0-9.-]*)==(?P<version>[^\s;\\]+)(?: ; (?P<marker>[^\\]+?))?(?: \\)?")


def read_blocks(lock: str) -> dict[str, str]:
    """Split a lock into ``{pin line without the trailing backslash: its whole block}``, in order.

    Args:
        lock: The text of a requirements.lock; a block is a pin line and its indented hash and comment lines.
    """
    blocks: dict[str, str] = {}
    pin = ""
    for line in lock.splitlines(keepends=True):
        if line.startswith("#") or not line.strip():
            continue
        if not line.startswith(" "):
            pin = line.strip().removesuffix(" \\")
            blocks[pin] = ""
        blocks[pin] += line
    return blocks


def parse_pin(pin: str) -> tuple[str, str, str]:
    """Split ``name==version ; marker`` into name, version and marker (empty when there is none)."""
    match = _PIN.fullmatch(pin)
    if not match:
        raise SystemExit(f"a line of the lock must be name==version, got {pin!r}; run `make lock` again")
    return match["name"], match["version"], match["marker"] or ""


def is_for_linux(marker: str) -> bool:
    """Tell whether a marker holds on any Linux and Python that the images may have."""
    return not marker or any(Marker(marker).evaluate(environment) for environment in LINUX)


def cut(lock: str, names: set[str], *, image: str) -> str:
    """Return the subset of `lock` with the packages `names`, comments left out, under a header of its own."""
    header = f"# The lines of requirements.lock that the {image} image needs; made by `make lock`.\n"
    return header + "".join(_subset(read_blocks(lock), names))


def _subset(blocks: Mapping[str, str], names: set[str]) -> Iterator[str]:
    for pin, block in blocks.items():
        name, _, marker = parse_pin(pin)
        if name in names and is_for_linux(marker):
            yield re.sub(r"(?m)^ +#.*\n", "", block)


def compile_extra(extra: str, output: Path, *options: str) -> None:
    """Resolve one extra of pyproject.toml for every platform into `output`; what `output` pins stays pinned."""
    unwanted = [f"--no-emit-package={name}" for name in UNWANTED]
    command = [sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml", "--quiet", "--universal"]
    command += [f"--extra={extra}", f"--python-version={OLDEST_PYTHON}", f"--output-file={output}", *unwanted, *options]
    if subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.DEVNULL).returncode:
        raise SystemExit(f"the extra {extra!r} of pyproject.toml must resolve; what stands in the way is said above")


def resolve_names(extra: str) -> set[str]:
    """Return the names of all packages that `extra` needs at the releases of the full lock."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "names.txt"
        compile_extra(extra, output, f"--constraint={LOCK}", "--no-annotate", "--no-header")
        return {parse_pin(pin)[0] for pin in read_blocks(output.read_text(encoding="utf-8"))}


def resolve_builder() -> set[str]:
    """Return the names of all packages that making the package's wheel needs, at the releases of the full lock."""
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]
    command = [sys.executable, "-m", "uv", "pip", "compile", "-", "--quiet", "--universal", "--no-annotate"]
    command += ["--no-header", f"--python-version={OLDEST_PYTHON}", f"--constraint={LOCK}"]
    done = subprocess.run(command, cwd=ROOT, check=False, input="\n".join(wanted), stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit("what pyproject.toml needs to be built must resolve; what stands in the way is said above")
    return {parse_pin(pin)[0] for pin in read_blocks(done.stdout)}


def main() -> None:
    """Write the full lock, then one subset per image."""
    parser = argparse.ArgumentParser(description="Pin what is installed, per image.")
    parser.add_argument("--upgrade", action="store_true", help="take the newest releases that pyproject.toml allows")
    parser.add_argument("--subsets-only", action="store_true", help="keep requirements.lock as it is")
    given = parser.parse_args()
    if not given.subsets_only:
        upgrade = ["--upgrade"] if given.upgrade else []
        compile_extra("dev", LOCK, "--generate-hashes", "--custom-compile-command=make lock", *upgrade)
    lock = LOCK.read_text(encoding="utf-8")
    for image in IMAGES:
        path = ROOT / "images" / image / "requirements.lock"
        path.parent.mkdir(exist_ok=True)
        names = resolve_names(image) - set(NO_STEP_CALLS)
        path.write_text(cut(lock, names, image=image), encoding="utf-8")
    for image, name, names in (("cpu", "build.lock", resolve_builder()), ("triton", "image.lock", set(SERVED))):
        (ROOT / "images" / image / name).write_text(cut(lock, names, image=image), encoding="utf-8")


if __name__ == "__main__":
    main()
