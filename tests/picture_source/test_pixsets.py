"""The list of pixsets: what is read, and how a mistake is named with its line and path."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from silhouette.errors import InputError
from silhouette.picture_source.pixsets import MAX_BYTES, PixsetRequest, read_pixsets


def file_of(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "background.json"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_ids_numbers_and_limits_are_read_in_order(tmp_path: Path) -> None:
    text = '\ufeff["a12", 4711,\r\n\t{"pixset_id": "b/7 é", "limit": 100}, {"pixset_id": 5}, -0, 123456789012345678901]'
    assert read_pixsets(file_of(tmp_path, text)) == (
        PixsetRequest("a12"),
        PixsetRequest("4711"),
        PixsetRequest("b/7 é", 100),
        PixsetRequest("5"),
        PixsetRequest("-0"),
        PixsetRequest("123456789012345678901"),
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            '["a",\n\n{"pixset_id": "b",\n "limit": "ten"}]',
            '4: [1].limit must be a whole number of at least 1, got "ten"',
        ),
        ('[{"pixset_id": "b", "limit": 0}]', "1: [0].limit must be a whole number of at least 1, got 0"),
        ('[{"pixset_id": "b", "limit": -3}]', "1: [0].limit must be a whole number of at least 1, got -3"),
        ('[{"pixset_id": "b", "limit": true}]', "1: [0].limit must be a whole number of at least 1, got true"),
        ('[{"pixset_id": "b", "limit": 1.0}]', "1: [0].limit must be a whole number of at least 1, got 1.0"),
        ('[{"pixset_id": "b", "limit": null}]', "1: [0].limit must be a whole number of at least 1, got null"),
        ('[{"pixset_id": "b", "limit": 1' + "0" * 5000 + "}]", "1: [0].limit must have at most 18 digits, got 5001"),
        ('[\n""]', '2: [0] must not be empty, got ""'),
        ('[\n{"pixset_id":\n\n" "}]', '4: [0].pixset_id must not be empty, got " "'),
        ('["a",\ntrue]', "2: [1] must be a pixset's id or {"),
        ('["a",\n1.5]', "2: [1] must be a pixset's id or {"),
        ('["a",\n1e3]', "2: [1] must be a pixset's id or {"),
        ('["a",\nNaN]', "2: [1] must be a pixset's id or {"),
        ("[null]", "1: [0] must be a pixset's id or {"),
        ('[["a"]]', "1: [0] must be a pixset's id or {"),
        ('[{"pixset_id": [1]}]', "1: [0].pixset_id must be a pixset's id, a text or a whole number, got [1]"),
        ("[{}]", "1: [0].pixset_id must be there, got {}"),
        ('[\n{"limit":\n3}]', '2: [0].pixset_id must be there, got {"limit": 3}'),
        (
            '[{"pixset_id": 1,\n"limt": 3}]',
            "2: [0] must have no keys but 'pixset_id' and 'limit', got \"limt\", probably",
        ),
        ('[{"pixset": 1}]', "got \"pixset\", probably meant as 'pixset_id'"),
        ('[{"pixset_id": 1, "zzz": 3}]', "and 'limit', got \"zzz\"; correct it"),
        ('[{"limit": 1, "pixset_id": 1,\n\n"limit": 2}]', "3: [0].limit must be there once, it is in line 1 already"),
        ('["a", "b",\n{"pixset_id": "a"}]', '2: [2] must be a pixset that is not listed yet, "a" is in line 1'),
        ('[5,\n\n"5"]', '3: [1] must be a pixset that is not listed yet, "5" is in line 1'),
        ('["a\\u0000"]', r'1: [0] must be a text without NUL and lone surrogates, got "a\u0000"'),
        ('["\\ud83d\\ude00",\n"\\ud800"]', r'2: [1] must be a text without NUL and lone surrogates, got "\ud800"'),
        ("[]", "1: a list of pixsets must name at least one"),
        ("", "1: a list of pixsets must not be an empty file"),
        (" \n\t\n", "1: a list of pixsets must not be an empty file"),
        ('\n{"a": 1}', '2: a list of pixsets must be a JSON list, e.g. [4711, 4712], got {"a": 1}'),
        ("7", "1: a list of pixsets must be a JSON list"),
        ('["a"\n"b"]', "2: a list of pixsets must be JSON, column 1: "),
        ('["a",\n]', "a list of pixsets must be JSON, column "),
        ('["a"]\n  x', "2: a list of pixsets must be JSON, column 3: Extra data"),
        ('["a\nb"]', "1: a list of pixsets must be JSON, column 4: "),
        (b'["a",\n"\xff"]', "2: a list of pixsets must be UTF-8, got the byte 0xff"),
        ('["a"]'.encode("utf-16"), "1: a list of pixsets must be UTF-8, got the byte 0xff"),
        ("[" * 200_000, "1: a list of pixsets must not be nested so deep"),
        ('["a", ' + '{"pixset_id":' * 100_000, "1: a list of pixsets must not be nested so deep"),
    ],
)
def test_a_mistake_is_named_with_line_and_path(tmp_path: Path, text: str | bytes, says: str) -> None:
    path = file_of(tmp_path, text)
    with pytest.raises(InputError) as caught:
        read_pixsets(path)
    message = str(caught.value)
    assert message.startswith(f"{path}:")
    assert (f"background.json:{says}" if says[0].isdigit() else says) in message
    assert "\n" not in message
    assert len(message) < len(str(path)) + 250
    message.encode()


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path, reason in (
        (tmp_path / "none.json", "No such file"),
        (tmp_path, "Is a directory"),
        (tmp_path / "a\0b", "null byte"),
    ):
        with pytest.raises(InputError, match=rf"must be a file that can be read, .* is not \(.*{reason}"):
            read_pixsets(path)


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES * 100)
    with pytest.raises(InputError, match=r"at most 16777216 bytes, .*huge\.json has more"):
        read_pixsets(path)


_TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).filter(str.strip)
_REQUESTS = st.lists(
    st.tuples(_TEXTS | st.integers(), st.none() | st.integers(1, 10**18 - 1), st.booleans()),
    min_size=1,
    unique_by=lambda item: str(item[0]),
)
_INDENTS = st.sampled_from([None, 0, 1, 4, "\t"])
_IN_ONE_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def items_of(requests: list[tuple[Any, int | None, bool]]) -> list[Any]:
    return [
        identity if plain and limit is None else {"pixset_id": identity} | ({} if limit is None else {"limit": limit})
        for identity, limit, plain in requests
    ]


@_IN_ONE_FOLDER
@given(requests=_REQUESTS, indent=_INDENTS, ascii_only=st.booleans())
def test_whatever_is_valid_reads_back(tmp_path: Path, requests: Any, indent: Any, ascii_only: bool) -> None:
    text = json.dumps(items_of(requests), indent=indent, ensure_ascii=ascii_only)
    expected = tuple(PixsetRequest(str(identity), limit) for identity, limit, _ in requests)
    assert read_pixsets(file_of(tmp_path, text)) == expected


_BROKEN = st.sampled_from(
    [
        (True, ""),
        (2.5, ""),
        (None, ""),
        ("", ""),
        ([], ""),
        ({"pixset_id": "x", "limit": "ten"}, ".limit"),
        ({"pixset_id": "x", "limit": False}, ".limit"),
        ({"pixset_id": ""}, ".pixset_id"),
    ]
)


@_IN_ONE_FOLDER
@given(requests=_REQUESTS, broken=_BROKEN, indent=_INDENTS, data=st.data())
def test_a_broken_item_is_found_wherever_it_is(
    tmp_path: Path, requests: Any, broken: Any, indent: Any, data: st.DataObject
) -> None:
    items = items_of(requests)
    position = data.draw(st.integers(0, len(items)))
    items.insert(position, broken[0])
    text = json.dumps(items, indent=indent)
    with pytest.raises(InputError) as caught:
        read_pixsets(file_of(tmp_path, text))
    found = re.search(r"background\.json:(\d+): \[(\d+)\](\.\w+)? must", str(caught.value))
    assert found is not None
    assert (int(found[2]), found[3] or "") == (position, broken[1])
    # the line at which the item begins, or within it the member that is wrong
    before = json.dumps(items[:position], indent=indent).count("\n")
    first = 1 if indent is None else 2 + (before - 1 if position else 0)
    inside = list(broken[0]).index(broken[1][1:]) + 1 if broken[1] and indent is not None else 0
    assert int(found[1]) == first + inside
