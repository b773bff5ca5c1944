"""The digest in front of the cached steps: it changes exactly when they must run again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.embedded.picture_service import create_app
from silhouette.errors import InputError
from silhouette.settings import PictureServiceSettings
from silhouette.source_version.version import SourceVersion, source_version
from silhouette.store import Store
from tests.loopback import TOKEN, jpeg, serving, small_config, write_classes, write_group


def version(source: Path | None, store: Store, **options: Any) -> SourceVersion:
    options = {"group": "g", "config": small_config(), **options}
    return source_version(source=source, store=store, **options)


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


def test_the_service_is_asked_and_its_changed_picture_noticed(store: Store, tmp_path: Path) -> None:
    group = write_group(tmp_path, name="g", classes=["a", "b"])
    with serving(create_app(group, TOKEN)) as url:
        settings = PictureServiceSettings(url=url, token=TOKEN)
        before = version(None, store, picture_service=settings)
        assert version(None, store, picture_service=settings) == before
        (group / "pictures" / "1.jpg").write_bytes(jpeg(55))
        assert version(None, store, picture_service=settings).digest != before.digest


def test_what_cannot_be_learned_from_is_refused_before_anything_is_fetched(store: Store, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'b' has 1"):
        version(write_classes(tmp_path, {"a": 4, "b": 1}), store)
