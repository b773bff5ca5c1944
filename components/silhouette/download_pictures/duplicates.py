"""Which pictures are the same or look the same, and which of them contradict each other by their labels.

Reads    table ``judged`` of the run's SQLite file
Writes   tables of the same file, anew each time:
         ``near_groups(picture_id, leader, label, sha256, stored_key)``: pictures of groups of two and more; the
         leader is the group's smallest picture id, the other columns say how it was found, whatever leaves `judged`
         ``conflicts(picture_id, label, leader, kind)``: pictures of groups with more than one label; kind `EXACT`
         (the same bytes have another label) or `NEAR` (one that looks the same has)

All that grows with the number of pictures is in SQLite, whose sorts go to disk; in memory is one block of hashes.
A picture without a label ('') contradicts nobody.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import imagehash
import numpy as np
from PIL import Image

from silhouette.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt

    Pixels = npt.NDArray[np.uint8]
    Hashes = npt.NDArray[np.uint64]
    Indices = npt.NDArray[np.int64]

EXACT, NEAR = "exact", "near"
DROP, KEEP = "drop", "keep"
FLAT_HASH = 0  # of a picture without structure; of no other, for half of another's bits are 1
DEFAULT_NEAR_DISTANCE = 4  # by our estimate 2 of 100 in a million pictures have a neighbour by chance; at 6, 1 of 10
MAX_NEAR_DISTANCE = 8  # by the same estimate one neighbour each: groups of strangers begin to run together
_SIDE = 32  # pixels that the hash looks at
_FLAT_DEVIATION = 2.0  # grey levels; the flattest of 1,850 photographs and drawings has 13
_FEWEST_BITS = 24  # of 64; fewer: most coefficients are equal, as in a plain gradient
_BLOCK = 1 << 16  # hashes looked at together


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """How many groups and pictures there are of each kind.

    Attributes:
        exact_groups: Groups of pictures with the same bytes.
        exact_pictures: Pictures in them.
        near_groups: Groups with different bytes that look the same; their exact duplicates are in them.
        near_pictures: Pictures in them.
        exact_conflicts: Pictures whose bytes have another label as well.
        near_conflicts: Further pictures in groups with more than one label.
    """

    exact_groups: int
    exact_pictures: int
    near_groups: int
    near_pictures: int
    exact_conflicts: int
    near_conflicts: int


def perceptual_hash(pixels: Pixels) -> int:
    """Hash what a picture shows: equal or nearly equal bits for re-encoded, resized, slightly cropped copies.

    The 64 lowest frequencies of the grey picture against their median (imagehash's phash); 0.12 ms. Measured on
    1,333 street photographs (888,000 pairs) and 480 drawn pictures (115,000 pairs): at distance 4 the five pairs
    found are true copies, and found are all copies that were re-encoded, resized or darkened, 89 % of those brightened
    by a quarter and 74 % of those that lost 2 % on each side (98 % and 93 % at 6). Drawn pictures are 6 and more
    apart, up to 8 of one shoot only. At distance 4 dhash takes a pair, whash 81 pairs of different drawings for
    copies. Hashes differ in an even number of bits, for half of each one's are 1.

    Args:
        pixels: uint8 RGB [height, width, 3]; 150 pixels on the longer side are enough.

    Returns:
        64 bits as a signed integer; `FLAT_HASH` when there is too little to see to compare by.
    """
    grey = cv2.resize(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    if float(grey.std()) < _FLAT_DEVIATION:
        return FLAT_HASH
    bits = np.packbits(imagehash.phash(Image.fromarray(grey)).hash)
    if int(np.bitwise_count(bits).sum()) < _FEWEST_BITS:
        return FLAT_HASH
    return int.from_bytes(bits.tobytes(), "big", signed=True)


def find_duplicates(connection: sqlite3.Connection, *, near_distance: int = DEFAULT_NEAR_DISTANCE) -> Duplicates:
    """Fill `near_groups` and `conflicts`, and count.

    Groups are closed: whoever is near a member is a member. They depend on the pictures alone, not on their order.

    Args:
        connection: Of the run's file; committed.
        near_distance: Most bits in which two hashes of a group may differ; 0: only the same bytes are duplicates.

    Raises:
        InputError: The distance is not from 0 to `MAX_NEAR_DISTANCE`.
    """
    if not 0 <= near_distance <= MAX_NEAR_DISTANCE:
        raise InputError(
            f"near_distance must be from 0 (only the same bytes) to {MAX_NEAR_DISTANCE}, got {near_distance};"
            f" {DEFAULT_NEAR_DISTANCE} finds copies and joins no strangers"
        )
    for table in ("main.near_groups", "main.conflicts", "temp.hashes", "temp.parents", "temp.contents", "temp.leaders"):
        connection.execute(f"DROP TABLE IF EXISTS {table}")
    for statement in _HASHES:
        connection.execute(statement, {"flat": FLAT_HASH} if ":flat" in statement else {})
    if near_distance:
        _link_near(connection, near_distance)
        connection.execute("INSERT OR IGNORE INTO parents SELECT phash, phash FROM hashes")
        while connection.execute(_FLATTEN).rowcount:
            pass
    for statement in _GROUPS:
        connection.execute(statement)
    connection.commit()
    return count_duplicates(connection)


# Bytes are hashed once; were two versions of the hash at work, the smaller one stands for both.
_HASHES = (
    "CREATE TEMP TABLE contents (sha256 TEXT PRIMARY KEY, phash INTEGER NOT NULL, family) WITHOUT ROWID",
    "INSERT INTO contents SELECT sha256, min(phash), NULL FROM judged GROUP BY sha256",
    "CREATE TEMP TABLE hashes (phash INTEGER PRIMARY KEY)",
    "INSERT INTO hashes SELECT DISTINCT phash FROM contents WHERE phash <> :flat ORDER BY phash",
    "CREATE TEMP TABLE parents (phash INTEGER PRIMARY KEY, parent INTEGER NOT NULL)",
)
_FLATTEN = """
    UPDATE parents SET parent = (SELECT above.parent FROM parents AS above WHERE above.phash = parents.parent)
    WHERE parent <> (SELECT above.parent FROM parents AS above WHERE above.phash = parents.parent)
"""
_GROUPS = (
    "UPDATE contents SET family = coalesce((SELECT parent FROM parents WHERE parents.phash = contents.phash), sha256)",
    "CREATE TEMP TABLE leaders (family PRIMARY KEY, leader TEXT NOT NULL) WITHOUT ROWID",
    """INSERT INTO leaders SELECT family, min(picture_id) FROM judged JOIN contents USING (sha256)
       GROUP BY family HAVING count(*) > 1""",
    """CREATE TABLE near_groups (picture_id TEXT PRIMARY KEY, leader TEXT NOT NULL, label TEXT NOT NULL,
       sha256 TEXT NOT NULL, stored_key TEXT NOT NULL) WITHOUT ROWID""",
    """INSERT INTO near_groups
       SELECT picture_id, leader, label, sha256, coalesce(nullif(working_key, ''), object_key)
       FROM judged CROSS JOIN contents USING (sha256) CROSS JOIN leaders USING (family)""",
    "CREATE INDEX near_groups_leader ON near_groups (leader, picture_id)",
    """CREATE TABLE conflicts (picture_id TEXT PRIMARY KEY, label TEXT NOT NULL, leader TEXT NOT NULL,
       kind TEXT NOT NULL) WITHOUT ROWID""",
    """INSERT INTO conflicts
       SELECT picture_id, label, leader, CASE WHEN sha256 IN (SELECT sha256 FROM near_groups WHERE label <> ''
           GROUP BY sha256 HAVING min(label) <> max(label)) THEN 'exact' ELSE 'near' END
       FROM near_groups WHERE label <> '' AND leader IN (SELECT leader FROM near_groups WHERE label <> ''
           GROUP BY leader HAVING min(label) <> max(label))""",
    "DROP TABLE temp.contents", "DROP TABLE temp.hashes", "DROP TABLE temp.parents", "DROP TABLE temp.leaders",
)  # fmt: skip


def count_duplicates(connection: sqlite3.Connection) -> Duplicates:
    """Count what `find_duplicates` found."""
    groups = "SELECT count(*), coalesce(sum(pictures), 0) FROM (SELECT count(*) AS pictures FROM near_groups GROUP BY "
    exact = connection.execute(groups + "sha256 HAVING count(*) > 1)").fetchone()
    near = connection.execute(groups + "leader HAVING min(sha256) <> max(sha256))").fetchone()
    conflicts = dict(connection.execute("SELECT kind, count(*) FROM conflicts GROUP BY kind").fetchall())
    return Duplicates(
        exact_groups=exact[0], exact_pictures=exact[1], near_groups=near[0], near_pictures=near[1],
        exact_conflicts=conflicts.get(EXACT, 0), near_conflicts=conflicts.get(NEAR, 0),
    )  # fmt: skip


def dropped(
    connection: sqlite3.Connection, *, conflicts: str = DROP, near_conflicts: str = KEEP
) -> Iterator[tuple[str, str]]:
    """Return the pictures that the settings leave out, by id, each with a sentence that says why.

    All pictures of a conflict go, for none of their labels can be trusted. `judged` may be changed meanwhile.

    Args:
        connection: Of the run's file, after `find_duplicates`.
        conflicts: `DROP` or `KEEP` pictures with the same bytes and different labels.
        near_conflicts: `DROP` or `KEEP` pictures that look the same and have different labels; different clothes in
            one pose look alike, too.

    Raises:
        InputError: A setting is neither.
    """
    for name, value in (("conflicts", conflicts), ("near_conflicts", near_conflicts)):
        if value not in (DROP, KEEP):
            raise InputError(f"{name} must be {DROP} or {KEEP}, got {value!r}")
    kinds = [kind for kind, choice in ((EXACT, conflicts), (NEAR, near_conflicts)) if choice == DROP]
    connection.execute("DROP TABLE IF EXISTS temp.leaving")
    connection.execute(_LEAVING, [*kinds, *[None] * (2 - len(kinds))])
    connection.execute("CREATE UNIQUE INDEX temp.leaving_id ON leaving (picture_id)")
    return _sentences(connection)


# Per family (same bytes, or the whole group) the first pictures of two labels; each picture names the one of the two
# that has not its own label.
_LEAVING = """
    CREATE TEMP TABLE leaving AS
    WITH members AS (
        SELECT c.picture_id, c.label, c.kind, g.sha256 AS family FROM conflicts c JOIN near_groups g USING (picture_id)
        WHERE c.kind = 'exact'
        UNION ALL SELECT picture_id, label, 'near', leader FROM conflicts
    ), firsts AS (
        SELECT kind, family, label, min(picture_id) AS first FROM members GROUP BY kind, family, label
    ), ranked AS (
        SELECT *, row_number() OVER (PARTITION BY kind, family ORDER BY first) AS place FROM firsts
    ), rivals AS (
        SELECT one.kind, one.family, one.label AS label1, one.first AS first1, two.label AS label2, two.first AS first2
        FROM ranked one JOIN ranked two ON two.kind = one.kind AND two.family = one.family AND two.place = 2
        WHERE one.place = 1
    )
    SELECT m.picture_id, m.label, m.kind, CASE m.label WHEN label1 THEN first2 ELSE first1 END AS other,
        CASE m.label WHEN label1 THEN label2 ELSE label1 END AS other_label
    FROM members m JOIN rivals r ON r.kind = m.kind AND r.family = m.family
    JOIN conflicts c ON c.picture_id = m.picture_id AND c.kind = m.kind WHERE m.kind IN (?, ?)
"""


def _sentences(connection: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    said = {EXACT: ("with the same bytes", "conflicts"), NEAR: ("that looks the same", "near_conflicts")}
    last = None
    while rows := connection.execute(
        "SELECT * FROM temp.leaving WHERE ?1 IS NULL OR picture_id > ?1 ORDER BY picture_id LIMIT 1000", (last,)
    ).fetchall():
        for picture_id, label, kind, other, other_label in rows:
            words, setting = said[kind]
            sentence = f"labelled {label!r}, but picture {other!r} {words} is labelled {other_label!r}"
            yield picture_id, f"{sentence}; correct the labels at the source, or set {setting} to {KEEP}"
        last = rows[-1][0]


def _link_near(connection: sqlite3.Connection, near_distance: int) -> None:
    """Join all hashes within the distance in `parents`.

    64 bits in distance + 2 bands: of two hashes within the distance at least two bands are equal (pigeonhole), so
    comparing the hashes that share a pair of bands, for every pair, misses none. Pairs, since one band alone is
    shared by thousands of a million.
    """
    edges = np.linspace(0, 64, near_distance + 3).round().astype(int)
    bands = [((1 << int(end)) - 1) ^ ((1 << int(start)) - 1) for start, end in itertools.pairwise(edges)]
    for one, two in itertools.combinations(bands, 2):
        mask = np.array(one | two, dtype=np.uint64)
        rest = np.empty(0, dtype=np.uint64)
        cursor = connection.execute("SELECT phash FROM hashes ORDER BY phash & ?", (int(mask.astype(np.int64)),))
        while rows := cursor.fetchmany(_BLOCK):
            read = np.fromiter((row[0] for row in rows), dtype=np.int64, count=len(rows)).view(np.uint64)
            block = np.concatenate([rest, read])
            cut = int(np.argmax((block & mask) == (block[-1] & mask)))  # the last bucket may go on in the next rows
            rest = block[cut:]
            _link_block(connection, block[:cut], mask, near_distance)
        _link_block(connection, rest, mask, near_distance)


def _link_block(connection: sqlite3.Connection, block: Hashes, mask: Hashes, near_distance: int) -> None:
    roots = _components(block, block & mask, near_distance)
    linked = np.flatnonzero(roots != np.arange(len(block)))
    signed = block.view(np.int64)
    for one, two in zip(signed[linked].tolist(), signed[roots[linked]].tolist(), strict=True):
        low, high = sorted((_root(connection, one), _root(connection, two)))
        connection.execute("INSERT OR IGNORE INTO parents VALUES (?, ?)", (low, low))
        connection.execute("INSERT OR REPLACE INTO parents VALUES (?, ?)", (high, low))


def _root(connection: sqlite3.Connection, phash: int) -> int:
    """Return the hash that stands for this one's group; on the way, shorten the next one's way."""
    path = [phash]
    while (row := connection.execute("SELECT parent FROM parents WHERE phash = ?", (path[-1],)).fetchone()) is not None:
        if row[0] == path[-1]:
            break
        path.append(row[0])
    if len(path) > 2:
        connection.executemany("UPDATE parents SET parent = ? WHERE phash = ?", [(path[-1], at) for at in path[:-1]])
    return path[-1]


def _components(hashes: Hashes, keys: Hashes, near_distance: int) -> Indices:
    """Return per hash the index of the first one of its group; only those with the same key, side by side, are met."""
    roots = np.arange(len(hashes))
    left = roots
    for step in range(1, len(hashes)):
        left = left[: np.searchsorted(left, len(hashes) - step)]
        left = left[keys[left] == keys[left + step]]
        if not len(left):
            break
        near = left[np.bitwise_count(hashes[left] ^ hashes[left + step]) <= near_distance]
        _join(roots, near, near + step)
    return roots


def _join(roots: Indices, one: Indices, two: Indices) -> None:
    """Join the groups of each one and two; every entry of `roots` names the first of its group, before and after."""
    while True:
        low, high = np.minimum(roots[one], roots[two]), np.maximum(roots[one], roots[two])
        apart = low < high
        if not apart.any():
            return
        np.minimum.at(roots, high[apart], low[apart])
        while not np.array_equal(roots, above := roots[roots]):
            roots[:] = above
