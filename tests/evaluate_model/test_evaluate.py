"""The judge on real small models: one that learnt, one that could not."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from silhouette.config import ExportConfig, GateConfig, load_config
from silhouette.contracts import evaluation as evaluation_contract
from silhouette.contracts import model_bundle, scores
from silhouette.contracts.crops import CropTable
from silhouette.errors import InputError
from silhouette.evaluate_model.champion import Champion
from silhouette.evaluate_model.evaluate import answer, evaluate_model
from silhouette.export_model.export import export_model
from silhouette.onnx_model import OnnxModel
from silhouette.train_classifier.train import train_classifier
from tests.deploy_model.bundles import write_onnx
from tests.evaluate_model.painted import write_painted
from tests.shapes import BACKBONE, CLASSES, recipe, write_shapes

OFF = {"max_ece": None, "max_bg_gap": None, "max_regression": None, "min_test_pictures_per_class": None}
GATE = GateConfig.model_validate({"min_macro_f1": 0.6, **OFF})
HOSTILE = ["<script>alert(1)</script>", "квадрат \"x\" & 'y'", "{{ 7 * 7 }}</title><b>"]


def learn(folder: Path, **options: object) -> Path:
    write_shapes(folder / "crops", per_class={"train": 20, "val": 10, "test": 8}, **options)  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "disabled")
        train_classifier(crops=folder / "crops", out=folder / "training", experiment="e1", config=recipe(),
                         backbone=BACKBONE, device="cpu")  # fmt: skip
    export_model(crops=folder / "crops", training=folder / "training", out=folder / "bundle",
                 config=ExportConfig(variants=["fp16", "int8"]))  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return learn(tmp_path_factory.mktemp("learnt"))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shuffled labels under hostile names: nothing to learn, much to escape."""
    return learn(
        tmp_path_factory.mktemp("hostile"), shuffled=True, classes=HOSTILE, group="<i>group</i>",
        picture_name='"><img src=x onerror=alert({})>',
    )  # fmt: skip


def judge(folder: Path, out: Path, *, gate: GateConfig = GATE) -> evaluation_contract.Evaluation:
    return evaluate_model(crops=folder / "crops", bundle=folder / "bundle", out=out, gate=gate)


