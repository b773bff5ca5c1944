"""The JSON and CSV records that cross rooms come back as written and refuse what they do not know."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from silhouette.contracts import evaluation, model_bundle, predictions, training
from silhouette.contracts.evaluation import ClassScore, Evaluation, GateRule
from silhouette.contracts.model_bundle import ModelCard
from silhouette.contracts.predictions import Prediction
from silhouette.contracts.training import TrainingRecord, experiment_name

RECORD = TrainingRecord(
    group="лето / пляж",
    experiment="e-1",
    classes=["dress", "skirt"],
    backbone="resnet18",
    crop_size=224,
    mean=[0.5, 0.5, 0.5],
    std=[0.5, 0.5, 0.5],
    seed=17,
    parameters={"epochs": 3, "learning_rate": 0.001},
    crops_digest="c",
    code_version="0.1.0",
    best_epoch=2,
    best_val_macro_f1=0.75,
)
CARD = ModelCard(
    group="лето / пляж",
    experiment="e-1",
    classes=["dress", "skirt"],
    crop_margin=0.1,
    background="keep",
    crop_size=224,
    backbone="resnet18",
    onnx_sha256="ab" * 32,
    opset=18,
    crops_digest="c",
    code_version="0.1.0",
    seed=17,
    parameters={"epochs": 3},
    parity_torchscript=0.0,
    parity_onnx=1e-7,
    parity_crops=32,
)


def judged(*values: float) -> Evaluation:
    return Evaluation(
        group="outfit",
        experiment="e-1",
        onnx_sha256="ab" * 32,
        classes=["dress", "skirt"],
        test_crops=10,
        accuracy=0.8,
        majority_accuracy=0.5,
        majority_macro_f1=0.33,
        balanced_accuracy=0.8,
        macro_f1=0.79,
        macro_f1_low=0.7,
        macro_f1_high=0.88,
        per_class=[ClassScore(name="dress", precision=0.8, recall=0.8, f1=0.8, support=5)],
        confusion=[[4, 1], [1, 4]],
        rules=[GateRule(rule="macro_f1", value=value, limit=0.45, passed=value >= 0.45) for value in values],
    )


ROUND_TRIPS: list[tuple[Any, Callable[[Path, Any], Any], Callable[[Path], Any]]] = [
    (RECORD, training.write, training.read),
    (CARD, model_bundle.write, model_bundle.read),
    (judged(0.5), evaluation.write, evaluation.read),
]


@pytest.mark.parametrize(("record", "write", "read"), ROUND_TRIPS, ids=["training", "model_bundle", "evaluation"])
def test_record_comes_back_as_it_was_written(
    tmp_path: Path, record: Any, write: Callable[[Path, Any], Any], read: Callable[[Path], Any]
) -> None:
    write(tmp_path, record)
    assert read(tmp_path) == record


@pytest.mark.parametrize("record", [RECORD, CARD, judged(0.5)], ids=["training", "model_bundle", "evaluation"])
def test_record_refuses_a_field_that_it_does_not_know(record: Any) -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        type(record).model_validate({**record.model_dump(), "colour": "red"})


@pytest.mark.parametrize("record", [RECORD, CARD, judged(0.5)], ids=["training", "model_bundle", "evaluation"])
def test_record_refuses_a_missing_field(record: Any) -> None:
    content = record.model_dump()
    del content["classes"]
    with pytest.raises(ValidationError, match="classes"):
        type(record).model_validate(content)


INPUTS = {"crops_digest": "c", "settings": "{}", "code_version": "1"}


class TestExperimentName:
    def test_is_the_same_for_the_same_inputs(self) -> None:
        assert experiment_name(**INPUTS) == experiment_name(**INPUTS)

    @pytest.mark.parametrize("changed", INPUTS)
    def test_changes_with_every_input(self, changed: str) -> None:
        assert experiment_name(**{**INPUTS, changed: "other"}) != experiment_name(**INPUTS)

    def test_is_a_key_of_the_store(self) -> None:
        from silhouette.names import safe_key

        name = experiment_name(**INPUTS)
        assert safe_key(name) == name


class TestGate:
    def test_passes_when_every_rule_holds(self) -> None:
        assert judged(0.45, 0.9).passed
        assert judged(0.45, 0.9).refusal() == ""

    def test_refuses_when_one_rule_is_broken_and_says_both_values(self) -> None:
        assert not judged(0.9, 0.3).passed
        assert judged(0.9, 0.3).refusal() == "macro_f1 must be at least 0.450, got 0.300, 0.15 too little"

    def test_names_every_broken_rule(self) -> None:
        assert judged(0.1, 0.2).refusal().count("must be at least") == 2

    def test_without_rules_passes(self) -> None:
        assert judged().passed


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
number = st.floats(allow_nan=False)
prediction = st.builds(
    Prediction,
    picture_id=text,
    object_key=text,
    person_index=st.integers(-1, 100),
    box_xyxy=text,
    person_score=number,
    label=text,
    predicted=text,
    probability=number,
    model=text,
    version=text,
)


@given(st.lists(prediction, max_size=4))
def test_predictions_come_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Prediction]
) -> None:
    folder = tmp_path_factory.mktemp("predictions")
    assert predictions.write(folder, rows) == folder / predictions.FILE_NAME
    assert predictions.read(folder) == rows
