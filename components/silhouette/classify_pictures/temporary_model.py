"""A bare ONNX file, served by Triton for as long as somebody classifies with it.

Reads the file; changes what Triton serves. While it is served a lease lies below ``inference/.temporary/`` in the store
and is renewed; a killed owner renews no more, so the next run takes its model away.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from silhouette import __version__
from silhouette.config import DatasetConfig
from silhouette.contracts.model_bundle import INPUT_NAME, ONNX_NAME, OUTPUT_NAME, ModelCard
from silhouette.errors import InputError, SilhouetteError
from silhouette.lease import Lease, renewing
from silhouette.store import Store
from silhouette.triton_client import Triton

LEASES = "inference/.temporary/"
_MAX_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class TemporaryModel:
    """What is served: Triton's name of it, what people call it, and its card."""

    model: str
    told_as: str
    card: ModelCard


@contextmanager
def served_file(onnx: Path, *, store: Store, triton: Triton, config: DatasetConfig) -> Iterator[TemporaryModel]:
    """Serve a file, and take it away at the end.

    Args:
        onnx: A classifier: uint8 crops in, probabilities out. Its metadata say its classes and how it wants people cut
            out (`export_model` writes them); classes without a name are numbered, and the rest is as `config` says.
        store: Gets the lease.
        triton: The server.
        config: Margin and background for a file that does not say.

    Raises:
        InputError: It is no such file.
        ServiceError: The store or Triton failed.
    """
    remove_abandoned(store=store, triton=triton)
    card = read_card(onnx, config)
    told_as = f"{onnx.stem} ({card.onnx_sha256[:12]})"
    model = f"onnx-{card.onnx_sha256[:12]}--{secrets.token_hex(4)}"  # no group's key ends so
    lease = Lease.of_this_process()
    write = partial(_write, lease, model, store)
    write()
    try:
        with renewing(lease, write):
            triton.load(model, config_json=_config(model, card), files={f"1/{ONNX_NAME}": onnx.read_bytes()})
            triton.wait_ready(model)
            yield TemporaryModel(model=model, told_as=told_as, card=card)
    finally:
        _remove(model, store, triton)


def remove_abandoned(*, store: Store, triton: Triton) -> list[str]:
    """Take away the models of owners that are no more; return their names."""
    gone = []
    for key in list(store.list_keys(LEASES)):
        model = key.removeprefix(LEASES).removesuffix(".json")
        try:
            lease = Lease.read(store.get_bytes(key))
        except InputError:  # just removed by its owner
            continue
        if lease is None or not lease.is_alive():
            _remove(model, store, triton)
            gone.append(model)
    return gone


def _write(lease: Lease, model: str, store: Store) -> None:
    store.put_bytes(f"{LEASES}{model}.json", lease.to_bytes())


def _remove(model: str, store: Store, triton: Triton) -> None:
    with suppress(SilhouetteError):  # a server that was restarted has forgotten it
        triton.unload(model)
    store.remove(f"{LEASES}{model}.json")


def read_card(onnx: Path, config: DatasetConfig) -> ModelCard:
    """Read what a bare file says of itself.

    Raises:
        InputError: It is no classifier of crops.
    """
    import onnxruntime as ort

    try:
        session = ort.InferenceSession(str(onnx), providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions share no base but this
        raise InputError(
            f"{onnx} must be an ONNX model that ONNX Runtime can run ({' '.join(str(error).split())[:200]});"
            " export it again"
        ) from error
    size, count = _shape(onnx, session.get_inputs(), session.get_outputs())
    said = dict(session.get_modelmeta().custom_metadata_map)
    classes = _classes(said.get("classes", ""), count)
    sha256 = hashlib.sha256(onnx.read_bytes()).hexdigest()
    return ModelCard(
        group=said.get("group", onnx.stem), experiment=said.get("experiment", ""), classes=classes, crop_size=size,
        crop_margin=float(said.get("crop_margin", config.crop_margin)),
        background=said.get("background", config.background), backbone="", onnx_sha256=sha256, opset=0,
        crops_digest=said.get("crops_digest", ""), code_version=said.get("code_version", __version__), seed=0,
        parameters={}, parity_torchscript=0.0, parity_onnx=0.0, parity_crops=0,
    )  # fmt: skip


def _shape(onnx: Path, inputs: Sequence[Any], outputs: Sequence[Any]) -> tuple[int, int]:
    """Return the side of a crop and the number of classes."""
    ours = [(node.name, node.type, list(node.shape)) for node in (*inputs, *outputs)]
    if len(inputs) == len(outputs) == 1 and len(ours[0][2]) == 4 and len(ours[1][2]) == 2:
        (_, height, width, channels), (_, classes) = ours[0][2], ours[1][2]
        names = (ours[0][0], ours[0][1], ours[1][0], ours[1][1])
        is_ours = names == (INPUT_NAME, "tensor(uint8)", OUTPUT_NAME, "tensor(float)") and channels == 3
        if is_ours and isinstance(height, int) and height == width and isinstance(classes, int):
            return height, classes
    raise InputError(
        f"{onnx} must take {INPUT_NAME} uint8 [n, size, size, 3] and give {OUTPUT_NAME} float [n, classes], it has"
        f" {ours}; give a file that export_model wrote"
    )


def _classes(text: str, count: int) -> list[str]:
    try:
        found = [str(name) for name in json.loads(text)]
    except (ValueError, TypeError):
        found = []
    return found if len(found) == count else [f"class {number}" for number in range(count)]


def _config(model: str, card: ModelCard) -> str:
    """Return Triton's configuration of it as JSON, which a load takes instead of a file."""
    side = card.crop_size
    return json.dumps(
        {
            "name": model,
            "platform": "onnxruntime_onnx",
            "backend": "onnxruntime",
            "default_model_filename": ONNX_NAME,
            "max_batch_size": _MAX_BATCH,
            "version_policy": {"specific": {"versions": [1]}},
            "input": [{"name": INPUT_NAME, "data_type": "TYPE_UINT8", "dims": [side, side, 3]}],
            "output": [{"name": OUTPUT_NAME, "data_type": "TYPE_FP32", "dims": [len(card.classes)]}],
            "instance_group": [{"kind": "KIND_AUTO", "count": 1}],
            "dynamic_batching": {},
            "parameters": {"session.intra_op.allow_spinning": {"string_value": "0"}},
        }
    )
