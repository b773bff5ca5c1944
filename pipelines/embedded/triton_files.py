"""The files of the embedded Triton: its own venv, and the backend folder that is laid out for every start.

Reads ``.venv-triton`` (``images/triton/requirements.lock``) and `backends/onnxruntime/model.py`. Writes a backend
folder of copies, since Triton refuses symbolic links, under the state folder; elsewhere if that has a space in its
path, on which Triton aborts.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pipelines.embedded.installation import Installation
from silhouette.errors import ServiceError

CHECKOUT = Path(__file__).resolve().parents[2]
VENV = CHECKOUT / ".venv-triton"
BACKEND = Path(__file__).with_name("backends") / "onnxruntime" / "model.py"
NEEDED_GLIBC = (2, 35)
ELSEWHERE = "start a Triton elsewhere, its container for example, and set SILHOUETTE_TRITON_URL to its http://host:port"
_QUESTIONS = (
    "import json, sys, sysconfig; print(json.dumps([sysconfig.get_path('purelib'), "
    "sysconfig.get_config_var('LIBDIR') or '', '%d.%d' % sys.version_info[:2]]))"
)


@dataclass(frozen=True, kw_only=True)
class TritonVenv:
    """Where things are in Triton's own venv."""

    bin: Path
    server: Path
    stub: Path
    python_backend: Path
    library_path: str
    python_version: str


@cache
def venv(folder: Path = VENV) -> TritonVenv:
    """Find the server in its venv.

    Raises:
        ServiceError: This machine cannot run it, or the venv is missing or incomplete.
    """
    _require_platform()
    python = folder / "bin" / "python"
    if not python.exists():
        raise ServiceError(
            f"the embedded triton needs its own venv, {folder} is missing; `make up` makes it, by hand: "
            f"python3 -m venv {folder} && {folder}/bin/pip install --require-hashes --no-deps "
            "-r images/triton/requirements.lock"
        )
    answer = subprocess.run([python, "-I", "-c", _QUESTIONS], capture_output=True, text=True, check=True).stdout
    site, library_folder, version = json.loads(answer)
    server = Path(site) / "pytriton" / "tritonserver"
    found = TritonVenv(
        bin=folder / "bin",
        server=server / "bin" / "tritonserver",
        stub=server / "python_backend_stubs" / version / "triton_python_backend_stub",
        python_backend=server / "backends" / "python",
        library_path=f"{library_folder}:{Path(site) / 'nvidia_pytriton.libs'}",
        python_version=version,
    )
    for path in (found.server, found.stub):
        if not path.exists():
            raise ServiceError(
                f"the venv of the embedded triton must hold {path}, it is missing; remove {folder} and run `make up`"
            )
    return found


def _require_platform() -> None:
    """Refuse a system on which the server of the wheel does not start.

    Raises:
        ServiceError: Says what this is, and the way out.
    """
    libc, version = platform.libc_ver()
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if platform.system() != "Linux" or libc != "glibc" or numbers < NEEDED_GLIBC:
        here = f"{platform.system()} {platform.machine()} {libc} {version}".strip()
        raise ServiceError(f"the embedded triton needs Linux with glibc 2.35 or newer, this is {here}; {ELSEWHERE}")


def work_folder(installation: Installation) -> Path:
    """Return the folder for backends and downloaded models, on a path without spaces (made, mode 0700).

    Raises:
        ServiceError: There is no such path, or it belongs to somebody else.
    """
    folder = installation.folder("triton") / "work"
    if re.search(r"\s", str(folder)):
        folder = Path(tempfile.gettempdir()) / f"silhouette-{os.getuid()}-{installation.state.installation}"
        if re.search(r"\s", str(folder)):
            raise ServiceError(
                f"Triton aborts on a space in a path, and TMPDIR has one: {folder.parent}; set TMPDIR to one without"
            )
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise ServiceError(f"{folder} must be a folder of our own, it belongs to another user; remove it")
    return folder


def lay_out(installation: Installation, found: TritonVenv) -> None:
    """Write the backend folder anew and take away the models that a killed server had downloaded.

    Raises:
        ServiceError: Python's shared library is missing, on which Triton itself would hang.
    """
    work = work_folder(installation)
    for name in ("backends", "models"):
        shutil.rmtree(work / name, ignore_errors=True)
        (work / name).mkdir()
    python, onnxruntime = work / "backends" / "python", work / "backends" / "onnxruntime"
    python.mkdir()
    onnxruntime.mkdir()
    for path in (
        found.python_backend / "libtriton_python.so",
        found.python_backend / "triton_python_backend_utils.py",
        found.stub,
    ):
        shutil.copy(path, python)
    shutil.copy(BACKEND, onnxruntime)
    stub = subprocess.run(
        [python / found.stub.name],
        env={"LD_LIBRARY_PATH": found.library_path},
        capture_output=True,
        text=True,
        check=False,
    )
    if stub.returncode == 127:  # the loader's own exit code; without arguments the stub itself exits with 1
        raise ServiceError(
            f"Triton's python stub needs the shared library of Python {found.python_version}: {stub.stderr.strip()}; "
            f"install it (Debian and Ubuntu: apt-get install libpython{found.python_version}), or {ELSEWHERE}"
        )
