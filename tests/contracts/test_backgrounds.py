"""A frozen background set comes back as it was, and nothing else comes back under its digest."""

from __future__ import annotations

from pathlib import Path

import pytest

from silhouette.contracts import backgrounds, dataset
from silhouette.contracts.backgrounds import BackgroundSet
from silhouette.errors import InputError
from silhouette.store import Store
from tests.segment_people import pictures

FROZEN = BackgroundSet(
    name="места", model_digest="m", installations=("a", "b"),
    pictures=(pictures.row("№ 1/a'b\n", b"1", label="", pixset_id="p"), pictures.row("2", b"2", label="")),
    left_out={"person": ["2"]},
)  # fmt: skip


def test_it_comes_back_and_is_written_once(fresh_store: Store) -> None:
    digest = backgrounds.write(fresh_store, FROZEN)
    assert backgrounds.read(fresh_store, digest) == FROZEN
    assert backgrounds.write(fresh_store, FROZEN) == digest
    assert list(fresh_store.list_keys("backgrounds/")) == [backgrounds.store_key(digest)]


def test_another_verdict_is_another_digest() -> None:
    assert FROZEN.model_copy(update={"left_out": {}}).digest() != FROZEN.digest()


@pytest.mark.parametrize("content", [b"", b"{}", FROZEN.to_bytes() + b" "])
def test_what_is_not_the_content_of_its_digest_is_refused(fresh_store: Store, content: bytes) -> None:
    fresh_store.put_bytes(backgrounds.store_key(FROZEN.digest()), content)
    with pytest.raises(InputError, match="must have the digest of its name"):
        backgrounds.read(fresh_store, FROZEN.digest())


def test_a_set_that_is_not_there_is_a_clear_line(fresh_store: Store) -> None:
    with pytest.raises(InputError, match="must hold the object"):
        backgrounds.read(fresh_store, "0" * 64)


def test_the_dataset_of_a_version_comes_back(fresh_store: Store, tmp_path: Path) -> None:
    rows = tuple(sorted(FROZEN.pictures, key=lambda row: row.picture_id))
    dataset.write(tmp_path / "there", dataset.Dataset(group="места", classes=(), rows=rows))
    (tmp_path / "there" / dataset.QUALITY_NAME).write_text("large, and for people")
    backgrounds.keep_version(fresh_store, "v1", tmp_path / "there")
    (tmp_path / "back").mkdir()
    assert dataset.read(backgrounds.fetch_version(fresh_store, "v1", tmp_path / "back")).rows == rows
    assert not (tmp_path / "back" / dataset.QUALITY_NAME).exists()
