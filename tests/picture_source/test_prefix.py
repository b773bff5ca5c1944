"""An S3 prefix as a source, against the real embedded server; keys it cannot hold come from a scripted one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import Response

from silhouette.contracts.dataset import RefusedPicture
from silhouette.errors import InputError, PictureError, ServiceError
from silhouette.picture_source.folder import FolderSource
from silhouette.picture_source.listing import SourcePicture
from silhouette.picture_source.prefix import PrefixSource
from silhouette.settings import StoreSettings
from silhouette.store import Store, StoredObject, open_store
from tests.faulty_store import FaultyStore
from tests.loopback import jpeg, serving, write_classes

Rows = list[tuple[str, str, str, str]]


@contextmanager
def opened(address: str, store: Store) -> Iterator[PrefixSource]:
    with closing(PrefixSource(address, store)) as source:
        yield source


def pictures(source: PrefixSource | FolderSource) -> list[SourcePicture]:
    found = (item for item in source.find() if isinstance(item, SourcePicture))
    return sorted(found, key=lambda item: item.picture_id)


def rows(source: PrefixSource | FolderSource) -> Rows:
    return [(item.picture_id, item.label, item.split, item.pixset_id) for item in pictures(source)]


def reasons(source: PrefixSource | FolderSource) -> dict[str, str]:
    return {item.picture_id: item.reason for item in source.find() if isinstance(item, RefusedPicture)}


@pytest.fixture
def other_store(fresh_store: Store) -> Store:
    """The bucket with the pictures; `store` is the project's own."""
    return fresh_store


@pytest.mark.parametrize("layout", ["classes", "splits", "csv", "jsonl"])
def test_a_prefix_is_read_as_the_same_folder_is(layout: str, store: Store, other_store: Store, tmp_path: Path) -> None:
    root = tmp_path / "root"
    if layout == "splits":
        for number, split in enumerate(("train", "Validation", "test")):
            write_classes(root / split, {"a b": 2, "robe\u0301": 2}, first=10 * number)
    else:
        write_classes(root, {"a b": 2, "ж'\"&+%": 2})
    (root / ".git" / "x").mkdir(parents=True)
    (root / ".git" / "x" / "1.jpg").write_bytes(b"hidden")
    deep = next(path for path in sorted(root.rglob("*")) if path.suffix == ".jpg").parent / "deep" / "er"
    deep.mkdir(parents=True)
    (deep / "x?y#z é.JPG").write_bytes(jpeg(90))
    (deep / ".DS_Store").write_bytes(b"hidden")
    (root / "loose.txt").write_text("passed over")
    if layout == "csv":
        (root / "pictures.csv").write_text(
            "\ufefffile,label,split,pixset_id\na b/000.jpg,x,train,s1\n./a b/001.jpg,,TEST,\nnone.jpg,y,,\n", "utf-8"
        )
    if layout == "jsonl":
        lines = [{"file": "a b/000.jpg", "split": "test"}, {"file": "ж'\"&+%/002.jpg", "picture_id": "my id"}]
        (root / "pictures.jsonl").write_text("\n".join(map(json.dumps, lines)), "utf-8")
    other_store.put_tree("some/where", root)
    other_store.put_bytes("some/where else/c/1.jpg", b"a neighbour that only shares the beginning")
    folder = FolderSource(root)
    with opened(f"s3://{other_store.bucket}/some/where/", store) as source:
        assert rows(source) == rows(folder)
        assert reasons(source) == reasons(folder)
        assert source.labels() == folder.labels()
        assert (source.where, source.by_content) == (f"s3://{other_store.bucket}/some/where", False)
        for mine, theirs in zip(pictures(source), pictures(folder), strict=True):
            fetched = source.fetch(mine, max_bytes=10_000)
            assert fetched.data == folder.fetch(theirs, max_bytes=10_000).data
            assert mine.stamp == f"{fetched.etag} {len(fetched.data or b'')}"
            assert mine.sha256 == ""


