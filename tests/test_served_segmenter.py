from __future__ import annotations

from pathlib import Path

import pytest

from silhouette import served_segmenter
from silhouette.detector_export import publish_segmenter
from silhouette.errors import InputError
from silhouette.store import Store
from tests.serving import world

KNOWN = {"person_class": "person", "image_size": 640, "min_score": 0.25}


@pytest.fixture
def onnx(tmp_path: Path) -> Path:
    world.write_segmenter(tmp_path / "segmenter.onnx")
    return tmp_path / "segmenter.onnx"


def test_an_onnx_file_is_published_as_it_is_and_finds_people_again(
    onnx: Path, fresh_store: Store, tmp_path: Path
) -> None:
    publish_segmenter(onnx, model_digest="d" * 64, store=fresh_store, **KNOWN)
    card = served_segmenter.find("d" * 64, store=fresh_store)
    assert card is not None
    served_segmenter.fetch(card, tmp_path / "fetched.onnx", store=fresh_store)
    assert (tmp_path / "fetched.onnx").read_bytes() == onnx.read_bytes()
    detector = served_segmenter.open_segmenter(card, tmp_path / "fetched.onnx", cores=1)
    ((person,),) = detector.detect([world.oval("red")])
    assert (detector.model_digest, round(person.score, 3)) == ("d" * 64, 0.9)


def test_publishing_again_writes_nothing_and_a_wiped_file_is_put_back(onnx: Path, fresh_store: Store) -> None:
    publish_segmenter(onnx, model_digest="d" * 64, store=fresh_store, **KNOWN)
    card = served_segmenter.find("d" * 64, store=fresh_store)
    assert card is not None
    fresh_store.put_bytes(f"segmenters/{'d' * 64}.json", card.model_dump_json().encode())  # without its indentation
    before = fresh_store.tree_digest("segmenters/")
    publish_segmenter(onnx, model_digest="d" * 64, store=fresh_store, **KNOWN)
    assert fresh_store.tree_digest("segmenters/") == before
    fresh_store.remove(card.onnx_key)
    publish_segmenter(onnx, model_digest="d" * 64, store=fresh_store, **KNOWN)
    assert fresh_store.exists(card.onnx_key)


def test_what_was_not_published_is_not_found(fresh_store: Store) -> None:
    assert served_segmenter.find("e" * 64, store=fresh_store) is None


def test_a_file_that_was_changed_is_refused(onnx: Path, fresh_store: Store, tmp_path: Path) -> None:
    publish_segmenter(onnx, model_digest="d" * 64, store=fresh_store, **KNOWN)
    card = served_segmenter.find("d" * 64, store=fresh_store)
    assert card is not None
    fresh_store.put_bytes(card.onnx_key, b"spoiled")
    with pytest.raises(InputError, match=r"must have the SHA-256 .* run segment_people again"):
        served_segmenter.fetch(card, tmp_path / "fetched.onnx", store=fresh_store)


def test_a_checkpoint_that_cannot_be_exported_is_warned_of(
    fresh_store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "broken.pt").write_bytes(b"no checkpoint")
    publish_segmenter(tmp_path / "broken.pt", model_digest="d" * 64, store=fresh_store, **KNOWN)
    assert "no picture model can be served with this segmenter" in caplog.text
    assert served_segmenter.find("d" * 64, store=fresh_store) is None
