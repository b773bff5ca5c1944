"""The badlist takes any id once, remembers who put it there, and knows the bytes behind an id."""

from __future__ import annotations

import psycopg

from silhouette.database import badlist, labels, pictures
from silhouette.database.pictures import PictureRecord
from tests.database.conftest import sha
from tests.database.test_labels import picture


def test_the_badlist_takes_an_id_once_and_any_text(connection: psycopg.Connection) -> None:
    names = ["plain", "с пробелом/и чертой", "quote'\"; --"]
    assert badlist.add(connection, [*names, "plain"]) == 3
    assert badlist.add(connection, ["plain", "new"]) == 1
    assert badlist.among(connection, [*names, "unknown"]) == set(names)
    assert badlist.among(connection, []) == set()


def test_who_put_it_there_first_and_why_is_kept(connection: psycopg.Connection) -> None:
    badlist.add(connection, ["a", "b"], by="anna", reason="no consent")
    badlist.add(connection, ["b", "c"], by="boris")
    found = badlist.entries(connection)
    assert [(item.picture_id, item.added_by, item.reason) for item in found] == [
        ("a", "anna", "no consent"), ("b", "anna", "no consent"), ("c", "boris", ""),
    ]  # fmt: skip


def test_what_is_removed_and_what_was_never_there_is_told(connection: psycopg.Connection) -> None:
    badlist.add(connection, ["a", "b"])
    assert badlist.remove(connection, ["a", "z", "a"]) == {"a"}
    assert [item.picture_id for item in badlist.entries(connection)] == ["b"]


def test_ids_and_bytes_are_known_by_pictures_and_by_labels_of_any_time(connection: psycopg.Connection) -> None:
    pictures.keep(
        connection,
        PictureRecord(
            origin="service", name="fetched", picture_id="fetched", stamp="", sha256=sha(9), object_key="k",
            judged_by="", store_id="",
        ),
    )  # fmt: skip
    pictures.keep(
        connection,
        PictureRecord(
            origin="service", name="refused", picture_id="refused", stamp="", reason="truncated", judged_by="",
            store_id="",
        ),
    )  # fmt: skip
    labels.replace(connection, group="outfit", dataset_digest="a" * 64, pictures=[picture(1), picture(2)])
    labels.replace(connection, group="outfit", dataset_digest="b" * 64, pictures=[picture(2)])
    ids = ["fetched", "refused", "id 1", "id 2", "id 3", "nothing"]
    assert badlist.unknown(connection, ids) == ["id 3", "nothing"]
    badlist.add(connection, ids)
    assert badlist.contents(connection) == {sha(9), sha(1), sha(2)}