def test_a_whole_bucket_is_a_source(store: Store, other_store: Store) -> None:
    other_store.put_many([("a/1.jpg", b"1"), ("b/2.jpg", b"2")])
    for address in (f"s3://{other_store.bucket}", f"s3://{other_store.bucket}/"):
        with opened(address, store) as source:
            assert rows(source) == [("a/1.jpg", "a", "", ""), ("b/2.jpg", "b", "", "")]
            assert source.where == f"s3://{other_store.bucket}"
            assert pictures(source)[0].locator == f"s3://{other_store.bucket}/a/1.jpg"


def test_a_picture_that_is_known_is_not_read_again(store: Store) -> None:
    store.put_bytes("known/a/1.jpg", b"one")
    with opened(f"s3://{store.bucket}/known", store) as source:
        (picture,) = pictures(source)
        first = source.fetch(picture, max_bytes=10)
        assert (source.fetch(picture, max_bytes=10, etag=first.etag).data, first.data) == (None, b"one")
        store.put_bytes("known/a/1.jpg", b"two")
        again = source.fetch(picture, max_bytes=10, etag=first.etag)
        assert again.data == b"two"
        assert again.etag != first.etag
        assert pictures(source)[0].stamp != picture.stamp


def test_a_picture_above_the_limit_is_refused_before_it_is_read(store: Store) -> None:
    store.put_bytes("size/a/1.jpg", b"x" * 1000)
    with FaultyStore(store.endpoint) as faulty:
        through = open_store(replace(store.settings, endpoint=faulty.endpoint))
        with opened(f"s3://{store.bucket}/size", through) as source:
            (picture,) = pictures(source)
            asked = len(faulty.asked)
            with pytest.raises(PictureError, match=r"too_many_bytes: at most 999 bytes are read, the object has 1000"):
                source.fetch(picture, max_bytes=999)
            assert len(faulty.asked) == asked
            grown = replace(picture, stamp="an-older-etag 10")
            with pytest.raises(PictureError, match=r"too_many_bytes: at most 999 bytes are read, the object has 1000"):
                source.fetch(grown, max_bytes=999)


def test_a_picture_that_went_away_is_missing(store: Store) -> None:
    store.put_bytes("gone/a/1.jpg", b"x")
    with opened(f"s3://{store.bucket}/gone", store) as source:
        (picture,) = pictures(source)
        store.remove("gone/a/1.jpg")
        with pytest.raises(PictureError) as caught:
            source.fetch(picture, max_bytes=10)
        assert caught.value.reason == "missing"


@pytest.mark.parametrize(
    "address",
    ["", "s3://", "s3:///x", "s3://a", "s3://b b/x", "S3://bucket/x", "https://bucket/x", "s3://bucket/a/../b",
     "s3://bucket/.", "s3://bucket/\udcff", "s3://bucket/\0"],
)  # fmt: skip
def test_a_malformed_address_is_refused(address: str, store: Store) -> None:
    with pytest.raises(
        InputError, match=r"SOURCE must be a folder or s3://bucket/prefix, got '.*'; correct it"
    ) as caught:
        PrefixSource(address, store)
    str(caught.value).encode()


def test_what_is_not_there_is_named_with_the_way_out(store: Store) -> None:
    store.put_many([("flat/1.jpg", b"1"), ("hidden/.a/1.jpg", b"1")])
    for address, says in (
        ("s3://never-made/x", r"bucket that exists, the store at \S+ has no bucket 'never-made'; correct SOURCE"),
        (f"s3://{store.bucket}/nothing", r"prefix with objects below it, s3://\S+/nothing has none; correct it"),
        (f"s3://{store.bucket}/flat/1.jpg", r"objects below it, s3://\S+/flat/1\.jpg is an object; correct it"),
        (f"s3://{store.bucket}/flat", r"one sub-folder per class, s3://\S+/flat holds none; make one sub-folder"),
        (f"s3://{store.bucket}/hidden", r"one sub-folder per class, s3://\S+/hidden holds none"),
        ("s3://xn--..--s3alias/x", "names that S3 allows"),
    ):
        with opened(address, store) as source:
            for ask in (source.labels, lambda source=source: list(source.find())):  # type: ignore[misc]
                with pytest.raises(InputError, match=says) as caught:
                    ask()
                assert "\n" not in str(caught.value)


