"""What is on the badlist stays outside: not asked for, not stored, in no dataset, under whatever id its bytes come."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import psycopg
import pytest
from starlette.responses import JSONResponse, Response

from silhouette.contracts import dataset as datasets
from silhouette.contracts.dataset import RefusedPicture
from silhouette.database import badlist
from silhouette.download_pictures.download import DownloadReport, download_pictures, download_pixsets
from silhouette.errors import InputError
from silhouette.settings import PictureServiceSettings
from silhouette.store import Store
from tests.loopback import TOKEN, Scripted, jpeg, serving, small_config, write_classes

SAME = {7: 0}  # picture 7 has the bytes of picture 0


@pytest.fixture
def around(connection: psycopg.Connection, fresh_store: Store) -> dict[str, Any]:
    return {"store": fresh_store, "connection": connection, "config": small_config()}


def content(number: int) -> bytes:
    return jpeg(SAME.get(number, number))


def service(*, with_sha256: bool, count: int = 8) -> Scripted:
    """A service that lists `count` pictures, with or without the SHA-256 of their bytes."""
    listed = [
        {
            "picture_id": f"p{number}",
            "labels": {"g": "ab"[number % 2]},
            "etag": f'"{number}"',
            "sha256": hashlib.sha256(content(number)).hexdigest() if with_sha256 else "",
        }
        for number in range(count)
    ]

    def answer(path: str, nth: int) -> Response:
        if path == "/groups/g":
            return JSONResponse({"group": "g", "classes": ["a", "b"]})
        if path in ("/groups/g/pictures", "/pixsets/rooms/pictures"):
            return JSONResponse({"pictures": listed, "next_cursor": None})
        return Response(content(int(path.split("/")[2].removeprefix("p"))))

    return Scripted(answer)


def download(server: Scripted, out: Path, around: dict[str, Any]) -> DownloadReport:
    with serving(server.app) as url:
        settings = PictureServiceSettings(url=url, token=TOKEN)
        return download_pictures(group="g", source=None, out=out, picture_service=settings, **around)


def fetched(server: Scripted) -> list[str]:
    return sorted(path.split("/")[2] for path, _ in server.asked if path.endswith("/content"))


def content_of(out: Path) -> tuple[list[str], tuple[RefusedPicture, ...]]:
    read = datasets.read(out)
    return [row.picture_id for row in read.rows], read.refused


def left_out(picture_id: str, detail: str) -> RefusedPicture:
    return RefusedPicture(picture_id=picture_id, reason="badlisted", detail=detail)


ITSELF, ITS_BYTES = "it is on the badlist", "its bytes are on the badlist under another id"


def test_what_is_known_to_be_bad_is_not_asked_for_nor_stored(around: dict[str, Any], tmp_path: Path) -> None:
    badlist.add(around["connection"], ["p0", "nobody has it"])
    server = service(with_sha256=True)
    report = download(server, tmp_path / "out", around)
    rows, refused = content_of(tmp_path / "out")
    assert rows == ["p1", "p2", "p3", "p4", "p5", "p6"]
    assert refused == (left_out("p0", ITSELF), left_out("p7", ITS_BYTES))
    assert (report.pictures, report.fetched, dict(report.refused)) == (6, 6, {"badlisted": 2})
    assert fetched(server) == rows
    bad = hashlib.sha256(content(0)).hexdigest()
    assert badlist.contents(around["connection"]) == {bad}, "its bytes are bad wherever else they come in"
    assert badlist.unknown(around["connection"], ["p0", "nobody has it"]) == ["nobody has it"]
    assert not [key for key in around["store"].list_keys("") if bad in key]


def test_bytes_that_nobody_knows_are_asked_for_once_and_not_kept(around: dict[str, Any], tmp_path: Path) -> None:
    badlist.add(around["connection"], ["p0"])
    server = service(with_sha256=False)
    first = download(server, tmp_path / "out", around)
    rows, refused = content_of(tmp_path / "out")
    assert rows == ["p1", "p2", "p3", "p4", "p5", "p6"]
    assert refused == (left_out("p0", ITSELF), left_out("p7", ITS_BYTES))
    bad = hashlib.sha256(content(0)).hexdigest()
    (stored,) = [key for key in around["store"].list_keys("") if bad in key]  # came in as p7, before p0 was known
    assert stored.startswith("pictures/")
    again = service(with_sha256=False)
    assert download(again, tmp_path / "out", around).digest == first.digest
    assert fetched(again) == []
    assert content_of(tmp_path / "out")[0] == rows


@pytest.mark.parametrize("with_sha256", [True, False])
def test_a_push_takes_a_picture_and_its_double_out_and_a_removal_brings_them_back(
    around: dict[str, Any], tmp_path: Path, with_sha256: bool
) -> None:
    first = download(service(with_sha256=with_sha256), tmp_path / "out", around)
    assert dict(first.refused) == {"label_conflict": 2}, "the same bytes are a and b"
    badlist.add(around["connection"], ["p7"])
    after = service(with_sha256=with_sha256)
    report = download(after, tmp_path / "out", around)
    assert (fetched(after), dict(report.refused), report.withdrawn) == ([], {"badlisted": 2}, 0)
    assert content_of(tmp_path / "out")[1] == (left_out("p0", ITS_BYTES), left_out("p7", ITSELF))
    assert (report.quality.duplicates.exact_conflicts, report.quality.refused) == (0, {"badlisted": 2})
    badlist.remove(around["connection"], ["p7"])
    back = service(with_sha256=with_sha256)
    assert download(back, tmp_path / "out", around).digest == first.digest
    assert fetched(back) == [], "what was here before is here still"


def test_what_was_never_brought_in_comes_when_it_is_off_the_badlist(around: dict[str, Any], tmp_path: Path) -> None:
    badlist.add(around["connection"], ["p2"])
    download(service(with_sha256=False), tmp_path / "out", around)
    badlist.remove(around["connection"], ["p2"])
    server = service(with_sha256=False)
    download(server, tmp_path / "out", around)
    assert "p2" in content_of(tmp_path / "out")[0]
    assert fetched(server) == ["p2"]


def test_it_is_in_neither_page_nor_object_of_the_store_but_named_as_left_out(
    around: dict[str, Any], tmp_path: Path
) -> None:
    root = write_classes(tmp_path / "root", {"a": 3, "b": 3})
    badlist.add(around["connection"], ["b/004.jpg"])
    download_pictures(group="g", source=root, out=tmp_path / "out", **around)
    page = (tmp_path / "out" / datasets.QUALITY_NAME).read_text()
    before, _, refusals = page.partition("<h2>Refused</h2>")
    assert "b/004.jpg" not in before
    assert "b/004.jpg" in refusals.partition("</section>")[0]
    assert "b/004.jpg" not in refusals.partition("</section>")[2]
    store: Store = around["store"]
    (dataset,), (quarantine,) = store.list_keys("datasets/"), store.list_keys("quarantine/")
    assert b"b/004.jpg" not in store.get_bytes(dataset)
    assert b"b/004.jpg,badlisted,it is on the badlist" in store.get_bytes(quarantine)


def test_a_class_of_which_too_little_is_left_is_told_with_the_number(around: dict[str, Any], tmp_path: Path) -> None:
    root = write_classes(tmp_path / "root", {"a": 3, "b": 2})
    badlist.add(around["connection"], ["b/004.jpg"])
    with pytest.raises(InputError, match=r"'b' has 1.*1 refused"):
        download_pictures(group="g", source=root, out=tmp_path / "out", **around)


def test_pictures_of_pixsets_are_left_out_likewise(around: dict[str, Any], tmp_path: Path) -> None:
    badlist.add(around["connection"], ["p0"])
    (tmp_path / "rooms.json").write_text(json.dumps(["rooms"]))
    with serving(service(with_sha256=True).app) as url:
        settings = PictureServiceSettings(url=url, token=TOKEN)
        report = download_pixsets(
            pixsets=tmp_path / "rooms.json", out=tmp_path / "out", picture_service=settings, **around
        )
    assert (report.pictures, dict(report.refused)) == (6, {"badlisted": 2})
