"""The detector finds people exactly where ultralytics does, and refuses what is no segmenter of people."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from silhouette.contracts import contours
from silhouette.detector import load_detector, model_digest_of
from silhouette.errors import InputError
from tests.segment_people import tiny_models

Pixels = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.write_segmenter(tmp_path_factory.mktemp("model") / "tiny.pt")


def scene(seed: int, height: int = 120, width: int = 90) -> Pixels:
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


def test_people_have_contours_inside_their_box_and_the_surest_come_first(segmenter: Path) -> None:
    [people] = load_detector(segmenter, image_size=128, device="cpu").detect([scene(1)])
    assert people
    assert [person.score for person in people] == sorted((person.score for person in people), reverse=True)
    for person in people:
        mask = contours.to_mask(person.contours, width=90, height=120)
        rows, columns = np.nonzero(mask)
        x0, y0, x1, y1 = person.box_xyxy
        assert x0 <= columns.min() <= columns.max() < x1
        assert y0 <= rows.min() <= rows.max() < y1


def test_an_answer_does_not_depend_on_the_other_pictures(segmenter: Path) -> None:
    detector = load_detector(segmenter, image_size=128, device="cpu")
    pictures = [scene(1), scene(2, 60, 200), scene(3), scene(4, 1, 300), scene(5, 5, 5)]
    together = detector.detect(pictures)
    for picture, people in zip(pictures, together, strict=True):
        [alone] = detector.detect([picture])
        assert [contours.encode(person.contours) for person in people] == [
            contours.encode(person.contours) for person in alone
        ]
    assert detector.detect([]) == []


def test_loading_leaves_pillow_and_the_environment_alone(segmenter: Path) -> None:
    import os

    from PIL import Image

    before, variables = Image.open, dict(os.environ)
    load_detector(segmenter)
    assert Image.open is before
    assert Image.open.__module__ == "PIL.Image"
    assert dict(os.environ) == variables


def test_the_digest_follows_weights_and_settings(segmenter: Path, tmp_path: Path) -> None:
    def digest(path: Path = segmenter, person_class: str = "person", image_size: int = 128, score: float = 0.25) -> str:
        return model_digest_of(path, person_class=person_class, image_size=image_size, min_score=score)

    other = tmp_path / "other.pt"
    other.write_bytes(segmenter.read_bytes() + b" ")
    digests = {digest(), digest(other), digest(person_class="x"), digest(image_size=160), digest(score=0.5)}
    assert len(digests) == 5
    assert load_detector(segmenter, image_size=128, min_score=0.25).model_digest == digest()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"must be a file, .*none.pt is not there"):
        load_detector(tmp_path / "none.pt")


def test_a_detection_model_is_refused(tmp_path: Path) -> None:
    path = tiny_models.write_segmenter(tmp_path / "boxes.pt", task="detect")
    with pytest.raises(InputError, match=r"boxes\.pt is a detect model: it gives boxes but no masks"):
        load_detector(path)


def test_a_model_without_the_class_lists_its_own(tmp_path: Path, segmenter: Path) -> None:
    path = tiny_models.write_segmenter(tmp_path / "m.pt", names={0: "cat", 1: "dog"})
    with pytest.raises(InputError, match=r"must have the class 'person', .* has 2 others: cat, dog"):
        load_detector(path)
    assert load_detector(segmenter, person_class="bicycle", image_size=64)


@pytest.mark.parametrize(
    "content", [b"", b"no model at all", b"\x89PNG\r\n\x1a\n" + bytes(100), b"PK\x03\x04" + bytes(50)]
)
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(content)
    with pytest.raises(InputError, match="must be a YOLO checkpoint, it is not"):
        load_detector(path)


def test_a_file_with_another_ending_is_refused_in_one_line(tmp_path: Path, segmenter: Path) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(segmenter.read_bytes())
    with pytest.raises(InputError, match="must be a YOLO checkpoint, it is not"):
        load_detector(path)


def test_a_truncated_checkpoint_and_one_with_other_content_are_refused(tmp_path: Path, segmenter: Path) -> None:
    import torch

    half = tmp_path / "half.pt"
    half.write_bytes(segmenter.read_bytes()[:100_000])
    other = tmp_path / "other.pt"
    torch.save({"model": {"weights": torch.zeros(3)}}, other)
    for path in (half, other):
        with pytest.raises(InputError, match="must be a YOLO checkpoint, it is not"):
            load_detector(path)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    target = tmp_path / "made by the checkpoint"
    path = tiny_models.write_trap(tmp_path / "trap.pt", target=target)
    with pytest.raises(InputError, match="it names other code, which was not run"):
        load_detector(path)
    assert not target.exists()


@pytest.mark.long
def test_masks_are_those_of_ultralytics_on_real_photographs(shared_data: Callable[[str], Path]) -> None:
    from PIL import Image

    weights = shared_data("models/yolov8n-seg.pt")
    folder = shared_data("segmentation/street_ccp/images")
    detector = load_detector(weights, device="cpu")
    from ultralytics import YOLO

    reference = YOLO(str(weights))
    compared, equal = 0, 0
    for path in sorted(folder.glob("*.jpg"))[:20]:
        pixels = np.asarray(Image.open(path).convert("RGB"))
        [people] = detector.detect([pixels])
        [theirs] = reference.predict(
            np.ascontiguousarray(pixels[..., ::-1]), conf=0.25, retina_masks=True, classes=[0], verbose=False
        )
        assert len(theirs.boxes) - 1 <= len(people) <= len(theirs.boxes)  # we leave out a mask without a pixel
        for person, mask in zip(people, theirs.masks.data.numpy() > 0, strict=False):
            drawn = contours.to_mask(person.contours, width=pixels.shape[1], height=pixels.shape[0]) > 0
            compared, equal = compared + 1, equal + int((drawn == mask).mean() > 0.9999)
    assert equal >= 0.98 * compared > 0
