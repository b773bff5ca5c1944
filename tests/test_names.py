"""Any name becomes a key that is safe everywhere, and no two names the same key."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from silhouette.names import MAX_KEY_LENGTH, file_name, safe_key

KUBERNETES_LABEL = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
any_text = st.text() | st.text(alphabet="abz09_-./ A", max_size=60)
plain = st.from_regex(r"[a-z0-9](?:[a-z0-9]|[_-](?![_-])){0,48}[a-z0-9]", fullmatch=True)


@given(any_text)
@example("")
@example("..")
@example("../../etc/passwd")
@example("x" * 300)
@example("лето 2026/пляж")
@example("\ud800")
@example("plain\n")
@example("'; DROP TABLE pictures; --")
def test_key_holds_safe_characters_only_and_is_short(name: str) -> None:
    key = safe_key(name)
    assert re.fullmatch(r"[a-z0-9]([a-z0-9_-]*[a-z0-9])?", key)
    assert len(key) <= MAX_KEY_LENGTH
    assert KUBERNETES_LABEL.fullmatch(key)


@given(any_text, any_text)
@example("summer test", "summer-test")
@example("Summer", "summer")
@example("a/b", "a b")
@example("a_b", "a-b")
@example("a--b", "a-b")
@example("x", "x ")
@example("é", "e\u0301")
def test_different_names_get_different_keys(one: str, other: str) -> None:
    assert (safe_key(one) == safe_key(other)) == (one == other)


@given(any_text)
def test_key_of_a_key_is_never_the_key_of_another_name(name: str) -> None:
    key = safe_key(name)
    assert key == name or safe_key(key) != key


@given(plain)
def test_plain_name_is_its_own_key(name: str) -> None:
    assert safe_key(name) == name


@pytest.mark.parametrize("name", ["tits_size", "summer-2", "a", "7", "ab", "x" * MAX_KEY_LENGTH])
def test_ordinary_names_stay_readable(name: str) -> None:
    assert safe_key(name) == name


@pytest.mark.parametrize(
    ("name", "readable"),
    [("Summer Test", "summer-test--"), ("Élan", "elan--"), ("лето", "x--"), ("x" * 51, "x" * 32 + "--")],
)
def test_other_names_keep_a_readable_beginning(name: str, readable: str) -> None:
    assert safe_key(name).startswith(readable)


def test_keys_never_change_because_the_store_is_full_of_them() -> None:
    assert {name: safe_key(name) for name in ("", "лето", "a/b", "summer test")} == {
        "": "x--e3b0c44298fc1c14",
        "лето": "x--f6ca66210aaf6767",
        "a/b": "a-b--c14cddc033f64b9d",
        "summer test": "summer-test--aa6f430322040209",
    }


@pytest.mark.parametrize("name", ["summer test", "Лето", "IMG_0001.jpg", "it's", "№ 1", "a (copy)"])
def test_a_name_that_every_system_takes_stays_as_the_file_name(name: str) -> None:
    assert file_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/b", "a\\b", ".hidden", "-rf", "~", "CON", "nul.txt", "a:b", "dot.", "end ", "a\0", "я" * 120,
     "\u0438\u0306", "\ud800", "slug--0123456789abcdef"],
)  # fmt: skip
def test_any_other_name_becomes_a_slug_with_a_digest(name: str) -> None:
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]*--[0-9a-f]{16}", file_name(name))


@given(st.text(), st.text())
def test_no_two_names_share_a_file_name(one: str, other: str) -> None:
    assert (file_name(one) == file_name(other)) == (one == other)
    assert "/" not in file_name(one)
    assert len(file_name(one).encode()) <= 180
