"""A picture's bytes in, its answer out: decoded, people found, cut out and classified, the same wherever it runs.

Reads no file; the segmenter and the classifier are given as functions. Triton's picture models run this file
(`silhouette.picture_backend`), `deploy_model` runs it beside them and holds the two against one another. So it imports
what a Triton server's Python has: NumPy, OpenCV and Pillow. docs/serving.md describes the answer.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from silhouette.contracts import contours as contour_bytes
from silhouette.detection import DetectedPerson, Pixels
from silhouette.detector_onnx import Tensor
from silhouette.errors import PictureError
from silhouette.imaging import cut_person, open_picture

SUFFIX = "_picture"  # of a group's key: Triton's name of its picture model
INPUT_NAME, OUTPUT_NAME = "picture", "answer"  # BYTES [1] each: a picture's bytes, a JSON text
SETTINGS_NAME = "settings.json"  # in a picture model's version folder
NOBODY, CLASSIFIED = "nobody", "classified"
_BASE64 = re.compile(rb"[A-Za-z0-9+/\r\n]+={0,2}[\r\n]*")
_PROBE = 128  # bytes that tell whether the rest may be base64: a picture file has others among its first ones

Find = Callable[[Pixels], list[DetectedPerson]]
Classify = Callable[[Pixels], npt.NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Part:
    """A model that has a part in an answer: Triton's name and version of it, and the SHA-256 of its ONNX file."""

    model: str
    version: str
    onnx_sha256: str


def standby_name(classifier: Part) -> str:
    """Return the name under which the very file of a classifier may answer while its own version does not.

    `deploy_model` serves it there for the moments of a switch to other classes.
    """
    return f"{classifier.model}--{classifier.onnx_sha256[:16]}"


@dataclass(frozen=True, kw_only=True)
class PictureSettings:
    """All that a picture model is made of; a version of it never changes.

    Attributes:
        group: Raw.
        classes: In the order of the classifier's outputs.
        crop_size: Side of the classifier's crops, pixels.
        crop_margin: As in `silhouette.imaging.square_of`.
        background: As in `silhouette.imaging.cut_person`.
        classifier: Asked for people's classes, this very version.
        classifier_input: Name of the tensor of crops.
        classifier_output: Name of the tensor of probabilities.
        most_crops: The classifier takes in one request.
        segmenter: Asked for people.
        segmenter_digest: Of its weights and settings, as in the database's records.
        segmenter_metadata: Of its ONNX file.
        segmenter_inputs: Of its ONNX file.
        segmenter_outputs: Of its ONNX file.
        person_class: The segmenter's class that is a person.
        image_size: The longest side that the segmenter sees, pixels.
        min_score: People below are not answered.
        max_megapixels: Larger pictures are refused.
        max_megabytes: Larger files are refused.
        code_version: Of this package.
    """

    group: str
    classes: tuple[str, ...]
    crop_size: int
    crop_margin: float
    background: str
    classifier: Part
    classifier_input: str
    classifier_output: str
    most_crops: int
    segmenter: Part
    segmenter_digest: str
    segmenter_metadata: dict[str, str]
    segmenter_inputs: tuple[Tensor, ...]
    segmenter_outputs: tuple[Tensor, ...]
    person_class: str
    image_size: int
    min_score: float
    max_megapixels: float
    max_megabytes: float
    code_version: str

    def to_json(self) -> bytes:
        """Write the settings; equal settings give equal bytes."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=2, sort_keys=True).encode()

    @classmethod
    def from_json(cls, text: bytes) -> PictureSettings:
        """Read what `to_json` wrote."""
        found: dict[str, Any] = json.loads(text)
        for name in ("segmenter_inputs", "segmenter_outputs"):
            found[name] = tuple((item[0], item[1], tuple(item[2])) for item in found[name])
        parts = {name: Part(**found[name]) for name in ("classifier", "segmenter")}
        return cls(**{**found, **parts, "classes": tuple(found["classes"])})


def picture_bytes(data: bytes, *, max_megabytes: float) -> bytes:
    """Return a picture's bytes, which may have come as base64: JSON has no bytes.

    Raises:
        PictureError: There are too many, or they look like base64 and are not.
    """
    if len(data) > max_megabytes * 1e6 * (4 / 3 if _looks_like_base64(data) else 1):
        raise PictureError("too_large", f"a picture must have at most {max_megabytes:g} MB, got {len(data) / 1e6:.1f}")
    if not data or not _looks_like_base64(data):
        return data
    try:
        return base64.b64decode(b"".join(data.split()), validate=True)
    except binascii.Error as error:
        raise PictureError("unsupported", f"a picture must be sent as bytes or as their base64: {error}") from None


def _looks_like_base64(data: bytes) -> bool:
    return _BASE64.fullmatch(data[:_PROBE]) is not None


def answer_picture(
    data: bytes, settings: PictureSettings, *, find: Find, classify: Classify, model: str, version: str
) -> dict[str, Any]:
    """Answer a picture.

    Args:
        data: The file's bytes, or their base64.
        settings: Of the picture model.
        find: Returns the people on uint8 RGB pixels [height, width, 3], the surest first.
        classify: Returns probabilities float32 [n, classes] of uint8 crops [n, size, size, 3], any n above 0.
        model: Triton's name of the picture model, for the answer.
        version: Its version.

    Returns:
        The answer, as docs/serving.md has it; `outcome` tells a classified picture from one without people.

    Raises:
        PictureError: The bytes are no picture that can be opened.
    """
    opened = open_picture(
        picture_bytes(data, max_megabytes=settings.max_megabytes), max_megapixels=settings.max_megapixels
    )
    people = find(opened.pixels)
    rows = [row for crops in _crops(opened.pixels, people, settings) for row in classify(crops)]
    ranks = [
        contour_bytes.main_rank(person.contours, score=person.score, index=index) for index, person in enumerate(people)
    ]
    main = ranks.index(max(ranks)) if ranks else None
    told = [_told(person, row, settings.classes) for person, row in zip(people, rows, strict=True)]
    return {
        "outcome": NOBODY if main is None else CLASSIFIED,
        "label": None if main is None else told[main]["label"],
        "probability": None if main is None else told[main]["probability"],
        "main": main,
        "people": told,
        "width": opened.width,
        "height": opened.height,
        "group": settings.group,
        "models": {
            "picture": {"model": model, "version": version},
            "classifier": asdict(settings.classifier),
            "segmenter": asdict(settings.segmenter),
        },
    }


def _crops(pixels: Pixels, people: Sequence[DetectedPerson], settings: PictureSettings) -> list[Pixels]:
    """Cut the people out, in batches that the classifier takes."""
    height, width = pixels.shape[:2]
    crops = []
    for person in people:
        mask = contour_bytes.to_mask(person.contours, width=width, height=height)
        crop, _ = cut_person(
            pixels, mask, person.box_xyxy,
            size=settings.crop_size, margin=settings.crop_margin, background=settings.background,
        )  # fmt: skip
        crops.append(crop)
    step = settings.most_crops
    return [np.stack(crops[start : start + step]) for start in range(0, len(crops), step)]


def _told(person: DetectedPerson, row: npt.NDArray[np.float32], classes: Sequence[str]) -> dict[str, Any]:
    best = int(row.argmax())
    return {
        "box_xyxy": [round(value, 1) for value in person.box_xyxy],
        "score": round(person.score, 4),
        "label": classes[best],
        "probability": round(float(row[best]), 6),
        "probabilities": [round(float(value), 6) for value in row],
    }
