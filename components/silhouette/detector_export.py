"""Make an ONNX file of a YOLO checkpoint once, prove that it finds the same people, and keep it in the store.

Writes `segmenters/<key>.onnx`; the key is a digest of the weights and of every version that had a hand in the file,
so that a new torch exports, and proves, anew. The file takes uint8 RGB pictures [n, h, w, 3] of any size that the
stride divides. An export that disagrees with torch is refused.
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from silhouette.contracts.contours import to_mask
from silhouette.detection import DetectedPerson, Detector, Pixels
from silhouette.errors import InputError, SilhouetteError
from silhouette.file_digest import sha256_of

if TYPE_CHECKING:
    from silhouette.detector_onnx import OnnxDetector
    from silhouette.store import Store

_LOG = logging.getLogger(__name__)
_RECIPE = "1"  # raise it when the graph below changes
_OPSET = 17
_MADE_BY = ("torch", "ultralytics", "onnx", "onnxruntime")
MIN_IOU = 0.99  # of a person's two masks, on average
MIN_WORST_IOU = 0.9  # of any: a small person has so few pixels that one on the edge tells
MIN_FOUND = 0.98  # share of people found by both
MAX_SCORE_DIFFERENCE = 0.01
MAX_BOX_DIFFERENCE = 0.1  # pixels of the network's input
MAX_RELATIVE_DIFFERENCE = 1e-3  # of a tensor's largest value


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far two runtimes of the same weights are apart, at worst.

    Attributes:
        people: Found by either.
        found_by_both: Share of them, 1.0 when there is nobody.
        mask_iou: Of a pair, on average.
        worst_iou: Of the worst pair.
        score: Largest difference of a pair.
        boxes: Largest difference of the network's boxes, pixels of its input.
        tensors: Largest difference of scores, coefficients and prototypes, relative to the largest value.
    """

    people: int
    found_by_both: float
    mask_iou: float
    worst_iou: float
    score: float
    boxes: float
    tensors: float

    @property
    def holds(self) -> bool:
        """Tell whether the two may be taken for one another."""
        return (
            self.found_by_both >= MIN_FOUND
            and self.mask_iou >= MIN_IOU
            and self.worst_iou >= MIN_WORST_IOU
            and self.score <= MAX_SCORE_DIFFERENCE
            and self.boxes <= MAX_BOX_DIFFERENCE
            and self.tensors <= MAX_RELATIVE_DIFFERENCE
        )


class DisagreementError(InputError):
    """Refuse an export that does not find what the checkpoint finds."""


def key_of(weights_sha256: str) -> str:
    """Return the key in the store; asks for versions without importing anything heavy."""

    def installed(name: str) -> str:
        try:
            return version(name)
        except PackageNotFoundError:
            return "none"

    parts = [weights_sha256, _RECIPE, str(_OPSET), *(f"{name} {installed(name)}" for name in _MADE_BY)]
    return f"segmenters/{hashlib.sha256(' '.join(parts).encode()).hexdigest()}.onnx"


def fetch(key: str, path: Path, *, store: Store) -> bool:
    """Bring an export from the store into `path`, if it is there."""
    if not store.exists(key):
        return False
    store.get_file(key, path)
    return True


def export(model: Any, path: Path, *, names: dict[int, str], stride: int) -> None:
    """Write a fused ultralytics segmenter as ONNX.

    Raises:
        InputError: The network cannot be exported.
    """
    import onnx
    import torch

    network = copy.deepcopy(model).cpu().float().eval()
    head = network.model[-1]
    head.export, head.dynamic, head.format = True, True, "onnx"
    for module in network.modules():
        if hasattr(module, "forward_split"):  # what ultralytics' own exporter takes: chunk() is no ONNX operator
            module.forward = module.forward_split

    class Graph(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, pictures: Any) -> Any:
            found, protos = self.network(pictures.permute(0, 3, 1, 2).float() / 255)
            return found, protos

    pictures = torch.zeros((2, 4 * stride, 3 * stride, 3), dtype=torch.uint8)
    axes = {
        "pictures": {0: "n", 1: "height", 2: "width"},
        "found": {0: "n"} if getattr(network, "end2end", False) else {0: "n", 2: "anchors"},
        "protos": {0: "n", 2: "rows", 3: "columns"},
    }
    graph = Graph().eval()
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            graph(pictures)
            # dynamo=True takes 24 s for a file that is not faster; this way, which ultralytics goes too, takes 2 s
            torch.onnx.export(
                graph,
                (pictures,),
                str(path),
                input_names=["pictures"],
                output_names=["found", "protos"],
                dynamic_axes=axes,
                opset_version=_OPSET,
                dynamo=False,
            )
        written = onnx.load(str(path))
    except Exception as error:  # whatever an unforeseen layer makes the tracer stumble over
        raise InputError(
            f"the segmenter must be one that torch can write as ONNX, it is not: {' '.join(str(error).split())[:200]};"
            " set segmentation.runtime to torch"
        ) from error
    said = {"task": "segment", "names": str(names), "stride": str(stride), "end2end": str(bool(network.end2end))}
    onnx.helper.set_model_props(written, {**said, "silhouette": _RECIPE})
    onnx.save(written, str(path))


