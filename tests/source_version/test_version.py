"""The digest in front of the cached steps: it changes exactly when they must run again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pipelines.embedded.picture_service import create_app
from silhouette.database import badlist, connect
from silhouette.download_pictures.download import download_pictures
from silhouette.errors import InputError
from silhouette.settings import PictureServiceSettings
from silhouette.source_version.version import SourceVersion, pixsets_version, source_version
from silhouette.store import Store
from tests.loopback import TOKEN, jpeg, serving, small_config, write_classes, write_group


@pytest.fixture(autouse=True)
def connection(environ: dict[str, str]) -> Iterator[psycopg.Connection]:
    with connect() as opened:
        opened.execute("TRUNCATE pictures, labels, datasets, groups, badlist")
        yield opened


def version(source: Path | None, store: Store, **options: Any) -> SourceVersion:
    options = {"group": "g", "config": small_config(), **options}
    with connect() as connection:
        return source_version(source=source, store=store, connection=connection, **options)


def test_nothing_changed_is_the_same_digest_wherever_the_folder_lies(store: Store, tmp_path: Path) -> None:
    one = version(write_classes(tmp_path / "one", {"a": 2, "b": 3}), store)
    two = version(write_classes(tmp_path / "two", {"a": 2, "b": 3}), store)
    assert one.digest == two.digest
    assert (one.group, one.classes, one.pictures, dict(one.counts)) == ("g", ("a", "b"), 5, {"a": 2, "b": 3})


def test_a_byte_under_the_same_path_size_and_time_is_noticed(store: Store, tmp_path: Path) -> None:
    import os

    root = write_classes(tmp_path, {"a": 2, "b": 2})
    before = version(root, store).digest
    path = root / "a" / "000.jpg"
    status, content = path.stat(), bytearray(path.read_bytes())
    content[-4] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert version(root, store).digest != before


def test_every_other_reason_to_run_again_changes_the_digest(store: Store, tmp_path: Path) -> None:
    root = write_classes(tmp_path, {"a": 3, "b": 3})
    config = small_config()
    smaller = config.model_copy(update={"pictures": config.pictures.model_copy(update={"max_megapixels": 1.0})})
    slower = config.model_copy(update={"pictures": config.pictures.model_copy(update={"workers": 1})})
    digests = {
        version(root, store).digest,
        version(root, store, group="h").digest,
        version(root, store, config=smaller).digest,
    }
    assert len(digests) == 3
    assert version(root, store, config=slower).digest in digests
    (root / "a" / "000.jpg").rename(root / "b" / "000.jpg")
    digests.add(version(root, store).digest)
    (root / "b" / "new.jpg").write_bytes(jpeg(80))
    digests.add(version(root, store).digest)
    assert len(digests) == 5


def test_a_wiped_bucket_changes_the_digest(fresh_store: Store, tmp_path: Path) -> None:
    root = write_classes(tmp_path, {"a": 2, "b": 2})
    before = version(root, fresh_store).digest
    fresh_store.remove("installation-id")
    assert version(root, fresh_store).digest != before


def test_a_push_on_the_badlist_changes_the_digest_of_who_has_the_picture_alone(
    store: Store, connection: psycopg.Connection, tmp_path: Path
) -> None:
    root, other = write_classes(tmp_path / "g", {"a": 3, "b": 3}), write_classes(tmp_path / "other", {"a": 2, "b": 4})
    same_bytes = write_classes(tmp_path / "same bytes", {"c": 6, "d": 6})

    def digests() -> list[str]:
        return [version(folder, store).digest for folder in (root, other, same_bytes)]

    before = digests()
    badlist.add(connection, ["nobody has it", "b/002.jpg"])
    after = digests()
    assert [one == two for one, two in zip(before, after, strict=True)] == [True, False, True]
    badlist.add(connection, ["a/001.jpg"])
    last = digests()
    assert [one == two for one, two in zip(after, last, strict=True)] == [False, False, True]
    assert digests() == last


def test_bytes_that_came_in_under_a_bad_id_change_the_digest_of_every_group_that_has_them(
    store: Store, connection: psycopg.Connection, tmp_path: Path
) -> None:
    root, config = write_classes(tmp_path / "g", {"a": 3, "b": 3}), small_config()
    same_bytes = write_classes(tmp_path / "same bytes", {"c": 6, "d": 6})
    around: dict[str, Any] = {"store": store, "connection": connection, "config": config}
    download_pictures(group="g", source=root, out=tmp_path / "out", **around)
    before = version(same_bytes, store, group="h").digest
    badlist.add(connection, ["a/001.jpg"])
    assert version(same_bytes, store, group="h").digest != before


def test_the_digest_comes_back_when_a_picture_is_off_the_badlist_and_was_brought_in_again(
    store: Store, connection: psycopg.Connection, tmp_path: Path
) -> None:
    root, config = write_classes(tmp_path / "g", {"a": 3, "b": 3}), small_config()
    around: dict[str, Any] = {"store": store, "connection": connection, "config": config}

    def digest_and_download() -> str:
        found = version(root, store).digest
        download_pictures(group="g", source=root, out=tmp_path / "out", **around)
        assert version(root, store).digest in (found, first), "a download alone makes no other new"
        return found

    first = version(root, store).digest
    assert digest_and_download() == first
    badlist.add(connection, ["a/001.jpg"])
    bad = digest_and_download()
    badlist.remove(connection, ["a/001.jpg"])
    back = digest_and_download()  # not the first: that one is cached, and nobody would bring the picture in
    assert len({first, bad, back}) == 3
    assert digest_and_download() == first
    badlist.add(connection, ["a/001.jpg"])
    assert version(root, store).digest not in {first, bad, back}


def test_the_service_is_asked_and_its_changed_picture_noticed(store: Store, tmp_path: Path) -> None:
    group = write_group(tmp_path, name="g", classes=["a", "b"])
    with serving(create_app(group, TOKEN)) as url:
        settings = PictureServiceSettings(url=url, token=TOKEN)
        before = version(None, store, picture_service=settings)
        assert version(None, store, picture_service=settings) == before
        (group / "pictures" / "1.jpg").write_bytes(jpeg(55))
        assert version(None, store, picture_service=settings).digest != before.digest


def test_the_badlist_concerns_the_pictures_of_pixsets_too(
    store: Store, connection: psycopg.Connection, tmp_path: Path
) -> None:
    group, pixsets = write_group(tmp_path / "group", name="g", classes=["a", "b"]), tmp_path / "rooms.json"
    pixsets.write_text('["shoot 1"]')  # p002 and p003
    with serving(create_app(group, TOKEN)) as url:
        around: dict[str, Any] = {
            "store": store, "connection": connection, "config": small_config(),
            "picture_service": PictureServiceSettings(url=url, token=TOKEN),
        }  # fmt: skip
        before = pixsets_version(pixsets=pixsets, **around)
        badlist.add(connection, ["p001"])
        assert pixsets_version(pixsets=pixsets, **around) == before
        badlist.add(connection, ["p002"])
        assert pixsets_version(pixsets=pixsets, **around).digest != before.digest


def test_what_cannot_be_learned_from_is_refused_before_anything_is_fetched(store: Store, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'b' has 1"):
        version(write_classes(tmp_path, {"a": 4, "b": 1}), store)
