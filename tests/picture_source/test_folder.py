"""A folder of the user's own: classes, splits, odd files, and the order of the classes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from pipelines.embedded.picture_service import create_app
from silhouette.config import GroupConfig
from silhouette.contracts.dataset import RefusedPicture
from silhouette.errors import InputError, PictureError, ServiceError, SettingError
from silhouette.picture_source.folder import FolderSource
from silhouette.picture_source.listing import Listing, SourcePicture
from silhouette.picture_source.source import open_source
from silhouette.settings import PictureServiceSettings, StoreSettings
from silhouette.store import open_store
from tests.loopback import TOKEN, jpeg, serving, small_config, write_classes, write_group

NO_STORE = open_store(StoreSettings(endpoint="127.0.0.1:1", access_key="-", secret_key="-"))
opened = partial(open_source, store=NO_STORE)  # which is never asked here


class Seen:
    """What a listing said before it was closed."""

    def __init__(self, listing: Listing) -> None:
        self.classes, self.counts, self.unknown_labels = listing.classes, listing.counts(), listing.unknown_labels()
        self.pictures, self.digest = list(listing), listing.digest()
        self.reasons = {item.picture_id: item.reason for item in listing.refused()}


def listing_of(root: Path, group: str = "g", *, classes: list[str] | None = None, minimum: int = 1) -> Seen:
    config = small_config(min_pictures_per_class=minimum)
    if classes:
        config = config.model_copy(update={"groups": {group: GroupConfig(classes=classes)}})
    with opened(group=group, source=root, config=config, environ={}) as (_, listing):
        return Seen(listing)


def test_sub_folders_are_the_classes_in_sorted_order(tmp_path: Path) -> None:
    listing = listing_of(write_classes(tmp_path, {"skirt": 2, "dress": 3}))
    assert listing.classes == ("dress", "skirt")
    assert listing.counts == {"dress": 3, "skirt": 2}
    assert [picture.picture_id for picture in listing.pictures][:2] == ["dress/002.jpg", "dress/003.jpg"]
    assert {picture.split for picture in listing.pictures} == {""}


def test_the_configuration_names_the_order_and_other_labels_are_refused_with_counts(tmp_path: Path) -> None:
    root = write_classes(tmp_path, {"a": 2, "b": 2, "odd": 3})
    listing = listing_of(root, classes=["b", "a"])
    assert listing.classes == ("b", "a")
    assert listing.unknown_labels == {"odd": 3}
    assert set(listing.reasons.values()) == {"unknown_label"}


@pytest.fixture
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PictureServiceSettings]:
    root = write_group(tmp_path_factory.mktemp("group"), name="known", classes=["skirt", "dress"])
    with serving(create_app(root, TOKEN)) as url:
        yield PictureServiceSettings(url=url, token=TOKEN)


def test_without_the_configuration_the_service_names_the_order(tmp_path: Path, service: PictureServiceSettings) -> None:
    root = write_classes(tmp_path, {"dress": 2, "skirt": 2})
    for group, order in (("known", ("skirt", "dress")), ("unknown", ("dress", "skirt"))):
        with opened(group=group, source=root, config=small_config(), picture_service=service) as (_, listing):
            assert listing.classes == order


def test_a_service_that_is_configured_but_dead_is_loud(tmp_path: Path, unused_port: int) -> None:
    dead = {"SILHOUETTE_PICTURE_SERVICE_URL": f"http://127.0.0.1:{unused_port}"}
    root = write_classes(tmp_path, {"a": 2, "b": 2})
    with (
        pytest.raises(ServiceError, match="must answer"),
        opened(group="unknown", source=root, config=small_config(), environ=dead),
    ):
        pass
    with opened(group="outfit", source=root, config=_with_classes("outfit", ["a", "b"]), environ=dead) as (_, listing):
        assert listing.classes == ("a", "b")


def _with_classes(group: str, classes: list[str]):  # type: ignore[no-untyped-def]
    return small_config().model_copy(update={"groups": {group: GroupConfig(classes=classes)}})


@pytest.mark.parametrize("validation", ["val", "valid", "Validation"])
def test_train_and_test_folders_are_splits(tmp_path: Path, validation: str) -> None:
    for number, split in enumerate(("train", validation, "test")):
        write_classes(tmp_path / split, {"a": 2, "b": 2}, first=10 * number)
    listing = listing_of(tmp_path)
    assert listing.classes == ("a", "b")
    assert sorted({(picture.picture_id.split("/")[0], picture.split) for picture in listing.pictures}) == sorted(
        [("test", "test"), ("train", "train"), (validation, "val")]
    )


def test_only_what_is_below_source_counts(tmp_path: Path) -> None:
    write_classes(tmp_path / "train", {"a": 2, "b": 2})
    write_classes(tmp_path / "test", {"a": 2, "b": 2}, first=10)
    listing = listing_of(tmp_path / "train")
    assert len(listing.pictures) == 4
    assert {picture.split for picture in listing.pictures} == {""}


def test_classes_called_train_and_bus_are_classes(tmp_path: Path) -> None:
    assert listing_of(write_classes(tmp_path, {"train": 2, "bus": 2})).classes == ("bus", "train")
    assert listing_of(write_classes(tmp_path / "more", {"train": 2, "test": 2})).classes == ("test", "train")


def test_pictures_lie_deeper_links_are_followed_and_hidden_files_passed_over(tmp_path: Path) -> None:
    root = write_classes(tmp_path / "root", {"a": 2, "b": 2})
    (root / "a" / "deep" / "er").mkdir(parents=True)
    (root / "a" / "deep" / "er" / "x y'\"$ ж.JPG").write_bytes(jpeg(50))
    (root / "a" / ".DS_Store").write_bytes(b"x")
    (root / ".git").mkdir()
    (root / "a" / "round").symlink_to(root / "a")
    outside = write_classes(tmp_path / "outside", {"c": 1}, first=60) / "c"
    (root / "c").symlink_to(outside)
    listing = listing_of(root)
    names = {picture.picture_id for picture in listing.pictures}
    assert names >= {"a/deep/er/x y'\"$ ж.JPG", "c/060.jpg"}
    assert not any(".DS_Store" in name for name in names)
    assert len(names) == 6


def test_what_is_no_file_is_refused_with_a_reason(tmp_path: Path) -> None:
    root = write_classes(tmp_path, {"a": 2, "b": 2})
    (root / "a" / "dangling.jpg").symlink_to(tmp_path / "nowhere")
    os.mkfifo(root / "a" / "pipe.jpg")
    Path(os.fsdecode(bytes(root / "a") + b"/\xff.jpg")).write_bytes(jpeg(9))
    listing = listing_of(root)
    assert listing.reasons == {"a/dangling.jpg": "missing", "a/pipe.jpg": "not_a_file", "a/\\udcff.jpg": "bad_name"}
    assert len(listing.pictures) == 4


def test_an_accent_stored_in_two_characters_is_the_same_class(tmp_path: Path) -> None:
    root = write_classes(tmp_path, {"robe\u0301": 2, "b": 2})
    assert listing_of(root, classes=["rob\u00e9", "b"]).counts == {"rob\u00e9": 2, "b": 2}


def test_a_manifest_in_csv_gives_labels_splits_and_pixsets(tmp_path: Path) -> None:
    root = write_classes(tmp_path, {"pool": 4})
    (root / "pictures.csv").write_text(
        "file,label,split,pixset_id\npool/000.jpg,a,train,s1\npool/001.jpg,b,TEST,s2\npool/002.jpg,a,,\npool/9.jpg,b,,\n",
        encoding="utf-8",
    )
    listing = listing_of(root)
    assert [(item.picture_id, item.label, item.split, item.pixset_id) for item in listing.pictures] == [
        ("pool/000.jpg", "a", "train", "s1"),
        ("pool/001.jpg", "b", "test", "s2"),
        ("pool/002.jpg", "a", "", ""),
    ]
    assert listing.reasons == {"pool/9.jpg": "missing"}


def test_a_manifest_may_only_add_splits_to_the_folders(tmp_path: Path) -> None:
    root = write_classes(tmp_path, {"a": 1, "b": 1})
    lines = [{"file": "a/000.jpg", "split": "test"}, {"file": "b/001.jpg", "picture_id": "my id", "split": ""}]
    (root / "pictures.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    listing = listing_of(root)
    assert [(item.picture_id, item.label, item.split) for item in listing.pictures] == [
        ("a/000.jpg", "a", "test"),
        ("my id", "b", ""),
    ]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("pictures.csv", "file,split\na/000.jpg,north\n", "pictures.csv:2: split must be train, val, test"),
        ("pictures.csv", "file\n../../etc/passwd\n", "file must be a path below"),
        ("pictures.csv", "name\nx\n", "file must be a path below"),
        ("pictures.jsonl", '{"file": "a/000.jpg"}\n{', "pictures.jsonl:2: every line must be JSON"),
        ("pictures.jsonl", "[]\n", "pictures.jsonl:1: every line must be an object"),
        ("pictures.jsonl", "\n" + "[" * 100_000, "pictures.jsonl:2: every line must be JSON"),
        ("pictures.jsonl", "1" * 5000, "pictures.jsonl:1: every line must be JSON"),
        (
            "pictures.jsonl",
            '{"file": "a/000.jpg", "label": "\\ud800"}',
            "pictures.jsonl:1: columns must be without NUL",
        ),
        ("pictures.jsonl", '{"file": "a/\\u0000"}', "pictures.jsonl:1: columns must be without NUL"),
        ("pictures.csv", 'file\n"a/000.jpg\n', "pictures.csv:2: every line must be CSV, unexpected end"),
        ("pictures.csv", "file\n" + "x" * 200_000, "pictures.csv:2: every line must be CSV, field larger"),
        (
            "pictures.csv",
            "file,label\na/000.jpg,robe\udce9\n",
            "pictures.csv:2: a manifest must be UTF-8, got the byte 0xe9",
        ),
    ],
)
def test_a_malformed_manifest_is_refused_with_file_and_line(tmp_path: Path, name: str, text: str, says: str) -> None:
    root = write_classes(tmp_path, {"a": 1, "b": 1})
    (root / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=says):
        listing_of(root)


def test_one_id_with_two_labels_is_refused_and_a_repetition_counts_once(tmp_path: Path) -> None:
    root = write_classes(tmp_path, {"a": 2, "b": 2})
    (root / "pictures.csv").write_text(
        "file,picture_id,label\na/000.jpg,one,a\na/000.jpg,one,b\na/001.jpg,two,a\na/001.jpg,two,a\nb/002.jpg,three,b\n"
    )
    listing = listing_of(root)
    assert [picture.picture_id for picture in listing.pictures] == ["three", "two"]
    assert listing.reasons == {"one": "listed_twice"}


def test_a_folder_without_sub_folders_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(jpeg(1))
    with pytest.raises(InputError, match=r"one sub-folder per class.*holds none; make one"):
        listing_of(tmp_path)


def test_a_source_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"SOURCE must be a folder, .* is missing"):
        listing_of(tmp_path / "none")
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is a file"):
        listing_of(tmp_path / "file")
    with (
        pytest.raises(InputError, match="folder on this machine or s3://bucket/prefix, got 'https://b/x'"),
        opened(group="g", source="https://b/x", config=small_config(), environ={}),
    ):
        pass


def test_one_class_is_no_classification(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least two classes"):
        listing_of(write_classes(tmp_path, {"only": 5}))


def test_a_class_with_too_few_pictures_is_named_with_its_count(tmp_path: Path) -> None:
    root = write_classes(tmp_path, {"a": 6, "b": 4, "c": 0})
    with pytest.raises(InputError, match=r"at least 5 pictures, in .* 'b' has 4, 'c' has 0"):
        listing_of(root, minimum=5)


def test_an_empty_group_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'g' has none"):
        listing_of(write_classes(tmp_path, {"a": 0, "b": 0}))
    with pytest.raises(InputError, match=r"has none in .* \(4 refused\); its classes are \['x', 'y'\]"):
        listing_of(write_classes(tmp_path / "2", {"a": 2, "b": 2}), classes=["x", "y"])


def test_the_service_names_the_known_groups_when_it_does_not_know_one(service: PictureServiceSettings) -> None:
    with (
        pytest.raises(InputError, match=r"got 'nobody'; it knows 'known'.*SOURCE="),
        opened(group="nobody", source=None, config=small_config(), picture_service=service),
    ):
        pass


def test_without_a_source_the_service_must_be_configured() -> None:
    with (
        pytest.raises(SettingError, match="SILHOUETTE_PICTURE_SERVICE_URL must be set"),
        opened(group="g", source="", config=small_config(), environ={}),
    ):
        pass


def test_the_digest_sees_content_labels_and_classes_but_not_where_the_folder_is(tmp_path: Path) -> None:
    one = listing_of(write_classes(tmp_path / "one", {"a": 2, "b": 2})).digest
    root = write_classes(tmp_path / "two", {"a": 2, "b": 2})
    assert listing_of(root).digest == one
    assert listing_of(root, classes=["b", "a"]).digest != one
    changed = bytearray((root / "a" / "000.jpg").read_bytes())
    changed[-3] ^= 1
    (root / "a" / "000.jpg").write_bytes(changed)
    assert listing_of(root).digest != one


def test_pictures_are_found_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = FolderSource(write_classes(tmp_path, {"a": 60, "b": 60}))
    read: list[Path] = []
    real = Path.open

    def counted(path: Path, *args: str) -> object:
        read.append(path)
        return real(path, *args)

    monkeypatch.setattr(Path, "open", counted)
    found = source.find()
    assert isinstance(next(found), SourcePicture)
    assert len(read) <= 8  # as far as is read ahead
    assert len(list(found)) == 119


def test_the_classes_of_a_manifest_are_its_labels(tmp_path: Path) -> None:
    root = write_classes(tmp_path, {"pool": 2})
    assert FolderSource(root).labels() == ["pool"]
    (root / "pictures.csv").write_bytes(
        "\ufefffile,label\r\npool/000.jpg,b\r\npool/001.jpg,0\r\npool/9.jpg,a\r\n".encode()
    )
    assert FolderSource(root).labels() == ["0", "a", "b"]
    (root / "pictures.csv").unlink()
    (root / "pictures.jsonl").write_text('{"file": "pool/000.jpg", "label": 0, "picture_id": 7}')
    (picture,) = FolderSource(root).find()
    assert isinstance(picture, SourcePicture)
    assert (picture.label, picture.picture_id) == ("0", "7")


def test_a_link_to_itself_and_a_class_that_is_no_text_are_named(tmp_path: Path) -> None:
    root = write_classes(tmp_path, {"a": 1})
    (root / "a" / "self.jpg").symlink_to(root / "a" / "self.jpg")
    refused = [item for item in FolderSource(root).find() if isinstance(item, RefusedPicture)]
    assert [(item.picture_id, item.reason) for item in refused] == [("a/self.jpg", "missing")]
    Path(os.fsdecode(bytes(root) + b"/\xff")).mkdir()
    with pytest.raises(InputError, match=r"a class's folder must have a name in UTF-8, got '\\udcff'; rename it"):
        FolderSource(root).labels()


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_classes(tmp_path, {"a": 1})
    real = os.scandir

    def denied(path: Path) -> object:
        if path.name == "a":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(InputError, match=r"all of SOURCE must be readable, .*/a is not \(Permission denied\); correct"):
        list(FolderSource(root).find())


def test_a_picture_is_read_up_to_the_limit(tmp_path: Path) -> None:
    source = FolderSource(write_classes(tmp_path, {"a": 1}))
    (picture,) = source.find()
    assert isinstance(picture, SourcePicture)
    data = jpeg(0)
    assert source.fetch(picture, max_bytes=len(data), etag="says nothing").data == data
    with pytest.raises(PictureError, match=f"too_many_bytes: .*the file has {len(data)}"):
        source.fetch(picture, max_bytes=len(data) - 1)
    (tmp_path / "a" / "000.jpg").unlink()
    with pytest.raises(PictureError, match="unreadable: No such file"):
        source.fetch(picture, max_bytes=100)
