"""What is the same, what looks the same, and who contradicts whom: against brute force and on real pixels."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from skimage import data

from silhouette.download_pictures import duplicates
from silhouette.download_pictures.duplicates import (
    FLAT_HASH,
    MAX_NEAR_DISTANCE,
    Duplicates,
    dropped,
    find_duplicates,
    perceptual_hash,
)
from silhouette.errors import InputError

Pixels = npt.NDArray[np.uint8]
Row = tuple[str, str, str, int]  # picture_id, label, sha256, phash
SCHEMA = (
    """CREATE TABLE judged (picture_id TEXT PRIMARY KEY, label TEXT NOT NULL, pixset_id TEXT NOT NULL,
       split TEXT NOT NULL, sha256 TEXT NOT NULL, size_bytes INTEGER NOT NULL, width INTEGER NOT NULL,
       height INTEGER NOT NULL, object_key TEXT NOT NULL, working_key TEXT NOT NULL, phash INTEGER NOT NULL)
       WITHOUT ROWID""",
    "CREATE TABLE refused (picture_id TEXT PRIMARY KEY, reason TEXT NOT NULL, detail TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE withdrawn (picture_id TEXT PRIMARY KEY) WITHOUT ROWID",
)


def judged(rows: Iterable[Row], path: Path | str = ":memory:") -> sqlite3.Connection:
    connection = sqlite3.connect(path)
    for statement in SCHEMA:
        connection.execute(statement)
    connection.executemany(
        "INSERT INTO judged VALUES (?, ?, '', '', ?, 1, 1, 1, 'original', '', ?)",
        ((picture_id, label, sha256, phash) for picture_id, label, sha256, phash in rows),
    )
    connection.commit()
    return connection


def groups(connection: sqlite3.Connection) -> dict[str, str]:
    return dict(connection.execute("SELECT picture_id, leader FROM near_groups"))


def conflicts(connection: sqlite3.Connection) -> list[tuple[str, str, str, str]]:
    return connection.execute("SELECT picture_id, label, leader, kind FROM conflicts ORDER BY 1").fetchall()


def signed(bits: int) -> int:
    return bits - (1 << 64) if bits >> 63 else bits


def brute_force(rows: Sequence[Row], near_distance: int) -> dict[str, str]:
    parent = {row[0]: row[0] for row in rows}

    def find(picture_id: str) -> str:
        while parent[picture_id] != picture_id:
            picture_id = parent[picture_id]
        return picture_id

    for one, two in itertools.combinations(rows, 2):
        apart = ((one[3] ^ two[3]) & (2**64 - 1)).bit_count()
        near = near_distance and FLAT_HASH not in (one[3], two[3]) and apart <= near_distance
        if one[2] == two[2] or near:
            low, high = sorted((find(one[0]), find(two[0])))
            parent[high] = low
    leaders = {picture_id: find(picture_id) for picture_id in parent}
    return {one: leader for one, leader in leaders.items() if list(leaders.values()).count(leader) > 1}


@st.composite
def pictures(draw: st.DrawFn) -> list[Row]:
    """Hashes around a few centres, so that there are neighbours, chains and strangers; the same bytes hash alike."""
    centres = draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=4))
    flips = st.lists(st.integers(0, 63), max_size=10)
    contents = draw(st.lists(st.tuples(st.sampled_from([*centres, 0]), flips), min_size=1, max_size=24))
    hashes = []
    for centre, bits in contents:
        for bit in bits:
            centre ^= 1 << bit
        hashes.append(signed(centre))
    chosen = draw(st.lists(st.integers(0, len(hashes) - 1), max_size=40))
    return [(f"{number:03}", draw(st.sampled_from("ab")), f"sha{at}", hashes[at]) for number, at in enumerate(chosen)]


@given(rows=pictures(), near_distance=st.integers(0, MAX_NEAR_DISTANCE), block=st.sampled_from([1, 2, 7, 1 << 16]))
@example(rows=[], near_distance=4, block=1)
@example(rows=[("one", "a", "sha", 5)], near_distance=4, block=1)
def test_groups_are_those_of_brute_force(rows: list[Row], near_distance: int, block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "_BLOCK", block)
        connection = judged(rows)
        find_duplicates(connection, near_distance=near_distance)
    assert groups(connection) == brute_force(rows, near_distance)
    connection.close()


@pytest.mark.parametrize("near_distance", range(1, MAX_NEAR_DISTANCE + 1))
def test_every_pair_within_the_distance_is_found_and_none_beyond(near_distance: int) -> None:
    rng = np.random.default_rng(near_distance)
    for bits in (near_distance, near_distance + 1):
        rows = []
        for number in range(200):  # strangers of one another: 200 random hashes are some 20 bits apart
            centre = int(rng.integers(1, 2**63))
            other = centre
            for bit in rng.choice(64, bits, replace=False).tolist():
                other ^= 1 << bit
            rows += [
                (f"{number}-a", "x", f"a{number}", signed(centre)),
                (f"{number}-b", "x", f"b{number}", signed(other)),
            ]
        connection = judged(rows)
        found = find_duplicates(connection, near_distance=near_distance)
        assert found.near_groups == (200 if bits == near_distance else 0)
        connection.close()


def test_a_chain_of_neighbours_is_one_group_led_by_the_smallest_id() -> None:
    hashes = [signed((1 << 2 * step) - 1) for step in range(1, 33)]
    rows = [(f"{len(hashes) - at:02}", "x", f"sha{at}", phash) for at, phash in enumerate(hashes)]
    connection = judged(rows)
    find_duplicates(connection, near_distance=2)
    assert groups(connection) == {f"{number:02}": "01" for number in range(1, 33)}


def test_many_equal_hashes_are_one_group_without_comparing_each_with_each() -> None:
    count = 100_000
    connection = judged((f"{number:06}", "x", f"sha{number}", 77) for number in range(count))
    found = find_duplicates(connection)
    assert (found.near_groups, found.near_pictures, found.exact_groups) == (1, count, 0)


def test_many_flat_pictures_are_strangers_unless_their_bytes_are_the_same() -> None:
    rows = [(f"{number:06}", "x", f"sha{number}", FLAT_HASH) for number in range(20_000)]
    connection = judged([*rows, ("twin", "x", "sha7", FLAT_HASH)])
    assert find_duplicates(connection).near_groups == 0
    assert groups(connection) == {"000007": "000007", "twin": "000007"}


def test_distance_zero_means_the_same_bytes_only() -> None:
    connection = judged([("a", "x", "sha1", 9), ("b", "x", "sha2", 9), ("c", "x", "sha2", 9)])
    assert find_duplicates(connection, near_distance=0) == Duplicates(
        exact_groups=1, exact_pictures=2, near_groups=0, near_pictures=0, exact_conflicts=0, near_conflicts=0
    )
    assert groups(connection) == {"b": "b", "c": "b"}


@pytest.mark.parametrize("distance", [-1, MAX_NEAR_DISTANCE + 1])
def test_a_distance_out_of_range_is_refused_with_the_rule(distance: int) -> None:
    with pytest.raises(InputError, match=rf"near_distance must be from 0 .* to 8, got {distance};"):
        find_duplicates(judged([]), near_distance=distance)


def test_nothing_depends_on_the_run_before() -> None:
    connection = judged([("a", "x", "sha1", 9), ("b", "y", "sha1", 9)])
    first = find_duplicates(connection)
    assert find_duplicates(connection) == first
    connection.execute("DELETE FROM judged WHERE picture_id = 'b'")
    assert find_duplicates(connection).exact_groups == 0
    assert (groups(connection), conflicts(connection)) == ({}, [])


CONTRADICTING: list[Row] = [
    ("1", "dress", "same", 100), ("2", "skirt", "same", 100), ("3", "dress", "same", 100),
    ("4", "dress", "like it", 101),  # one bit from them
    ("5", "dress", "p", 7 << 40), ("6", "skirt", "q", 7 << 40),
    ("7", "dress", "r", 7 << 20), ("8", "dress", "s", 7 << 20),  # agree
    ("9", "", "t", 15 << 50), ("A", "skirt", "t", 15 << 50),  # one has no label
]  # fmt: skip


def test_conflicts_are_named_with_their_kind_and_leader() -> None:
    connection = judged(CONTRADICTING)
    found = find_duplicates(connection)
    assert conflicts(connection) == [
        ("1", "dress", "1", "exact"), ("2", "skirt", "1", "exact"), ("3", "dress", "1", "exact"),
        ("4", "dress", "1", "near"), ("5", "dress", "5", "near"), ("6", "skirt", "5", "near"),
    ]  # fmt: skip
    assert found == Duplicates(
        exact_groups=2, exact_pictures=5, near_groups=3, near_pictures=8, exact_conflicts=3, near_conflicts=3
    )


@pytest.mark.parametrize(
    ("settings", "left_out"),
    [
        ({"conflicts": "drop", "near_conflicts": "keep"}, "123"),
        ({"conflicts": "keep", "near_conflicts": "keep"}, ""),
        ({"conflicts": "keep", "near_conflicts": "drop"}, "456"),
        ({"conflicts": "drop", "near_conflicts": "drop"}, "123456"),
    ],
)
def test_settings_say_who_is_left_out(settings: dict[str, str], left_out: str) -> None:
    connection = judged(CONTRADICTING)
    find_duplicates(connection)
    assert [picture_id for picture_id, _ in dropped(connection, **settings)] == list(left_out)


def test_who_is_left_out_is_told_which_picture_says_otherwise() -> None:
    connection = judged(CONTRADICTING)
    find_duplicates(connection)
    why = dict(dropped(connection, near_conflicts="drop"))
    assert why["1"] == (
        "labelled 'dress', but picture '2' with the same bytes is labelled 'skirt';"
        " correct the labels at the source, or set conflicts to keep"
    )
    assert "picture '1' with the same bytes is labelled 'dress'" in why["2"]
    assert "picture '2' that looks the same is labelled 'skirt'" in why["4"]
    assert why["6"].endswith("or set near_conflicts to keep")


def test_pictures_may_be_taken_away_while_they_are_named() -> None:
    count = 2500  # more than are read at once
    connection = judged((f"{number:04}", "ab"[number % 2], f"sha{number // 2}", FLAT_HASH) for number in range(count))
    find_duplicates(connection)
    names = []
    for picture_id, _ in dropped(connection):
        connection.execute("DELETE FROM judged WHERE picture_id = ?", (picture_id,))
        connection.commit()
        names.append(picture_id)
    assert names == [f"{number:04}" for number in range(count)]


def test_an_empty_id_is_left_out_like_any_other() -> None:
    connection = judged([("", "a", "sha", 1), ("x", "b", "sha", 1)])
    find_duplicates(connection)
    assert [picture_id for picture_id, _ in dropped(connection)] == ["", "x"]


def test_a_wrong_setting_is_refused_before_anything_is_read() -> None:
    with pytest.raises(InputError, match="near_conflicts must be drop or keep, got 'maybe'"):
        dropped(judged([]), near_conflicts="maybe")


def apart(one: Pixels, two: Pixels) -> int:
    return int(((perceptual_hash(one) ^ perceptual_hash(two)) & (2**64 - 1)).bit_count())


def small(pixels: Pixels) -> Pixels:
    scale = 150 / max(pixels.shape)
    return np.asarray(cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee", "rocket"])
def test_copies_of_a_photograph_are_near(name: str) -> None:
    pixels: Pixels = getattr(data, name)()
    encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 50])[1]
    copies = {
        "encoded again": np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8),
        "half the size": np.asarray(cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8),
        "darker": (pixels * 0.75).astype(np.uint8),
    }
    distances = {how: apart(small(pixels), small(copy)) for how, copy in copies.items()}
    assert max(distances.values()) <= duplicates.DEFAULT_NEAR_DISTANCE, distances


def test_different_photographs_are_far_apart() -> None:
    different = [small(getattr(data, name)()) for name in ("astronaut", "chelsea", "coffee", "rocket")]
    assert min(apart(one, two) for one, two in itertools.combinations(different, 2)) > 2 * MAX_NEAR_DISTANCE


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (150, 112)])
@pytest.mark.parametrize("grey", [0, 128, 255])
def test_a_flat_picture_says_nothing(shape: tuple[int, int], grey: int) -> None:
    assert perceptual_hash(np.full((*shape, 3), grey, np.uint8)) == FLAT_HASH


def test_noise_of_a_camera_and_a_plain_gradient_say_nothing_either() -> None:
    noise = np.random.default_rng(1).normal(200, 3, (150, 112, 3)).clip(0, 255).astype(np.uint8)
    gradient = np.repeat(np.linspace(0, 255, 150).astype(np.uint8)[:, None, None], 112, axis=1).repeat(3, axis=2)
    assert (perceptual_hash(noise), perceptual_hash(gradient)) == (FLAT_HASH, FLAT_HASH)


def test_a_hash_fits_a_signed_column() -> None:
    phash = perceptual_hash(small(data.astronaut()))
    connection = judged([("a", "x", "sha", phash)])
    assert connection.execute("SELECT phash FROM judged").fetchone() == (phash,)
    assert -(2**63) <= phash < 0  # the first bit, the mean brightness, is always above the median
