"""A bundle made of a real small training: what is in it, and what stops a release."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from silhouette.config import ExportConfig
from silhouette.contracts import model_bundle
from silhouette.contracts import training as training_contract
from silhouette.errors import InputError, ParityError
from silhouette.export_model import parity, served
from silhouette.export_model.export import export_model
from silhouette.onnx_model import OnnxModel
from silhouette.store import Store
from silhouette.train_classifier.train import train_classifier
from tests.shapes import BACKBONE, CLASSES, recipe, write_shapes


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `crops`, `training` and `bundle`."""
    folder = tmp_path_factory.mktemp("learnt")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "disabled")
        write_shapes(folder / "crops", per_class={"train": 20, "val": 10, "test": 8})
        train_classifier(crops=folder / "crops", out=folder / "training", experiment="e1", config=recipe(),
                         backbone=BACKBONE, device="cpu")  # fmt: skip
    export_model(crops=folder / "crops", training=folder / "training", out=folder / "bundle")
    return folder


def crops_and_network(learnt: Path) -> tuple[np.ndarray, torch.nn.Module]:
    network = served.load_served(learnt / "training", training_contract.read(learnt / "training"))
    network.temperature.fill_(model_bundle.read(learnt / "bundle").temperature)
    return parity.choose_crops(learnt / "crops"), network


def test_the_bundle_holds_what_its_contract_names(learnt: Path) -> None:
    bundle = learnt / "bundle"
    card = model_bundle.read(bundle)
    assert (card.classes, card.crop_size, card.opset) == (CLASSES, 64, 18)
    assert card.onnx_sha256 == hashlib.sha256((bundle / "model.onnx").read_bytes()).hexdigest()
    assert card.parity_torchscript <= parity.TORCHSCRIPT_TOLERANCE
    assert card.parity_onnx <= parity.ONNX_TOLERANCE
    assert card.parity_batch <= parity.ONNX_TOLERANCE
    assert card.parity_crops == 256
    assert card.temperature_crops == 30
    assert card.temperature != 1
    assert card.variants == []
    assert not list(bundle.glob("*.data")), "the weights belong into the one file"


def test_the_onnx_file_says_what_it_is_and_takes_any_batch(learnt: Path) -> None:
    file = learnt / "bundle" / "model.onnx"
    model = onnx.load(file)
    onnx.checker.check_model(model, full_check=True)
    assert {item.domain: item.version for item in model.opset_import}[""] == 18
    metadata = OnnxModel(file).metadata
    assert json.loads(metadata["classes"]) == CLASSES
    assert "uint8 [n, 64, 64, 3]" in metadata["input"]
    assert {"crops_digest", "code_version", "group", "experiment"} <= metadata.keys()
    assert float(metadata["temperature"].split(",")[0]) == pytest.approx(model_bundle.read(file.parent).temperature)
    crops, _ = crops_and_network(learnt)
    answers = OnnxModel(file).probabilities(crops[:7], batch=7)
    assert answers.shape == (7, 3)
    assert answers.dtype == np.float32
    assert answers.sum(axis=1) == pytest.approx(np.ones(7), abs=1e-5)
    assert OnnxModel(file).probabilities(crops[:7], batch=1) == pytest.approx(answers, abs=1e-5)


def test_golden_answers_are_those_of_the_file_on_real_crops(learnt: Path) -> None:
    with np.load(learnt / "bundle" / "golden.npz") as golden:
        crops, expected = golden["crops"], golden["probabilities"]
    assert 8 <= len(crops) <= 16
    assert crops.dtype == np.uint8
    assert OnnxModel(learnt / "bundle" / "model.onnx").probabilities(crops) == pytest.approx(expected, abs=1e-6)
    assert len(set(expected.argmax(axis=1).tolist())) == 3


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")
def test_the_temperature_is_inside_both_files_and_changes_no_answer(learnt: Path) -> None:
    crops, network = crops_and_network(learnt)
    temperature = float(network.temperature)
    with torch.no_grad():
        logits = network.logits(torch.from_numpy(crops[:9]))
    expected = torch.softmax(logits / temperature, 1).numpy()
    bundle = learnt / "bundle"
    assert OnnxModel(bundle / "model.onnx").probabilities(crops[:9]) == pytest.approx(expected, abs=1e-5)
    scripted = torch.jit.load(bundle / "model.torchscript")(torch.from_numpy(crops[:9])).detach().numpy()
    assert scripted == pytest.approx(expected, abs=1e-6)
    assert (expected.argmax(1) == logits.numpy().argmax(1)).all()
    assert np.abs(expected - torch.softmax(logits, 1).numpy()).max() > 1e-3


def test_a_later_opset_is_one_setting(learnt: Path, tmp_path: Path) -> None:
    report = export_model(
        crops=learnt / "crops", training=learnt / "training", out=tmp_path, config=ExportConfig(opset=20)
    )
    model = onnx.load(tmp_path / "model.onnx")
    assert {item.domain: item.version for item in model.opset_import}[""] == 20
    assert model_bundle.read(tmp_path).opset == 20
    assert report.parity_onnx <= parity.ONNX_TOLERANCE


