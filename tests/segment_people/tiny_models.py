"""Checkpoints made by code: a segmenter that finds something at once, a detector, and worse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

NAMES = {0: "bicycle", 1: "person"}


def _model(task: str, names: dict[int, str]) -> Any:
    import torch

    from silhouette import detector

    tasks = detector._import_ultralytics()
    kind = tasks.SegmentationModel if task == "segment" else tasks.DetectionModel
    torch.manual_seed(3)
    model = kind("yolov8n-seg.yaml" if task == "segment" else "yolov8n.yaml", nc=len(names), verbose=False)
    model.names, model.task = names, task
    return model


def write_segmenter(path: Path, *, names: dict[int, str] = NAMES, task: str = "segment") -> Path:
    """Write a network that was never trained, made so bold that it sees people everywhere."""
    import torch

    model = _model(task, names)
    _wake(model)
    for branch in model.model[-1].cv3:
        torch.nn.init.constant_(branch[-1].bias, -1.2)
        torch.nn.init.normal_(branch[-1].weight, std=0.1)
    torch.save({"model": model}, path)
    return path


def _wake(model: Any) -> None:
    """Let the layers see noise once: else all they say is nearly constant, and the last bits decide on masks."""
    import torch

    norms = [layer for layer in model.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    before = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = None  # the mean of what it saw
    with torch.no_grad():
        model.train()(torch.rand(4, 3, 128, 128))
    for layer, momentum in zip(norms, before, strict=True):
        layer.momentum = momentum
    model.eval()


def write_blind_segmenter(path: Path) -> Path:
    """Write a network that never sees anybody."""
    import torch

    model = _model("segment", NAMES)
    for branch in model.model[-1].cv3:
        torch.nn.init.constant_(branch[-1].bias, -20.0)
    torch.save({"model": model}, path)
    return path


class _Trap:
    """Unpickled by an ordinary loader, it writes a file."""

    def __init__(self, target: Path) -> None:
        self.target = str(target)

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        import os

        return os.mkdir, (self.target,)


def write_trap(path: Path, *, target: Path) -> Path:
    """Write a checkpoint whose pickle makes the folder `target` when it is read without care."""
    import torch

    torch.save({"model": _Trap(target)}, path)
    return path
