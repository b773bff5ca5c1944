"""Find people on pictures: the only module that imports ultralytics (AGPL-3.0; lives in the yolo image only).

Reads a YOLO segmentation checkpoint (`.pt`), or one that was exported as ONNX. A checkpoint's pickle is read by
torch's `weights_only` unpickler with ultralytics' list of known layer classes: one that names anything else is
refused, and none of its code runs. Nothing is downloaded or installed. `silhouette.detection.Detector` is the seam:
another segmenter is another class that has it.

Two runtimes answer for the same weights. torch runs the checkpoint itself; ONNX Runtime, half as fast again on a
CPU and begun in a second, runs an export of it (`silhouette.detector_export`), made once, kept in the store, and used
only when it was shown to find the same people. So both have the same `model_digest`: records of one are those of the
other, and a run may be resumed on another machine.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from silhouette.contracts.contours import from_mask
from silhouette.detection import (
    MAX_PEOPLE,
    NMS_IOU,
    DetectedPerson,
    Detector,
    Pixels,
    in_same_shape,
    no_such_class,
)
from silhouette.errors import InputError
from silhouette.file_digest import sha256_of

if TYPE_CHECKING:
    from silhouette.detector_onnx import OnnxDetector
    from silhouette.store import Store

__all__ = ["DetectedPerson", "Detector", "UltralyticsDetector", "cpu_cores", "load_detector", "model_digest_of"]

_LOG = logging.getLogger(__name__)
_MASK_PIXELS_AT_ONCE = 64_000_000  # masks of a picture are drawn in parts of this size, so that a crowd fits
_WAY_OUT = "give a YOLO segmentation checkpoint (.pt) as MODEL"
_ELSEWHERE = {".engine": "TensorRT", ".xml": "OpenVINO", ".bin": "OpenVINO", ".torchscript": "TorchScript"}

Runtime = Literal["auto", "torch", "onnxruntime"]


def model_digest_of(
    model_path: Path, *, person_class: str, image_size: int, min_score: float, half: bool = False
) -> str:
    """Return `Detector.model_digest` without loading the model.

    Device and runtime are not in it: they were shown to agree. Half precision is: nobody compared it.

    Raises:
        InputError: The file is missing.
    """
    settings = f"{_sha256_of(model_path)} {person_class!r} {image_size} {min_score!r}{' half' if half else ''}"
    return hashlib.sha256(settings.encode()).hexdigest()


def _sha256_of(model_path: Path) -> str:
    if not model_path.is_file():
        raise InputError(f"the segmentation model must be a file, {model_path} is not there; {_WAY_OUT}")
    return sha256_of(model_path)


def load_detector(
    model_path: Path,
    *,
    person_class: str = "person",
    image_size: int = 640,
    min_score: float = 0.25,
    device: str = "auto",
    runtime: Runtime = "auto",
    half: bool = False,
    store: Store | None = None,
) -> Detector:
    """Load a YOLO segmenter.

    Args:
        model_path: A checkpoint (.pt), or what ultralytics exported of one as ONNX.
        person_class: The name of the model's class that is a person.
        image_size: The longest side that the model sees, pixels, a multiple of 32.
        min_score: People below are not returned.
        device: ``cpu``, ``cuda``, ``cuda:1``, ..., or ``auto``: a GPU if there is one.
        runtime: What runs a checkpoint: ``torch``, ``onnxruntime``, or ``auto``: what is faster, which is ONNX Runtime
            on a CPU when there is a store to keep the export in, and torch otherwise.
        half: Compute in half precision; torch on a GPU only.
        store: Where exports are kept; None: nowhere.

    Raises:
        InputError: The file is missing, is no segmenter, holds foreign code, has no masks or no such class, or the
            settings ask for what is not here.
    """
    digest = model_digest_of(
        model_path, person_class=person_class, image_size=image_size, min_score=min_score, half=half
    )
    place = _device(device)
    known: dict[str, Any] = {
        "model_digest": digest, "person_class": person_class, "image_size": image_size, "min_score": min_score,
        "device": place,
    }  # fmt: skip
    if half and (place == "cpu" or runtime == "onnxruntime"):
        raise InputError(
            f"segmentation.half needs torch on a GPU, got {runtime} on {place}; set it to false in the configuration"
        )
    if model_path.suffix.lower() == ".onnx":
        if runtime == "torch" or half:
            raise InputError(
                f"segmentation.runtime must be onnxruntime or auto for {model_path}, got torch; {_WAY_OUT}"
            )
        return _onnx(model_path, known)
    if runtime == "onnxruntime" or (runtime == "auto" and place == "cpu" and store is not None):
        return _exported(model_path, known, store=store, must=runtime == "onnxruntime")
    return _torch(_load_segmenter(model_path), known, half=half)


def _device(device: str) -> str:
    """Resolve ``auto`` without importing torch, which takes seconds, where there is no driver of a GPU anyway."""
    if device != "auto":
        return device
    if not Path("/dev/nvidiactl").exists() and not Path("/dev/dxg").exists():  # the second: Windows' own Linux
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _onnx(path: Path, known: dict[str, Any]) -> OnnxDetector:
    from silhouette.detector_onnx import OnnxDetector

    return OnnxDetector(path, cores=cpu_cores(), **known)


def _torch(model: Any, known: dict[str, Any], *, half: bool = False) -> UltralyticsDetector:
    options = {name: value for name, value in known.items() if name != "person_class"}
    return UltralyticsDetector(model, class_index=_class_index(model, known["person_class"]), half=half, **options)


def _exported(model_path: Path, known: dict[str, Any], *, store: Store | None, must: bool) -> Detector:
    """Take the export of a checkpoint from the store, or make, prove and keep it; else torch, unless it `must` be."""
    from silhouette import detector_export

    key = detector_export.key_of(_sha256_of(model_path))
    with tempfile.TemporaryDirectory(prefix="silhouette-export-") as folder:
        path = Path(folder) / "segmenter.onnx"
        if store is not None and detector_export.fetch(key, path, store=store):
            try:
                return _onnx(path, known)
            except InputError as error:
                if "segmentation.person_class" in str(error):
                    raise
                _LOG.warning("the kept export %s cannot be used and is made again: %s", key, error)
        model = _load_segmenter(model_path)
        reference = _torch(model, known)  # first, so that a missing class is named before anything is exported
        try:
            detector_export.export(model, path, names=_names_of(model), stride=reference.stride)
            exported = _onnx(path, known)
            agreement = detector_export.prove(reference, exported, _fixed_pictures(), forward=reference.forward)
        except InputError as error:
            if must:
                raise
            _LOG.warning("torch runs the segmenter, its export does not serve: %s", error)
            return reference
        _LOG.info("exported the segmenter for ONNX Runtime: %s", json.dumps(asdict(agreement)))
        if store is not None:
            detector_export.keep(key, path, store=store)
        return exported


def _fixed_pictures() -> list[Pixels]:
    """Return what an export is proved on: the two photographs of people in ultralytics, and noise of odd sizes."""
    import cv2
    from ultralytics.utils import ASSETS

    found = [cv2.imread(str(ASSETS / name), cv2.IMREAD_COLOR_RGB) for name in ("bus.jpg", "zidane.jpg")]
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for height, width in ((333, 500), (97, 31))]
    return [np.asarray(pixels, dtype=np.uint8) for pixels in found if pixels is not None] + noise


def _load_segmenter(path: Path) -> Any:
    model = _load_checkpoint(path)
    if getattr(model, "task", "") != "segment":
        kind = getattr(model, "task", "") or "unknown"
        raise InputError(f"{path} is a {kind} model: it gives boxes but no masks; {_WAY_OUT}")
    model.silhouette_path = str(path)  # for messages
    return model


def _names_of(model: Any) -> dict[int, str]:
    return {int(index): str(name) for index, name in dict(getattr(model, "names", {})).items()}


def _class_index(model: Any, person_class: str) -> int:
    names = _names_of(model)
    if person_class not in names.values():
        raise no_such_class(model.silhouette_path, person_class, names)
    return next(index for index, name in names.items() if name == person_class)


def _import_ultralytics() -> Any:
    """Import ultralytics so that it installs, downloads, reports and replaces nothing."""
    from PIL import Image

    folder = Path(tempfile.mkdtemp(prefix="silhouette-ultralytics-"))  # for the settings file that it insists on
    ours = {
        "YOLO_AUTOINSTALL": "false",
        "YOLO_OFFLINE": "1",
        "YOLO_VERBOSE": "false",
        "YOLO_CONFIG_DIR": str(folder),
        "ULTRALYTICS_SAFE_LOAD": "1",
    }
    before, pillow_open = {name: os.environ.get(name) for name in ours}, Image.open
    os.environ.update(ours)
    try:
        import ultralytics.data.augment
        import ultralytics.nn.tasks as tasks
        import ultralytics.utils.nms  # noqa: F401 - both are used later, when the variables are gone
    finally:
        Image.open = pillow_open  # it puts its own in its place, which installs packages
        shutil.rmtree(folder, ignore_errors=True)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    return tasks


def _load_checkpoint(path: Path) -> Any:
    """Read a checkpoint without running code from it; return the fused float32 model in evaluation mode."""
    import pickle
    import zipfile

    tasks = _import_ultralytics()
    if not (tasks.SAFE_LOAD and tasks._SafeLoad.SUPPORTED):  # its silent fall-back runs whatever the pickle says
        raise InputError("checkpoints are read without running their code only by torch 2.6 or newer; install that")
    if other := _ELSEWHERE.get(path.suffix.lower()):
        raise InputError(
            f"{path} must be a YOLO checkpoint (.pt) or its ONNX export (.onnx), it is of {other}, which only runs on"
            f" the machine that it was made for; {_WAY_OUT}"
        )
    if path.suffix.lower() != ".pt" or not zipfile.is_zipfile(path):
        raise InputError(f"{path} must be a YOLO checkpoint, it is not: not a .pt file written by torch; {_WAY_OUT}")
    try:
        model, _ = tasks.load_checkpoint(str(path.resolve()), fuse=True)
    except (TypeError, AttributeError, KeyError, RuntimeError, ValueError, EOFError, ImportError, OSError) as error:
        if isinstance(error.__cause__, pickle.UnpicklingError):
            raise InputError(
                f"{path} must hold nothing but layers and tensors, it names other code, which was not run; {_WAY_OUT}"
            ) from None
        detail = " ".join(str(error).replace("❌️", "").split())[:200]
        raise InputError(f"{path} must be a YOLO checkpoint, it is not: {detail}; {_WAY_OUT}") from None
    return model


def cpu_cores() -> int:
    """Return the cores that this process may use: those of its container (cgroup v2), not of the whole machine.

    https://docs.kernel.org/admin-guide/cgroup-v2.html, cpu.max: quota and period, or ``max`` for no limit.
    """
    mine = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return max(1, min(round(int(quota) / int(period)), mine))
    except (OSError, ValueError):
        return mine


class UltralyticsDetector:
    """A YOLO segmenter of ultralytics: its letterbox, network, suppression and masks, without its front end.

    Pictures go through the network one shape at a time, so that a picture's answer never depends on its
    neighbours (mixed shapes would all be padded to a square). The network serves one thread at a time, because its
    head remembers the last shape; a second one prepares and traces meanwhile.
    """

    def __init__(
        self,
        model: Any,
        *,
        model_digest: str,
        class_index: int,
        image_size: int,
        min_score: float,
        device: str,
        half: bool = False,
    ) -> None:
        import torch

        try:
            self._device = torch.device(device)
            self._model = model.to(self._device)
        except (RuntimeError, AssertionError, ValueError) as error:
            raise InputError(
                f"segmentation.device must be one that torch has here, got {device}: {str(error).splitlines()[0]};"
                " set it to auto or cpu in the configuration"
            ) from None
        self._model = self._model.half() if half else self._model
        self._dtype = torch.float16 if half else torch.float32
        self._one_at_a_time = threading.Lock()
        torch.set_num_threads(cpu_cores())
        self.at_once = 1 if self._device.type == "cpu" else 16  # batching gains nothing on a CPU
        self.lanes = 2
        self._digest = model_digest
        self._class_index, self._image_size, self._min_score = class_index, image_size, min_score
        self.stride = max(32, int(model.stride.max()))

    @property
    def model_digest(self) -> str:
        """SHA-256 over the weights and every setting that changes the answer."""
        return self._digest

    def detect(self, pixels: Sequence[Pixels]) -> list[list[DetectedPerson]]:
        """Find the people on each picture (uint8 RGB [h, w, 3]), the surest first."""
        found: list[list[DetectedPerson]] = [[] for _ in pixels]
        for part in in_same_shape(pixels, at_once=self.at_once):
            for index, people in zip(part, self._detect_same_shape([pixels[i] for i in part]), strict=True):
                found[index] = people
        return found

    def _detect_same_shape(self, pixels: Sequence[Pixels]) -> list[list[DetectedPerson]]:
        import torch
        from ultralytics.data.augment import LetterBox
        from ultralytics.utils.nms import non_max_suppression

        letterbox = LetterBox((self._image_size, self._image_size), auto=True, stride=self.stride)
        batch = np.stack([letterbox(image=picture) for picture in pixels])
        with torch.inference_mode():
            boxes, protos = self._run(batch)
            kept = non_max_suppression(
                boxes,
                self._min_score,
                NMS_IOU,
                classes=[self._class_index],
                max_det=MAX_PEOPLE,
                nc=len(self._model.names),
                end2end=bool(getattr(self._model, "end2end", False)),
            )
            shape = batch.shape[1:3]
            return [
                self._people(rows, proto, shape, picture.shape[:2])
                for rows, proto, picture in zip(kept, protos, pixels, strict=True)
            ]

    def _run(self, batch: Pixels) -> tuple[Any, Any]:
        import torch

        with self._one_at_a_time:
            ready = torch.from_numpy(batch).to(self._device).permute(0, 3, 1, 2).contiguous()
            output = self._model(ready.to(self._dtype).div_(255))
        if isinstance(output[0], tuple):
            return output[0]
        return output[0], output[1][-1]

    def forward(self, batch: Pixels) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Run the network alone, as `silhouette.detector_onnx.OnnxDetector.forward`."""
        import torch

        with torch.inference_mode():
            found, protos = self._run(batch)
            return found.float().cpu().numpy(), protos.float().cpu().numpy()

    def _people(self, rows: Any, protos: Any, shape: Any, original: tuple[int, ...]) -> list[DetectedPerson]:
        """Draw each person's mask at the original resolution and trace it."""
        from ultralytics.utils import ops

        rows[:, :4] = ops.scale_boxes(shape, rows[:, :4], original)
        height, width = original
        at_once = max(1, _MASK_PIXELS_AT_ONCE // (height * width))
        people = []
        for start in range(0, len(rows), at_once):
            part = rows[start : start + at_once]
            masks = ops.process_mask_native(protos, part[:, 6:], part[:, :4], (height, width)).cpu().numpy()
            for row, mask in zip(part[:, :5].cpu().tolist(), masks, strict=True):
                x0, y0, x1, y1, score = row
                left, top = max(0, int(x0)), max(0, int(y0))
                contours = from_mask(mask[top : int(y1) + 1, left : int(x1) + 1], offset_xy=(left, top))
                if not contours.is_empty:
                    people.append(DetectedPerson(contours=contours, box_xyxy=(x0, y0, x1, y1), score=score))
        return people
