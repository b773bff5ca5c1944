"""What the model said, to look at: one HTML page without any file beside it.

Collects a bounded sample of classified people while they pass by; writes `gallery.html`.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from silhouette.classify_pictures.drift import Drift
from silhouette.contracts.predictions import Prediction
from silhouette.cut_people import CutPerson, CutPicture

GALLERY_NAME = "gallery.html"
RIGHT, WRONG, UNLABELLED, NOBODY = "right", "wrong", "unlabelled", "nobody"
_JPEG_QUALITY = 80
_OUTLINE_RGB, _HALO_RGB = (255, 214, 10), (20, 20, 20)


@dataclass(frozen=True, kw_only=True)
class Card:
    """One person, or one picture without people: what is shown of it."""

    picture_id: str
    outcome: str
    predicted: str
    label: str
    probability: float
    person_index: int
    thumbnail: str


def outcome_of(row: Prediction) -> str:
    """Return `RIGHT`, `WRONG`, `UNLABELLED` or, for a picture without people, `NOBODY`."""
    if row.person_index < 0:
        return NOBODY
    if not row.label:
        return UNLABELLED
    return RIGHT if row.label == row.predicted else WRONG


class Quota:
    """Which of what passes by is shown: of each class and outcome the first ones, about `limit` in all."""

    def __init__(self, classes: Sequence[str], *, limit: int) -> None:
        self._quota = max(2, limit // (2 * len(classes) + 1))
        self.seen: Counter[tuple[str, str]] = Counter()

    def has_room(self, row: Prediction) -> bool:
        """Count a row, and tell whether it is among the first of its kind."""
        kind = (row.predicted, outcome_of(row))
        self.seen[kind] += 1
        return self.seen[kind] <= self._quota


class Gallery:
    """A sample of what passes by, at most `limit`."""

    def __init__(self, classes: Sequence[str], *, limit: int) -> None:
        self._classes = list(classes)
        self._quota = Quota(classes, limit=limit)
        self._limit = limit
        self._cards: list[Card] = []

    @property
    def _seen(self) -> Counter[tuple[str, str]]:
        return self._quota.seen

    def offer(self, row: Prediction, thumbnail: bytes) -> None:
        """Take a classified person in, if there is room for one of its kind."""
        if not self._quota.has_room(row) or len(self._cards) >= self._limit:
            return
        self._cards.append(
            Card(
                picture_id=row.picture_id,
                outcome=outcome_of(row),
                predicted=row.predicted,
                label=row.label,
                probability=row.probability,
                person_index=row.person_index,
                thumbnail="data:image/jpeg;base64," + base64.b64encode(thumbnail).decode(),
            )
        )

    def write(self, path: Path, *, title: str, model: str, version: str, drift: Drift | None) -> None:
        """Write the page."""
        from jinja2 import Environment, PackageLoader, StrictUndefined

        environment = Environment(
            loader=PackageLoader("silhouette.classify_pictures", "."), autoescape=True, undefined=StrictUndefined,
            trim_blocks=True, lstrip_blocks=True,
        )  # fmt: skip
        order = {WRONG: 0, RIGHT: 1, UNLABELLED: 2, NOBODY: 3}
        cards = sorted(self._cards, key=lambda card: (order[card.outcome], -card.probability, card.picture_id))
        names = [*self._classes, ""]
        groups = [
            {
                "name": name,
                "cards": [card for card in cards if card.predicted == name],
                "seen": {outcome: self._seen[name, outcome] for outcome in order},
            }
            for name in names
        ]
        page = environment.get_template("gallery.html.j2").render(
            title=title,
            model=model,
            version=version,
            drift=drift,
            groups=[group for group in groups if group["cards"]],
            shown=len(self._cards),
            seen={outcome: sum(count for kind, count in self._seen.items() if kind[1] == outcome) for outcome in order},
            total=sum(self._seen.values()),
        )
        path.write_text(page, encoding="utf-8")


def draw(picture: CutPicture, person: CutPerson | None) -> bytes:
    """Draw box and outline of a person on the thumbnail; return a JPEG."""
    import cv2
    import numpy as np

    pixels = picture.thumbnail.copy()
    if person is not None:
        x0, y0, x1, y1 = (round(value * picture.scale) for value in person.box_xyxy)
        cv2.rectangle(pixels, (x0, y0), (x1, y1), (255, 255, 255), 1)
        rings = [np.round(ring * picture.scale).astype(np.int32) for ring in person.contours.rings]
        for colour, width in ((_HALO_RGB, 3), (_OUTLINE_RGB, 1)):
            cv2.polylines(pixels, rings, isClosed=True, color=colour, thickness=width, lineType=cv2.LINE_AA)
    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    return bytes(cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), quality)[1].tobytes())
