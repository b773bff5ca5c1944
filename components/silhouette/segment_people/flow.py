"""Pictures in, people out: read and decoded ahead, gathered by shape, found and traced side by side.

Three things go on at once: threads that read, threads in which the segmenter works (as many as it gains from), and the
caller, who takes results as they come and writes them. Each stage is at most a few pictures ahead of the next.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from silhouette.contracts import contours as contour_bytes
from silhouette.contracts.dataset import PictureRow
from silhouette.database.people import PersonRow
from silhouette.database.segmentations import Segmentation
from silhouette.detection import DetectedPerson, Detector
from silhouette.errors import PictureError
from silhouette.segment_people.claims import Claim
from silhouette.store import Store, in_parallel
from silhouette.working_copy import WorkingPicture, read_picture

READERS_A_LANE, MOST_READERS = 2, 16


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one picture of a claim: a segmentation, or why it cannot be opened."""

    claim: Claim
    row: PictureRow
    result: Segmentation | PictureError


@dataclass(frozen=True, kw_only=True)
class _Opened:
    claim: Claim
    row: PictureRow
    picture: WorkingPicture | PictureError


def outcomes(claims: Iterable[Claim], *, store: Store, detector: Detector) -> Generator[Outcome, None, None]:
    """Yield what became of every picture of the claims; of one claim all, before the last of the next.

    Raises:
        InputError: A picture's bytes are gone from the store.
        ServiceError: The store went away.
    """

    def read(item: tuple[Claim, PictureRow]) -> _Opened:
        claim, row = item
        try:
            return _Opened(claim=claim, row=row, picture=read_picture(store, row))
        except PictureError as error:
            return _Opened(claim=claim, row=row, picture=error)

    def find(batch: list[_Opened]) -> list[Outcome]:
        return _found(batch, detector)

    rows = ((claim, row) for claim in claims for row in claim.rows)
    opened = in_parallel(read, rows, workers=min(MOST_READERS, READERS_A_LANE * detector.lanes))
    found = in_parallel(find, by_shape(opened, at_once=detector.at_once), workers=detector.lanes)
    with closing(opened), closing(found), _opencv_on_one_thread():
        for batch in found:
            yield from batch


def by_shape(opened: Iterable[_Opened], *, at_once: int) -> Iterator[list[_Opened]]:
    """Gather pictures of one shape into batches of `at_once`; no batch holds pictures of two claims."""
    waiting: dict[tuple[int, ...], list[_Opened]] = {}
    claim: Claim | None = None
    for item in opened:
        if item.claim is not claim:
            yield from waiting.values()
            waiting, claim = {}, item.claim
        shape = item.picture.pixels.shape if isinstance(item.picture, WorkingPicture) else ()
        batch = waiting.setdefault(shape, [])
        batch.append(item)
        if len(batch) >= at_once:
            yield waiting.pop(shape)
    yield from waiting.values()


def _found(batch: list[_Opened], detector: Detector) -> list[Outcome]:
    pictures = [item.picture for item in batch if isinstance(item.picture, WorkingPicture)]
    people = iter(detector.detect([picture.pixels for picture in pictures]))

    def result(item: _Opened) -> Segmentation | PictureError:
        if isinstance(item.picture, PictureError):
            return item.picture
        return Segmentation(
            picture_sha256=item.row.sha256,
            width=item.picture.width,
            height=item.picture.height,
            people=tuple(_packed(person, item.picture) for person in next(people)),
        )

    return [Outcome(claim=item.claim, row=item.row, result=result(item)) for item in batch]


def _packed(person: DetectedPerson, picture: WorkingPicture) -> PersonRow:
    contours, box_xyxy = picture.to_original(person.contours, person.box_xyxy)
    return PersonRow(box_xyxy=box_xyxy, score=person.score, contours=contour_bytes.encode(contours))


@contextmanager
def _opencv_on_one_thread() -> Iterator[None]:
    """Keep OpenCV from starting threads of its own beside ours."""
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def by_claim(found: Iterable[Outcome], *, finish: Callable[[Claim, list[Outcome]], None]) -> Iterator[Outcome]:
    """Pass outcomes on, and call `finish` with those of a claim as soon as the last of them is there."""
    open_claims: dict[int, list[Outcome]] = {}
    for outcome in found:
        of_claim = open_claims.setdefault(outcome.claim.lock, [])
        of_claim.append(outcome)
        if len(of_claim) == len(outcome.claim.rows):
            finish(outcome.claim, open_claims.pop(outcome.claim.lock))
        yield outcome