def test_a_malformed_manifest_is_named_by_its_address(store: Store) -> None:
    for text, says in (
        ("file\n../1.jpg\n", r"/bad/pictures\.csv:2: file must be a path below s3://\S+/bad, got '\.\./1\.jpg'"),
        ("file\n/1.jpg\n", r"/bad/pictures\.csv:2: file must be a path below"),
        ("file,split\na/1.jpg,north\n", r"/bad/pictures\.csv:2: split must be train, val, test or empty, got 'north'"),
    ):
        store.put_bytes("bad/pictures.csv", text.encode())
        with opened(f"s3://{store.bucket}/bad", store) as source, pytest.raises(InputError, match=f"s3://.*{says}"):
            list(source.find())


def test_keys_without_rights_say_which_settings_are_wrong(store: Store) -> None:
    stranger = open_store(replace(store.settings, secret_key="not-the-secret"))
    with opened(f"s3://{store.bucket}/x", stranger) as source, pytest.raises(ServiceError, match="S3_SECRET_KEY"):
        source.labels()


# ---- what the embedded server cannot hold, and what it never answers


class S3Server:
    """A bucket as MinIO or AWS would show it, with any keys; lists in pages and denies what begins with `denied`."""

    def __init__(self, keys: list[str], *, denied: str = "", page: int = 2) -> None:
        self.keys, self.denied, self.page = sorted(keys), denied, page
        self.asked: list[str] = []
        self.content: dict[str, bytes] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        query = {name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()}
        key = scope["path"].removeprefix("/bucket").removeprefix("/")
        self.asked.append(key)
        await self._answer(key, query)(scope, receive, send)

    def _answer(self, key: str, query: dict[str, str]) -> Response:
        if self.denied and (key or query.get("prefix", "")).startswith(self.denied):
            return _xml("<Error><Code>AccessDenied</Code></Error>", 403)
        if "list-type" in query:
            return self._listing(query.get("prefix", ""), query.get("delimiter", ""), query.get("continuation-token"))
        if key in self.keys:
            data = self.content.get(key, b"data")
            return Response(data, headers={"ETag": '"e"', "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"})
        return _xml("<Error><Code>NoSuchKey</Code></Error>", 404)

    def _listing(self, prefix: str, delimiter: str, token: str | None) -> Response:
        entries: dict[str, str] = {}
        for key in self.keys:
            rest = key.removeprefix(prefix)
            if key.startswith(prefix) and delimiter and delimiter in rest:
                folder = prefix + rest.partition(delimiter)[0] + delimiter
                entries[folder] = f"<CommonPrefixes><Prefix>{quote(folder)}</Prefix></CommonPrefixes>"
            elif key.startswith(prefix):
                entries[key] = f'<Contents><Key>{quote(key)}</Key><Size>4</Size><ETag>"e"</ETag></Contents>'
        start, shown = int(token or 0), list(entries.values())
        end = start + self.page
        more = f"<NextContinuationToken>{end}</NextContinuationToken>" if end < len(shown) else ""
        return _xml(
            "<ListBucketResult><Name>bucket</Name><EncodingType>url</EncodingType>"
            f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>{more}{''.join(shown[start:end])}"
            "</ListBucketResult>"
        )


def _xml(text: str, status: int = 200) -> Response:
    return Response(text, status, media_type="application/xml")


def scripted_store(url: str) -> Store:
    return open_store(StoreSettings(endpoint=urlsplit(url).netloc, access_key="k", secret_key="s", bucket="own"))


