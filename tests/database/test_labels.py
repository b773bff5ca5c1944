"""Labels are those of the last dataset, and what was said before stays known."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest

from silhouette.contracts.dataset import PictureRow
from silhouette.database import connect, labels
from silhouette.database.labels import LabelChanges
from silhouette.errors import InputError
from tests.database.conftest import sha


def picture(number: int, label: str = "dress") -> PictureRow:
    return PictureRow(
        picture_id=f"id {number}", object_key="k", sha256=sha(number), width=1, height=1, label=label, pixset_id="p"
    )


def put(connection: psycopg.Connection, *rows: PictureRow, group: str = "outfit", digest: str = "") -> LabelChanges:
    return labels.replace(connection, group=group, dataset_digest=digest or secrets.token_hex(32), pictures=rows)


def said(connection: psycopg.Connection, group: str = "outfit") -> dict[str, str]:
    rows = connection.execute(
        "SELECT picture_id, label FROM labels JOIN groups ON groups.id = group_id"
        " WHERE name = %s AND withdrawn_at IS NULL",
        (group,),
    ).fetchall()
    assert len({row[0] for row in rows}) == len(rows)
    return dict(rows)


def test_only_what_changed_is_written_and_the_past_is_kept(connection: psycopg.Connection) -> None:
    assert put(connection, picture(1), picture(2), picture(3)) == LabelChanges(
        pictures=3, new=3, changed=0, withdrawn=0
    )
    stays = connection.execute("SELECT ctid, xmin FROM labels WHERE picture_id = 'id 1'").fetchall()
    done = put(connection, picture(1), picture(2, "skirt"), picture(4))
    assert done == LabelChanges(pictures=3, new=1, changed=1, withdrawn=1)
    assert said(connection) == {"id 1": "dress", "id 2": "skirt", "id 4": "dress"}
    assert connection.execute("SELECT ctid, xmin FROM labels WHERE picture_id = 'id 1'").fetchall() == stays
    before = connection.execute(
        "SELECT picture_id, label FROM labels WHERE withdrawn_at IS NOT NULL ORDER BY 1"
    ).fetchall()
    assert before == [("id 2", "dress"), ("id 3", "dress")]
    back = put(connection, picture(1), picture(2, "skirt"), picture(3), picture(4))
    assert back == LabelChanges(pictures=4, new=1, changed=0, withdrawn=0)


@pytest.mark.parametrize(
    "other", [{"sha256": sha(77)}, {"label": "skirt"}, {"pixset_id": "q"}, {"split": "test"}], ids=str
)
def test_every_column_counts_as_a_change(connection: psycopg.Connection, other: dict[str, str]) -> None:
    put(connection, picture(1))
    assert put(connection, replace(picture(1), **other)).changed == 1


def test_the_same_again_writes_nothing_and_its_dataset_is_known_once(connection: psycopg.Connection) -> None:
    put(connection, picture(1), digest="a" * 64)
    first = connection.execute("SELECT * FROM labels").fetchall()
    assert put(connection, picture(1), digest="a" * 64) == LabelChanges(pictures=1, new=0, changed=0, withdrawn=0)
    assert connection.execute("SELECT * FROM labels").fetchall() == first
    put(connection, picture(1), replace(picture(1), picture_id="twin"), digest="b" * 64)
    put(connection, picture(1), digest="a" * 64)
    rows = connection.execute("SELECT digest, pictures, contents FROM datasets ORDER BY seen_at").fetchall()
    assert rows == [("a" * 64, 1, 1), ("b" * 64, 2, 1), ("a" * 64, 1, 1)]


def test_groups_do_not_touch_one_another_and_have_any_name(connection: psycopg.Connection) -> None:
    names = ["лето/..'\"; --", "outfit", " "]
    for name in names:
        put(connection, picture(1), group=name)
    put(connection, group="outfit")
    assert [len(said(connection, name)) for name in names] == [1, 0, 1]
    for name in ("", "a" * 1501):
        with pytest.raises(InputError, match="a group's name must have 1 to 1500 bytes"):
            put(connection, picture(1), group=name)


def test_a_run_that_dies_on_the_way_leaves_what_was(connection: psycopg.Connection) -> None:
    put(connection, picture(1))

    def dying() -> object:
        yield picture(2)
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        labels.replace(connection, group="outfit", dataset_digest="a" * 64, pictures=dying())  # type: ignore[arg-type]
    assert said(connection) == {"id 1": "dress"}
    assert put(connection, picture(2)).withdrawn == 1


def test_two_runs_at_once_leave_the_labels_of_one_of_them(connection: psycopg.Connection, postgres_dsn: str) -> None:
    def run(seed: int) -> None:
        with connect(postgres_dsn) as own:
            for turn in range(5):
                put(own, *(picture(number, f"{seed}-{turn}") for number in range(40)))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, range(4)))
    found = said(connection)
    assert len(found) == 40
    assert len(set(found.values())) == 1
