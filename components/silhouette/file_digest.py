"""Digests of files: SHA-256, by which weights, models and pictures are known whatever their names, and others' MD5."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, 64 hexadecimal digits; the file is read in pieces.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def md5_of(path: Path) -> str:
    """Return the MD5 of a file's bytes, 32 hexadecimal digits: the name that S3 and Weights & Biases have for them.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, md5).hexdigest()


def md5(data: bytes = b"") -> Any:
    """Return MD5 as a name of content, which guards nothing."""
    return hashlib.md5(data, usedforsecurity=False)
