"""What came in, to judge before anything is trained on it: figures, and one HTML page without any file beside it.

Reads    tables ``judged``, ``refused``, ``withdrawn`` of the run's SQLite file, ``near_groups`` and ``conflicts`` that
         `duplicates.find_duplicates` made in it; the stored bytes of the few pictures that are shown
Writes   the page; equal input gives equal bytes
"""

from __future__ import annotations

import base64
import logging
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from silhouette.download_pictures.duplicates import Duplicates, count_duplicates
from silhouette.errors import ServiceError
from silhouette.imaging import open_picture

_LOG = logging.getLogger(__name__)
_TEMPLATE = "quality.html.j2"
_THUMBNAIL_SIDE, _JPEG_QUALITY = 160, 75
_SAMPLES_PER_CLASS, _SAMPLES = 8, 120  # pictures shown of a class, of all
_GROUPS, _CONFLICTS, _MEMBERS = 6, 12, 4  # duplicate groups of each kind, conflicts, pictures shown of each
_CLASS_ROWS, _REASONS, _EXAMPLES, _WITHDRAWN = 200, 50, 3, 24
_LONGEST_TEXT = 300  # characters of an id, label or detail
_BARS = 24
_UNEVEN = 10  # times as many pictures in the largest class as in the smallest are worth a remark


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """How one number is spread over the pictures: the smallest, 5 %, the median, 95 %, the largest; 0 if there is none.

    Attributes:
        bars: Pictures per bar; each bar's range is the same number of times as wide as it is long.
    """

    smallest: int
    low: int
    median: int
    high: int
    largest: int
    bars: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class QualityFigures:
    """What the page says in numbers; plain data, `dataclasses.asdict` is its JSON.

    Attributes:
        group: The group, raw.
        classes: In the order of the model's outputs; empty for pictures without labels.
        digest: Of the dataset.
        pictures: That came in.
        size_bytes: Of all of them together.
        counts: Pictures per class, in class order; then labels that are no class.
        splits: Pictures per split and label; the split is '' where the source brought none.
        pixsets: Different shoots; pictures without one are not counted.
        width: Pixels.
        height: Pixels.
        area: Width times height, pixels.
        file_bytes: Bytes of a picture's file.
        duplicates: As found, before conflicts were left out.
        straddling_groups: Groups of duplicates whose pictures are in more than one of the source's splits.
        refused: Pictures that did not come in, by reason.
        withdrawn: Pictures that the source took back.
        unreadable_samples: Pictures that could not be shown.
    """

    group: str
    classes: tuple[str, ...]
    digest: str
    pictures: int
    size_bytes: int
    counts: Mapping[str, int]
    splits: Mapping[str, Mapping[str, int]]
    pixsets: int
    width: Distribution
    height: Distribution
    area: Distribution
    file_bytes: Distribution
    duplicates: Duplicates
    straddling_groups: int
    refused: Mapping[str, int]
    withdrawn: int
    unreadable_samples: int


@dataclass(frozen=True, kw_only=True)
class _Shown:
    """A picture on the page; without `uri` it could not be opened."""

    picture_id: str
    label: str
    uri: str
    left_out: bool = False


@dataclass(frozen=True, kw_only=True)
class _Family:
    """A group of duplicates, or of contradicting pictures, side by side."""

    pictures: int
    shown: tuple[_Shown, ...]
    also: tuple[str, ...] = ()
    kind: str = ""


