"""Read a badlist: a text file with one picture id a line.

UTF-8, with or without a byte order mark; any line ends; white space around an id is not part of it. Empty lines and
lines that start with ``#`` are passed over. A ``#`` further on belongs to the id, because ids may have one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from silhouette.errors import InputError

LONGEST_ID = 1500  # bytes: longer ids are refused at download, so no picture has one
_MAX_BYTES = 256_000_000  # a list, not a dump of something else: read at once


@dataclass(frozen=True, kw_only=True)
class BadlistFile:
    """What a file lists.

    Attributes:
        picture_ids: In the order of the file, each once.
        repeated: The lines of every id that stands there more than once, from 1.
        passed_over: Empty lines and comments.
    """

    picture_ids: tuple[str, ...]
    repeated: Mapping[str, tuple[int, ...]]
    passed_over: int


def read_badlist_file(path: Path) -> BadlistFile:
    """Read the file.

    Raises:
        InputError: It does not exist, is no text, lists nothing, or has a line that cannot be an id; nothing of a
            file is used then.
    """
    ids: dict[str, list[int]] = {}
    passed_over = 0
    # no str.splitlines: it would also cut an id at a form feed or at U+2028
    lines = _text(path).replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")
    for number, line in enumerate(lines, start=1):
        name = line.strip()
        if not name or name.startswith("#"):
            passed_over += 1
            continue
        _check(name, where=f"{path}:{number}")
        ids.setdefault(name, []).append(number)
    if not ids:
        raise InputError(
            f"a badlist must list at least one picture id, {path} has none in {len(lines)} lines;"
            " write one id a line (lines that start with # are comments)"
        )
    repeated = {name: tuple(numbers) for name, numbers in ids.items() if len(numbers) > 1}
    return BadlistFile(picture_ids=tuple(ids), repeated=repeated, passed_over=passed_over)


def _text(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise InputError(f"a badlist must have at most {_MAX_BYTES:,} bytes, {path} has {size:,}; split it")
        data = path.read_bytes()
    except (OSError, ValueError) as error:  # a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"a badlist must be a readable file, {path} is not: {reason}; correct the path") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}:{line}: a badlist must be UTF-8 text, got byte 0x{data[error.start]:02x}; save it as UTF-8"
        ) from None


def _check(name: str, *, where: str) -> None:
    if "\0" in name:
        raise InputError(f"{where}: a picture id must be text without NUL, got {name[:60]!r}; save the file as UTF-8")
    size = len(name.encode())
    if size > LONGEST_ID:
        raise InputError(
            f"{where}: a picture id must have at most {LONGEST_ID} bytes, got {size} ({name[:60]!r}...);"
            " write one id a line"
        )
