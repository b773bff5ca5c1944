"""The proof of a picture model: pictures whose answers the same code gives here, held against what Triton answers.

Reads the golden crops of a bundle and lays them out as pictures; writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from silhouette.deploy_model.golden import Golden
from silhouette.detector_onnx import OnnxDetector
from silhouette.errors import InputError, ParityError, PictureError
from silhouette.onnx_model import OnnxModel
from silhouette.picture_answer import PictureSettings, answer_picture
from silhouette.triton_client import Triton

# two builds of ONNX Runtime differ by about 1e-6; a box that rounds the other way moves a crop by a pixel
_SCORE, _BOX, _PROBABILITY = 0.005, 1.0, 0.02
_PICTURES = 3
_HEIGHT, _WIDTH, _GREY = 480, 640, 127
_GARBAGE = b"this is no picture"


@dataclass(frozen=True, kw_only=True)
class Proof:
    """Pictures' bytes with the answers that are expected, and how many people are on them."""

    pictures: tuple[tuple[bytes, dict[str, Any]], ...]
    people: int


def make_proof(golden: Golden, settings: PictureSettings, *, detector: OnnxDetector, onnx: Path) -> Proof:
    """Make pictures of golden crops, and answer them here with the very files that Triton gets.

    Args:
        golden: Of the classifier.
        settings: Of the picture model.
        detector: The segmenter's file, opened here.
        onnx: The classifier's file.
    """
    classifier = OnnxModel(onnx)
    chosen = np.linspace(0, len(golden.crops) - 1, min(_PICTURES, len(golden.crops))).round().astype(int)
    pictures = []
    for crop in golden.crops[chosen]:
        data = _picture_of(crop)
        answer = answer_picture(
            data, settings, find=lambda pixels: detector.detect([pixels])[0], classify=classifier.probabilities,
            model="", version="",
        )  # fmt: skip
        pictures.append((data, answer))
    return Proof(pictures=tuple(pictures), people=sum(len(answer["people"]) for _, answer in pictures))


def _picture_of(crop: Any) -> bytes:
    """Lay a crop on grey, as high as the picture."""
    canvas = np.full((_HEIGHT, _WIDTH, 3), _GREY, np.uint8)
    left = (_WIDTH - _HEIGHT) // 2
    canvas[:, left : left + _HEIGHT] = cv2.resize(crop, (_HEIGHT, _HEIGHT), interpolation=cv2.INTER_LINEAR)
    return bytes(cv2.imencode(".jpg", cv2.cvtColor(canvas, cv2.COLOR_RGB2BGR))[1].tobytes())


def check_proof(triton: Triton, model: str, proof: Proof, *, version: int) -> None:
    """Hold a served version against the proof, over HTTP.

    Raises:
        ParityError: An answer differs, or what is no picture is answered.
        ServiceError: Triton does not answer.
    """
    for number, (data, expected) in enumerate(proof.pictures):
        try:
            answer = triton.answer_picture(model, data, version=str(version))
        except PictureError as error:
            raise ParityError(f"{model} must open the proof's picture {number}, it refuses: {error}") from None
        if difference := difference_of(answer, expected):
            raise ParityError(
                f"{model} version {version} must answer as the same code does outside of Triton, picture {number} has"
                f" {difference}; does the server's Python have the packages of images/triton/requirements.lock?"
            )
    try:
        triton.answer_picture(model, _GARBAGE, version=str(version))
    except PictureError:
        return
    except InputError as error:
        raise ParityError(f"{model} must refuse what is no picture with its reason, it says: {error}") from None
    raise ParityError(f"{model} must refuse what is no picture, it answered")


def difference_of(answer: dict[str, Any], expected: dict[str, Any]) -> str:
    """Say in what two answers to a picture differ by more than rounding; empty: in nothing."""
    if len(answer["people"]) != len(expected["people"]):
        return f"{len(answer['people'])} people instead of {len(expected['people'])}"
    for index, (ours, theirs) in enumerate(zip(answer["people"], expected["people"], strict=True)):
        for name, limit in (("box_xyxy", _BOX), ("score", _SCORE), ("probabilities", _PROBABILITY)):
            apart = float(np.abs(np.subtract(ours[name], theirs[name])).max())
            if not apart <= limit:
                return f"a person {index} whose {name} differs by {apart:.3g}"
    return "" if answer["main"] == expected["main"] else f"main person {answer['main']} instead of {expected['main']}"
