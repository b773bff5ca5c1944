"""Pictures into the real store: each once, hostile ones recorded, nothing lost when a run is killed."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from PIL import Image
from starlette.responses import JSONResponse, Response

from pipelines.embedded.picture_service import create_app
from samples.hostile import make_hostile
from silhouette.config import Config, GroupConfig
from silhouette.contracts import dataset as dataset_contract
from silhouette.database import pictures
from silhouette.download_pictures.download import DownloadReport, download_pictures
from silhouette.errors import InputError, ServiceError
from silhouette.imaging import open_picture
from silhouette.settings import PictureServiceSettings
from silhouette.store import Store
from tests.loopback import TOKEN, Scripted, jpeg, serving, small_config, write_classes, write_group

Download = Callable[..., DownloadReport]


@pytest.fixture
def download(connection: psycopg.Connection) -> Download:
    """Download into a database that knows nothing at first."""

    def run(
        source: Path | str | PictureServiceSettings,
        store: Store,
        out: Path,
        *,
        group: str = "g",
        config: Config | None = None,
    ) -> DownloadReport:
        return download_pictures(
            group=group,
            source=None if isinstance(source, PictureServiceSettings) else source,
            out=out,
            store=store,
            connection=connection,
            config=config or small_config(),
            picture_service=source if isinstance(source, PictureServiceSettings) else None,
        )

    return run


def reasons(out: Path) -> dict[str, str]:
    return {item.picture_id: item.reason for item in dataset_contract.read(out).refused}


@pytest.fixture
def group_folder(tmp_path: Path) -> Path:
    return write_group(tmp_path / "group", name="g", classes=["a", "b"], each=4)


@pytest.fixture
def service(group_folder: Path) -> Iterator[PictureServiceSettings]:
    with serving(create_app(group_folder, TOKEN)) as url:
        yield PictureServiceSettings(url=url, token=TOKEN)


def test_a_folder_comes_in_as_it_is(download: Download, fresh_store: Store, tmp_path: Path) -> None:
    root = write_classes(tmp_path / "root", {"a": 3, "b": 2})
    report = download(root, fresh_store, tmp_path / "out", group="my group/ж")
    assert (report.pictures, report.fetched, report.reused, dict(report.refused)) == (5, 5, 0, {})
    assert (report.classes, dict(report.counts), dict(report.splits)) == (("a", "b"), {"a": 3, "b": 2}, {})
    dataset = dataset_contract.read(tmp_path / "out")
    assert (dataset.group, dataset.digest()) == ("my group/ж", report.digest)
    for row in dataset.rows:
        assert fresh_store.get_bytes(row.object_key) == (root / row.picture_id).read_bytes()
        assert row.object_key == f"pictures/{row.sha256[:2]}/{row.sha256}.jpg"
        assert (row.width, row.height) == (40, 30)
    (table,) = fresh_store.list_keys("datasets/")
    assert fresh_store.get_bytes(table) == (tmp_path / "out" / "dataset.csv").read_bytes()
    assert sum(1 for _ in csv.reader(io.StringIO(fresh_store.get_bytes(table).decode()))) == 6


def test_a_second_run_fetches_no_byte_again(
    download: Download, fresh_store: Store, tmp_path: Path, service: PictureServiceSettings
) -> None:
    first = download(service, fresh_store, tmp_path / "1")
    second = download(service, fresh_store, tmp_path / "2")
    assert (first.fetched, first.reused, second.fetched, second.reused, second.size_bytes) == (8, 0, 0, 8, 0)
    assert first.digest == second.digest
    assert (tmp_path / "1" / "dataset.csv").read_bytes() == (tmp_path / "2" / "dataset.csv").read_bytes()


def test_one_changed_byte_is_fetched_alone(
    download: Download, fresh_store: Store, tmp_path: Path, service: PictureServiceSettings, group_folder: Path
) -> None:
    first = download(service, fresh_store, tmp_path / "1")
    (group_folder / "pictures" / "3.jpg").write_bytes(jpeg(77))
    second = download(service, fresh_store, tmp_path / "2")
    assert (second.fetched, second.reused) == (1, 7)
    assert first.digest != second.digest
    root = write_classes(tmp_path / "root", {"a": 2, "b": 2})
    download(root, fresh_store, tmp_path / "3")
    (root / "a" / "000.jpg").write_bytes(jpeg(78))
    third = download(root, fresh_store, tmp_path / "4")
    assert (third.fetched, third.reused) == (1, 3)


def test_a_wiped_store_is_filled_again(
    download: Download, fresh_store: Store, tmp_path: Path, service: PictureServiceSettings
) -> None:
    download(service, fresh_store, tmp_path / "1")
    for number, key in enumerate(list(fresh_store.list_keys("pictures/"))):
        if number % 2:
            fresh_store.remove(key)
    assert download(service, fresh_store, tmp_path / "2").fetched == 4
    for key in list(fresh_store.list_keys("")):
        fresh_store.remove(key)
    assert download(service, fresh_store, tmp_path / "3").fetched == 8


def test_the_same_bytes_under_two_ids_are_two_rows_and_one_object(
    download: Download, fresh_store: Store, tmp_path: Path
) -> None:
    root = write_classes(tmp_path / "root", {"a": 2, "b": 2})
    (root / "a" / "copy.jpg").write_bytes((root / "a" / "000.jpg").read_bytes())
    report = download(root, fresh_store, tmp_path / "out")
    assert (report.pictures, report.quality.duplicates.exact_pictures) == (5, 2)
    assert len(list(fresh_store.list_keys("pictures/"))) == 4
    rows = {row.picture_id: row.near_group for row in dataset_contract.read(tmp_path / "out").rows}
    assert rows["a/000.jpg"] == rows["a/copy.jpg"] != ""


def with_pictures(**changed: Any) -> Config:
    config = small_config()
    return config.model_copy(update={"pictures": config.pictures.model_copy(update=changed)})


def test_the_same_bytes_with_two_labels_are_dropped_or_kept_as_the_settings_say(
    download: Download, fresh_store: Store, tmp_path: Path
) -> None:
    root = write_classes(tmp_path / "root", {"a": 3, "b": 3})
    (root / "b" / "copy.jpg").write_bytes((root / "a" / "000.jpg").read_bytes())
    report = download(root, fresh_store, tmp_path / "out")
    assert (report.pictures, dict(report.refused)) == (5, {"label_conflict": 2})
    assert reasons(tmp_path / "out") == {"a/000.jpg": "label_conflict", "b/copy.jpg": "label_conflict"}
    (detail, _) = [item.detail for item in dataset_contract.read(tmp_path / "out").refused]
    assert "'b/copy.jpg'" in detail
    kept = download(root, fresh_store, tmp_path / "out", config=with_pictures(conflicts="keep"))
    assert (kept.pictures, dict(kept.refused)) == (7, {})


def test_a_large_picture_gets_a_working_copy_with_its_geometry(
    download: Download, fresh_store: Store, tmp_path: Path
) -> None:
    root = write_classes(tmp_path / "root", {"a": 2, "b": 2})
    lying = Image.fromarray(np.tile(np.arange(600, dtype=np.uint8)[None, :, None], (400, 1, 3)))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter: 600 x 400 stored, 400 x 600 seen
    lying.save(root / "a" / "turned.jpg", exif=exif)
    report = download(root, fresh_store, tmp_path / "out", config=with_pictures(working_side=256))
    assert report.pictures == 5
    rows = {row.picture_id: row for row in dataset_contract.read(tmp_path / "out").rows}
    large, small = rows["a/turned.jpg"], rows["a/000.jpg"]
    assert (large.width, large.height, large.working_width, large.working_height) == (400, 600, 171, 256)
    assert large.working_key == f"working/256/{large.sha256[:2]}/{large.sha256}.jpg"
    copy = open_picture(fresh_store.get_bytes(large.working_key))
    assert (copy.width, copy.height, copy.format) == (171, 256, "JPEG")
    assert fresh_store.get_bytes(large.object_key) == (root / "a" / "turned.jpg").read_bytes()
    assert (small.working_key, small.working_width, small.working_height) == ("", 0, 0)


def test_another_working_side_reads_the_store_and_not_the_source(
    download: Download, fresh_store: Store, tmp_path: Path, service: PictureServiceSettings, group_folder: Path
) -> None:
    (group_folder / "pictures" / "1.jpg").write_bytes(jpeg(5, width=900, height=300))
    download(service, fresh_store, tmp_path / "out")
    report = download(service, fresh_store, tmp_path / "out", config=with_pictures(working_side=256))
    assert (report.fetched, report.reused) == (0, 8)
    assert [row.working_width for row in dataset_contract.read(tmp_path / "out").rows if row.working_key] == [256]


def test_the_quality_report_is_a_page_beside_the_dataset(
    download: Download, fresh_store: Store, tmp_path: Path, service: PictureServiceSettings
) -> None:
    report = download(service, fresh_store, tmp_path / "out")
    page = (tmp_path / "out" / "quality.html").read_text(encoding="utf-8")
    assert report.digest[:12] in page
    assert "data:image/jpeg;base64," in page
    assert "127.0.0.1" not in page


def test_what_a_run_leaves_in_the_store_is_for_people_too(
    download: Download, fresh_store: Store, tmp_path: Path, service: PictureServiceSettings
) -> None:
    download(service, fresh_store, tmp_path / "out", group="g")
    lines = gzip.decompress(fresh_store.get_bytes("meta/g.jsonl.gz")).decode().splitlines()
    first = json.loads(lines[0])
    assert len(lines) == 8
    assert (first["picture_id"], first["label"], first["pixset_id"]) == ("p000", "a", "shoot 0")
    assert first["object_key"] == f"pictures/{first['sha256'][:2]}/{first['sha256']}.jpg"
    assert fresh_store.get_bytes("quarantine/g.csv") == (tmp_path / "out" / "quarantine.csv").read_bytes()


def test_labels_splits_and_pixsets_of_the_service_arrive(
    download: Download, fresh_store: Store, tmp_path: Path, service: PictureServiceSettings, group_folder: Path
) -> None:
    lines = (group_folder / "pictures.jsonl").read_text().splitlines()
    records = [{**json.loads(line), "split": ("train", "test")[number % 2]} for number, line in enumerate(lines)]
    (group_folder / "pictures.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    report = download(service, fresh_store, tmp_path / "out")
    assert dict(report.splits) == {"train": 4, "test": 4}
    rows = dataset_contract.read(tmp_path / "out").rows
    assert (rows[2].picture_id, rows[2].label, rows[2].pixset_id, rows[2].split) == ("p002", "a", "shoot 1", "train")


def test_unknown_labels_are_refused_with_counts(
    download: Download, fresh_store: Store, tmp_path: Path, service: PictureServiceSettings
) -> None:
    config = small_config().model_copy(update={"groups": {"g": GroupConfig(classes=["b", "a", "c"])}})
    with pytest.raises(InputError, match="'c' has 0"):
        download(service, fresh_store, tmp_path / "out", config=config)
    root = write_classes(tmp_path / "root", {"a": 2, "b": 2, "x": 3})
    config = small_config().model_copy(update={"groups": {"g": GroupConfig(classes=["b", "a"])}})
    report = download(root, fresh_store, tmp_path / "out", config=config)
    assert (dict(report.refused), dict(report.unknown_labels)) == ({"unknown_label": 3}, {"x": 3})
    assert report.classes == ("b", "a")


def test_hostile_files_are_recorded_with_a_reason_and_the_run_goes_on(
    download: Download, connection: psycopg.Connection, fresh_store: Store, tmp_path: Path
) -> None:
    root = write_classes(tmp_path / "root", {"a": 3, "b": 3})
    (root / "a" / "zero.jpg").write_bytes(b"")
    (root / "a" / "page.jpg").write_bytes(b"<html>not found</html>")
    (root / "b" / "half.jpg").write_bytes(jpeg(40)[:400])
    report = download(root, fresh_store, tmp_path / "out")
    assert report.pictures == 6
    expected = {"a/zero.jpg": "empty", "a/page.jpg": "unsupported", "b/half.jpg": "truncated"}
    assert reasons(tmp_path / "out") == expected
    assert dict(report.refused) == {"empty": 1, "unsupported": 1, "truncated": 1}
    rows = connection.execute("SELECT picture_id, reason FROM quarantine").fetchall()
    assert dict(rows) == expected
    again = download(root, fresh_store, tmp_path / "again")
    assert (again.fetched, again.reused, again.refused) == (0, 9, report.refused)


def test_refusals_leave_a_class_too_small(download: Download, fresh_store: Store, tmp_path: Path) -> None:
    root = write_classes(tmp_path / "root", {"a": 2, "b": 2})
    (root / "a" / "000.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match=r"'a' has 1 \(1 refused\)"):
        download(root, fresh_store, tmp_path / "out")


def test_the_projects_own_hostile_files_do_not_stop_a_run(
    download: Download, fresh_store: Store, tmp_path: Path
) -> None:
    root = write_classes(tmp_path / "root", {"a": 2, "b": 2})
    made = make_hostile(root / "a" / "hostile")
    report = download(root, fresh_store, tmp_path / "out")
    assert set(report.refused) >= {"empty", "truncated", "unsupported", "too_large"}
    refused = {f"a/hostile/{file.name}" for file in made if file.expected == "refused"}
    assert set(reasons(tmp_path / "out")) == refused
    assert report.pictures == 4 + len(made) - len(refused)


def test_hostile_files_from_the_wild_do_not_stop_a_run(
    download: Download, fresh_store: Store, tmp_path: Path, shared_data: Any
) -> None:
    root = write_classes(tmp_path / "root", {"a": 2, "b": 2})
    (root / "c").symlink_to(shared_data("hostile"))
    report = download(root, fresh_store, tmp_path / "out")
    assert report.pictures + sum(report.refused.values()) > 80
    assert set(report.refused) >= {"empty", "truncated", "unsupported", "too_large", "corrupt", "animated"}
    assert download(root, fresh_store, tmp_path / "out").fetched == 0


def test_the_limits_of_size_hold_and_are_judged_again_when_they_change(
    download: Download, fresh_store: Store, tmp_path: Path
) -> None:
    root = write_classes(tmp_path / "root", {"a": 2, "b": 2})
    (root / "a" / "wide.jpg").write_bytes(jpeg(9, width=400, height=300))

    def limited(**limits: float) -> Config:
        config = small_config()
        return config.model_copy(update={"pictures": config.pictures.model_copy(update=limits)})

    for limits, reason in (({"max_megapixels": 0.1}, "too_large"), ({"max_megabytes": 0.001}, "too_many_bytes")):
        report = download(root, fresh_store, tmp_path / "out", config=limited(**limits))
        assert reasons(tmp_path / "out") == {"a/wide.jpg": reason}
    assert download(root, fresh_store, tmp_path / "out").pictures == 5
    report = download(root, fresh_store, tmp_path / "out", config=limited(max_megapixels=0.1))
    assert dict(report.refused) == {"too_large": 1}


class _Killed(BaseException):
    """A run that ends at once, as by a signal."""


@pytest.mark.parametrize("dies_at", ["put", "record"])
def test_a_run_that_is_killed_goes_on_where_it_ended(
    download: Download,
    connection: psycopg.Connection,
    fresh_store: Store,
    tmp_path: Path,
    service: PictureServiceSettings,
    dies_at: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    owner, name = (Store, "put_bytes") if dies_at == "put" else (pictures, "keep")
    real, left = getattr(owner, name), [4]

    def dying(*arguments: Any, **options: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise _Killed
        real(*arguments, **options)

    monkeypatch.setattr(owner, name, dying)
    with pytest.raises(_Killed):
        download(service, fresh_store, tmp_path / "out")
    monkeypatch.setattr(owner, name, real)
    assert not (tmp_path / "out").exists()
    assert list(fresh_store.list_keys("datasets/")) == []
    rows = connection.execute("SELECT object_key FROM pictures").fetchall()
    assert all(fresh_store.exists(key) for (key,) in rows)
    report = download(service, fresh_store, tmp_path / "out")
    assert (report.reused, report.fetched) == (len(rows), 8 - len(rows))


def listed(url_of: str = "", **more: Any) -> dict[str, Any]:
    pictures = [
        {"picture_id": f"p{number}", "labels": {"g": "ab"[number % 2]}, "etag": f'"{number}"'} for number in range(6)
    ]
    pictures[0].update(more)
    return {"pictures": pictures, "next_cursor": None}


def answering(pictures: dict[str, Any], content: Any) -> Scripted:
    def answer(path: str, nth: int) -> Response:
        if path == "/groups/g":
            return JSONResponse({"group": "g", "classes": ["a", "b"]})
        if path == "/groups/g/pictures":
            return JSONResponse(pictures)
        number = int(path.split("/")[2].removeprefix("p"))
        response = content(number)
        return response if isinstance(response, Response) else Response(response)

    return Scripted(answer)


def test_a_picture_that_is_missing_at_the_service_is_a_recorded_row_and_asked_for_again(
    download: Download, fresh_store: Store, tmp_path: Path
) -> None:
    gone = {0}
    server = answering(listed(), lambda number: Response(status_code=404) if number in gone else jpeg(number))
    with serving(server.app) as url:
        settings = PictureServiceSettings(url=url, token=TOKEN)
        assert dict(download(settings, fresh_store, tmp_path / "out").refused) == {"missing": 1}
        gone.clear()
        report = download(settings, fresh_store, tmp_path / "out")
    assert (report.pictures, report.fetched, report.reused) == (6, 1, 5)


def test_bytes_that_are_not_what_the_listing_promised_are_refused(
    download: Download, fresh_store: Store, tmp_path: Path
) -> None:
    with serving(answering(listed(sha256="0" * 64), jpeg).app) as url:
        report = download(PictureServiceSettings(url=url, token=TOKEN), fresh_store, tmp_path / "out")
    assert dict(report.refused) == {"not_what_was_listed": 1}


def test_a_service_that_dies_in_the_middle_is_loud_and_what_is_done_stays(
    download: Download, fresh_store: Store, tmp_path: Path
) -> None:
    ill = {4}
    server = answering(listed(), lambda number: Response(status_code=503) if number in ill else jpeg(number))
    with serving(server.app) as url:
        settings = PictureServiceSettings(url=url, token=TOKEN)
        with pytest.raises(ServiceError, match="what is done stays"):
            download(settings, fresh_store, tmp_path / "out")
        ill.clear()
        report = download(settings, fresh_store, tmp_path / "out")
    assert report.pictures == 6
    assert report.reused >= 3


def test_what_an_artifact_carries_names_no_address(
    download: Download, fresh_store: Store, tmp_path: Path, service: PictureServiceSettings
) -> None:
    report = download(service, fresh_store, tmp_path / "out")
    text = json.dumps(report.metadata())
    assert "127.0.0.1" not in text
    assert json.loads(text)["pictures"] == 8
