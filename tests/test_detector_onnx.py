"""ONNX Runtime answers for a checkpoint only when it was shown to answer the same, and does so without torch."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from silhouette import detector, detector_export
from silhouette.contracts import contours
from silhouette.contracts.contours import Contours
from silhouette.detector import DetectedPerson, load_detector
from silhouette.detector_export import DisagreementError, key_of, prove
from silhouette.detector_onnx import Fit, OnnxDetector, _MaskScaling, suppress
from silhouette.errors import InputError
from silhouette.store import Store
from tests.segment_people import tiny_models

Pixels = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.write_segmenter(tmp_path_factory.mktemp("model") / "tiny.pt")


@pytest.fixture(scope="module")
def exported(segmenter: Path, store: Store) -> OnnxDetector:
    made = load_detector(segmenter, image_size=128, device="cpu", store=store)
    assert isinstance(made, OnnxDetector)
    return made


def scene(seed: int, height: int = 120, width: int = 90) -> Pixels:
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


SHAPES = [(120, 90), (60, 200), (1, 300), (5, 5), (128, 128), (333, 500), (640, 427)]

# ---- geometry


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("square", [False, True])
def test_pictures_are_fitted_as_ultralytics_does(shape: tuple[int, int], square: bool) -> None:
    detector._import_ultralytics()
    from ultralytics.data.augment import LetterBox

    picture = scene(1, *shape)
    theirs = LetterBox((128, 128), auto=not square, stride=32)(image=picture)
    ours = Fit(shape, image_size=128, stride=32, square=square).letterbox(picture)
    assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("shape", SHAPES)
def test_boxes_are_carried_back_as_ultralytics_does(shape: tuple[int, int]) -> None:
    import torch
    from ultralytics.utils import ops

    fit = Fit(shape, image_size=128, stride=32)
    corners = np.sort(np.random.default_rng(2).uniform(-5, 133, (50, 2, 2)), axis=1)
    boxes = corners.reshape(50, 4).astype(np.float32)
    theirs = ops.scale_boxes(fit.outer, torch.from_numpy(boxes.copy()), shape).numpy()
    assert np.allclose(fit.to_picture(boxes), theirs, atol=1e-3)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_masks_are_drawn_as_ultralytics_does(shape: tuple[int, int], share: float) -> None:
    import torch
    from ultralytics.utils import ops

    rng = np.random.default_rng(3)
    fit = Fit(shape, image_size=128, stride=32)
    protos = rng.normal(size=(8, fit.outer[0] // 4, fit.outer[1] // 4)).astype(np.float32)
    height, width = shape
    for _ in range(5):
        own = rng.normal(size=8).astype(np.float32)
        high, wide = max(1, int(share * height)), max(1, int(share * width))
        top, left = rng.integers(0, height - high + 1), rng.integers(0, width - wide + 1)
        box = (int(left), int(top), int(left + wide), int(top + high))
        ours = np.zeros(shape, np.uint8)
        ours[box[1] : box[3], box[0] : box[2]] = _MaskScaling(fit, protos).draw(own, box)
        boxes = torch.tensor([box], dtype=torch.float32)
        [theirs] = ops.process_mask_native(torch.from_numpy(protos), torch.from_numpy(own)[None], boxes, shape).numpy()
        assert (ours != theirs).sum() <= 0.001 * high * wide + 1


def test_boxes_are_suppressed_as_torchvision_does() -> None:
    import torch
    from torchvision.ops import nms

    rng = np.random.default_rng(4)
    corners = rng.uniform(0, 100, (400, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(1, 60, (400, 2))], axis=1).astype(np.float32)
    scores = rng.permutation(400).astype(np.float32) / 400
    theirs = nms(torch.from_numpy(boxes), torch.from_numpy(scores), detector.NMS_IOU).numpy()
    assert suppress(boxes, scores).tolist() == theirs[: detector.MAX_PEOPLE].tolist()
    assert suppress(boxes[:0], scores[:0]).tolist() == []


# ---- the export


def test_both_runtimes_find_the_same_people(segmenter: Path, exported: OnnxDetector) -> None:
    reference = load_detector(segmenter, image_size=128, device="cpu", runtime="torch")
    assert exported.model_digest == reference.model_digest
    pictures = [scene(seed, *shape) for seed, shape in enumerate(SHAPES)]
    forward = reference.forward  # type: ignore[attr-defined]
    agreement = prove(reference, exported, pictures, forward=forward)
    assert agreement.people > 10
    assert agreement.tensors < 1e-4


def test_people_of_an_export_lie_inside_their_box_and_the_surest_come_first(exported: OnnxDetector) -> None:
    [people] = exported.detect([scene(1)])
    assert people
    assert [person.score for person in people] == sorted((person.score for person in people), reverse=True)
    for person in people:
        mask = contours.to_mask(person.contours, width=90, height=120)
        rows, columns = np.nonzero(mask)
        x0, y0, x1, y1 = person.box_xyxy
        assert x0 <= columns.min() <= columns.max() < x1
        assert y0 <= rows.min() <= rows.max() < y1


def test_an_answer_does_not_depend_on_other_pictures_or_threads(exported: OnnxDetector) -> None:
    from concurrent.futures import ThreadPoolExecutor

    pictures = [scene(seed, *shape) for seed, shape in enumerate(SHAPES * 3)]

    def packed(people: list[DetectedPerson]) -> list[bytes]:
        return [contours.encode(person.contours) for person in people]

    alone = [packed(exported.detect([picture])[0]) for picture in pictures]
    assert [packed(people) for people in exported.detect(pictures)] == alone
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda picture: packed(exported.detect([picture])[0]), pictures)) == alone
    assert exported.detect([]) == []


def test_an_export_is_made_once_and_then_read_without_torch(
    segmenter: Path, exported: OnnxDetector, store: Store, environ: dict[str, str]
) -> None:
    sha256 = hashlib.sha256(segmenter.read_bytes()).hexdigest()
    assert list(store.list_keys("segmenters/")) == [key_of(sha256)]
    program = (
        "import sys; from pathlib import Path; from silhouette.detector import load_detector;"
        " from silhouette.store import open_store\n"
        f"made = load_detector(Path({str(segmenter)!r}), image_size=128, device='cpu', store=open_store())\n"
        "print(type(made).__name__, made.model_digest, 'torch' in sys.modules, 'ultralytics' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["OnnxDetector", exported.model_digest, "False", "False"]


def test_a_kept_export_that_is_damaged_is_made_again(segmenter: Path, exported: OnnxDetector, store: Store) -> None:
    [key] = store.list_keys("segmenters/")
    whole = store.get_bytes(key)
    store.put_bytes(key, whole[: len(whole) // 2])
    made = load_detector(segmenter, image_size=128, device="cpu", store=store)
    assert isinstance(made, OnnxDetector)
    assert len(store.get_bytes(key)) == len(whole)


def test_an_export_that_disagrees_is_refused_or_torch_takes_its_place(
    segmenter: Path, fresh_store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = OnnxDetector.forward

    def worse(self: OnnxDetector, batch: Pixels) -> Any:
        found, protos = real(self, batch)
        return found * np.float32(1.01), protos

    monkeypatch.setattr(OnnxDetector, "forward", worse)
    options: dict[str, Any] = {"image_size": 128, "device": "cpu", "store": fresh_store}
    with pytest.raises(
        DisagreementError, match=r"must find what its checkpoint finds.*set segmentation\.runtime to torch"
    ):
        load_detector(segmenter, runtime="onnxruntime", **options)
    assert not isinstance(load_detector(segmenter, runtime="auto", **options), OnnxDetector)
    assert "torch runs the segmenter, its export does not serve" in caplog.text
    assert list(fresh_store.list_keys("segmenters/")) == []


def test_a_missing_class_is_named_before_and_after_the_export(
    segmenter: Path, exported: OnnxDetector, store: Store, fresh_store: Store
) -> None:
    for kept_in in (store, fresh_store):
        with pytest.raises(InputError, match=r"must have the class 'cat', .* has 2 others: bicycle, person"):
            load_detector(segmenter, person_class="cat", image_size=128, device="cpu", store=kept_in)
    other = load_detector(segmenter, person_class="bicycle", image_size=128, device="cpu", store=store)
    assert other.model_digest != exported.model_digest


def test_code_in_a_checkpoint_is_not_run_by_the_exporter(tmp_path: Path, fresh_store: Store) -> None:
    target = tmp_path / "made by the checkpoint"
    path = tiny_models.write_trap(tmp_path / "trap.pt", target=target)
    with pytest.raises(InputError, match="it names other code, which was not run"):
        load_detector(path, store=fresh_store, device="cpu")
    assert not target.exists()


def test_the_key_of_an_export_follows_weights_and_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {key_of("a" * 64), key_of("b" * 64)}
    monkeypatch.setattr(detector_export, "version", lambda name: "0.0")
    keys.add(key_of("a" * 64))
    assert len(keys) == 3
    assert all(key.startswith("segmenters/") and key.endswith(".onnx") for key in keys)


# ---- proof


class Says:
    """A detector that says what it was told to."""

    def __init__(self, people: list[DetectedPerson], found: npt.NDArray[np.float32]) -> None:
        self.people, self.found = people, found

    def detect(self, pixels: object) -> list[list[DetectedPerson]]:
        return [self.people]

    def fit(self, shape: tuple[int, int]) -> Fit:
        return Fit(shape, image_size=128, stride=32)

    def forward(self, batch: Pixels) -> Any:
        return self.found, np.ones((1, 2, 4, 4), np.float32)


def person(left: int, score: float, width: int = 40) -> DetectedPerson:
    ring = np.array([[left, 5], [left, 60], [left + width, 60], [left + width, 5]], np.int32)
    outline = Contours(rings=(ring,), parents=(-1,))
    return DetectedPerson(contours=outline, box_xyxy=(left, 5.0, left + width, 60.0), score=score)


@pytest.mark.parametrize(
    ("theirs", "change"),
    [
        ([person(5, 0.9)], 0.0),
        ([person(5, 0.9), person(48, 0.5)], 0.0),
        ([person(5, 0.9), person(48, 0.8, 39)], 0.0),
        ([person(5, 0.9), person(48, 0.8), person(60, 0.3, 20)], 0.0),
        ([person(5, 0.9), person(48, 0.8)], 0.5),
        ([person(5, 0.9), person(48, 0.8)], float("nan")),
    ],
)
def test_whatever_differs_is_a_disagreement(theirs: list[DetectedPerson], change: float) -> None:
    found = np.zeros((1, 8, 20), np.float32)
    ours: Any = Says([person(5, 0.9), person(48, 0.8)], found)
    assert prove(ours, ours, [scene(1)], forward=ours.forward).people == 2
    other: Any = Says(theirs, found + np.float32(change))
    with pytest.raises(DisagreementError):
        prove(ours, other, [scene(1)], forward=ours.forward)


# ---- files of ultralytics, and of others


def _as_ultralytics(path: Path, target: Path, **options: Any) -> Path:
    """Export as its own exporter does: floats, channels first, a batch of one, its metadata."""
    import warnings

    import onnx
    import torch

    model = detector._load_segmenter(path)
    head = model.model[-1]
    head.export, head.format, head.dynamic = True, "onnx", False
    size = options.get("size", 128)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        zeros = torch.zeros(1, 3, size, size)
        model(zeros)
        torch.onnx.export(
            model, (zeros,), str(target), input_names=["images"], output_names=["output0", "output1"], dynamo=False,
            opset_version=17,
        )  # fmt: skip
    written = onnx.load(str(target))
    said = {"task": "segment", "names": str({0: "bicycle", 1: "person"}), "stride": "32"}
    onnx.helper.set_model_props(written, {**said, **options.get("said", {})})
    for name in options.get("without", ()):
        [found] = [item for item in written.metadata_props if item.key == name]
        written.metadata_props.remove(found)
    onnx.save(written, str(target))
    return target


def test_an_export_of_ultralytics_is_taken_as_it_is(segmenter: Path, exported: OnnxDetector, tmp_path: Path) -> None:
    path = _as_ultralytics(segmenter, tmp_path / "theirs.onnx")
    theirs = load_detector(path, image_size=128, device="cpu")
    assert theirs.model_digest != exported.model_digest  # other bytes
    pixels = scene(1, 128, 128)  # no padding, which is another on a fixed input
    [ours], [found] = exported.detect([pixels]), theirs.detect([pixels])
    _, pairs = detector_export._compare_people(ours, found, pixels)
    assert len(pairs) >= 0.98 * len(ours) > 0
    [people] = theirs.detect([scene(1)])
    assert people
    with pytest.raises(InputError, match=r"must be exported for the configured size, 640, it is for 128x128"):
        load_detector(path, device="cpu")
    with pytest.raises(InputError, match=r"runtime must be onnxruntime or auto for .*theirs\.onnx, got torch"):
        load_detector(path, image_size=128, device="cpu", runtime="torch")


def test_other_files_are_refused_in_one_line(segmenter: Path, tmp_path: Path) -> None:
    boxes = _as_ultralytics(segmenter, tmp_path / "boxes.onnx", said={"task": "detect"})
    with pytest.raises(InputError, match=r"boxes\.onnx is a detect model: it gives boxes but no masks"):
        load_detector(boxes, image_size=128, device="cpu")
    nameless = _as_ultralytics(segmenter, tmp_path / "nameless.onnx", without=["names"])
    with pytest.raises(InputError, match="must carry its class names in its metadata, it does not"):
        load_detector(nameless, image_size=128, device="cpu")
    code = _as_ultralytics(segmenter, tmp_path / "code.onnx", said={"names": "__import__('os').getpid()"})
    with pytest.raises(InputError, match="must carry its class names in its metadata, it does not"):
        load_detector(code, image_size=128, device="cpu")
    for content in (b"", b"no model", segmenter.read_bytes()):
        other = tmp_path / "other.onnx"
        other.write_bytes(content)
        with pytest.raises(InputError, match="must be an ONNX model that ONNX Runtime can run"):
            load_detector(other, device="cpu")
    for name, what in (("x.engine", "TensorRT"), ("x.xml", "OpenVINO")):
        engine = tmp_path / name
        engine.write_bytes(b"engine")
        with pytest.raises(
            InputError, match=rf"must be a YOLO checkpoint \(\.pt\) or its ONNX export.*it is of {what}"
        ):
            load_detector(engine, device="cpu")


def test_a_network_of_another_kind_is_refused(tmp_path: Path) -> None:
    import onnx

    shape = ["n", 3, 8, 8]
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)
    out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, shape)
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", [value], [out])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.helper.set_model_props(model, {"names": "{0: 'person'}", "task": "segment"})
    path = tmp_path / "relu.onnx"
    onnx.save(model, str(path))
    with pytest.raises(InputError, match="must be a YOLO segmenter with pictures in and boxes and masks out"):
        load_detector(path, device="cpu")


def test_devices_and_precision_that_are_not_here_are_refused(segmenter: Path, tmp_path: Path) -> None:
    import torch

    with pytest.raises(InputError, match=r"half needs torch on a GPU, got auto on cpu"):
        load_detector(segmenter, device="cpu", half=True)
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(InputError, match=r"device must be one that torch has here, got cuda:7"):
        load_detector(segmenter, device="cuda:7", runtime="torch")
    theirs = _as_ultralytics(segmenter, tmp_path / "theirs.onnx")
    with pytest.raises(InputError, match=r"device must be one that ONNX Runtime has here, got cuda"):
        load_detector(theirs, image_size=128, device="cuda")


def test_half_precision_is_another_segmenter(segmenter: Path) -> None:
    settings: dict[str, Any] = {"person_class": "person", "image_size": 128, "min_score": 0.25}
    whole = detector.model_digest_of(segmenter, **settings)
    assert detector.model_digest_of(segmenter, **settings, half=True) != whole


# ---- crowds and giants


@pytest.mark.parametrize(("across", "expected"), [(8, 64), (20, detector.MAX_PEOPLE), (0, 0)])
def test_a_crowd_is_found_to_the_last_one_allowed(
    exported: OnnxDetector, monkeypatch: pytest.MonkeyPatch, across: int, expected: int
) -> None:
    y, x = np.mgrid[:across, :across].reshape(2, -1) * 6 + 4  # the input is of 128 pixels
    found = np.zeros((1, 4 + 2 + 32, across * across), np.float32)
    found[0, :7] = [x, y, x * 0 + 5, x * 0 + 5, x * 0, 0.5 + 0.4 * np.arange(x.size) / max(1, x.size), x * 0 + 1]
    protos = np.ones((1, 32, 32, 32), np.float32)
    monkeypatch.setattr(OnnxDetector, "forward", lambda self, batch: (found, protos))
    [people] = exported.detect([scene(1, 128, 128)])
    assert len(people) == expected
    assert [one.score for one in people] == sorted((one.score for one in people), reverse=True)
    for one in people:
        x0, y0, x1, y1 = one.box_xyxy
        assert contours.box(one.contours) == (np.ceil(x0), np.ceil(y0), np.ceil(x1), np.ceil(y1))


@pytest.mark.long
def test_a_picture_of_fifty_megapixels_is_segmented(exported: OnnxDetector) -> None:
    [people] = exported.detect([np.tile(scene(1, 1000, 700), (8, 9, 1))])
    for one in people:
        assert contours.box(one.contours)[2] <= 6300


@pytest.mark.long
def test_masks_are_as_good_as_those_of_ultralytics_on_real_photographs(
    shared_data: Callable[[str], Path], store: Store
) -> None:
    """Best IoU of every person with a true mask, by us and by ultralytics itself."""
    from PIL import Image

    weights, root = shared_data("models/yolov8n-seg.pt"), shared_data("segmentation")
    ours = load_detector(weights, device="cpu", runtime="onnxruntime", store=store)
    from ultralytics import YOLO

    reference, mine, theirs = YOLO(str(weights)), [], []
    for folder in ("street_ccp", "coco128_person"):
        for path in sorted((root / folder / "images").glob("*.jpg")):
            pixels = np.asarray(Image.open(path).convert("RGB"))
            height, width = pixels.shape[:2]
            truth = np.asarray(Image.open(root / folder / "masks" / f"{path.stem}.png"))
            [people] = ours.detect([pixels])
            drawn = [contours.to_mask(one.contours, width=width, height=height) > 0 for one in people]
            [found] = reference.predict(
                np.ascontiguousarray(pixels[..., ::-1]), conf=0.25, retina_masks=True, classes=[0], verbose=False
            )
            given = [] if found.masks is None else list(found.masks.data.numpy() > 0)
            for number in range(1, int(truth.max()) + 1):
                true = truth == number
                mine.append(max((detector_export._iou(true, mask) for mask in drawn), default=0.0))
                theirs.append(max((detector_export._iou(true, mask) for mask in given), default=0.0))
    assert len(mine) >= 100
    print(f"mean IoU of {len(mine)} people: ours {np.mean(mine):.5f}, ultralytics {np.mean(theirs):.5f}")
    assert abs(np.mean(mine) - np.mean(theirs)) <= 0.01
    assert np.mean(np.abs(np.array(mine) - np.array(theirs)) <= 0.01) >= 0.98
