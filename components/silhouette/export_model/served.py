"""The network as it is served: uint8 crops in, probabilities out, nothing left to do for the caller.

Reads the best checkpoint of a training; writes ONNX and TorchScript files.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import torch

from silhouette.contracts import model_bundle
from silhouette.contracts import training as training_contract
from silhouette.errors import InputError

_WEIGHTS = "model."  # where Lightning's checkpoint keeps the network


class ServedModel(torch.nn.Module):
    """Pre-processing, network, temperature and softmax in one graph.

    It takes uint8 [n, size, size, 3] and gives float32 [n, classes].
    """

    temperature: torch.Tensor

    def __init__(self, net: torch.nn.Module, *, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))
        self.register_buffer("temperature", torch.ones(()))

    def logits(self, crops: torch.Tensor) -> torch.Tensor:
        """Return each crop's logits as the network gives them."""
        scaled = (crops.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std
        return self.net(scaled)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Return each crop's probabilities."""
        return torch.softmax(self.logits(crops) / self.temperature, dim=1)


def load_served(training: Path, record: training_contract.TrainingRecord) -> ServedModel:
    """Build the network and fill it from the best checkpoint.

    Raises:
        InputError: The checkpoint is not one of this network.
    """
    import timm

    name = record.backbone.removeprefix("random:")
    fixed = timm.is_model_pretrained(name) and timm.get_pretrained_cfg_value(name, "fixed_input_size")
    size = {"img_size": record.crop_size} if fixed else {}
    net = timm.create_model(name, num_classes=len(record.classes), **size)
    path = training / training_contract.BEST_CHECKPOINT
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
        net.load_state_dict({key.removeprefix(_WEIGHTS): value for key, value in state.items()
                             if key.startswith(_WEIGHTS)})  # fmt: skip
    except (OSError, KeyError, RuntimeError) as error:
        raise InputError(
            f"{path} must hold the weights of {name} with {len(record.classes)} classes"
            f" ({' '.join(str(error).split())[:200]}); train again"
        ) from error
    model = ServedModel(net, mean=record.mean, std=record.std)
    model.eval()
    return model


def write_torchscript(served: ServedModel, path: Path, *, crop_size: int) -> None:
    """Trace the model into a TorchScript file."""
    example = torch.zeros(2, crop_size, crop_size, 3, dtype=torch.uint8)
    with warnings.catch_warnings(), torch.no_grad():
        # torch deprecates TorchScript, people still ask for it; shapes inside one crop size are constants
        for category in (DeprecationWarning, FutureWarning, torch.jit.TracerWarning):
            warnings.simplefilter("ignore", category)
        torch.jit.save(torch.jit.trace(served, example), path)


def write_onnx(served: ServedModel, path: Path, *, crop_size: int, opset: int, metadata: dict[str, str]) -> None:
    """Export the model into one ONNX file with any batch size, and say in it what it is."""
    import onnx

    example = torch.zeros(2, crop_size, crop_size, 3, dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own parts about one another
        program = torch.onnx.export(
            served, (example,), dynamo=True, external_data=False, opset_version=opset, verbose=False,
            input_names=[model_bundle.INPUT_NAME], output_names=[model_bundle.OUTPUT_NAME],
            dynamic_shapes=({0: torch.export.Dim("n")},),
        )  # fmt: skip
    assert program is not None
    model = program.model_proto
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, path)


def describe(
    record: training_contract.TrainingRecord, *, crop_margin: float, background: str, temperature: float
) -> dict[str, str]:
    """Return what the ONNX file says of itself, for whoever finds it alone."""
    size = record.crop_size
    return {
        "classes": json.dumps(record.classes, ensure_ascii=False),
        "input": f"{model_bundle.INPUT_NAME}: uint8 [n, {size}, {size}, 3], RGB; a square around one person,"
        f" margin {crop_margin:g} of the longer side, outside of the picture"
        f" {'and of the person ' if background == 'grey' else ''}grey 127",
        "output": f"{model_bundle.OUTPUT_NAME}: float32 [n, {len(record.classes)}], rows sum to 1",
        "temperature": f"{temperature:.6g}, inside",
        "crop_margin": f"{crop_margin:g}",
        "background": background,
        "group": record.group,
        "experiment": record.experiment,
        "crops_digest": record.crops_digest,
        "code_version": record.code_version,
    }
