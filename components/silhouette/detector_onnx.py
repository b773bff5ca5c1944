"""A YOLO segmenter as an ONNX file, answered by ONNX Runtime; letterbox, suppression and masks in NumPy and OpenCV.

Reads what `silhouette.detector_export` made of a checkpoint, and what `yolo export format=onnx` writes: the network
alone (``nms=False``), its class names in the file's metadata. Imports neither torch nor ultralytics, so a run
begins within a second. Geometry and suppression are those of ultralytics 8.4 (`LetterBox`, `non_max_suppression`,
`ops.scale_boxes`, `ops.process_mask_native`), which tests compare with.

On a CPU a picture is faster on one thread than a batch on several: pictures go through side by side, one a core.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from silhouette.contracts.contours import from_mask
from silhouette.detection import MAX_PEOPLE, NMS_IOU, DetectedPerson, Pixels, in_same_shape, no_such_class
from silhouette.errors import InputError

Floats = npt.NDArray[np.float32]
Tensor = tuple[str, str, tuple[int | None, ...]]  # of an ONNX file: name, ONNX Runtime's type, shape, None for free

PADDING = 114  # the grey that YOLO is trained with around a picture
WAY_OUT = "export it with `yolo export format=onnx`, or give the checkpoint (.pt)"
_PROTO_STRIDE = 4  # pixels of the network's input for one of its prototype masks
_MAX_CANDIDATES = 30_000  # boxes that are suppressed, as in ultralytics
_MAX_LANES = 16
_WHOLE_FROM = 0.25  # from this share of the picture on, scaling all of a mask is cheaper than its box alone
_ERRORS_ONLY = 3  # ONNX Runtime's severity
_DTYPES = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32, "tensor(float16)": np.float16}


class Fit:
    """Where a picture lies on the network's input: scaled to fit, centred, padded to multiples of the stride.

    Args:
        shape: Of the picture: height, width.
        image_size: Longest side of the input, pixels.
        stride: Of the network.
        square: Pad to ``image_size`` both ways, for files with a fixed input.
    """

    def __init__(self, shape: tuple[int, int], *, image_size: int, stride: int, square: bool = False) -> None:
        self.shape = shape
        gain = min(image_size / shape[0], image_size / shape[1])
        self.inner = max(round(shape[0] * gain), 1), max(round(shape[1] * gain), 1)
        pads = [image_size - side if square else (image_size - side) % stride for side in self.inner]
        self.before = round(pads[0] / 2 - 0.1), round(pads[1] / 2 - 0.1)
        self.after = round(pads[0] / 2 + 0.1), round(pads[1] / 2 + 0.1)
        self.outer = tuple(map(sum, zip(self.before, self.inner, self.after, strict=True)))

    def letterbox(self, picture: Pixels) -> Pixels:
        """Return the input: uint8 [*outer, 3]."""
        import cv2

        height, width = self.inner
        if picture.shape[:2] != self.inner:
            picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR)
        if self.outer == self.inner:
            return picture
        canvas = np.full((*self.outer, 3), PADDING, dtype=np.uint8)
        canvas[self.before[0] : self.before[0] + height, self.before[1] : self.before[1] + width] = picture
        return canvas

    def to_picture(self, boxes_xyxy: Floats) -> Floats:
        """Carry boxes float32 [n, 4] from the input's pixels to the picture's, and keep them on it."""
        height, width = self.shape
        gain = np.array([self.inner[1] / width, self.inner[0] / height] * 2, dtype=np.float32)
        moved = boxes_xyxy - np.array([self.before[1], self.before[0]] * 2, dtype=np.float32)
        clipped: Floats = np.clip(moved / gain, 0, np.array([width, height] * 2, dtype=np.float32))
        return clipped


class _MaskScaling:
    """Draw prototype masks in the picture's pixels: enlarged until the padding is whole pixels, cut, scaled."""

    def __init__(self, fit: Fit, protos: Floats) -> None:
        self._protos = protos  # float32 [masks, h, w]
        self._shape = fit.shape
        sides, picture = protos.shape[1:], fit.shape
        gain = min(_PROTO_STRIDE * side / own for side, own in zip(sides, picture, strict=True))
        pads = [_PROTO_STRIDE * side - max(round(own * gain), 1) for side, own in zip(sides, picture, strict=True)]
        pad = pads[0] | pads[1]
        self._times = _PROTO_STRIDE // math.gcd(_PROTO_STRIDE, pad | pad // 2)
        large = [self._times * side for side in sides]
        gain = min(side / own for side, own in zip(large, picture, strict=True))
        inner = [max(round(own * gain), 1) for own in picture]
        self._start = [round((side - own) / 2 - 0.1) for side, own in zip(large, inner, strict=True)]
        self._inner = inner
        self._taps = [_taps(own, to=side) for own, side in zip(inner, picture, strict=True)]

    def draw(self, coefficients: Floats, box: tuple[int, int, int, int]) -> Pixels:
        """Return a mask, uint8 of 0 and 1, inside a box of whole pixels: left, top, right, bottom, exclusive."""
        import cv2

        left, top, right, bottom = box
        whole = (right - left) * (bottom - top) > _WHOLE_FROM * self._shape[0] * self._shape[1]
        spans = [(0, own) for own in self._inner]
        if not whole:
            low_y, low_x = self._taps[0][0], self._taps[1][0]
            high_y, high_x = self._taps[0][1], self._taps[1][1]
            spans = [(low_y[top], high_y[bottom - 1] + 1), (low_x[left], high_x[right - 1] + 1)]
        content = self._content(coefficients, spans)
        if whole:
            scaled = cv2.resize(content, self._shape[::-1], interpolation=cv2.INTER_LINEAR)[top:bottom, left:right]
        else:
            rows = [part[top:bottom] for part in self._taps[0]]
            columns = [part[left:right] for part in self._taps[1]]
            scaled = _mix(content, rows, spans[0][0], axis=0)
            scaled = _mix(scaled, columns, spans[1][0], axis=1)
        mask: Pixels = (scaled > 0).view(np.uint8)
        return mask

    def _content(self, coefficients: Floats, spans: Sequence[tuple[int, int]]) -> Floats:
        """Return that part of the enlarged mask, in pixels after the padding is cut."""
        import cv2

        times, parts = self._times, []
        for (first, last), start, side in zip(spans, self._start, self._protos.shape[1:], strict=True):
            # one prototype pixel more on each side, so that a part is enlarged as the whole is
            parts.append((max(0, (first + start) // times - 1), min(side, (last - 1 + start) // times + 2)))
        (y0, y1), (x0, x1) = parts
        # not a matrix product: BLAS would start threads for it, which spin beside ours and cost a third of the rate
        logits = np.einsum("c,chw->hw", coefficients, self._protos[:, y0:y1, x0:x1])
        if times > 1:
            size = times * (x1 - x0), times * (y1 - y0)
            logits = cv2.resize(logits, size, interpolation=cv2.INTER_LINEAR)
        top, left = spans[0][0] + self._start[0] - times * y0, spans[1][0] + self._start[1] - times * x0
        cut: Floats = logits[top : top + spans[0][1] - spans[0][0], left : left + spans[1][1] - spans[1][0]]
        return cut


def _taps(side: int, *, to: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Floats]:
    """Return the two neighbours, and the weight of the second, for each of `to` pixels scaled from `side`."""
    at = np.clip((np.arange(to) + 0.5) * (side / to) - 0.5, 0, None)
    low = np.minimum(at.astype(np.intp), side - 1)
    return low, np.minimum(low + 1, side - 1), (at - low).astype(np.float32)


def _mix(values: Floats, taps: Sequence[Any], start: int, *, axis: int) -> Floats:
    low, high, weight = taps
    weight = weight[:, None] if axis == 0 else weight[None, :]
    first = values.take(low - start, axis=axis)
    second: Floats = values.take(high - start, axis=axis)
    second -= first
    second *= weight
    second += first
    return second


def suppress(boxes_xyxy: Floats, scores: Floats) -> npt.NDArray[np.intp]:
    """Return the indices of the boxes that stay, the surest first: none overlaps a surer one by `NMS_IOU`."""
    order = np.argsort(-scores, kind="stable")[:_MAX_CANDIDATES]
    areas = np.prod(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], axis=1)
    kept: list[int] = []
    while len(order) and len(kept) < MAX_PEOPLE:
        best, order = order[0], order[1:]
        kept.append(int(best))
        inner = np.minimum(boxes_xyxy[best, 2:], boxes_xyxy[order, 2:])
        inner = np.clip(inner - np.maximum(boxes_xyxy[best, :2], boxes_xyxy[order, :2]), 0, None)
        shared = inner[:, 0] * inner[:, 1]
        order = order[shared <= NMS_IOU * (areas[best] + areas[order] - shared)]
    return np.array(kept, dtype=np.intp)


class Session(Protocol):
    """What is asked of an `onnxruntime.InferenceSession`, or of what stands for one."""

    def get_inputs(self) -> Sequence[Any]:
        """Return what has `name`, `type` and `shape`."""

    def get_outputs(self) -> Sequence[Any]:
        """Return what has `name`, `type` and `shape`."""

    def get_modelmeta(self) -> Any:
        """Return what has `custom_metadata_map`."""

    def run(self, output_names: Sequence[str], feeds: dict[str, Any]) -> list[Any]:
        """Answer with the outputs, in the order asked for."""


class OnnxDetector:
    """An ONNX segmenter.

    Args:
        path: Of the file.
        model_digest: What `Detector.model_digest` returns.
        person_class: The name of the model's class that is a person.
        image_size: The longest side that the model sees, pixels.
        min_score: People below are not returned.
        device: ``cpu``, ``cuda`` or ``cuda:1``, ...
        cores: Of the CPU that may be used.
        session: What runs the file; None: ONNX Runtime in this process.

    Raises:
        InputError: It is no segmenter that ONNX Runtime can run, lacks the class, or is for another size.
    """

    def __init__(
        self,
        path: Path,
        *,
        model_digest: str,
        person_class: str,
        image_size: int,
        min_score: float,
        device: str = "cpu",
        cores: int = 1,
        session: Session | None = None,
    ) -> None:
        self.lanes, self.at_once = (min(_MAX_LANES, cores), 1) if device == "cpu" else (2, 16)
        self._session = session or _open(path, device=device, threads=max(1, cores // self.lanes))
        self._digest, self._image_size, self._min_score = model_digest, image_size, min_score
        metadata = self._session.get_modelmeta().custom_metadata_map
        names = _names(path, metadata)
        self._class_index = next((index for index, name in names.items() if name == person_class), -1)
        if self._class_index < 0:
            raise no_such_class(path, person_class, names)
        self._classes = len(names)
        self._end2end = metadata.get("end2end", "False") == "True"
        self._stride = max(32, int(float(metadata.get("stride", "32"))))
        self._read_input(path)

    def _read_input(self, path: Path) -> None:
        """Take in what the file wants: uint8 [n, h, w, 3] as we export, or floats [n, 3, h, w] as ultralytics does."""
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        kind = inputs[0].type
        if len(inputs) != 1 or len(outputs) != 2 or kind not in _DTYPES or len(inputs[0].shape) != 4:
            raise InputError(
                f"{path} must be a YOLO segmenter with pictures in and boxes and masks out, it is not; {WAY_OUT}"
            )
        self._input_name, self._dtype = inputs[0].name, _DTYPES[kind]
        self._output_names = [output.name for output in outputs]
        self._channels_last = inputs[0].shape[3] == 3
        if isinstance(inputs[0].shape[0], int):
            self.at_once = inputs[0].shape[0]
        self._fixed_batch = inputs[0].shape[0] if isinstance(inputs[0].shape[0], int) else 0
        height, width = inputs[0].shape[1:3] if self._channels_last else inputs[0].shape[2:4]
        self._square = isinstance(height, int) and isinstance(width, int)
        if self._square and (height, width) != (self._image_size, self._image_size):
            raise InputError(
                f"{path} must be exported for the configured size, {self._image_size}, it is for {width}x{height};"
                f" set segmentation.image_size in the configuration, or {WAY_OUT}"
            )

    @property
    def model_digest(self) -> str:
        """SHA-256 over the weights and every setting that changes the answer."""
        return self._digest

    def detect(self, pixels: Sequence[Pixels]) -> list[list[DetectedPerson]]:
        """Find the people on each picture (uint8 RGB [h, w, 3]), the surest first; `lanes` threads may call it."""
        found: list[list[DetectedPerson]] = [[] for _ in pixels]
        for part in in_same_shape(pixels, at_once=self.at_once):
            height, width = pixels[part[0]].shape[:2]
            fit = self.fit((height, width))
            answers, protos = self.forward(np.stack([fit.letterbox(pixels[index]) for index in part]))
            for index, answer, own in zip(part, answers, protos, strict=False):  # a fixed batch is filled up
                found[index] = self._people(answer, own, fit)
        return found

    def inputs(self) -> tuple[Tensor, ...]:
        """Return the file's inputs."""
        return _described(self._session.get_inputs())

    def outputs(self) -> tuple[Tensor, ...]:
        """Return the file's outputs."""
        return _described(self._session.get_outputs())

    def metadata(self) -> dict[str, str]:
        """Return what the file says of itself."""
        return dict(self._session.get_modelmeta().custom_metadata_map)

    def fit(self, shape: tuple[int, int]) -> Fit:
        """Return where a picture of this height and width lies on the input."""
        return Fit(shape, image_size=self._image_size, stride=self._stride, square=self._square)

    def forward(self, batch: Pixels) -> tuple[Floats, Floats]:
        """Run the network alone.

        Args:
            batch: Letterboxed pictures, uint8 RGB [n, h, w, 3].

        Returns:
            Found, float32 [n, 4 + classes + masks, anchors] (end to end: [n, people, 6 + masks]), and prototype
            masks, float32 [n, masks, h / 4, w / 4].
        """
        ready: Any = batch
        if self._fixed_batch > len(batch):
            ready = np.concatenate([batch, np.zeros((self._fixed_batch - len(batch), *batch.shape[1:]), np.uint8)])
        if not self._channels_last:
            ready = ready.transpose(0, 3, 1, 2)
        if self._dtype is not np.uint8:
            ready = ready.astype(self._dtype) / self._dtype(255)
        answers, protos = self._session.run(self._output_names, {self._input_name: np.ascontiguousarray(ready)})
        if answers.ndim == 4:
            answers, protos = protos, answers
        return answers.astype(np.float32, copy=False), protos.astype(np.float32, copy=False)

    def _people(self, answer: Floats, protos: Floats, fit: Fit) -> list[DetectedPerson]:
        boxes, scores, coefficients = self._chosen(answer)
        scaling = _MaskScaling(fit, protos) if len(boxes) else None
        height, width = fit.shape
        people = []
        for box, score, own in zip(fit.to_picture(boxes).tolist(), scores.tolist(), coefficients, strict=True):
            x0, y0, x1, y1 = box
            left, top = max(0, math.ceil(x0)), max(0, math.ceil(y0))
            right, bottom = min(width, math.ceil(x1)), min(height, math.ceil(y1))
            if scaling is None or right <= left or bottom <= top:
                continue
            contours = from_mask(scaling.draw(own, (left, top, right, bottom)), offset_xy=(left, top))
            if not contours.is_empty:
                people.append(DetectedPerson(contours=contours, box_xyxy=(x0, y0, x1, y1), score=score))
        return people

    def _chosen(self, answer: Floats) -> tuple[Floats, Floats, Floats]:
        """Return boxes in the input's pixels [n, 4], scores [n] and coefficients [n, masks], the surest first."""
        if self._end2end:
            rows = answer[(answer[:, 4] > self._min_score) & (answer[:, 5] == self._class_index)][:MAX_PEOPLE]
            return rows[:, :4], rows[:, 4], rows[:, 6:]
        own = answer[4 + self._class_index]
        rows = answer[:, own > self._min_score].T
        classes = rows[:, 4 : 4 + self._classes]
        rows = np.ascontiguousarray(rows[classes.argmax(axis=1) == self._class_index])  # a person above all else
        half = rows[:, 2:4] / 2
        boxes: Floats = np.concatenate([rows[:, :2] - half, rows[:, :2] + half], axis=1)
        scores = rows[:, 4 + self._class_index]
        kept = suppress(boxes, scores)
        return boxes[kept], scores[kept], rows[kept, 4 + self._classes :]


def _open(path: Path, *, device: str, threads: int) -> Session:
    import onnxruntime as ort

    options: Any = ort.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers: list[Any] = ["CPUExecutionProvider"]
    if device != "cpu":
        if "CUDAExecutionProvider" not in ort.get_available_providers():
            raise InputError(
                f"segmentation.device must be one that ONNX Runtime has here, got {device}, it has none but the CPU;"
                " set segmentation.runtime to torch, or install onnxruntime-gpu"
            )
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": int(device.partition(":")[2] or 0)}))
    try:
        session: Session = ort.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # ONNX Runtime's exceptions share no base but this
        raise InputError(
            f"{path} must be an ONNX model that ONNX Runtime can run ({' '.join(str(error).split())[:200]}); {WAY_OUT}"
        ) from error
    return session


def _described(nodes: Sequence[Any]) -> tuple[Tensor, ...]:
    shapes = [tuple(side if isinstance(side, int) else None for side in node.shape) for node in nodes]
    return tuple((str(node.name), str(node.type), shape) for node, shape in zip(nodes, shapes, strict=True))


def _names(path: Path, metadata: dict[str, str]) -> dict[int, str]:
    """Return the class names of the metadata, as ultralytics writes them: a Python literal."""
    task = metadata.get("task", "")
    if task and task != "segment":
        raise InputError(f"{path} is a {task} model: it gives boxes but no masks; {WAY_OUT} of a segmentation model")
    try:
        given = ast.literal_eval(metadata["names"])
        return {int(index): str(name) for index, name in dict(given).items()}
    except (KeyError, ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise InputError(f"{path} must carry its class names in its metadata, it does not; {WAY_OUT}") from None
