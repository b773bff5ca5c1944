"""The served model beside the new one, on crops where it is known who is right."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from silhouette.contracts import crops, deployment
from silhouette.contracts.deployment import ServedVersion
from silhouette.errors import InputError, ServiceError
from silhouette.evaluate_model.champion import NOTHING_SERVED, Champion, compare, fetch_champion
from silhouette.evaluate_model.evaluate import answer
from silhouette.evaluate_model.scores import Answers
from silhouette.names import safe_key
from silhouette.onnx_model import OnnxModel
from silhouette.store import Store
from tests.deploy_model.bundles import make, write_onnx
from tests.evaluate_model.painted import CLASSES, SIZE, colour_model, write_painted


def served_and_new(
    folder: Path, *, wrong: int = 0, classes: list[str] | None = None, background: str = "keep"
) -> tuple[Champion, Answers, crops.CropsHead]:
    """A served model that is always right, and the answers of a new one, `wrong` of them wrong."""
    head = write_painted(folder / "crops", coloured="person", per_class=20)
    order = classes or CLASSES
    judged = make(folder / "made", group="colours", classes=order, size=SIZE)
    weights = np.eye(3, dtype=np.float32)[:, [CLASSES.index(name) for name in order]] * 40
    write_onnx(folder / "champion.onnx", weights=weights, size=SIZE)
    card = judged.card.model_copy(update={"background": background, "crops_digest": head.digest})
    test = answer(colour_model(folder), crops.CropTable(folder / "crops", "test"), CLASSES)
    test.probabilities[:wrong] = test.probabilities[:wrong][:, [1, 2, 0]]
    return Champion(version="4", card=card, onnx=folder / "champion.onnx"), test, head


def asking(folder: Path) -> Callable[[OnnxModel, list[str]], Answers]:
    table = crops.CropTable(folder / "crops", "test")
    return lambda model, classes: answer(model, table, classes)


def test_a_worse_model_is_seen_to_be_worse(tmp_path: Path) -> None:
    champion, test, head = served_and_new(tmp_path, wrong=12)
    found, note = compare(champion, test, head=head, ask=asking(tmp_path), seed=1)
    assert found is not None
    assert (found.version, found.accuracy, found.broken, found.fixed) == ("4", 1, 12, 0)
    assert found.agreement == pytest.approx(48 / 60)
    assert found.accuracy_difference.value == pytest.approx(-0.2)
    assert found.macro_f1_difference.high < 0
    assert note == ""


def test_an_equal_model_differs_by_nothing(tmp_path: Path) -> None:
    champion, test, head = served_and_new(tmp_path)
    found, _ = compare(champion, test, head=head, ask=asking(tmp_path), seed=1)
    assert found is not None
    assert found.macro_f1_difference.low == found.macro_f1_difference.high == 0
    assert found.agreement == 1


def test_the_served_models_classes_may_be_in_another_order(tmp_path: Path) -> None:
    champion, test, head = served_and_new(tmp_path, classes=["blue", "red", "green"])
    found, _ = compare(champion, test, head=head, ask=asking(tmp_path), seed=1)
    assert found is not None
    assert found.accuracy == 1


def test_a_champion_of_another_dataset_is_compared_with_a_word_of_care(tmp_path: Path) -> None:
    champion, test, head = served_and_new(tmp_path)
    other = Champion(version="4", card=champion.card.model_copy(update={"crops_digest": "other"}), onnx=champion.onnx)
    found, note = compare(other, test, head=head, ask=asking(tmp_path), seed=1)
    assert found is not None
    assert not found.same_crops
    assert "may have learnt some of these test pictures" in note


@pytest.mark.parametrize("change", [{"classes": ["red", "green", "violet"]}, {"crop_size": 64}, {"background": "grey"}])
def test_what_sees_other_crops_or_other_classes_is_not_compared(tmp_path: Path, change: dict[str, object]) -> None:
    champion, test, head = served_and_new(tmp_path)
    other = Champion(version="4", card=champion.card.model_copy(update=change), onnx=champion.onnx)
    assert compare(other, test, head=head, ask=asking(tmp_path), seed=1) == (
        None, "version 4 that is served has other classes or crops, nothing to compare"
    )  # fmt: skip


def test_without_a_served_model_there_is_no_comparison(tmp_path: Path) -> None:
    _, test, head = served_and_new(tmp_path)
    assert compare(None, test, head=head, ask=asking(tmp_path), seed=1) == (None, NOTHING_SERVED)


def stored(store: Store, folder: Path) -> ServedVersion:
    judged = make(folder / "stored", group="summer “x”", size=SIZE)
    model = safe_key("summer “x”")
    onnx = judged.bundle / "model.onnx"
    store.put_file(deployment.repository_key(model, "2", "model.onnx"), onnx)
    store.put_bytes(deployment.card_key(model, "2"), judged.card.model_dump_json().encode())
    return ServedVersion(version="2", onnx_sha256=hashlib.sha256(onnx.read_bytes()).hexdigest())


def test_the_served_file_is_fetched_by_version_and_proved_by_digest(tmp_path: Path, fresh_store: Store) -> None:
    served = stored(fresh_store, tmp_path)
    found = fetch_champion(served.text(), group="summer “x”", store=fresh_store, folder=tmp_path)
    assert found is not None
    assert found.card.onnx_sha256 == served.onnx_sha256
    assert OnnxModel(found.onnx).probabilities(np.zeros((1, SIZE, SIZE, 3), np.uint8)).shape == (1, 3)
    other = served.model_copy(update={"onnx_sha256": "0" * 64})
    with pytest.raises(ServiceError, match="must be the file that was deployed"):
        fetch_champion(other.text(), group="summer “x”", store=fresh_store, folder=tmp_path)


def test_nothing_served_is_nothing_fetched_and_a_version_that_went_is_told(tmp_path: Path, fresh_store: Store) -> None:
    assert fetch_champion("", group="g", store=fresh_store, folder=tmp_path) is None
    with pytest.raises(InputError, match="found none"):
        fetch_champion("7:" + "0" * 64, group="g", store=fresh_store, folder=tmp_path)


@pytest.mark.parametrize("text", ["7", "7:xyz", "seven:" + "0" * 64])
def test_a_parameter_that_is_no_served_version_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="must be <version>:<sha256>, got"):
        ServedVersion.from_text(text)
