"""Pictures with their people, cut out and ready to be classified, a few at a time.

Reads a dataset and its snapshot and pictures in the store, or a folder of picture files; writes nothing. What is
handed on is small (crops and a thumbnail), whatever the size of the picture.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from silhouette.contracts import contours as contour_bytes
from silhouette.contracts.contours import Contours
from silhouette.contracts.dataset import Dataset, PictureRow, RefusedPicture
from silhouette.contracts.snapshot import NOBODY, SnapshotHead, SnapshotRow
from silhouette.errors import InputError, PictureError
from silhouette.imaging import cut_person, open_picture
from silhouette.store import Store, in_parallel
from silhouette.working_copy import WorkingPicture, least_scale_for, read_picture

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from silhouette.detector import Detector

    Pixels = npt.NDArray[np.uint8]

THUMBNAIL_SIDE = 260
BADLISTED, REJECTED, NOT_SEGMENTED = "badlisted", "rejected", "not_segmented"
_WORKERS = 3  # pictures decoded at the same time; each may take 270 MB
_DETECTED_AT_ONCE = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class CutPerson:
    """One person: `label` is the picture's when it is meant for this person, else empty; `crop` is uint8 RGB."""

    index: int
    box_xyxy: tuple[float, float, float, float]
    score: float
    label: str
    contours: Contours
    crop: Pixels


@dataclass(frozen=True, kw_only=True, eq=False)
class CutPicture:
    """One picture: its people, and a thumbnail, uint8 RGB, smaller than the original by `scale`."""

    picture_id: str
    object_key: str
    label: str
    people: tuple[CutPerson, ...]
    thumbnail: Pixels
    scale: float


@dataclass(frozen=True, kw_only=True)
class CropShape:
    """How people are cut out: the arguments of `silhouette.imaging.cut_person`, as the model's card has them."""

    size: int
    margin: float
    background: str


@dataclass(frozen=True, kw_only=True)
class _Found:
    index: int
    box_xyxy: tuple[float, float, float, float]
    score: float
    contours: Contours


def left_out(dataset: Dataset, head: SnapshotHead, rows: Sequence[SnapshotRow]) -> dict[str, str]:
    """Return the pictures of a dataset that must not or cannot be classified, as reasons by picture id."""
    segmented, badlisted, rejected = {row.sha256 for row in rows}, set(head.badlisted), set(head.rejected)
    reasons = {}
    for picture in dataset.rows:
        if picture.picture_id in badlisted:
            reasons[picture.picture_id] = BADLISTED
        elif picture.sha256 in rejected:
            reasons[picture.picture_id] = REJECTED
        elif picture.sha256 not in segmented:
            reasons[picture.picture_id] = NOT_SEGMENTED
    return reasons


def of_dataset(
    pictures: Sequence[PictureRow], rows: Sequence[SnapshotRow], *, store: Store, shape: CropShape, everyone: bool
) -> Iterator[CutPicture | RefusedPicture]:
    """Yield pictures of a dataset in their order, read from the store a little ahead.

    Args:
        pictures: Which ones.
        rows: Their people.
        store: Has the bytes.
        shape: Of the crops.
        everyone: Whether the label is meant for every person, or for the largest one.
    """
    people: dict[str, list[_Found]] = {}
    for row in rows:
        found = people.setdefault(row.sha256, [])
        if row.person_index != NOBODY:
            outline = contour_bytes.decode(row.contours)
            found.append(_Found(index=row.person_index, box_xyxy=row.box_xyxy, score=row.score, contours=outline))

    def cut(picture: PictureRow) -> CutPicture | RefusedPicture:
        found = people[picture.sha256]
        wanted = least_scale_for((person.box_xyxy for person in found), size=shape.size, margin=shape.margin)
        try:
            opened = read_picture(store, picture, least_scale=wanted)
        except PictureError as error:
            return RefusedPicture(picture_id=picture.picture_id, reason=error.reason, detail=error.detail)
        return _cut(
            opened, found, picture_id=picture.picture_id, object_key=picture.object_key,
            label=picture.label, shape=shape, everyone=everyone,
        )  # fmt: skip

    return in_parallel(cut, pictures, workers=_WORKERS)