def test_odd_keys_are_text_and_never_paths() -> None:
    keys = ["p/a/", "p/a//2.jpg", "p/a/../3.jpg", "p/a/./4.jpg", "p/a/\\..\\5.jpg", "p/a/ 6 .jpg", "p/a/7\x01.jpg",
            "p/a/8\n.jpg", "p/a/%2e%2e.jpg", "p/a/sub/", "p/a/sub/.h/9.jpg", "p//10.jpg", "p/../11.jpg", "p/b/12.jpg",
            "p/", "p/loose.jpg"]  # fmt: skip
    with serving(S3Server(keys)) as url, opened("s3://bucket/p", scripted_store(url)) as source:
        assert source.labels() == ["a", "b"]
        assert {item.picture_id: item.label for item in pictures(source)} == {
            "/10.jpg": "",  # no label: refused when the listing is sorted out
            "a//2.jpg": "a",
            "a/\\..\\5.jpg": "a",
            "a/ 6 .jpg": "a",
            "a/7\x01.jpg": "a",
            "a/8\n.jpg": "a",
            "a/%2e%2e.jpg": "a",
            "b/12.jpg": "b",
        }
        assert reasons(source) == {"a/../3.jpg": "bad_name", "a/./4.jpg": "bad_name"}
        for picture in pictures(source):
            assert source.fetch(picture, max_bytes=4).data == b"data"
        hostile = replace(pictures(source)[0], locator="s3://bucket/p/a/../3.jpg")
        with pytest.raises(PictureError, match=r"bad_name: .*names that S3 allows"):
            source.fetch(hostile, max_bytes=4)


def test_one_picture_denied_is_refused_and_a_prefix_denied_ends_the_run() -> None:
    with serving(S3Server(["p/a/1.jpg", "p/b/2.jpg"], denied="p/a/1")) as url:
        with opened("s3://bucket/p", scripted_store(url)) as source:
            denied, open_ = pictures(source)
            assert source.fetch(open_, max_bytes=4).data == b"data"
            with pytest.raises(PictureError, match="forbidden: the store's keys may not read the object"):
                source.fetch(denied, max_bytes=4)
    listed = S3Server(["p/a/1.jpg", "p/b/2.jpg", "p/pictures.csv"], denied="p/a/1")
    listed.content["p/pictures.csv"] = b"file\na/1.jpg\nb/2.jpg\n"
    with serving(listed) as url, opened("s3://bucket/p", scripted_store(url)) as source:
        assert (rows(source), reasons(source)) == ([("b/2.jpg", "b", "", "")], {"a/1.jpg": "forbidden"})
    with serving(S3Server(["p/a/1.jpg"], denied="p/")) as url:
        with (
            opened("s3://bucket/p", scripted_store(url)) as source,
            pytest.raises(ServiceError, match=r"open to the store's keys, the store at \S+ denies s3://bucket/p; let"),
        ):
            list(source.find())


def test_a_listing_is_streamed_page_by_page() -> None:
    server = S3Server([f"p/a/{number:03d}.jpg" for number in range(40)], page=5)
    with serving(server) as url, opened("s3://bucket/p", scripted_store(url)) as source:
        found = source.find()
        next(found)
        early = len(server.asked)
        assert len(list(found)) == 39
        assert len(server.asked) == early + 7


_PARTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=8)
_NAMES = st.lists(_PARTS.filter(lambda part: not part.startswith(".")), min_size=2, max_size=4)


@given(names=st.lists(_NAMES, min_size=1, max_size=6))
def test_whatever_the_keys_every_picture_is_listed_under_its_own(names: list[list[str]]) -> None:
    keys = {"/".join(name) for name in names}

    class Listed:
        """What `PrefixSource` asks of a store for a listing, over keys in memory."""

        bucket, endpoint = "bucket", "nowhere"

        def of_bucket(self, _: str) -> Listed:
            return self

        def exists(self, _: str) -> bool:
            return False

        def list_folders(self, prefix: str) -> list[str]:
            rest = [key.removeprefix(prefix) for key in keys if key.startswith(prefix)]
            return sorted({key.partition("/")[0] for key in rest if "/" in key})

        def list_objects(self, prefix: str) -> Iterator[StoredObject]:
            return (StoredObject(key=key, size_bytes=1, etag="e") for key in sorted(keys) if key.startswith(prefix))

    source = PrefixSource("s3://bucket", Listed())  # type: ignore[arg-type]
    found = pictures(source)
    assert {item.picture_id for item in found} == keys
    assert {item.locator for item in found} == {f"s3://bucket/{key}" for key in keys}
