"""The document that goes back to the service: the schema is what the code says, examples hold, the rest is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from silhouette.config import load_config
from silhouette.contracts import contours, ret_meta
from silhouette.contracts.ret_meta import Made, Model, Picture, RetMeta, Segmentation
from silhouette.errors import InputError
from silhouette.names import safe_key

EXAMPLES = Path(__file__).with_name("ret_meta")
DOCS = Path(__file__).resolve().parents[2] / "docs"
VALID = sorted(EXAMPLES.glob("valid_*.json"))
INVALID = {
    "class_against_probabilities": "class must be 'trousers' by its probabilities, got 'dress'",
    "class_it_abstains_from": "class must be None by its probabilities, got 'short sleeves'",
    "content_digest": "content_digest must be that of the content",
    "digest_of_the_picture": "picture.sha256: String should match pattern",
    "drawn_in_schema_1": "schema_version must be 2 by who made the contours",
    "newer_schema": "schema 2 or older, got schema 3; install the Silhouette that wrote it",
    "no_model": "models: Dictionary should have at least 1 item",
    "people_out_of_order": "people must be numbered from 0",
    "prediction_missing": "person 0 must have a prediction of every model",
    "probability_above_1": "predictions.outfit.probability: Input should be less than or equal to 1",
    "rejected_people": "segmentation.model.review_status: Input should be",
    "time_without_zone": "made.at: String should match pattern",
    "two_origins": "segmentation.author.model_digest: Extra inputs are not permitted",
    "two_main_people": "exactly one person must be the main one",
    "unknown_key": "remarks: Extra inputs are not permitted",
}
MADE = Made(
    at="2026-11-22T18:30:00Z", code_version="1", inputs_digest="0" * 64, datasets={"g": "d"}, answered_by={"g": "g 1"}
)


def model(*, abstain_below: float = 0.0, classes: int = 3) -> Model:
    return Model(
        classes=[f"class {number}" for number in range(classes)], onnx_sha256="1" * 64, experiment="e",
        crops_digest="c", abstain_below=abstain_below, gate="passed",
    )  # fmt: skip


def document(picture_id: str = "p", *, made: Made = MADE) -> RetMeta:
    return ret_meta.make(
        picture=Picture(picture_id=picture_id, sha256="2" * 64, width=10, height=10),
        segmentation=Segmentation(model_digest="3" * 64, review_status="nobody"),
        people=[],
        models={"лето \"1\"": model()},
        made=made,
    )  # fmt: skip


def test_the_committed_schema_is_what_the_code_says() -> None:
    committed = json.loads((DOCS / "ret_meta.schema.json").read_text(encoding="utf-8"))
    assert committed == ret_meta.json_schema(), "run `silhouette ret-meta schema > docs/ret_meta.schema.json`"
    Draft202012Validator.check_schema(committed)


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_a_valid_example_is_read_and_holds_by_the_schema(path: Path) -> None:
    data = path.read_bytes()
    found = ret_meta.read(data, where=path.name)
    assert ret_meta.read(ret_meta.to_bytes(found), where="again") == found
    assert json.loads(ret_meta.to_bytes(found)) == json.loads(data)
    Draft202012Validator(ret_meta.json_schema()).validate(json.loads(data))
    for person in found.people:
        left, top, right, bottom = contours.box(person.outline())
        assert person.box_xyxy == (left, top, right, bottom)


@pytest.mark.parametrize("name", sorted(INVALID))
def test_an_invalid_example_is_refused_with_its_place(name: str) -> None:
    with pytest.raises(InputError) as caught:
        ret_meta.read((EXAMPLES / f"invalid_{name}.json").read_bytes(), where=name)
    assert INVALID[name] in str(caught.value)
    assert str(caught.value).startswith(f"{name} must be a ret_meta document")


def test_a_document_of_what_a_model_found_stays_what_schema_1_made_it() -> None:
    data = (EXAMPLES / "valid_two_people.json").read_bytes()
    old = json.loads(data)
    assert old["schema_version"] == 1
    found = ret_meta.read(data, where="it")
    again = ret_meta.make(
        **{name: getattr(found, name) for name in ("picture", "segmentation", "people", "models", "made")}
    )
    assert again.content_digest == old["content_digest"]


def test_every_example_is_tested() -> None:
    assert {path.stem for path in EXAMPLES.iterdir()} == {
        *(path.stem for path in VALID), *(f"invalid_{name}" for name in INVALID)
    }  # fmt: skip


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"3", b"{}", b'{"schema_version": "2"}', b"[" * 100_000])
def test_what_is_no_document_is_refused(data: bytes) -> None:
    with pytest.raises(InputError, match="must be a ret_meta document"):
        ret_meta.read(data, where="it")


def test_equal_content_has_one_digest_whenever_and_by_whatever_it_was_made() -> None:
    later = MADE.model_copy(update={"at": "2027-01-01T00:00:00Z", "code_version": "2", "datasets": {}})
    assert document(made=later).content_digest == document().content_digest
    assert document("q").content_digest != document().content_digest


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_picture_id_survives_and_has_a_safe_key(picture_id: str) -> None:
    made = document(picture_id)
    assert ret_meta.read(ret_meta.to_bytes(made), where="it") == made
    assert ret_meta.store_key(picture_id) == f"ret_meta/{safe_key(picture_id)}.json"


@given(st.lists(st.floats(0, 1, width=32), min_size=2, max_size=5), st.floats(0, 1))
def test_a_prediction_is_the_best_class_or_none_below_the_threshold(values: list[float], threshold: float) -> None:
    asked = model(abstain_below=threshold, classes=len(values))
    found = ret_meta.predict(values, asked)
    assert found.probability == max(found.probabilities)
    assert np.abs(np.array(found.probabilities) - values).max() <= 0.5001 * 10**-ret_meta.PROBABILITY_DIGITS
    if found.probability < threshold:
        assert found.label is None
    else:
        assert found.label == asked.classes[found.probabilities.index(found.probability)]


def shown(language: str) -> str:
    """The first block of a language on the page."""
    page = (DOCS / "ret_meta.md").read_text(encoding="utf-8")
    return page.partition(f"```{language}\n")[2].partition("```")[0]


def test_the_example_of_the_page_is_a_valid_document() -> None:
    assert ret_meta.read(shown("json").encode(), where="docs/ret_meta.md").people


def test_the_configuration_of_the_page_is_valid(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(shown("yaml"), encoding="utf-8")
    config = load_config({"SILHOUETTE_CONFIG": str(tmp_path / "mine.yaml")})
    assert {name: bool(model.onnx) for name, model in config.models.items()} == {
        "summer test": False, "outfit": False, "test": True
    }  # fmt: skip


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_the_decoder_of_the_page_gives_the_rings(path: Path) -> None:
    page: dict[str, Any] = {}
    exec(shown("python"), page)
    for person in ret_meta.read(path.read_bytes(), where=path.name).people:
        expected = [[tuple(point) for point in ring.tolist()] for ring in person.outline().rings]
        assert page["rings_of"](person.contours) == expected