def files_of(source: Path) -> list[Path]:
    """Return the files of a folder and its sub-folders, sorted; hidden ones are passed over.

    Raises:
        InputError: It is no folder, or holds no file.
    """
    if not source.is_dir():
        raise InputError(f"the source must be a folder of pictures, {source} is none; correct the path")
    found = sorted(path for path in source.rglob("*") if path.is_file())
    found = [path for path in found if not any(part.startswith(".") for part in path.relative_to(source).parts)]
    if not found:
        raise InputError(f"the source must hold pictures, {source} holds no file; correct the path")
    return found


def of_folder(
    files: Sequence[Path], *, source: Path, classes: Sequence[str], detector: Detector, shape: CropShape, everyone: bool
) -> Iterator[CutPicture | RefusedPicture]:
    """Yield pictures of a folder in their order; a file whose folder is called like a class has that label.

    Args:
        files: Which ones, as `files_of` gave them.
        source: The folder; a picture's id is its path below.
        classes: Names that are labels.
        detector: Finds the people.
        shape: Of the crops.
        everyone: Whether the label is meant for every person, or for the largest one.
    """

    def read(path: Path) -> WorkingPicture | RefusedPicture:
        picture_id = path.relative_to(source).as_posix()
        try:
            opened = open_picture(path.read_bytes())
            return WorkingPicture(pixels=opened.pixels, width=opened.width, height=opened.height)
        except PictureError as error:
            return RefusedPicture(picture_id=picture_id, reason=error.reason, detail=error.detail)
        except OSError as error:
            return RefusedPicture(picture_id=picture_id, reason="unreadable", detail=str(error.strerror))

    opened = zip(files, in_parallel(read, files, workers=2), strict=True)
    while part := list(itertools.islice(opened, _DETECTED_AT_ONCE)):
        readable = [picture.pixels for _, picture in part if not isinstance(picture, RefusedPicture)]
        detected = iter(detector.detect(readable))
        for path, picture in part:
            if isinstance(picture, RefusedPicture):
                yield picture
                continue
            people = [
                _Found(index=index, box_xyxy=person.box_xyxy, score=person.score, contours=person.contours)
                for index, person in enumerate(next(detected))
            ]
            yield _cut(
                picture, people, picture_id=path.relative_to(source).as_posix(), object_key="",
                label=path.parent.name if path.parent.name in classes else "", shape=shape, everyone=everyone,
            )  # fmt: skip


def _cut(
    picture: WorkingPicture,
    people: Sequence[_Found],
    *,
    picture_id: str,
    object_key: str,
    label: str,
    shape: CropShape,
    everyone: bool,
) -> CutPicture:
    import cv2

    scale = min(1.0, THUMBNAIL_SIDE / max(picture.height, picture.width))
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    main = max(people, key=lambda person: rank_of(person.contours, person.score, person.index), default=None)
    return CutPicture(
        picture_id=picture_id,
        object_key=object_key,
        label=label,
        people=tuple(
            CutPerson(
                index=person.index,
                box_xyxy=person.box_xyxy,
                score=person.score,
                label=label if everyone or person is main else "",
                contours=person.contours,
                crop=crops_of(picture, person.contours, person.box_xyxy, shapes=[shape])[0],
            )
            for person in people
        ),
        thumbnail=cv2.resize(picture.pixels, size, interpolation=cv2.INTER_AREA),
        scale=scale,
    )


def crops_of(
    picture: WorkingPicture,
    contours: Contours,
    box_xyxy: tuple[float, float, float, float],
    *,
    shapes: Sequence[CropShape],
) -> list[Pixels]:
    """Cut a person out of a picture, once for every shape.

    Args:
        picture: The picture, decoded once.
        contours: Of the person, in pixels of the original.
        box_xyxy: Of the person, in pixels of the original.
        shapes: Of the crops.
    """
    contours, box_xyxy = picture.to_pixels(contours, box_xyxy)
    height, width = picture.pixels.shape[:2]
    mask = contour_bytes.to_mask(contours, width=width, height=height)
    return [
        cut_person(picture.pixels, mask, box_xyxy, size=shape.size, margin=shape.margin, background=shape.background)[0]
        for shape in shapes
    ]


def rank_of(contours: Contours, score: float, index: int) -> tuple[float, float, int]:
    """Order people as build_dataset does: by the area inside the contours, then by score, then the first."""
    return contour_bytes.area(contours), score, -index
