"""The store against the real embedded S3 server."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from silhouette.errors import InputError, ServiceError, SettingError
from silhouette.settings import store_settings
from silhouette.store import Store, in_parallel, open_store


def test_what_is_put_is_what_is_got(store: Store, tmp_path: Path) -> None:
    store.put_bytes("one/a", b"\0bytes")
    (tmp_path / "file").write_bytes(b"from a file")
    store.put_file("one/b", tmp_path / "file")
    store.get_file("one/b", tmp_path / "deep" / "er" / "copy")
    assert store.get_bytes("one/a") == b"\0bytes"
    assert (tmp_path / "deep" / "er" / "copy").read_bytes() == b"from a file"
    assert list((tmp_path / "deep" / "er").iterdir()) == [tmp_path / "deep" / "er" / "copy"]


def test_an_empty_object_has_size_zero_and_a_missing_one_none(store: Store) -> None:
    store.put_bytes("empty", b"")
    assert (store.size("empty"), store.exists("empty")) == (0, True)
    assert (store.size("nothing"), store.exists("nothing")) == (None, False)


def test_a_file_in_several_parts_arrives_whole(store: Store, tmp_path: Path) -> None:
    content = os.urandom(12 << 20)
    (tmp_path / "big").write_bytes(content)
    store.put_file("big", tmp_path / "big")
    assert store.size("big") == len(content)
    store.get_file("big", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == content


def test_a_missing_object_is_named(store: Store, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"read {store.bucket}/not/there"):
        store.get_bytes("not/there")
    with pytest.raises(InputError, match="not/there"):
        store.get_file("not/there", tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_removing_what_is_not_there_is_no_error(store: Store) -> None:
    store.put_bytes("gone", b"1")
    store.remove("gone")
    store.remove("gone")
    assert not store.exists("gone")


def test_the_first_of_two_writers_wins(store: Store) -> None:
    assert store.put_if_absent("claim", b"first")
    assert not store.put_if_absent("claim", b"second")
    assert store.get_bytes("claim") == b"first"


def test_many_writers_of_one_key_have_one_winner(store: Store) -> None:
    won = list(in_parallel(lambda i: store.put_if_absent("race", str(i).encode()), range(16), workers=8))
    assert won.count(True) == 1
    assert store.get_bytes("race") == str(won.index(True)).encode()


def test_many_objects_come_back_in_the_order_asked_for(store: Store) -> None:
    content = {f"many/{number:03d}": os.urandom(2000) for number in range(120)}
    assert store.put_many(content.items()) == 120
    backwards = sorted(content, reverse=True)
    assert list(store.get_many(backwards)) == [(key, content[key]) for key in backwards]
    assert list(store.list_keys("many/")) == sorted(content)


def test_nothing_put_and_nothing_got_is_no_error(store: Store, tmp_path: Path) -> None:
    assert store.put_many([]) == 0
    assert list(store.get_many([])) == []
    assert list(store.list_keys("no/such/")) == []
    assert store.get_tree("no/such", tmp_path / "none") == 0


def test_one_missing_object_among_many_is_an_error(store: Store) -> None:
    store.put_bytes("here", b"1")
    with pytest.raises(InputError, match="absent"):
        list(store.get_many(["here", "absent", "here"]))


def test_a_folder_comes_back_as_it_was(store: Store, tmp_path: Path) -> None:
    for name in ("a", "b/c", "b/d e/ф'\"$.txt"):
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, encoding="utf-8")
    assert store.put_tree("tree", tmp_path / "tree") == 3
    store.put_bytes("treetop", b"a neighbour that only shares the prefix")
    assert store.get_tree("tree", tmp_path / "back") == 3
    for name in ("a", "b/c", "b/d e/ф'\"$.txt"):
        assert (tmp_path / "back" / name).read_text(encoding="utf-8") == name
    assert store.tree_digest("tree/") == store.tree_digest("tree/")


def test_the_digest_of_a_tree_sees_one_changed_byte_and_one_more_file(store: Store) -> None:
    store.put_many([("dig/a", b"one"), ("dig/b", b"two")])
    store.put_many([("copy/a", b"one"), ("copy/b", b"two")])
    before = store.tree_digest("dig/")
    assert before == store.tree_digest("copy/")
    store.put_bytes("dig/b", b"twO")
    changed = store.tree_digest("dig/")
    store.put_bytes("dig/c", b"")
    assert len({before, changed, store.tree_digest("dig/")}) == 3


def test_a_wiped_bucket_gets_another_installation_id(fresh_store: Store) -> None:
    first = fresh_store.installation_id()
    assert first == fresh_store.installation_id()
    assert first == open_store_again(fresh_store).installation_id()
    fresh_store.remove("installation-id")
    assert fresh_store.installation_id() != first


def open_store_again(store: Store) -> Store:
    return store.__class__(store.settings)


def test_a_wrong_secret_is_named_and_never_shown(store: Store) -> None:
    stranger = open_store(replace(store.settings, secret_key="not-the-secret"))
    with pytest.raises(ServiceError, match="SILHOUETTE_S3_SECRET_KEY") as caught:
        stranger.put_bytes("x", b"1")
    assert "not-the-secret" not in str(caught.value)
    with pytest.raises(ServiceError, match="SILHOUETTE_S3_SECRET_KEY"):
        stranger.size("x")


def test_a_dead_server_is_named_with_the_way_out(store: Store, unused_port: int) -> None:
    nobody = open_store(replace(store.settings, endpoint=f"127.0.0.1:{unused_port}"))
    with pytest.raises(ServiceError, match=rf"127.0.0.1:{unused_port} must answer.*read .*/x.*make up"):
        nobody.get_bytes("x")


def test_a_bucket_that_does_not_exist_is_named(store: Store) -> None:
    with pytest.raises(ServiceError, match="NoSuchBucket"):
        open_store(replace(store.settings, bucket="never-made")).get_bytes("x")
    with pytest.raises(ServiceError, match="NoSuchBucket"):
        list(open_store(replace(store.settings, bucket="never-made")).list_keys(""))


def test_a_disk_that_cannot_be_written_is_named(store: Store, tmp_path: Path) -> None:
    store.put_bytes("x", b"1")
    (tmp_path / "file").write_text("a file where a folder is needed")
    with pytest.raises(ServiceError, match="free space or correct the rights"):
        store.get_file("x", tmp_path / "file" / "x")


def test_an_endpoint_with_a_scheme_is_refused(store: Store) -> None:
    with pytest.raises(SettingError, match=r"host:port, got 'http://127\.0\.0\.1:1'"):
        open_store(replace(store.settings, endpoint="http://127.0.0.1:1"))


def test_a_key_that_leaves_its_folder_is_refused(store: Store) -> None:
    with pytest.raises(InputError, match="names that S3 allows"):
        store.put_bytes("a/../b", b"1")


def test_what_cannot_be_put_is_named(store: Store, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="existing file"):
        store.put_file("x", tmp_path)
    with pytest.raises(InputError, match="existing folder"):
        store.put_tree("x", tmp_path / "none")


def test_the_environment_says_where_the_store_is(services_env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingError, match="SILHOUETTE_S3_ENDPOINT must be set"):
        open_store(store_settings({}))
    assert open_store(store_settings(services_env)).endpoint == services_env["SILHOUETTE_S3_ENDPOINT"]


def test_reading_ahead_is_bounded_and_the_first_error_ends_the_work() -> None:
    taken: list[int] = []
    gate = threading.Lock()

    def items() -> range:
        return range(1000)

    def work(number: int) -> int:
        with gate:
            taken.append(number)
        if number == 5:
            raise InputError("five")
        return number

    results = in_parallel(work, items(), workers=2)
    assert next(results) == 0
    assert len(taken) <= 4
    with pytest.raises(InputError, match="five"):
        list(results)
    assert len(taken) < 20