def prove(
    reference: Detector,
    exported: OnnxDetector,
    pictures: Sequence[Pixels],
    *,
    forward: Callable[[Pixels], tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]],
) -> Agreement:
    """Compare an export with what it was made of.

    Args:
        reference: The checkpoint in torch.
        exported: The export.
        pictures: What both see.
        forward: The reference's network alone, as `OnnxDetector.forward`.

    Raises:
        DisagreementError: They are further apart than the limits of this module.
    """
    found = [
        _compare_people(reference.detect([pixels])[0], exported.detect([pixels])[0], pixels) for pixels in pictures
    ]
    apart = [_compare_tensors(forward, exported, pixels) for pixels in pictures]
    people, both = sum(item[0] for item in found), sum(len(item[1]) for item in found)
    pairs = [pair for item in found for pair in item[1]]
    agreement = Agreement(
        people=people,
        found_by_both=both / people if people else 1.0,
        mask_iou=float(np.mean([iou for iou, _ in pairs])) if pairs else 1.0,
        worst_iou=float(min((iou for iou, _ in pairs), default=1.0)),
        score=max((score for _, score in pairs), default=0.0),
        boxes=float(np.max([boxes for boxes, _ in apart])),  # NumPy's: no NaN gets lost
        tensors=float(np.max([tensors for _, tensors in apart])),
    )
    if not agreement.holds:
        raise DisagreementError(
            "an exported segmenter must find what its checkpoint finds, this one does not:"
            f" {json.dumps({name: float(f'{value:.3g}') for name, value in asdict(agreement).items()})};"
            " set segmentation.runtime to torch"
        )
    return agreement


def _compare_people(
    ours: list[DetectedPerson], theirs: list[DetectedPerson], pixels: Pixels
) -> tuple[int, list[tuple[float, float]]]:
    """Return how many there are, and IoU and difference of score of those whom both found."""
    height, width = pixels.shape[:2]
    left = [(to_mask(person.contours, width=width, height=height) > 0, person.score) for person in theirs]
    pairs = []
    for person in ours:
        mask = to_mask(person.contours, width=width, height=height) > 0
        ious = [_iou(mask, other) for other, _ in left]
        if ious and (best := max(ious)) > 0.5:
            _, score = left.pop(ious.index(best))
            pairs.append((float(best), abs(person.score - score)))
    return len(ours) + len(left), pairs


def _iou(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> float:
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else 1.0


def _compare_tensors(
    forward: Callable[[Pixels], tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]],
    exported: OnnxDetector,
    pixels: Pixels,
) -> tuple[float, float]:
    batch = exported.fit((pixels.shape[0], pixels.shape[1])).letterbox(pixels)[None]
    apart = []
    (found, protos), (their_found, their_protos) = forward(batch), exported.forward(batch)
    if found.shape != their_found.shape or protos.shape != their_protos.shape:
        return float("inf"), float("inf")
    if found.shape[1] > found.shape[2]:  # end to end: sorted by score, so ties may change places; people are compared
        boxes = 0.0
    else:
        boxes = float(np.abs(found[:, :4] - their_found[:, :4]).max())
        apart.append((found[:, 4:], their_found[:, 4:]))
    apart.append((protos, their_protos))
    return boxes, float(np.max([np.abs(a - b).max() / max(1.0, np.abs(a).max()) for a, b in apart]))


def publish_segmenter(
    model_path: Path, *, model_digest: str, person_class: str, image_size: int, min_score: float, store: Store
) -> None:
    """See that the store has what serves this segmenter without torch; one that cannot be exported is warned of.

    Args:
        model_path: A checkpoint or an ONNX file.
        model_digest: Of `Detector.model_digest`.
        person_class: As in `silhouette.detector.load_detector`.
        image_size: As there.
        min_score: As there.
        store: Keeps file and card.
    """
    from silhouette import served_segmenter
    from silhouette.contracts.segmenter import SegmenterCard
    from silhouette.detector import load_detector

    known = served_segmenter.find(model_digest, store=store)
    if known is not None and store.exists(known.onnx_key):
        return
    weights_sha256 = sha256_of(model_path)
    with tempfile.TemporaryDirectory(prefix="silhouette-publish-") as folder:
        key, onnx = f"segmenters/{weights_sha256}.onnx", model_path
        if model_path.suffix.lower() != ".onnx":
            key, onnx = key_of(weights_sha256), Path(folder) / "segmenter.onnx"
            try:
                load_detector(
                    model_path, person_class=person_class, image_size=image_size, min_score=min_score,
                    device="cpu", runtime="onnxruntime", store=store,
                )  # fmt: skip
            except InputError as error:
                _LOG.warning("no picture model can be served with this segmenter: %s", error)
                return
            if not fetch(key, onnx, store=store):  # that it cannot be kept was said
                return
        card = SegmenterCard(
            model_digest=model_digest, onnx_key=key, onnx_sha256=sha256_of(onnx), person_class=person_class,
            image_size=image_size, min_score=min_score,
        )  # fmt: skip
        served_segmenter.publish(onnx, card, store=store)


def keep(key: str, path: Path, *, store: Store) -> None:
    """Put a proved export into the store; without it the next run only exports again."""
    try:
        store.put_file(key, path)
    except SilhouetteError as error:
        _LOG.warning("the exported segmenter cannot be kept, the next run exports it again: %s", error)
