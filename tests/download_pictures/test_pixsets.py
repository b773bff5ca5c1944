"""A list of pixsets becomes a dataset without labels; an S3 prefix is a source like a folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pipelines.embedded.picture_service import create_app
from silhouette.contracts import dataset as dataset_contract
from silhouette.download_pictures.download import DownloadReport, download_pictures, download_pixsets
from silhouette.errors import InputError
from silhouette.settings import PictureServiceSettings
from silhouette.store import Store
from tests.loopback import TOKEN, serving, small_config, write_classes, write_group


@pytest.fixture
def service(tmp_path: Path) -> Iterator[PictureServiceSettings]:
    group = write_group(tmp_path / "group", name="g", classes=["a", "b"], each=4)  # shoots 0 to 3, of two pictures
    with serving(create_app(group, TOKEN)) as url:
        yield PictureServiceSettings(url=url, token=TOKEN)


@pytest.fixture
def around(connection: psycopg.Connection, fresh_store: Store, service: PictureServiceSettings) -> dict[str, Any]:
    return {
        "store": fresh_store, "connection": connection, "config": small_config(), "picture_service": service,
    }  # fmt: skip


def bring(tmp_path: Path, around: dict[str, Any], *wanted: object) -> DownloadReport:
    path = tmp_path / "quiet rooms.json"
    path.write_text(json.dumps(wanted), encoding="utf-8")
    return download_pixsets(pixsets=path, out=tmp_path / "out", **around)


def test_pictures_of_pixsets_come_in_without_labels(tmp_path: Path, around: dict[str, Any]) -> None:
    report = bring(tmp_path, around, "shoot 2", {"pixset_id": "shoot 0", "limit": 1})
    assert (report.group, report.classes, report.pictures) == ("quiet rooms", (), 3)
    rows = dataset_contract.read(tmp_path / "out").rows
    found = [(row.picture_id, row.label, row.pixset_id, row.split) for row in rows]
    assert found == [("p000", "", "shoot 0", ""), ("p004", "", "shoot 2", ""), ("p005", "", "shoot 2", "")]
    (key,) = around["store"].list_keys("datasets/")
    assert key.startswith("datasets/pixsets/quiet-rooms--")
    assert around["store"].get_bytes(key) == (tmp_path / "out" / "dataset.csv").read_bytes()


def test_a_pixset_that_the_service_does_not_know_is_a_recorded_row(tmp_path: Path, around: dict[str, Any]) -> None:
    report = bring(tmp_path, around, "shoot 1", "no such shoot")
    assert (report.pictures, dict(report.refused)) == (2, {"unknown_pixset": 1})
    (refused,) = dataset_contract.read(tmp_path / "out").refused
    assert refused.picture_id == "pixset no such shoot"


def test_a_list_of_unknown_pixsets_only_is_refused(tmp_path: Path, around: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="must name pixsets with pictures"):
        bring(tmp_path, around, "nowhere")


def test_pictures_that_a_group_brought_are_not_fetched_again(tmp_path: Path, around: dict[str, Any]) -> None:
    download_pictures(group="g", source=None, out=tmp_path / "group out", **around)
    report = bring(tmp_path, around, "shoot 0", "shoot 3")
    assert (report.fetched, report.reused, report.pictures) == (0, 4, 4)


def test_an_s3_prefix_is_a_source(tmp_path: Path, around: dict[str, Any]) -> None:
    store = around["store"]
    root = write_classes(tmp_path / "root", {"a": 3, "b": 2})
    store.put_tree("incoming/summer test", root)
    source = f"s3://{store.bucket}/incoming/summer test"
    around["picture_service"] = None
    first = download_pictures(group="h", source=source, out=tmp_path / "1", **around)
    assert (first.pictures, dict(first.counts), first.fetched) == (5, {"a": 3, "b": 2}, 5)
    assert "a/000.jpg" in {row.picture_id for row in dataset_contract.read(tmp_path / "1").rows}
    store.put_bytes("incoming/summer test/a/000.jpg", (root / "b" / "004.jpg").read_bytes() + b" ")
    store.remove("incoming/summer test/a/001.jpg")
    store.put_bytes("incoming/summer test/b/new.jpg", (root / "a" / "001.jpg").read_bytes())
    second = download_pictures(group="h", source=source, out=tmp_path / "2", **around)
    assert (second.fetched, second.reused, second.withdrawn) == (2, 3, 1)
    assert "a/001.jpg" in {item.picture_id for item in dataset_contract.read(tmp_path / "2").refused}
