"""Say what is in an image: build/sbom/<image>.cdx.json, a CycloneDX bill of materials.

Reads the image's hashed lock (the Python packages, through cyclonedx-py) and asks the image itself for its Debian
packages. The parents' locks are subsets of the image's own, so one lock says it all.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from silhouette.errors import ServiceError

if TYPE_CHECKING:
    from images.build import Engine

ROOT = Path(__file__).resolve().parents[1]
_QUERY = "${Package}\\t${Version}\\t${Architecture}\\n"
_ANSWER_S = 120


def write(image: str, reference: str, engine: Engine) -> Path:
    """Write the bill of materials of an image that `engine` has.

    Raises:
        ServiceError: cyclonedx-py or the image does not say what is in it.
    """
    document = of_lock(lock_of(image))
    document["metadata"]["component"] = {"type": "container", "name": reference, "bom-ref": reference}
    document["components"] += debian_components(_debian_packages(reference, engine))
    path = ROOT / "build" / "sbom" / f"{image}.cdx.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return path


def lock_of(image: str) -> Path:
    """Return the lock of what an image adds to its base."""
    return ROOT / "images" / image / ("image.lock" if image == "triton" else "requirements.lock")


def of_lock(lock: Path) -> dict[str, Any]:
    """Return the bill of a lock: each package with its version, hashes and package URL.

    Raises:
        ServiceError: cyclonedx-py refuses it.
    """
    command = [sys.executable, "-m", "cyclonedx_py", "requirements", str(lock)]
    command += ["--output-reproducible", "--output-format=JSON", "--spec-version=1.6"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_ANSWER_S)
    if done.returncode:
        raise ServiceError(f"cyclonedx-py must read {lock}, it says: {' '.join(done.stderr.split())[-300:]}")
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def debian_components(listing: str) -> list[dict[str, str]]:
    """Return components of lines ``package<tab>version<tab>architecture``, as dpkg-query prints them."""
    rows = (line.split("\t") for line in listing.splitlines() if line)
    return [
        {
            "type": "library",
            "name": name,
            "version": version,
            "purl": f"pkg:deb/debian/{name}@{quote(version)}?arch={architecture}",
            "bom-ref": f"deb:{name}:{architecture}",
        }
        for name, version, architecture in rows
    ]


def _debian_packages(reference: str, engine: Engine) -> str:
    query = ["dpkg-query", "--show", f"--showformat={_QUERY}"]
    if engine.name == "buildah":
        made = engine.call("from", reference, timeout_s=_ANSWER_S)
        container = made.stdout.strip()
        done = engine.call("run", container, "--", *query, timeout_s=_ANSWER_S)
        engine.call("rm", container, timeout_s=_ANSWER_S)
    else:
        words = ["run", "--rm", "--network=none", "--entrypoint", query[0], reference, *query[1:]]
        done = engine.call(*words, timeout_s=_ANSWER_S)
    if done.returncode:
        raise ServiceError(f"{reference} must list its Debian packages, it says: {done.stderr.strip()[-300:]}")
    return done.stdout
