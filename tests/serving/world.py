"""A group with a classifier and a segmenter on the real Triton: what the tests of serving share."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from silhouette import served_segmenter
from silhouette.contracts.deployment import Deployment
from silhouette.contracts.segmenter import SegmenterCard
from silhouette.deploy_model.deploy import deploy_model
from silhouette.store import Store
from silhouette.triton_client import Triton
from tests.deploy_model import bundles
from tests.deploy_model.bundles import Judged

SIZE, STRIDE = 640, 32


def write_segmenter(path: Path) -> None:
    """Write an ONNX segmenter that finds the saturated part of a picture: one box, one mask, computed for real.

    It has the inputs, outputs and metadata of a YOLO export; its person is where red, green and blue differ much.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def constant(name: str, value: object, kind: object) -> onnx.TensorProto:
        return numpy_helper.from_array(np.array(value, kind), name)

    anchors = 4
    nodes = [
        helper.make_node("Cast", ["pictures"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["float", "last"], ["high"], keepdims=0),
        helper.make_node("ReduceMin", ["float", "last"], ["low"], keepdims=0),
        helper.make_node("Sub", ["high", "low"], ["range"]),
        helper.make_node("Greater", ["range", "limit"], ["is_person"]),
        helper.make_node("Cast", ["is_person"], ["person"], to=TensorProto.FLOAT),  # [n, h, w]
        # the box: first and last row and column with a person
        helper.make_node("ReduceMax", ["person", "axis_2"], ["rows"], keepdims=0),
        helper.make_node("ReduceMax", ["person", "axis_1"], ["columns"], keepdims=0),
        helper.make_node("ArgMax", ["rows"], ["y0i"], axis=1, keepdims=1),
        helper.make_node("ArgMax", ["rows"], ["y1i"], axis=1, keepdims=1, select_last_index=1),
        helper.make_node("ArgMax", ["columns"], ["x0i"], axis=1, keepdims=1),
        helper.make_node("ArgMax", ["columns"], ["x1i"], axis=1, keepdims=1, select_last_index=1),
        *(helper.make_node("Cast", [f"{n}i"], [n], to=TensorProto.FLOAT) for n in ("y0", "y1", "x0", "x1")),
        helper.make_node("Sub", ["x1", "x0"], ["width_less"]),
        helper.make_node("Add", ["width_less", "one"], ["width"]),
        helper.make_node("Sub", ["y1", "y0"], ["height_less"]),
        helper.make_node("Add", ["height_less", "one"], ["height"]),
        helper.make_node("Mul", ["width", "half"], ["half_width"]),
        helper.make_node("Add", ["x0", "half_width"], ["cx"]),
        helper.make_node("Mul", ["height", "half"], ["half_height"]),
        helper.make_node("Add", ["y0", "half_height"], ["cy"]),
        helper.make_node("ReduceMax", ["rows", "axis_1"], ["any"], keepdims=1),
        helper.make_node("Mul", ["any", "sure"], ["score"]),
        helper.make_node("Concat", ["cx", "cy", "width", "height", "score", "any"], ["one_box"], axis=1),
        helper.make_node("Unsqueeze", ["one_box", "axis_2"], ["column"]),
        helper.make_node("Pad", ["column", "pads"], ["found"]),  # [n, 6, anchors]
        helper.make_node("Unsqueeze", ["person", "axis_1"], ["channel"]),
        helper.make_node("AveragePool", ["channel"], ["pooled"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Sub", ["pooled", "half"], ["protos"]),  # logits: above 0 where most is person
    ]
    graph = helper.make_graph(
        nodes,
        "saturated",
        [helper.make_tensor_value_info("pictures", TensorProto.UINT8, ["n", "height", "width", 3])],
        [
            helper.make_tensor_value_info("found", TensorProto.FLOAT, ["n", 6, anchors]),
            helper.make_tensor_value_info("protos", TensorProto.FLOAT, ["n", 1, "rows", "columns"]),
        ],
        [
            constant("last", [3], np.int64), constant("axis_1", [1], np.int64), constant("axis_2", [2], np.int64),
            constant("limit", 60, np.float32), constant("one", 1, np.float32), constant("half", 0.5, np.float32),
            constant("sure", 0.9, np.float32), constant("pads", [0, 0, 0, 0, 0, anchors - 1], np.int64),
        ],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    said = {"task": "segment", "names": str({0: "person"}), "stride": str(STRIDE), "end2end": "False"}
    helper.set_model_props(model, said)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


def publish_segmenter(folder: Path, store: Store, *, digest: str = "saturated") -> SegmenterCard:
    """Publish the segmenter as segment_people does."""
    path = folder / "segmenter.onnx"
    write_segmenter(path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    card = SegmenterCard(
        model_digest=digest, onnx_key=f"segmenters/{sha256}.onnx", onnx_sha256=sha256, person_class="person",
        image_size=SIZE, min_score=0.25,
    )  # fmt: skip
    served_segmenter.publish(path, card, store=store)
    return card


@dataclass(frozen=True, kw_only=True)
class Served:
    """What `serve` made."""

    judged: Judged
    segmenter: SegmenterCard
    deployed: Deployment


def serve(folder: Path, group: str, *, store: Store, triton: Triton, strength: float = 9.0) -> Served:
    """Deploy the model of colours with its picture model."""
    folder.mkdir(exist_ok=True)
    judged = bundles.make(folder / "model", group=group, strength=strength)
    card = publish_segmenter(folder, store)
    deployed = deploy_model(
        bundle=judged.bundle, evaluation=judged.evaluation, store=store, triton=triton, out=folder / "deployed",
        segmenter=card.model_digest,
    )  # fmt: skip
    return Served(judged=judged, segmenter=card, deployed=deployed)


def withdraw(served: Served, *, store: Store, triton: Triton) -> None:
    """Take it away again."""
    models = [served.deployed.model, served.deployed.picture_model, served.deployed.segmenter]
    for model in filter(None, models):
        for key in list(store.list_keys(f"triton/{model}/")):
            store.remove(key)
        triton.unload(model)


COLOURS = {"red": (220, 40, 40), "green": (40, 200, 40), "blue": (40, 60, 220)}


def oval(colour: str, *, size: tuple[int, int] = (480, 640), at: tuple[int, int] = (320, 240)) -> npt.NDArray[np.uint8]:
    """A grey picture with one upright oval, uint8 RGB [height, width, 3]."""
    import cv2

    pixels = np.full((*size, 3), 128, np.uint8)
    cv2.ellipse(pixels, at, (size[1] // 9, size[0] // 3), 0, 0, 360, COLOURS[colour], -1)
    return pixels


def encoded(pixels: npt.NDArray[np.uint8], kind: str = "JPEG") -> bytes:
    """The bytes of a picture file."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()
