"""Pictures with their people, cut out and ready to be classified, a few at a time.

Reads a dataset and its snapshot and pictures in the store, or a folder of picture files; writes nothing. What is
handed on is small (crops and a thumbnail), whatever the size of the picture.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from silhouette.contracts import contours as contour_bytes
from silhouette.contracts.contours import Contours
from silhouette.contracts.dataset import BADLISTED, Dataset, PictureRow, RefusedPicture
from silhouette.contracts.exported_masks import ExportedMasks
from silhouette.contracts.snapshot import NOBODY, SnapshotHead, SnapshotRow
from silhouette.errors import InputError, PictureError
from silhouette.imaging import cut_person, open_picture
from silhouette.store import Store, in_parallel
from silhouette.working_copy import WorkingPicture, least_scale_for, read_picture

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from silhouette.detection import Detector

    Pixels = npt.NDArray[np.uint8]

THUMBNAIL_SIDE = 260
REJECTED, NOT_SEGMENTED = "rejected", "not_segmented"
NO_MASK, BAD_MASK = "no_mask", "bad_mask"
_WORKERS = 3  # pictures decoded at the same time; each may take 270 MB


@dataclass(frozen=True, kw_only=True, eq=False)
class CutPerson:
    """One person: `label` is the picture's when it is meant for this person, else empty; `crop` is uint8 RGB.

    `is_main` holds for the largest person of a picture, whatever its label is meant for.
    """

    index: int
    box_xyxy: tuple[float, float, float, float]
    score: float
    label: str
    is_main: bool
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

    return _of_known(pictures, lambda row: people[row.sha256], store=store, shape=shape, everyone=everyone)


def of_masks(
    pictures: Sequence[PictureRow], masks: ExportedMasks, *, store: Store, shape: CropShape, everyone: bool
) -> Iterator[CutPicture | RefusedPicture]:
    """Yield pictures of a dataset in their order, with the people of exported masks; who was drawn has the score 1.

    Args:
        pictures: Which ones; each has a row among the masks. One whose mask cannot be read comes back refused.
        masks: Of them.
        store: Has the bytes.
        shape: Of the crops.
        everyone: Whether the label is meant for every person, or for the largest one.
    """

    def people_of(row: PictureRow) -> list[_Found]:
        try:
            people = masks.people(row.sha256, width=row.width, height=row.height)
        except InputError as error:
            raise PictureError(BAD_MASK, str(error)) from None
        return [_drawn(index, contours) for index, contours in people]

    return _of_known(pictures, people_of, store=store, shape=shape, everyone=everyone)


def _drawn(index: int, contours: Contours) -> _Found:
    left, top, right, bottom = contour_bytes.box(contours)
    box_xyxy = (float(left), float(top), float(right), float(bottom))
    return _Found(index=index, box_xyxy=box_xyxy, score=1.0, contours=contours)


def _of_known(
    pictures: Sequence[PictureRow], people_of: Callable[[PictureRow], Sequence[_Found]], *, store: Store,
    shape: CropShape, everyone: bool,
) -> Iterator[CutPicture | RefusedPicture]:  # fmt: skip
    """Yield pictures with people who are known; `people_of` may refuse one by PictureError."""

    def cut(picture: PictureRow) -> CutPicture | RefusedPicture:
        try:
            found = people_of(picture)
            wanted = least_scale_for((person.box_xyxy for person in found), size=shape.size, margin=shape.margin)
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


@dataclass(frozen=True, kw_only=True)
class Badlist:
    """What must not be used, by picture id and by content: `sha256s` are of bytes that came in under such an id."""

    picture_ids: frozenset[str]
    sha256s: frozenset[str]

    def has_file(self, relative: PurePath, sha256: str) -> bool:
        """Tell whether a file of a folder is on it; an id may be its path or its name, with or without the ending."""
        names = {relative.as_posix(), relative.with_suffix("").as_posix(), relative.name, relative.stem}
        return sha256 in self.sha256s or not self.picture_ids.isdisjoint(names)

    def has_picture(self, row: PictureRow) -> bool:
        """Tell whether a picture of a dataset is on it."""
        return row.sha256 in self.sha256s or row.picture_id in self.picture_ids


def of_folder(
    files: Sequence[Path],
    *,
    source: Path,
    classes: Sequence[str],
    detector: Detector,
    badlist: Badlist,
    shape: CropShape,
    everyone: bool,
) -> Iterator[CutPicture | RefusedPicture]:
    """Yield pictures of a folder in their order; a file whose folder is called like a class has that label.

    Args:
        files: Which ones, as `files_of` gave them.
        source: The folder; a picture's id is its path below.
        classes: Names that are labels.
        detector: Finds the people.
        badlist: Its pictures come back refused, as `BADLISTED`.
        shape: Of the crops.
        everyone: Whether the label is meant for every person, or for the largest one.
    """

    def cut(path: Path) -> CutPicture | RefusedPicture:
        relative = path.relative_to(source)
        picture_id = relative.as_posix()
        try:
            data = path.read_bytes()
            if badlist.has_file(relative, hashlib.sha256(data).hexdigest()):
                return RefusedPicture(picture_id=picture_id, reason=BADLISTED, detail="it is on the badlist")
            opened = open_picture(data)
        except PictureError as error:
            return RefusedPicture(picture_id=picture_id, reason=error.reason, detail=error.detail)
        except OSError as error:
            return RefusedPicture(picture_id=picture_id, reason="unreadable", detail=str(error.strerror))
        picture = WorkingPicture(pixels=opened.pixels, width=opened.width, height=opened.height)
        return _cut(
            picture, _detected(detector, picture), picture_id=picture_id, object_key="",
            label=path.parent.name if path.parent.name in classes else "", shape=shape, everyone=everyone,
        )  # fmt: skip

    return in_parallel(cut, files, workers=max(2, detector.lanes))


def of_pictures(
    pictures: Sequence[PictureRow], *, store: Store, detector: Detector, shape: CropShape, everyone: bool
) -> Iterator[CutPicture | RefusedPicture]:
    """Yield pictures of a dataset in their order, with the people that `detector` finds.

    Args:
        pictures: Which ones.
        store: Has the bytes.
        detector: Finds the people, on the working copy as `segment_people` does.
        shape: Of the crops.
        everyone: Whether the label is meant for every person, or for the largest one.
    """

    def cut(row: PictureRow) -> CutPicture | RefusedPicture:
        try:
            opened = read_picture(store, row)
            found = _detected(detector, opened)
            wanted = least_scale_for((person.box_xyxy for person in found), size=shape.size, margin=shape.margin)
            if opened.scale_xy[0] < wanted:
                opened = read_picture(store, row, least_scale=wanted)
        except PictureError as error:
            return RefusedPicture(picture_id=row.picture_id, reason=error.reason, detail=error.detail)
        return _cut(
            opened, found, picture_id=row.picture_id, object_key=row.object_key, label=row.label, shape=shape,
            everyone=everyone,
        )  # fmt: skip

    return in_parallel(cut, pictures, workers=max(2, detector.lanes))


def _detected(detector: Detector, picture: WorkingPicture) -> list[_Found]:
    """Find the people of a picture, in pixels of the original."""
    people = []
    for index, person in enumerate(detector.detect([picture.pixels])[0]):
        contours, box_xyxy = picture.to_original(person.contours, person.box_xyxy)
        people.append(_Found(index=index, box_xyxy=box_xyxy, score=person.score, contours=contours))
    return people


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
    main = max(
        people,
        key=lambda person: contour_bytes.main_rank(person.contours, score=person.score, index=person.index),
        default=None,
    )
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
                is_main=person is main,
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
