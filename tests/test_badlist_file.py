"""A badlist file is read as people write it, and refused with file and line where it cannot be one."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from silhouette.badlist_file import LONGEST_ID, read_badlist_file
from silhouette.errors import InputError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "bad list.txt"


def test_comments_empty_lines_and_repeated_ids_are_no_errors(file: Path) -> None:
    file.write_text("# no consent\n\n  one \ntwo words\n\t# indented comment\none\nthree#4\nfour # five\n   \none\n")
    found = read_badlist_file(file)
    assert found.picture_ids == ("one", "two words", "three#4", "four # five")
    assert found.repeated == {"one": (3, 6, 10)}
    assert found.passed_over == 4


@pytest.mark.parametrize(
    "data",
    [
        "é\nb".encode(),
        "é\nb\n\n".encode(),
        b"\xef\xbb\xbf" + "é\r\nb\r\n".encode(),
        "é\rb".encode(),
        "# comment\r\n\r\né\r\n b".encode(),
    ],
)
def test_byte_order_mark_and_any_line_ends_are_read(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    assert read_badlist_file(file).picture_ids == ("é", "b")


def test_an_id_with_odd_separators_inside_stays_one(file: Path) -> None:
    names = ("a\x0cb", "a\u2028b", "a\x85b", "a\x1cb", "'; DROP TABLE badlist; --", "日本/語..\\")
    file.write_text("\n".join(names), encoding="utf-8")
    assert read_badlist_file(file).picture_ids == names


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "must list at least one picture id, .* has none in 1 lines"),
        (b"\xef\xbb\xbf", "must list at least one picture id"),
        (b"# only\n\n#comments\n", "must list at least one picture id, .* has none in 3 lines"),
        (b"good\nb\xe4d\n", r"list.txt:2: a badlist must be UTF-8 text, got byte 0xe4"),
        (b"good\n\nnu\0l\n", r"list.txt:3: a picture id must be text without NUL"),
        ("a\nb\n".encode("utf-16"), r"list.txt:1: a badlist must be UTF-8 text, got byte 0xff"),
        (b"good\n" + b"a" * (LONGEST_ID + 1), r"list.txt:2: a picture id must have at most 1500 bytes, got 1501"),
        ("ж".encode() * 751, "at most 1500 bytes, got 1502"),
    ],
)
def test_what_cannot_be_a_badlist_is_named_with_its_line(file: Path, data: bytes, message: str) -> None:
    file.write_bytes(data)
    with pytest.raises(InputError, match=message):
        read_badlist_file(file)


def test_the_longest_id_is_taken(file: Path) -> None:
    file.write_text("a" * LONGEST_ID)
    assert len(read_badlist_file(file).picture_ids[0]) == LONGEST_ID


def test_a_folder_and_a_missing_file_are_told(file: Path) -> None:
    for path in (file, file.parent, Path("nul\0name")):
        with pytest.raises(InputError, match="a badlist must be a readable file"):
            read_badlist_file(path)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n"), max_size=20)))
def test_every_id_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    wanted = tuple(dict.fromkeys(name for name in map(str.strip, names) if name and not name.startswith("#")))
    path = tmp_path_factory.mktemp("lists") / "list.txt"
    path.write_text("\n".join(names), encoding="utf-8", newline="")
    if wanted and not names[0].startswith("\ufeff"):
        assert read_badlist_file(path).picture_ids == wanted
