"""The list of pixsets that a user wants pictures of: a JSON file.

    ["a12", 4711, {"pixset_id": "b7", "limit": 100}]

Reads that file; an item is a pixset's id, or an object with the id and how many of its pictures are taken at most.
What is wrong is named with line and path: ``background.json:7: [3].limit must be a whole number of at least 1``.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from json import JSONDecodeError, JSONDecoder
from pathlib import Path
from typing import Any, NoReturn

from silhouette.errors import InputError
from silhouette.names import is_text

MAX_BYTES = 16 << 20
_KEYS = ("pixset_id", "limit")
_SHAPE = 'a pixset\'s id or {"pixset_id": ..., "limit": ...}'
_SPACE = " \t\n\r"
_MAX_DIGITS, _SHOWN = 18, 60


@dataclass(frozen=True)
class PixsetRequest:
    """A pixset, and at most how many of its pictures are wanted, the first by id; None: all."""

    pixset_id: str
    limit: int | None = None


def read_pixsets(path: Path) -> tuple[PixsetRequest, ...]:
    """Read a list of pixsets, in the order of the file.

    Raises:
        InputError: There is no such file, or it is malformed; line and path of what is wrong are named.
    """
    text = _text(path)
    try:
        return tuple(_List(str(path), text).requests())
    except RecursionError:
        raise InputError(
            f"{path}:1: a list of pixsets must not be nested so deep, it is a list of ids; correct it"
        ) from None


class _Whole(str):
    """A whole number as it is written: an id keeps its digits, and no number is too long to be named."""

    __slots__ = ()


_DECODER = JSONDecoder(parse_int=_Whole)


class _List:
    """One file: its text, and what is said about places in it."""

    def __init__(self, path: str, text: str) -> None:
        self._path, self._source = path, text
        self._counted_to, self._line = 0, 1

    def requests(self) -> Iterator[PixsetRequest]:
        value = self._whole_value()
        if not isinstance(value, list):
            start = self._skip(0)
            self._refuse(start, f"a list of pixsets must be a JSON list, e.g. [4711, 4712], got {self._shown(start)}")
        if not value:
            self._refuse(self._skip(0), "a list of pixsets must name at least one, got []")
        lines: dict[str, int] = {}
        for number, (start, item) in enumerate(zip(self._starts_of_items(), value, strict=True)):
            line = self._line_of(start)
            request = self._request(f"[{number}]", start, item)
            if first := lines.get(request.pixset_id):
                has = json.dumps(request.pixset_id)[:_SHOWN]
                self._refuse(start, f"[{number}] must be a pixset that is not listed yet, {has} is in line {first}")
            lines[request.pixset_id] = line
            yield request

    # ---- one item

    def _request(self, where: str, start: int, item: Any) -> PixsetRequest:
        if not isinstance(item, dict):
            return PixsetRequest(self._id(where, start, rule=_SHAPE))
        seen: dict[str, int] = {}
        limit: int | None = None
        for at, key, value_at in self._members(start):
            if key not in _KEYS:
                near = difflib.get_close_matches(key, _KEYS, n=1, cutoff=0.5)
                meant = f", probably meant as {near[0]!r}" if near else ""
                self._refuse(at, f"{where} must have no keys but 'pixset_id' and 'limit', got {self._shown(at)}{meant}")
            if key in seen:
                self._refuse(at, f"{where}.{key} must be there once, it is in line {seen[key]} already")
            seen[key] = self._line_of(at)
            if key == "limit":
                limit = self._limit(f"{where}.limit", value_at)
            else:
                self._id(f"{where}.pixset_id", value_at, rule="a pixset's id, a text or a whole number")
        if "pixset_id" not in seen:
            self._refuse(start, f"{where}.pixset_id must be there, got {self._shown(start)}")
        return PixsetRequest(str(item["pixset_id"]), limit)

    def _id(self, where: str, at: int, *, rule: str) -> str:
        value, _ = self._value(at)
        if not isinstance(value, str):
            self._refuse(at, f"{where} must be {rule}, got {self._shown(at)}")
        if not value.strip():
            self._refuse(at, f"{where} must not be empty, got {self._shown(at)}")
        if not is_text(value):
            self._refuse(at, f"{where} must be a text without NUL and lone surrogates, got {self._shown(at)}")
        return str(value)

    def _limit(self, where: str, at: int) -> int:
        value, _ = self._value(at)
        if not isinstance(value, _Whole) or value.startswith("-") or value == "0":
            self._refuse(at, f"{where} must be a whole number of at least 1, got {self._shown(at)}")
        if len(value) > _MAX_DIGITS:
            self._refuse(at, f"{where} must have at most {_MAX_DIGITS} digits, got {len(value)}; leave it out for all")
        return int(value)

    # ---- where things are, in a text that is known to be JSON

    def _whole_value(self) -> Any:
        start = self._skip(0)
        if start == len(self._source):
            self._refuse(0, "a list of pixsets must not be an empty file, e.g. [4711, 4712]")
        try:
            value, end = _DECODER.raw_decode(self._source, start)
            if (rest := self._skip(end)) != len(self._source):
                raise JSONDecodeError("Extra data", self._source, rest)
        except JSONDecodeError as error:
            self._refuse(error.pos, f"a list of pixsets must be JSON, column {error.colno}: {error.msg}")
        return value

    def _skip(self, at: int, more: str = "") -> int:
        while at < len(self._source) and self._source[at] in _SPACE + more:
            at += 1
        return at

    def _value(self, at: int) -> tuple[Any, int]:
        value, end = _DECODER.raw_decode(self._source, at)
        return value, end

    def _starts_of_items(self) -> Iterator[int]:
        at = self._skip(0) + 1
        while self._source[at := self._skip(at, ",")] != "]":
            yield at
            _, at = self._value(at)

    def _members(self, start: int) -> Iterator[tuple[int, str, int]]:
        """Yield where a key of an object begins, the key, and where its value does; a key given twice comes twice."""
        at = start + 1
        while self._source[at := self._skip(at, ",")] != "}":
            key, end = self._value(at)
            value_at = self._skip(end, ":")
            yield at, key, value_at
            _, at = self._value(value_at)

    def _line_of(self, at: int) -> int:
        """Return the line of a place; counting goes on from the last one asked for."""
        if at < self._counted_to:
            self._counted_to, self._line = 0, 1
        self._line += self._source.count("\n", self._counted_to, at)
        self._counted_to = at
        return self._line

    def _shown(self, at: int) -> str:
        """Return a value as the file has it, on one line and not too long."""
        _, end = self._value(at)
        text = " ".join(self._source[at:end][: 4 * _SHOWN].split())
        return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."

    def _refuse(self, at: int, message: str) -> NoReturn:
        raise InputError(f"{self._path}:{self._line_of(at)}: {message}; correct it")


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # a NUL in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"a list of pixsets must be a file that can be read, {path} is not ({reason}); correct it"
        ) from None
    if len(data) > MAX_BYTES:
        raise InputError(f"a list of pixsets must have at most {MAX_BYTES} bytes, {path} has more; divide it")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, byte = data.count(b"\n", 0, error.start) + 1, data[error.start]
        raise InputError(
            f"{path}:{line}: a list of pixsets must be UTF-8, got the byte 0x{byte:02x}; save it as UTF-8"
        ) from None