def write_quality_report(
    path: Path,
    connection: sqlite3.Connection,
    *,
    group: str,
    classes: Sequence[str],
    digest: str,
    where: str,
    thumbnail: Callable[[str], bytes],
) -> QualityFigures:
    """Write the page and return its figures.

    Args:
        path: The HTML file.
        connection: Of the run's file, after `duplicates.find_duplicates` and after the pictures that
            `duplicates.dropped` named went to ``refused`` as ``label_conflict``: these are shown as left out.
        group: The group, raw.
        classes: In the order of the model's outputs; empty for pictures without labels.
        digest: Of the dataset.
        where: The source in words.
        thumbnail: Gives the stored bytes under an object key. What it raises is no failure of the page, which
            shows a placeholder; when the store does not answer, it is not asked again.
    """
    import jinja2

    thumbnails = _Thumbnails(thumbnail)
    rows = connection.execute("SELECT split, label, count(*) FROM judged GROUP BY split, label").fetchall()
    labels = _labels(classes, rows)
    samples = list(_samples(connection, labels if classes else {"": sum(labels.values())}, thumbnails))
    duplicates = list(_duplicate_groups(connection, thumbnails))
    conflicts = list(_conflicts(connection, thumbnails))
    figures = _figures(
        connection, group=group, classes=classes, digest=digest, rows=rows, labels=labels, failed=thumbnails.failed
    )
    page = jinja2.Environment(
        loader=jinja2.PackageLoader("silhouette.download_pictures", "."), autoescape=True,
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    page.filters.update(short=_short, number=_number, size=_size, share=_share, megapixels=_megapixels)
    text = page.get_template(_TEMPLATE).render(
        figures=figures, where=where, remarks=_remarks(figures), splits=_splits_in_order(figures),
        class_rows=_class_rows(figures), labels=labels, samples=samples, conflicts=conflicts,
        exact=[family for family in duplicates if family.kind == "exact"],
        near=[family for family in duplicates if family.kind == "near"],
        refusals=_refusals(connection), refusals_shown=_REASONS,
        withdrawn=_first_withdrawn(connection),
    )  # fmt: skip
    path.write_text(text, encoding="utf-8", errors="replace")  # a folder's name may hold what UTF-8 has not
    return figures


def _figures(
    connection: sqlite3.Connection, *, group: str, classes: Sequence[str], digest: str,
    rows: Sequence[tuple[str, str, int]], labels: Mapping[str, int], failed: int,
) -> QualityFigures:  # fmt: skip
    splits: dict[str, dict[str, int]] = {}
    for split, label, pictures in rows:
        splits.setdefault(split, {})[label] = pictures

    def one(query: str) -> int:
        return int(connection.execute(query).fetchone()[0])

    return QualityFigures(
        group=group, classes=tuple(classes), digest=digest, pictures=sum(labels.values()),
        size_bytes=one("SELECT coalesce(sum(size_bytes), 0) FROM judged"), counts=dict(labels), splits=splits,
        pixsets=one("SELECT count(DISTINCT pixset_id) FROM judged WHERE pixset_id <> ''"),
        width=_distribution(connection, "width"), height=_distribution(connection, "height"),
        area=_distribution(connection, "width * height"), file_bytes=_distribution(connection, "size_bytes"),
        duplicates=count_duplicates(connection),
        straddling_groups=one("""SELECT count(*) FROM (SELECT 1 FROM near_groups JOIN judged USING (picture_id)
            WHERE split <> '' GROUP BY leader HAVING min(split) <> max(split))"""),
        refused=dict(connection.execute("SELECT reason, count(*) FROM refused GROUP BY reason ORDER BY 2 DESC, 1")),
        withdrawn=one("SELECT count(*) FROM withdrawn"), unreadable_samples=failed,
    )  # fmt: skip


def _labels(classes: Sequence[str], rows: Sequence[tuple[str, str, int]]) -> dict[str, int]:
    """Return pictures per class, in class order; then labels that are no class, by name."""
    counts: Counter[str] = Counter()
    for _, label, pictures in rows:
        counts[label] += pictures
    return {label: counts[label] for label in [*classes, *sorted(counts.keys() - set(classes))]}


def _distribution(connection: sqlite3.Connection, number: str) -> Distribution:
    """Read the numbers in order, a block at a time; `number` is an expression of ours over `judged`."""
    count, smallest, largest = connection.execute(
        f"SELECT count(*), min({number}), max({number}) FROM judged"  # noqa: S608
    ).fetchone()
    if not count:
        return Distribution(smallest=0, low=0, median=0, high=0, largest=0, bars=())
    bars = _BARS if largest > smallest else 1
    edges = np.geomspace(max(1, smallest), max(1, largest), bars + 1)
    bins, found, done = np.zeros(bars, np.int64), [], 0
    places = [round(share * (count - 1)) for share in (0.05, 0.5, 0.95)]
    cursor = connection.execute(f"SELECT {number} FROM judged ORDER BY 1")  # noqa: S608
    while rows := cursor.fetchmany(1 << 16):
        values = np.fromiter((row[0] for row in rows), np.int64, len(rows))
        bins += np.bincount(np.searchsorted(edges[1:-1], values, side="right"), minlength=bars)
        found += [int(values[place - done]) for place in places if done <= place < done + len(values)]
        done += len(values)
    low, median, high = found
    return Distribution(
        smallest=smallest, low=low, median=median, high=high, largest=largest, bars=tuple(bins.tolist())
    )


def _remarks(figures: QualityFigures) -> list[str]:
    """Return what a person should look at before training, most important first."""
    found, filled = figures.duplicates, [figures.counts[name] for name in figures.classes]
    remarks = []
    if filled and (empty := [name for name in figures.classes if not figures.counts[name]]):
        remarks.append(f"{_many(len(empty), 'class has', 'classes have')} no picture: {_some(empty)}.")
    if found.exact_conflicts:
        remarks.append(f"{_many(found.exact_conflicts, 'picture has', 'pictures have')} the same bytes as another one"
                       " with a different label: at least one of the labels is wrong.")  # fmt: skip
    if figures.straddling_groups:
        groups = _many(figures.straddling_groups, "group", "groups")
        lie = "lies" if figures.straddling_groups == 1 else "lie"
        remarks.append(f"{groups} of duplicates or look-alikes {lie} in more than one split of the source: scores on"
                       " val or test will flatter the model.")  # fmt: skip
    if min(filled, default=0) and max(filled) > _UNEVEN * min(filled):
        times = max(filled) / min(filled)
        remarks.append(f"The largest class has {times:.0f} times as many pictures as the smallest.")
    for split, counts in figures.splits.items():
        if split and (missing := [name for name in figures.classes if figures.counts[name] and not counts.get(name)]):
            remarks.append(f"The split {split} has no picture of {_some(missing)}.")
    if others := [name for name in figures.counts if name not in figures.classes and name]:
        remarks += [f"Labels that are no class: {_some(others)}."] if figures.classes else []
    if found.near_conflicts:
        remarks.append(f"{_many(found.near_conflicts, 'picture looks', 'pictures look')} like another one with a"
                       " different label: one pose in different clothes, or a wrong label.")  # fmt: skip
    refused = sum(figures.refused.values())
    if refused > 0.05 * (refused + figures.pictures):
        remarks.append(f"{_share(refused, refused + figures.pictures)} of the pictures were refused.")
    return remarks


def _splits_in_order(figures: QualityFigures) -> list[str]:
    order = {"train": 0, "val": 1, "test": 2}
    named = sorted(figures.splits.keys() - {""}, key=lambda name: (order.get(name, 3), name))
    return [*named, ""] if named and "" in figures.splits else named


def _class_rows(figures: QualityFigures) -> list[tuple[str, int]]:
    """Return the rows of the balance: all labels in their order, or of very many the largest and the smallest."""
    rows = list(figures.counts.items())
    if len(rows) <= _CLASS_ROWS:
        return rows
    by_size = sorted(rows, key=lambda row: -row[1])
    return by_size[: _CLASS_ROWS // 2] + by_size[-_CLASS_ROWS // 2 :]


class _Thumbnails:
    """Makes small JPEGs as data URIs; counts those that cannot be made."""

    def __init__(self, stored: Callable[[str], bytes]) -> None:
        self._stored = stored
        self._silent = False  # the store does not answer; asking on would only make the run wait
        self.failed = 0

    def show(self, picture_id: str, label: str, stored_key: str, left_out: object = None) -> _Shown:
        uri = "" if self._silent else self._uri(picture_id, stored_key)
        self.failed += not uri
        return _Shown(picture_id=picture_id, label=label, uri=uri, left_out=bool(left_out))

    def _uri(self, picture_id: str, stored_key: str) -> str:
        try:
            pixels = open_picture(self._stored(stored_key), longest_side=_THUMBNAIL_SIDE).pixels
            bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
            encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
        except Exception as error:  # noqa: BLE001  the placeholder and the count say so; the data are all there
            self._silent = isinstance(error, ServiceError)
            _LOG.warning("picture %r cannot be shown on the quality page: %s", picture_id, error)
            return ""
        return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()


def _samples(
    connection: sqlite3.Connection, labels: Mapping[str, int], thumbnails: _Thumbnails
) -> Iterator[tuple[str, list[_Shown]]]:
    """Show of each label (one label '': of all pictures) some that are spread evenly over its ids."""
    chosen = [label for label, pictures in labels.items() if pictures][:_SAMPLES]
    each = _SAMPLES_PER_CLASS if len(labels) > 1 else 3 * _SAMPLES_PER_CLASS
    each = max(1, min(each, _SAMPLES // max(1, len(chosen))))
    wanted = {label: {(2 * step + 1) * labels[label] // (2 * each) for step in range(each)} for label in chosen}
    seen: Counter[str] = Counter()
    shown: dict[str, list[_Shown]] = {label: [] for label in chosen}
    everything = labels.keys() == {""}
    for picture_id, label, key in connection.execute(
        "SELECT picture_id, label, coalesce(nullif(working_key, ''), object_key) FROM judged ORDER BY picture_id"
    ):
        name = "" if everything else label
        if seen[name] in wanted.get(name, ()):
            shown[name].append(thumbnails.show(picture_id, label, key))
        seen[name] += 1
    yield from shown.items()


def _duplicate_groups(connection: sqlite3.Connection, thumbnails: _Thumbnails) -> Iterator[_Family]:
    """Show the largest groups: of the same bytes one picture and the ids, of look-alikes pictures of other bytes."""
    exact = """SELECT sha256, count(*) FROM near_groups GROUP BY sha256 HAVING count(*) > 1
               AND min(label) = max(label) ORDER BY 2 DESC, min(picture_id) LIMIT ?"""
    for sha256, pictures in connection.execute(exact, (_GROUPS,)).fetchall():
        rows = connection.execute(
            "SELECT picture_id, label, stored_key FROM near_groups WHERE sha256 = ? ORDER BY picture_id LIMIT ?",
            (sha256, _MEMBERS),
        ).fetchall()
        also = tuple(row[0] for row in rows[1:])
        yield _Family(kind="exact", pictures=pictures, shown=(thumbnails.show(*rows[0]),), also=also)
    near = """SELECT leader, count(*) FROM near_groups GROUP BY leader HAVING min(sha256) <> max(sha256)
              AND min(label) = max(label) ORDER BY 2 DESC, 1 LIMIT ?"""
    for leader, pictures in connection.execute(near, (_GROUPS,)).fetchall():
        rows = connection.execute(
            """SELECT min(picture_id), label, stored_key FROM near_groups WHERE leader = ? GROUP BY sha256
               ORDER BY 1 LIMIT ?""",
            (leader, _MEMBERS),
        ).fetchall()
        yield _Family(kind="near", pictures=pictures, shown=tuple(thumbnails.show(*row) for row in rows))


def _conflicts(connection: sqlite3.Connection, thumbnails: _Thumbnails) -> Iterator[_Family]:
    """Show the largest conflicts, those of the same bytes first, by one picture of each label."""
    families = """SELECT leader, min(kind), count(*) FROM conflicts GROUP BY leader ORDER BY 2, 3 DESC, 1 LIMIT ?"""
    for leader, kind, pictures in connection.execute(families, (_CONFLICTS,)).fetchall():
        rows = connection.execute(
            """SELECT min(c.picture_id), c.label, g.stored_key, r.picture_id FROM conflicts c
               JOIN near_groups g USING (picture_id)
               LEFT JOIN refused r ON r.picture_id = c.picture_id AND r.reason = 'label_conflict'
               WHERE c.leader = ? AND c.kind = ? GROUP BY c.label ORDER BY 1 LIMIT ?""",
            (leader, kind, _MEMBERS),
        ).fetchall()
        yield _Family(kind=kind, pictures=pictures, shown=tuple(thumbnails.show(*row) for row in rows))


def _refusals(connection: sqlite3.Connection) -> list[tuple[str, int, list[tuple[str, str]]]]:
    """Return per reason, the most frequent first: how many pictures, and some with their details."""
    examples = "SELECT picture_id, detail FROM refused WHERE reason = ? ORDER BY picture_id LIMIT ?"
    reasons = "SELECT reason, count(*) FROM refused GROUP BY reason ORDER BY 2 DESC, 1 LIMIT ?"
    return [
        (reason, pictures, connection.execute(examples, (reason, _EXAMPLES)).fetchall())
        for reason, pictures in connection.execute(reasons, (_REASONS,)).fetchall()
    ]


def _first_withdrawn(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute("SELECT picture_id FROM withdrawn ORDER BY picture_id LIMIT ?", (_WITHDRAWN,))
    return [row[0] for row in rows]


def _many(count: int, one: str, more: str) -> str:
    return f"{_number(count)} {one if count == 1 else more}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(_short(name, 60) for name in names[:5]) + (f" and {len(names) - 5} more" if names[5:] else "")


def _short(text: str, longest: int = _LONGEST_TEXT) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _number(count: int) -> str:
    return f"{count:,}".replace(",", "\u2009")  # a thin space reads the same in every country


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}\u00a0%" if whole else "–"


def _megapixels(pixels: int) -> str:
    return f"{pixels / 1e6:.2f}" if pixels >= 1e4 else f"{pixels / 1e6:.4f}"


def _size(count: int) -> str:
    value, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while value >= 999.5 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.{0 if value >= 100 or units[0] == 'B' else 1}f}\u00a0{units[0]}"