def test_a_breach_leaves_no_card_behind_so_nothing_is_released(
    learnt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model_bundle.write(tmp_path, model_bundle.read(learnt / "bundle"))  # of an earlier export
    monkeypatch.setattr(parity, "ONNX_TOLERANCE", 1e-12)
    with pytest.raises(ParityError, match="nothing is released"):
        export_model(crops=learnt / "crops", training=learnt / "training", out=tmp_path)
    assert not (tmp_path / "model.json").exists()


def test_too_large_a_file_is_not_released(learnt: Path, tmp_path: Path) -> None:
    config = ExportConfig(max_megabytes=0.1)
    with pytest.raises(ParityError, match=r"at most 0\.1 MB, model\.onnx has .* raise export\.max_megabytes"):
        export_model(crops=learnt / "crops", training=learnt / "training", out=tmp_path, config=config)


def test_variants_are_smaller_and_carry_their_own_numbers(learnt: Path, tmp_path: Path, fresh_store: Store) -> None:
    config = ExportConfig(variants=["fp16", "int8"])
    export_model(crops=learnt / "crops", training=learnt / "training", out=tmp_path, config=config, store=fresh_store)
    release = (tmp_path / "model.onnx").stat().st_size
    card = model_bundle.read(tmp_path)
    assert [variant.name for variant in card.variants] == ["fp16", "int8"]
    crops, _ = crops_and_network(learnt)
    for variant in card.variants:
        file = tmp_path / f"model.{variant.name}.onnx"
        assert file.stat().st_size == variant.size_bytes < release
        assert variant.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
        assert variant.max_difference > 0
        assert variant.agreement > 0.8
        answers = OnnxModel(file).probabilities(crops[:5])
        assert answers.sum(axis=1) == pytest.approx(np.ones(5), abs=1e-2)
        assert fresh_store.exists(f"models/shapes/e1/onnx/model.{variant.name}.onnx")
    types = {node.op_type for node in onnx.load(tmp_path / "model.int8.onnx").graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= types
    halves = [item for item in onnx.load(tmp_path / "model.fp16.onnx").graph.initializer if item.data_type == 10]
    assert halves


def test_a_changed_onnx_file_is_caught(learnt: Path, tmp_path: Path) -> None:
    model = onnx.load(learnt / "bundle" / "model.onnx")
    weights = next(item for item in model.graph.initializer if tuple(item.dims)[:1] == (3,) and len(item.dims) == 2)
    values = onnx.numpy_helper.to_array(weights).copy()
    values[0] += 0.05
    weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))
    onnx.save(model, tmp_path / "model.onnx")
    crops, network = crops_and_network(learnt)
    with pytest.raises(ParityError, match=r"ONNX Runtime must answer as the trained network within 0\.0001"):
        parity.check_parity(
            network, torchscript=learnt / "bundle" / "model.torchscript", onnx=tmp_path / "model.onnx", crops=crops
        )


def test_torchscript_of_another_network_is_caught(learnt: Path, tmp_path: Path) -> None:
    crops, network = crops_and_network(learnt)
    record = training_contract.read(learnt / "training")
    other = served.load_served(learnt / "training", record.model_copy(update={"mean": [0.0, 0.0, 0.0]}))
    served.write_torchscript(other, tmp_path / "other", crop_size=64)
    with pytest.raises(ParityError, match="TorchScript must answer"):
        parity.check_parity(network, torchscript=tmp_path / "other", onnx=learnt / "bundle" / "model.onnx", crops=crops)


def test_another_preferred_class_is_caught_and_a_tie_is_not() -> None:
    expected = np.array([[0.5, 0.4, 0.1]], dtype=np.float32)
    with pytest.raises(ParityError, match="must prefer the class"):
        parity._difference("it", expected, np.array([[0.43, 0.47, 0.1]], dtype=np.float32), 0.08)
    close = np.array([[0.4, 0.4 - 1e-6, 0.2]], dtype=np.float32)
    assert parity._difference("it", close, close[:, [1, 0, 2]], 1e-4) < 1e-5
    with pytest.raises(ParityError, match="got nan"):
        parity._difference("it", expected, np.full_like(expected, np.nan), 1e-4)


def test_a_checkpoint_of_another_network_is_refused(learnt: Path) -> None:
    record = training_contract.read(learnt / "training").model_copy(update={"backbone": "random:test_resnet"})
    with pytest.raises(InputError, match=r"must hold the weights of test_resnet with 3 classes.*train again"):
        served.load_served(learnt / "training", record)


def test_a_missing_or_broken_model_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    for name in ("model.onnx", "absent.onnx"):
        with pytest.raises(InputError, match="export it again"):
            OnnxModel(tmp_path / name)


def test_the_store_gets_the_model_files_under_the_experiment(learnt: Path, tmp_path: Path, fresh_store: Store) -> None:
    export_model(crops=learnt / "crops", training=learnt / "training", out=tmp_path, store=fresh_store)
    assert list(fresh_store.list_keys("models/")) == [
        "models/shapes/e1/onnx/golden.npz",
        "models/shapes/e1/onnx/model.json",
        "models/shapes/e1/onnx/model.onnx",
        "models/shapes/e1/torchscripts/model.torchscript",
    ]