class Tags(HTMLParser):
    """Collects what a browser would see as elements."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        assert not [name for name, _ in attrs if name.startswith("on")]


def test_a_model_that_learnt_passes_with_numbers_that_agree(learnt: Path, tmp_path: Path) -> None:
    found = judge(learnt, tmp_path)
    assert found.passed
    assert found.refusal() == ""
    assert found == evaluation_contract.read(tmp_path)
    assert found.onnx_sha256 == model_bundle.read(learnt / "bundle").onnx_sha256
    assert found.classes == CLASSES == [score.name for score in found.per_class]
    assert found.test_crops == sum(map(sum, found.confusion)) == 24
    assert found.macro_f1_low <= found.macro_f1 <= found.macro_f1_high
    assert found.macro_f1 == pytest.approx(sum(score.f1 for score in found.per_class) / 3)
    assert found.macro_f1 > found.majority_macro_f1
    assert found.majority_accuracy == pytest.approx(1 / 3)
    assert judge(learnt, tmp_path / "again") == found


def test_everything_is_in_the_metrics(learnt: Path, tmp_path: Path) -> None:
    found, card = judge(learnt, tmp_path), model_bundle.read(learnt / "bundle")
    for interval in (found.accuracy_interval, found.balanced_accuracy_interval):
        assert interval is not None
        assert interval.low <= interval.value <= interval.high
    assert all(score.f1_low <= score.f1 <= score.f1_high and score.roc_auc is not None for score in found.per_class)
    assert [score.pictures for score in found.per_class] == [8, 8, 8]
    assert found.calibration is not None
    assert found.calibration.temperature == card.temperature != 1
    assert found.calibration.before != found.calibration.after
    assert found.background is not None
    assert found.background.crops == 24
    assert found.background.versions[0].accuracy == found.accuracy
    assert {one.kind for one in found.slices} == {"size", "shape", "score", "pixset"}
    assert [variant.name for variant in found.variants] == ["fp16", "int8"]
    assert all(variant.agreement > 0.5 and variant.max_difference > 0 for variant in found.variants)
    assert found.champion is None
    assert len(found.rules) == 5
    assert {"ece", "bg_gap", "nll", "brier", "macro_f1"} <= found.scalars().keys()


def test_a_model_is_compared_with_the_served_one_on_the_same_crops(learnt: Path, hostile: Path, tmp_path: Path) -> None:
    card = model_bundle.read(learnt / "bundle")
    worse = model_bundle.read(hostile / "bundle").model_copy(update={"classes": card.classes})
    served = Champion(version="3", card=worse, onnx=hostile / "bundle" / "model.onnx")
    found = evaluate_model(
        crops=learnt / "crops", bundle=learnt / "bundle", out=tmp_path, gate=load_config({}).gate, champion=served
    )
    assert found.champion is not None
    assert found.champion.macro_f1_difference.low > 0
    assert found.scalars()["macro_f1_gain_over_served"] == found.champion.macro_f1_difference.value
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Version 3" in page
    assert "may have learnt some of these test pictures" in page
    # and the other way round the gate refuses
    card = card.model_copy(update={"classes": HOSTILE})
    better = Champion(version="4", card=card, onnx=learnt / "bundle" / "model.onnx")
    gate = GateConfig.model_validate({"min_macro_f1": None, **OFF, "max_regression": 0.0})
    labels = tmp_path / "true_labels"
    write_shapes(labels, classes=HOSTILE, group="<i>group</i>")
    refused = evaluate_model(crops=labels, bundle=hostile / "bundle", out=tmp_path / "b", gate=gate, champion=better)
    assert re.fullmatch(r"gain_over_served must be at least 0\.000, got -0\.\d+, 0\.\d+ too little", refused.refusal())


def test_what_the_kfp_ui_draws_is_written(learnt: Path, tmp_path: Path) -> None:
    judge(learnt, tmp_path)
    roc = json.loads((tmp_path / "roc.json").read_text())
    assert len(roc["fpr"]) == len(roc["tpr"]) == len(roc["threshold"]) <= 100


def test_the_report_is_one_file_that_needs_nothing_else(learnt: Path, tmp_path: Path) -> None:
    found = judge(learnt, tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    seen = Tags()
    seen.feed(page)
    assert f"{found.macro_f1:.3f}" in page
    assert "Passed" in page
    assert "script" not in seen.tags
    assert "link" not in seen.tags
    assert all(address.startswith("data:image/jpeg;base64,") for address in seen.addresses)
    assert not re.search(r"https?://", page)
    assert seen.tags.count("svg") == 6 + len(found.slices)
    assert len(page) < 1_500_000


def test_shuffled_labels_are_refused_and_the_report_is_kept(hostile: Path, tmp_path: Path) -> None:
    found = judge(hostile, tmp_path)
    assert not found.passed
    assert re.fullmatch(r"macro_f1 must be at least 0\.600, got 0\.\d{3}, 0\.\d+ too little", found.refusal())
    assert "Refused" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_hostile_names_stay_text(hostile: Path, tmp_path: Path) -> None:
    judge(hostile, tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    seen = Tags()
    seen.feed(page)
    assert "script" not in seen.tags
    assert seen.tags.count("title") - seen.tags.count("svg") < 90
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "{{ 7 * 7 }}" in page
    assert "квадрат" in page
    assert "<img src=x" not in page
    assert "<i>group" not in page


def test_the_spread_of_the_answers_travels_with_the_evaluation(learnt: Path, tmp_path: Path) -> None:
    found = judge(learnt, tmp_path)
    spread = scores.Scores.model_validate_json((tmp_path / scores.FILE_NAME).read_text())
    assert spread.classes == found.classes
    assert spread.predicted == [sum(column) for column in zip(*found.confusion, strict=True)]
    assert sum(spread.confidence) == found.test_crops


def test_crops_of_another_group_are_refused(learnt: Path, tmp_path: Path) -> None:
    write_shapes(tmp_path / "crops", classes=["x", "y", "z"])
    with pytest.raises(InputError, match="same classes and size"):
        evaluate_model(crops=tmp_path / "crops", bundle=learnt / "bundle", out=tmp_path, gate=GATE)


def test_crops_without_a_test_split_are_refused(learnt: Path, tmp_path: Path) -> None:
    write_shapes(tmp_path / "crops", per_class={"train": 2, "val": 2})
    with pytest.raises(InputError, match="has none; build the dataset again"):
        evaluate_model(crops=tmp_path / "crops", bundle=learnt / "bundle", out=tmp_path, gate=GATE)


def test_a_file_that_is_not_the_one_on_its_card_is_refused(learnt: Path, tmp_path: Path) -> None:
    model_bundle.write(tmp_path, model_bundle.read(learnt / "bundle"))
    (tmp_path / "model.onnx").write_bytes(b"another")
    with pytest.raises(InputError, match="must be the file that its card names"):
        evaluate_model(crops=learnt / "crops", bundle=tmp_path, out=tmp_path, gate=GATE)


def test_a_variant_that_is_not_the_one_on_the_card_is_refused(learnt: Path, tmp_path: Path) -> None:
    shutil.copytree(learnt / "bundle", tmp_path / "bundle")
    (tmp_path / "bundle" / "model.int8.onnx").write_bytes(b"another")
    with pytest.raises(InputError, match=r"model\.int8\.onnx must be the file that its card names"):
        evaluate_model(crops=learnt / "crops", bundle=tmp_path / "bundle", out=tmp_path, gate=GATE)


def test_a_model_that_answers_with_no_numbers_is_refused(tmp_path: Path) -> None:
    write_painted(tmp_path, coloured="person")
    write_onnx(tmp_path / "model.onnx", weights=np.full((3, 3), np.nan, np.float32))
    with pytest.raises(
        InputError, match=r"probabilities that sum to 1, it gave \[nan, nan, nan\] to the crop of 'test-0'"
    ):
        answer(OnnxModel(tmp_path / "model.onnx"), CropTable(tmp_path, "test"), ["red", "green", "blue"])
