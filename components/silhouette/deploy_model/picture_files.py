"""What a picture model's version folder holds: the code that answers, packed from this very package, and its entry.

Reads the package's own source files; the same package gives the same bytes.
"""

from __future__ import annotations

import io
import zipfile
from importlib.resources import files

MODEL_NAME, CODE_NAME = "model.py", "silhouette.zip"
MODULES = (
    "__init__.py", "errors.py", "imaging.py", "detection.py", "detector_onnx.py", "picture_answer.py",
    "picture_backend.py", "contracts/__init__.py", "contracts/contours.py",
)  # fmt: skip
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip file knows
ENTRY = b'''"""Made by Silhouette: the entry of Triton's Python backend; the code is in the archive beside it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).with_name("silhouette.zip")))

from silhouette.picture_backend import TritonPythonModel  # noqa: E402, F401
'''


def pack_code() -> bytes:
    """Return the archive."""
    stream, package = io.BytesIO(), files("silhouette")
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in MODULES:
            info = zipfile.ZipInfo(f"silhouette/{name}", date_time=_EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, package.joinpath(name).read_bytes())
    return stream.getvalue()
