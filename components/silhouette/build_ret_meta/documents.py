"""From pictures to documents: each decoded once, its people cut out for every model, asked in batches, put together.

What is held at a time is a few batches of crops, whatever the number of pictures; the order of the pictures is kept.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from silhouette.build_ret_meta.pending import Pending
from silhouette.contracts import contours as contour_bytes
from silhouette.contracts import ret_meta
from silhouette.contracts.ret_meta import Made, Person, Picture, Prediction, RetMeta
from silhouette.cut_people import CropShape, crops_of
from silhouette.errors import PictureError
from silhouette.store import Store, in_parallel
from silhouette.working_copy import least_scale_for, read_picture

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from silhouette.build_ret_meta.models import AskedModel

    Crops = dict[CropShape, npt.NDArray[np.uint8]]

_DECODERS = 3  # pictures decoded at the same time; each may take 270 MB


@dataclass(frozen=True, kw_only=True)
class Done:
    """What became of a picture.

    Attributes:
        item: The picture.
        document: Its document, made anew; None: the one that is there holds, or there must be none.
        refused: Why it cannot be opened; empty when it was, or need not be.
    """

    item: Pending
    document: RetMeta | None = None
    refused: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Cut:
    """A picture whose people are cut out; `crops` uint8 [people, size, size, 3] by shape; `main` counts from 0."""

    item: Pending
    crops: Crops = field(default_factory=dict)
    main: int = 0
    refused: str = ""


@dataclass(kw_only=True, eq=False)
class _Batch:
    """People in their order, -1 for a picture without crops that rides along, their crops and the answers so far."""

    people: list[tuple[_Cut, int]]
    crops: Crops
    answers: dict[str, npt.NDArray[np.float32]] = field(default_factory=dict)


def make_documents(
    items: Iterator[Pending], *, models: Sequence[AskedModel], store: Store, made: Callable[[Pending], Made]
) -> Iterator[Done]:
    """Yield what becomes of every picture, in order.

    Args:
        items: The pictures.
        models: That are asked.
        store: Has the pictures.
        made: Says when and by what a document is made.
    """
    shapes = list(dict.fromkeys(model.shape for model in models))

    def cut(item: Pending) -> _Cut:
        return _cut(item, shapes=shapes, store=store)

    stream = _batches(in_parallel(cut, items, workers=_DECODERS), shapes, min(model.batch for model in models))
    for model in models:
        stream = _ask(model, stream)
    return _put_together(stream, models, made)


def _cut(item: Pending, *, shapes: Sequence[CropShape], store: Store) -> _Cut:
    import numpy as np

    if item.reason or item.is_current:
        return _Cut(item=item)
    boxes = [person.box_xyxy for person in item.people]
    scale = max(least_scale_for(boxes, size=shape.size, margin=shape.margin) for shape in shapes)
    try:
        picture = read_picture(store, item.row, least_scale=scale)  # without people as well: it must be openable
    except PictureError as error:
        return _Cut(item=item, refused=str(error))
    outlines = [contour_bytes.decode(person.contours) for person in item.people]
    ranks = [
        contour_bytes.main_rank(outline, score=item.people[index].score, index=index)
        for index, outline in enumerate(outlines)
    ]
    crops = [crops_of(picture, outline, box, shapes=shapes) for outline, box in zip(outlines, boxes, strict=True)]
    return _Cut(
        item=item,
        crops={shape: np.stack(cut) for shape, *cut in zip(shapes, *crops, strict=True)} if crops else {},
        main=ranks.index(max(ranks)) if ranks else 0,
    )


def _batches(cuts: Iterator[_Cut], shapes: Sequence[CropShape], size: int) -> Iterator[_Batch]:
    import numpy as np

    people: list[tuple[_Cut, int]] = []

    def batch() -> _Batch:
        cut = [(picture, index) for picture, index in people if index >= 0]
        crops = {
            shape: np.stack([picture.crops[shape][index] for picture, index in cut])
            if cut
            else np.zeros((0, shape.size, shape.size, 3), np.uint8)
            for shape in shapes
        }
        return _Batch(people=list(people), crops=crops)

    for picture in cuts:
        for index in range(len(picture.item.people)) if picture.crops else (-1,):
            people.append((picture, index))
            if len(people) == size:
                yield batch()
                people.clear()
    if people:
        yield batch()


def _ask(model: AskedModel, stream: Iterator[_Batch]) -> Iterator[_Batch]:
    """Pass batches on with this model's answers; it works on the next ones while later models do on these."""
    for batch, answers in model.answers((batch, batch.crops[model.shape]) for batch in stream):
        batch.answers[model.group] = answers
        yield batch


def _put_together(
    stream: Iterator[_Batch], models: Sequence[AskedModel], made: Callable[[Pending], Made]
) -> Iterator[Done]:
    told = {model.group: model.told for model in models}
    predictions: list[dict[str, Prediction]] = []
    for batch in stream:
        rows = {group: iter(answers.tolist()) for group, answers in batch.answers.items()}
        for cut, index in batch.people:
            if index >= 0:
                predictions.append({group: ret_meta.predict(next(rows[group]), told[group]) for group in told})
            if index + 1 < len(cut.item.people) and cut.crops:
                continue  # the picture's next person comes first
            if cut.refused or cut.item.reason or cut.item.is_current:
                yield Done(item=cut.item, refused=cut.refused)
            else:
                yield Done(item=cut.item, document=_document(cut, predictions, models, made(cut.item)))
            predictions = []


def _document(
    cut: _Cut, predictions: Sequence[dict[str, Prediction]], models: Sequence[AskedModel], made: Made
) -> RetMeta:
    item = cut.item
    assert item.segmentation is not None, "what nobody segmented has no document"
    people = [
        Person(
            person_index=index,
            main=index == cut.main,
            box_xyxy=tuple(round(value, 1) for value in person.box_xyxy),
            score=round(person.score, ret_meta.PROBABILITY_DIGITS),
            contours=base64.b64encode(person.contours).decode(),
            predictions=answers,
        )
        for index, (person, answers) in enumerate(zip(item.people, predictions, strict=True))
    ]
    row = item.row
    return ret_meta.make(
        picture=Picture(picture_id=row.picture_id, sha256=row.sha256, width=row.width, height=row.height),
        segmentation=item.segmentation,
        people=people,
        models={model.group: model.told for model in models},
        made=made,
    )
