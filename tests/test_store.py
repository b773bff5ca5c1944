"""The store against the real embedded S3 server."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from starlette.responses import HTMLResponse
from urllib3.util import retry as urllib3_retry

from silhouette import store as store_module
from silhouette.errors import InputError, ServiceError, SettingError
from silhouette.settings import StoreSettings, store_settings
from silhouette.store import (
    MissingObjectError,
    Store,
    StoredObject,
    StoreRefusedError,
    TooLargeObjectError,
    as_they_end,
    in_parallel,
    open_store,
)
from tests.faulty_store import FaultyStore
from tests.loopback import serving


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


def test_objects_are_listed_with_size_and_etag_and_folders_by_name(store: Store) -> None:
    store.put_many([("grove/a/1", b"one"), ("grove/a/b/2", b"two"), ("grove/c/3", b""), ("grove/loose", b"x")])
    assert [(item.key, item.size_bytes) for item in store.list_objects("grove/a")] == [
        ("grove/a/1", 3),
        ("grove/a/b/2", 3),
    ]
    assert list(store.list_folders("grove/")) == ["a", "c"]
    assert list(store.list_folders("grove/a/")) == ["b"]
    assert list(store.list_folders("no/such/")) == []
    (one,) = store.list_objects("grove/a/1")
    assert store.find("grove/a/1") == one == StoredObject(key="grove/a/1", size_bytes=3, etag=one.etag)
    assert store.find("grove/a") is None
    assert one.etag != ""


def test_an_object_that_did_not_change_is_not_read_again(store: Store) -> None:
    store.put_bytes("same", b"one")
    first = store.get_changed("same", etag="")
    assert first is not None
    assert (first[0], store.get_changed("same", etag=first[1])) == (b"one", None)
    store.put_bytes("same", b"two")
    assert (store.get_changed("same", etag=first[1]) or (b"",))[0] == b"two"
    with pytest.raises(MissingObjectError):
        store.get_changed("never there", etag=first[1])


def test_no_more_is_read_than_the_caller_wants(store: Store) -> None:
    store.put_bytes("big", b"x" * 1000)
    assert len(store.get_bytes("big", max_bytes=1000)) == 1000
    with pytest.raises(TooLargeObjectError, match=r"at most 999 bytes of .*/big are read, it has 1000") as caught:
        store.get_bytes("big", max_bytes=999)
    assert caught.value.size_bytes == 1000


def test_another_bucket_of_the_server_is_opened_with_the_same_keys(store: Store, fresh_store: Store) -> None:
    fresh_store.put_bytes("x", b"there")
    patient = open_store(store.settings, patience_s=7.0)
    other = patient.of_bucket(fresh_store.bucket)
    assert (other.get_bytes("x"), other.patience_s) == (b"there", 7.0)
    assert patient.of_bucket(store.bucket) is patient


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
    with pytest.raises(StoreRefusedError, match="NoSuchBucket") as caught:
        list(open_store(replace(store.settings, bucket="never-made")).list_keys(""))
    assert caught.value.code == "NoSuchBucket"


def test_a_server_that_is_no_store_is_named() -> None:
    with serving(HTMLResponse("<p>hello")) as url:
        stranger = open_store(StoreSettings(endpoint=url.removeprefix("http://"), access_key="k", secret_key="s"))
        with pytest.raises(
            ServiceError, match=r"the store at \S+ must answer, it did not when asked to list .*ParseError"
        ):
            list(stranger.list_keys("x"))


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


def test_results_come_as_they_end_and_the_first_error_ends_the_work() -> None:
    slow, taken = threading.Event(), []

    def work(number: int) -> int:
        taken.append(number)
        if number == 0:
            slow.wait(20)
        if number == 7:
            raise InputError("seven")
        return number

    results = as_they_end(work, range(1000), workers=2)
    assert [next(results) for _ in range(3)] == [1, 2, 3]
    assert len(taken) <= 8
    slow.set()
    with pytest.raises(InputError, match="seven"):
        list(results)
    assert len(taken) < 20
    assert sorted(as_they_end(str, range(30), workers=3)) == sorted(map(str, range(30)))


# ---- patience


@pytest.fixture
def faulty(store: Store) -> Iterator[FaultyStore]:
    with FaultyStore(store.endpoint) as proxy:
        yield proxy


@pytest.fixture
def through(store: Store, faulty: FaultyStore) -> Store:
    """The store as it is seen behind the proxy."""
    return open_store(replace(store.settings, endpoint=faulty.endpoint))


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1000.0
        self.pauses_s: list[float] = []
        monkeypatch.setattr(store_module, "time", SimpleNamespace(monotonic=lambda: self.now_s))
        monkeypatch.setattr(urllib3_retry, "time", SimpleNamespace(sleep=self.sleep))

    def sleep(self, pause_s: float) -> None:
        self.pauses_s.append(pause_s)
        self.now_s += pause_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_a_body_is_sent_again_whole_after_503(store: Store, through: Store, faulty: FaultyStore, clock: Clock) -> None:
    content = os.urandom(6 << 20)  # more than one part, were it in parts
    faulty.answer_503(3)
    through.put_bytes("again", content)
    assert store.get_bytes("again") == content
    assert [method for method, _ in faulty.asked] == ["PUT"] * 4


def test_a_file_in_parts_survives_503_and_lost_answers(
    store: Store, through: Store, faulty: FaultyStore, clock: Clock, tmp_path: Path
) -> None:
    content = os.urandom(11 << 20)
    (tmp_path / "big").write_bytes(content)
    faulty.answer_503(2)  # the request that begins it
    faulty.break_off(1)
    through.put_file("parts", tmp_path / "big")
    assert store.get_bytes("parts") == content


def test_reading_and_listing_survive_503(store: Store, through: Store, faulty: FaultyStore, clock: Clock) -> None:
    store.put_bytes("calm/a", b"one")
    faulty.answer_503(2)
    assert list(through.list_keys("calm/")) == ["calm/a"]
    faulty.answer_503(2)
    assert through.get_bytes("calm/a") == b"one"
    faulty.answer_503(2)
    assert through.size("calm/a") == 3


def test_an_answer_that_breaks_off_is_asked_for_again(
    store: Store, through: Store, faulty: FaultyStore, tmp_path: Path
) -> None:
    content = os.urandom(3 << 20)
    store.put_bytes("broken", content)
    faulty.break_off(2, after_bytes=2 << 20)
    assert through.get_bytes("broken") == content
    faulty.break_off(3, after_bytes=1000)
    through.get_file("broken", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content
    assert len(faulty.asked) == 3 + 4


def test_an_answer_that_always_breaks_off_is_an_error(
    store: Store, through: Store, faulty: FaultyStore, tmp_path: Path
) -> None:
    store.put_bytes("broken", os.urandom(1 << 20))
    faulty.break_off(1000, after_bytes=1000)
    with pytest.raises(ServiceError, match=r"must answer, it did not when asked to read .*/broken"):
        through.get_file("broken", tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_gone_for_a_moment_is_waited_for(
    store: Store, through: Store, faulty: FaultyStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    through.put_bytes("before", b"1")
    faulty.refuse()
    monkeypatch.setattr(urllib3_retry, "time", SimpleNamespace(sleep=lambda _: faulty.heal()))
    through.put_bytes("after", b"2")
    assert store.get_bytes("after") == b"2"


@pytest.mark.parametrize("patience_s", [5.0, 60.0])
def test_a_server_that_stays_away_is_given_up_when_the_patience_ends(
    store: Store, faulty: FaultyStore, clock: Clock, patience_s: float
) -> None:
    patient = open_store(replace(store.settings, endpoint=faulty.endpoint), patience_s=patience_s)
    faulty.answer_503(1000)
    began_s = clock.now_s
    with pytest.raises(ServiceError, match=r"must answer.*too many 503 error responses"):
        patient.get_bytes("x")
    assert clock.now_s - began_s == pytest.approx(patience_s)
    assert max(clock.pauses_s) <= 4.0
    assert len(faulty.asked) == len(clock.pauses_s) + 2  # the first pause is none
    faulty.refuse()
    began_s = clock.now_s
    with pytest.raises(ServiceError, match=r"must answer.*NewConnectionError"):
        patient.get_bytes("x")
    assert clock.now_s - began_s == pytest.approx(patience_s)


def test_without_patience_a_request_is_made_once(store: Store, faulty: FaultyStore) -> None:
    faulty.answer_503(1000)
    with pytest.raises(ServiceError, match="503"):
        open_store(replace(store.settings, endpoint=faulty.endpoint), patience_s=0).get_bytes("x")
    assert len(faulty.asked) == 1


def test_a_claim_whose_answer_is_lost_counts_as_not_won(store: Store, through: Store, faulty: FaultyStore) -> None:
    faulty.break_off(1)
    assert not through.put_if_absent("lost", b"mine")
    assert store.get_bytes("lost") == b"mine"


def test_sixteen_threads_share_the_connections(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    keys = [f"threads/{number}" for number in range(64)]
    with caplog.at_level(logging.WARNING, "urllib3"):
        assert store.put_many(((key, os.urandom(20_000)) for key in keys), workers=16) == 64
        assert [key for key, _ in store.get_many(keys, workers=16)] == keys
    assert caplog.messages == []


def test_a_range_of_an_object_is_read_alone(store: Store) -> None:
    store.put_bytes("range", b"0123456789")
    assert store.get_range("range", start=3, size_bytes=4) == b"3456"
    assert store.get_range("range", start=8, size_bytes=9) == b"89"
    assert store.get_range("range", start=0, size_bytes=0) == b""
    with pytest.raises(MissingObjectError):
        store.get_range("no range", start=0, size_bytes=1)
