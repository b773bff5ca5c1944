"""Render an overlay with kubectl, offline: `python -m manifests.render gpu`.

Reads manifests/. Every overlay, and `engine` for what Kubeflow itself must know.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from silhouette.errors import InputError, ServiceError

ROOT = Path(__file__).resolve().parent
KUBERNETES = "1.36"  # what the schemas are of; README.md names it
_RENDER_S = 60


def targets() -> list[str]:
    """Return what can be rendered."""
    return [*sorted(path.name for path in (ROOT / "overlays").iterdir() if path.is_dir()), "engine"]


def folder(target: str) -> Path:
    """Return the folder of an overlay, or of `engine`.

    Raises:
        InputError: There is none of that name.
    """
    if target not in targets():
        raise InputError(f"an overlay must be one of {', '.join(targets())}, got {target!r}; see manifests/overlays")
    return ROOT / target if target == "engine" else ROOT / "overlays" / target


def kubectl() -> str:
    """Return the path of kubectl: the one of the environment, else one on the PATH.

    Raises:
        ServiceError: There is none.
    """
    beside = Path(sys.executable).parent / "kubectl"
    found = str(beside) if beside.exists() else shutil.which("kubectl")
    if found is None:
        raise ServiceError("kubectl must be installed, it is not; run `make install`")
    return found


def render_folder(path: Path) -> list[dict[str, Any]]:
    """Return the objects that a kustomize folder stands for.

    Raises:
        InputError: kustomize refuses it.
    """
    done = subprocess.run(
        [kubectl(), "kustomize", str(path)], capture_output=True, text=True, check=False, timeout=_RENDER_S
    )
    if done.returncode:
        raise InputError(f"{path} must render, kustomize says: {' '.join(done.stderr.split())}")
    return [item for item in yaml.safe_load_all(done.stdout) if item]


def render(target: str) -> list[dict[str, Any]]:
    """Return the objects of an overlay.

    Raises:
        InputError: There is no such overlay, or kustomize refuses it.
        ServiceError: kubectl is missing.
    """
    return render_folder(folder(target))


if __name__ == "__main__":
    print(yaml.safe_dump_all(render(sys.argv[1]), sort_keys=False))
