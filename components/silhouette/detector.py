"""Find people on pictures: the only module that imports ultralytics (AGPL-3.0; lives in the yolo image only).

Reads a YOLO segmentation checkpoint (`.pt`). Its pickle is read by torch's `weights_only` unpickler with
ultralytics' list of known layer classes: a checkpoint that names anything else is refused, and none of its code
runs. Nothing is downloaded or installed. `Detector` is the seam: another segmenter is another class that has it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from silhouette.contracts.contours import Contours, from_mask
from silhouette.errors import InputError

NMS_IOU = 0.7  # ultralytics' own default for prediction
MAX_PEOPLE = 300
_MASK_PIXELS_AT_ONCE = 64_000_000  # masks of a picture are drawn in parts of this size, so that a crowd fits
_WAY_OUT = "give a YOLO segmentation checkpoint (.pt) as MODEL"

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, eq=False)
class DetectedPerson:
    """One person: exact contours of the mask at the picture's own resolution, box in its pixels, score 0 to 1."""

    contours: Contours
    box_xyxy: tuple[float, float, float, float]
    score: float


class Detector(Protocol):
    """Something that finds people."""

    @property
    def model_digest(self) -> str:
        """SHA-256 over the weights and every setting that changes the answer; the key of its records."""

    def detect(self, pixels: Sequence[Pixels]) -> list[list[DetectedPerson]]:
        """Find the people on each picture (uint8 RGB [h, w, 3]), the surest first."""


def model_digest_of(model_path: Path, *, person_class: str, image_size: int, min_score: float) -> str:
    """Return `Detector.model_digest` without loading the model.

    Raises:
        InputError: The file is missing.
    """
    if not model_path.is_file():
        raise InputError(f"the segmentation model must be a file, {model_path} is not there; {_WAY_OUT}")
    with model_path.open("rb") as file:
        weights_sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    settings = f"{weights_sha256} {person_class!r} {image_size} {min_score!r}"
    return hashlib.sha256(settings.encode()).hexdigest()


def load_detector(
    model_path: Path,
    *,
    person_class: str = "person",
    image_size: int = 640,
    min_score: float = 0.25,
    device: str = "auto",
) -> Detector:
    """Load a YOLO segmentation checkpoint.

    Args:
        model_path: The checkpoint.
        person_class: The name of the model's class that is a person.
        image_size: The longest side that the model sees, pixels, a multiple of 32.
        min_score: People below are not returned.
        device: ``cpu``, ``cuda``, ``cuda:1``, ..., or ``auto``: a GPU if there is one.

    Raises:
        InputError: The file is missing, is no checkpoint, holds foreign code, has no masks or no such class.
    """
    digest = model_digest_of(model_path, person_class=person_class, image_size=image_size, min_score=min_score)
    model = _load_checkpoint(model_path)
    names = {int(index): str(name) for index, name in dict(getattr(model, "names", {})).items()}
    if getattr(model, "task", "") != "segment":
        kind = getattr(model, "task", "") or "unknown"
        raise InputError(f"{model_path} is a {kind} model: it gives boxes but no masks; {_WAY_OUT}")
    if person_class not in names.values():
        raise InputError(
            f"the model must have the class {person_class!r}, {model_path} has {_listed(list(names.values()))};"
            " name the class of a person in segmentation.person_class of the configuration"
        )
    return UltralyticsDetector(
        model,
        model_digest=digest,
        class_index=next(index for index, name in names.items() if name == person_class),
        image_size=image_size,
        min_score=min_score,
        device=device,
    )


def _listed(names: list[str]) -> str:
    return f"{len(names)} others: {', '.join(names[:10])}{', ...' if len(names) > 10 else ''}"


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


def _cpu_limit() -> int | None:
    """Return the cores that this container may use (cgroup v2); torch counts those of the whole machine.

    https://docs.kernel.org/admin-guide/cgroup-v2.html, cpu.max: quota and period, or ``max`` for no limit.
    """
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return max(1, min(round(int(quota) / int(period)), len(os.sched_getaffinity(0))))
    except (OSError, ValueError):
        return None


class UltralyticsDetector:
    """A YOLO segmenter of ultralytics: its letterbox, network, suppression and masks, without its front end.

    Pictures go through the network one shape at a time, so that a picture's answer never depends on its
    neighbours (mixed shapes would all be padded to a square).
    """

    def __init__(
        self, model: Any, *, model_digest: str, class_index: int, image_size: int, min_score: float, device: str
    ) -> None:
        import torch

        name = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        self._device = torch.device(name)
        if threads := _cpu_limit():
            torch.set_num_threads(threads)
        self._model = model.to(self._device)
        self._digest = model_digest
        self._class_index, self._image_size, self._min_score = class_index, image_size, min_score
        self._stride = max(32, int(model.stride.max()))

    @property
    def model_digest(self) -> str:
        """SHA-256 over the weights and every setting that changes the answer."""
        return self._digest

    def detect(self, pixels: Sequence[Pixels]) -> list[list[DetectedPerson]]:
        """Find the people on each picture (uint8 RGB [h, w, 3]), the surest first."""
        found: list[list[DetectedPerson]] = [[] for _ in pixels]
        shapes: dict[tuple[int, ...], list[int]] = {}
        for index, picture in enumerate(pixels):
            shapes.setdefault(picture.shape, []).append(index)
        at_once = 1 if self._device.type == "cpu" else 16  # batching gains nothing on a CPU
        for indices in shapes.values():
            for start in range(0, len(indices), at_once):
                part = indices[start : start + at_once]
                for index, people in zip(part, self._detect_same_shape([pixels[i] for i in part]), strict=True):
                    found[index] = people
        return found

    def _detect_same_shape(self, pixels: Sequence[Pixels]) -> list[list[DetectedPerson]]:
        import torch
        from ultralytics.data.augment import LetterBox
        from ultralytics.utils.nms import non_max_suppression

        letterbox = LetterBox((self._image_size, self._image_size), auto=True, stride=self._stride)
        batch = torch.from_numpy(np.stack([letterbox(image=picture) for picture in pixels])).to(self._device)
        batch = batch.permute(0, 3, 1, 2).contiguous().float().div_(255)
        with torch.inference_mode():
            output = self._model(batch)
            boxes = output[0][0] if isinstance(output[0], tuple) else output[0]
            protos = output[0][1] if isinstance(output[0], tuple) else output[1][-1]
            kept = non_max_suppression(
                boxes,
                self._min_score,
                NMS_IOU,
                classes=[self._class_index],
                max_det=MAX_PEOPLE,
                nc=len(self._model.names),
                end2end=bool(getattr(self._model, "end2end", False)),
            )
            shape = tuple(batch.shape[2:])
            return [
                self._people(rows, proto, shape, picture.shape[:2])
                for rows, proto, picture in zip(kept, protos, pixels, strict=True)
            ]

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
