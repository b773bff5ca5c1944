"""What is in the database, to look at: counts, and of every group, model and status the most doubtful pictures.

Reads PostgreSQL and the pictures in the store; writes one HTML page. Of each status only so many pictures are read, so
that the page and the time stay bounded whatever the size of the group.
"""

from __future__ import annotations

import base64
import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from silhouette.contracts import contours as contour_bytes
from silhouette.contracts.dataset import PictureRow
from silhouette.database.corrections import people_of
from silhouette.database.group_versions import GroupPicture, counting_pictures
from silhouette.database.people import PersonRow
from silhouette.database.report import AGES, CORRECTIONS, NOT_SEGMENTED, GroupCount
from silhouette.database.reviews import STATUSES
from silhouette.drawing import draw_people
from silhouette.errors import InputError, PictureError, ServiceError
from silhouette.imaging import shrink
from silhouette.store import Store, in_parallel
from silhouette.working_copy import WorkingPicture, read_picture

if TYPE_CHECKING:
    import psycopg

_LOG = logging.getLogger(__name__)
_SIDE = 420  # of a picture on the page, pixels
_QUALITY = 78
_WORKERS = 3
MOST_SAMPLES = 200


@dataclass(frozen=True, kw_only=True)
class Card:
    """One picture on the page; `thumbnail` is empty when it cannot be opened, `problem` then says why."""

    picture_id: str
    label: str
    people: int
    lowest_score: float | None
    author: str
    reviewer: str
    reason: str
    thumbnail: str
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Shelf:
    """The pictures of one status that are shown."""

    status: str
    cards: Sequence[Card]


@dataclass(frozen=True, kw_only=True)
class Section:
    """What is shown of a group as one model has seen it."""

    model_digest: str
    shelves: Sequence[Shelf]


def write_gallery(
    path: Path, *, groups: Sequence[GroupCount], connection: psycopg.Connection, store: Store, samples: int
) -> int:
    """Write the page and return how many pictures are on it.

    Args:
        path: The page; its folder must be there.
        groups: Counts of the groups that are shown.
        connection: To a migrated database.
        store: Has the pictures.
        samples: Pictures of each status, from 1 to `MOST_SAMPLES`.

    Raises:
        InputError: The number of samples is out of its range, or the page cannot be written.
        ServiceError: PostgreSQL or the store failed.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    if not 1 <= samples <= MOST_SAMPLES:
        raise InputError(f"--samples must be from 1 to {MOST_SAMPLES}, got {samples}; correct it")
    shown = [(group, _sections(group, connection, store, samples)) for group in groups]
    environment = Environment(
        loader=PackageLoader("silhouette.inspect_database", "."), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    page = environment.get_template("gallery.html.j2").render(
        groups=shown, ages=AGES, corrections=CORRECTIONS, not_segmented=NOT_SEGMENTED, statuses=STATUSES
    )
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        partial.write_text(page, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise InputError(f"--gallery must be a file that can be written, got {path}: {error.strerror}") from None
    return sum(len(shelf.cards) for _, sections in shown for section in sections for shelf in section.shelves)


def _sections(group: GroupCount, connection: psycopg.Connection, store: Store, samples: int) -> list[Section]:
    models = dict.fromkeys(item.model_digest for item in group.statuses if item.model_digest not in ("", CORRECTIONS))
    found = []
    for model_digest in models:
        shelves = [Shelf(status=one, cards=_cards(group.group, model_digest, one, connection, store, samples))
                   for one in STATUSES]  # fmt: skip
        found.append(Section(model_digest=model_digest, shelves=[shelf for shelf in shelves if shelf.cards]))
    return found


def _cards(
    group: str, model_digest: str, status: str, connection: psycopg.Connection, store: Store, samples: int
) -> list[Card]:
    pages = counting_pictures(connection, group=group, model_digest=model_digest, statuses=[status], limit=samples)
    pictures = [picture for page in pages for picture in page]
    numbers = [picture.segmentation_id for picture in pictures if picture.status != "nobody"]
    people = people_of(connection, segmentation_ids=numbers)

    def card(picture: GroupPicture) -> Card:
        return _card(picture, people.get(picture.segmentation_id, ()), store)

    return list(in_parallel(card, pictures, workers=_WORKERS))


def _card(picture: GroupPicture, people: Sequence[PersonRow], store: Store) -> Card:
    thumbnail = problem = ""
    try:
        thumbnail = _drawn(picture, people, store)
    except ServiceError:
        raise
    except (PictureError, InputError) as error:
        problem = str(error)
        _LOG.warning("picture %r is not shown: %s", picture.picture_id, error)
    return Card(
        picture_id=picture.picture_id,
        label=picture.label,
        people=len(people),
        lowest_score=picture.lowest_score,
        author=picture.author,
        reviewer=picture.reviewer,
        reason=picture.reason,
        thumbnail=thumbnail,
        problem=problem,
    )


def _drawn(picture: GroupPicture, people: Sequence[PersonRow], store: Store) -> str:
    """Draw everybody on the picture; return a JPEG as a data URL."""
    import cv2

    row = PictureRow(
        picture_id=picture.picture_id, object_key=picture.object_key, sha256=picture.picture_sha256,
        width=picture.width, height=picture.height, label=picture.label, working_key=picture.working_key,
        working_width=picture.working_width, working_height=picture.working_height,
    )  # fmt: skip
    small = WorkingPicture(pixels=shrink(read_picture(store, row).pixels, _SIDE), width=row.width, height=row.height)
    outlines = [small.to_pixels(contour_bytes.decode(person.contours), person.box_xyxy)[0] for person in people]
    drawn = draw_people(small.pixels, outlines, numbered=len(people) > 1)
    encoded = cv2.imencode(".jpg", cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()
