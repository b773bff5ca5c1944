"""The quality page: its figures, its bounds, and that hostile names stay text."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import sqlite3
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from silhouette.download_pictures.duplicates import dropped, find_duplicates
from silhouette.download_pictures.quality import Distribution, QualityFigures, write_quality_report
from silhouette.errors import InputError, PictureError, ServiceError

SCHEMA = (
    """CREATE TABLE judged (picture_id TEXT PRIMARY KEY, label TEXT NOT NULL, pixset_id TEXT NOT NULL,
       split TEXT NOT NULL, sha256 TEXT NOT NULL, size_bytes INTEGER NOT NULL, width INTEGER NOT NULL,
       height INTEGER NOT NULL, object_key TEXT NOT NULL, working_key TEXT NOT NULL, phash INTEGER NOT NULL)
       WITHOUT ROWID""",
    "CREATE TABLE refused (picture_id TEXT PRIMARY KEY, reason TEXT NOT NULL, detail TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE withdrawn (picture_id TEXT PRIMARY KEY) WITHOUT ROWID",
)
HOSTILE = "</title></style><script>alert(1)</script>\" onerror='x' {{ 7 * 7 }} & ж🙂" + "x" * 500
TEXTURE = np.random.default_rng(3).integers(0, 256, (40, 30, 3), dtype=np.uint8)
JPEG = cv2.imencode(".jpg", TEXTURE)[1].tobytes()


@pytest.fixture
def connection() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    for statement in SCHEMA:
        connection.execute(statement)
    return connection


def add(connection: sqlite3.Connection, picture_id: str, label: str = "a", **changes: Any) -> None:
    digest = hashlib.sha256(picture_id.encode()).digest()
    row = {
        "picture_id": picture_id, "label": label, "pixset_id": "", "split": "", "sha256": digest.hex(),
        "size_bytes": 1000, "width": 30, "height": 40, "object_key": f"original {picture_id}", "working_key": "",
        "phash": int.from_bytes(digest[:8], "big", signed=True), **changes,
    }  # fmt: skip
    connection.execute(f"INSERT INTO judged VALUES ({', '.join('?' * len(row))})", tuple(row.values()))


def write(
    connection: sqlite3.Connection, path: Path, *, thumbnail: Callable[[str], bytes] = lambda key: JPEG, **names: Any
) -> tuple[QualityFigures, str]:
    find_duplicates(connection)
    named: dict[str, Any] = {"group": "g", "classes": ("a", "b"), "digest": "d", "where": "folder f", **names}
    figures = write_quality_report(path, connection, thumbnail=thumbnail, **named)
    return figures, path.read_text(encoding="utf-8")


class Page(HTMLParser):
    """What a browser would make of the page: tags, attributes and text."""

    VOID = frozenset({"meta", "img", "br", "rect"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == [], "every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag == "img":
            assert dict(attrs)["alt"]
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def words(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.text))


def test_an_empty_dataset_has_a_page(connection: sqlite3.Connection, tmp_path: Path) -> None:
    figures, page = write(connection, tmp_path / "q.html", classes=())
    assert (figures.pictures, figures.counts, figures.splits) == (0, {}, {})
    assert figures.width == Distribution(smallest=0, low=0, median=0, high=0, largest=0, bars=())
    assert "No pictures" in Page(page).words()


def test_one_picture_has_a_page(connection: sqlite3.Connection, tmp_path: Path) -> None:
    add(connection, "only one")
    figures, page = write(connection, tmp_path / "q.html", classes=("a",))
    assert figures.area == Distribution(smallest=1200, low=1200, median=1200, high=1200, largest=1200, bars=(1,))
    parsed = Page(page)
    assert parsed.tags.count("img") == 1
    assert "✓ Nothing stands out" in parsed.words()


def test_figures_say_what_is_there(connection: sqlite3.Connection, tmp_path: Path) -> None:
    for number in range(1, 101):
        add(connection, f"{number:03}", width=number, height=10, size_bytes=number * 1000, pixset_id=f"p{number % 7}")
    add(connection, "b1", "b", split="train", width=50, height=10, size_bytes=50_000)
    connection.execute("INSERT INTO refused VALUES ('r1', 'truncated', 'x'), ('r2', 'animated', 'y')")
    connection.execute("INSERT INTO refused VALUES ('r3', 'truncated', 'x')")
    connection.execute("INSERT INTO withdrawn VALUES ('w')")
    figures, _ = write(connection, tmp_path / "q.html")
    assert figures.counts == {"a": 100, "b": 1}
    assert figures.splits == {"": {"a": 100}, "train": {"b": 1}}
    assert (figures.pixsets, figures.withdrawn, figures.size_bytes) == (7, 1, 5_100_000)
    assert list(figures.refused.items()) == [("truncated", 2), ("animated", 1)]
    width = figures.width
    assert (width.smallest, width.low, width.median, width.high, width.largest) == (1, 6, 50, 95, 100)
    assert sum(width.bars) == sum(figures.file_bytes.bars) == 101
    assert json.loads(json.dumps(dataclasses.asdict(figures)))["duplicates"]["exact_groups"] == 0


def test_hostile_text_stays_text(connection: sqlite3.Connection, tmp_path: Path) -> None:
    add(connection, HOSTILE, HOSTILE, pixset_id=HOSTILE, sha256="s", split=HOSTILE)
    add(connection, HOSTILE + "2", "b", sha256="s", split="test")
    add(connection, HOSTILE + "3", "b", sha256="t")
    add(connection, HOSTILE + "4", "b", sha256="t")
    connection.execute("INSERT INTO refused VALUES (?, ?, ?)", (HOSTILE, HOSTILE, HOSTILE))
    connection.execute("INSERT INTO withdrawn VALUES (?)", (HOSTILE,))
    names: dict[str, Any] = {"group": HOSTILE, "classes": (HOSTILE, "b"), "digest": HOSTILE, "where": HOSTILE}
    _, page = write(connection, tmp_path / "q.html", **names)
    parsed = Page(page)
    assert not {"script", "iframe", "link", "form"} & set(parsed.tags)
    assert not [name for name, _ in parsed.attributes if name.startswith("on")]
    assert "<script>alert(1)</script>" in parsed.words()
    assert "{{ 7 * 7 }}" in parsed.words()


def test_the_page_asks_nobody_for_anything(connection: sqlite3.Connection, tmp_path: Path) -> None:
    add(connection, "http://elsewhere/x.jpg")
    _, page = write(connection, tmp_path / "q.html", where="https://elsewhere/")
    parsed = Page(page)
    assert all(value.startswith("data:") for name, value in parsed.attributes if name in ("src", "href"))
    assert "url(" not in page
    assert "default-src 'none'" in page


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    pages = []
    for order in (1, -1):
        connection = sqlite3.connect(":memory:")
        for statement in SCHEMA:
            connection.execute(statement)
        for number in range(40)[::order]:
            add(connection, f"{number}", "ab"[number % 2], sha256=f"s{number // 3}", phash=number // 5 << 30 | 1)
        pages.append(write(connection, tmp_path / "q.html"))
    assert pages[0] == pages[1]


def test_pictures_without_labels_have_samples_but_no_balance(connection: sqlite3.Connection, tmp_path: Path) -> None:
    for number in range(100):
        add(connection, f"{number:03}", "")
    figures, page = write(connection, tmp_path / "q.html", classes=())
    assert (figures.classes, figures.duplicates.near_conflicts) == ((), 0)
    assert "Balance" not in page
    assert Page(page).tags.count("img") == 24


def test_samples_are_spread_over_the_ids(connection: sqlite3.Connection, tmp_path: Path) -> None:
    asked: list[str] = []
    for number in range(80):
        add(connection, f"{number:02}", working_key=f"small {number:02}" if number % 2 else "")

    def thumbnail(key: str) -> bytes:
        asked.append(key)
        return JPEG

    write(connection, tmp_path / "q.html", thumbnail=thumbnail)
    assert asked == [f"small {number:02}" for number in range(5, 80, 10)]


def test_conflicts_are_shown_after_they_were_left_out(connection: sqlite3.Connection, tmp_path: Path) -> None:
    add(connection, "one", "a", sha256="same")
    add(connection, "two", "b", sha256="same")
    add(connection, "three", "b")
    find_duplicates(connection)
    for picture_id, detail in dropped(connection):
        connection.execute("DELETE FROM judged WHERE picture_id = ?", (picture_id,))
        connection.execute("INSERT INTO refused VALUES (?, 'label_conflict', ?)", (picture_id, detail))
    path = tmp_path / "q.html"
    figures = write_quality_report(
        path, connection, group="g", classes=("a", "b"), digest="d", where="w", thumbnail=lambda key: JPEG
    )
    words = Page(path.read_text(encoding="utf-8")).words()
    assert (figures.pictures, figures.duplicates.exact_conflicts, figures.refused) == (1, 2, {"label_conflict": 2})
    assert words.count("left out") == 2
    assert "1 class has no picture: a." in words


def test_what_stands_out_is_said(connection: sqlite3.Connection, tmp_path: Path) -> None:
    for number in range(44):
        add(connection, f"a{number}", "a", split="train" if number else "val")
    add(connection, "b1", "b", split="train", sha256="same")
    add(connection, "b2", "b", split="val", sha256="same")
    add(connection, "c", "c & d", split="test")
    connection.execute("INSERT INTO refused VALUES ('1', 'r', ''), ('2', 'r', ''), ('3', 'r', '')")
    words = Page(write(connection, tmp_path / "q.html")[1]).words()
    for remark in (
        "1 group of duplicates or look-alikes lies in more than one split of the source",
        "The largest class has 22 times as many pictures as the smallest.",
        "The split test has no picture of a, b.",
        "Labels that are no class: c & d.",
        "6.0\u00a0% of the pictures were refused.",
        "5 to look at",
    ):
        assert remark.replace("\u00a0", " ") in words.replace("\u00a0", " ")


@pytest.mark.parametrize(
    "error", [PictureError("corrupt", "x"), InputError("not in the store"), OSError("x"), KeyError("x")]
)
def test_a_picture_that_cannot_be_shown_has_a_placeholder(
    connection: sqlite3.Connection, tmp_path: Path, error: Exception
) -> None:
    add(connection, "good")
    add(connection, "gone")

    def thumbnail(key: str) -> bytes:
        if "gone" in key:
            raise error
        return JPEG

    figures, page = write(connection, tmp_path / "q.html", thumbnail=thumbnail)
    assert (figures.unreadable_samples, Page(page).tags.count("img")) == (1, 1)
    assert 'aria-label="Picture gone cannot be shown"' in page


def test_a_store_that_does_not_answer_is_asked_once(connection: sqlite3.Connection, tmp_path: Path) -> None:
    asked: list[str] = []
    for number in range(20):
        add(connection, f"{number}")

    def thumbnail(key: str) -> bytes:
        asked.append(key)
        raise ServiceError("the store does not answer")

    figures, _ = write(connection, tmp_path / "q.html", thumbnail=thumbnail)
    assert (len(asked), figures.unreadable_samples) == (1, 8)


def test_bytes_that_are_no_picture_have_a_placeholder(connection: sqlite3.Connection, tmp_path: Path) -> None:
    add(connection, "x")
    assert write(connection, tmp_path / "q.html", thumbnail=lambda key: b"<html>")[0].unreadable_samples == 1


def test_the_page_stays_small_with_a_thousand_classes_and_large_groups(
    connection: sqlite3.Connection, tmp_path: Path
) -> None:
    noise = cv2.imencode(".png", np.random.default_rng(1).integers(0, 256, (160, 160, 3), dtype=np.uint8))[1].tobytes()
    classes = [f"class {number} " + "long" * 50 for number in range(1000)]
    for number in range(5000):
        add(connection, f"{number:05} " + "y" * 400, classes[number % 1000], sha256=f"{number // 50}", phash=1 + number)
    connection.executemany(
        "INSERT INTO refused VALUES (?, ?, ?)", ((f"r{n}", f"reason {n}", "z" * 5000) for n in range(1000))
    )
    figures, page = write(connection, tmp_path / "q.html", classes=classes, thumbnail=lambda key: noise)
    assert figures.pictures == 5000
    assert len(page.encode()) < 5_000_000
    Page(page)
