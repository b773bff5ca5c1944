"""`silhouette explain`, on a real store and database: all that is known of one picture, and nothing else read."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from silhouette.cli import app
from silhouette.contracts import crops, predictions
from silhouette.contracts.crops import CropRow, CropsHead
from silhouette.contracts.predictions import Prediction
from silhouette.database import badlist, connect, labels, posts
from silhouette.database.picture_history import BADLISTED, DECIDED, FETCHED, LABELLED, POSTED, SEEN, TWINS
from silhouette.explain_picture.lookup import arrow_rows, parquet_rows
from silhouette.names import safe_key
from silhouette.store import Store
from tests.database.conftest import login
from tests.export_masks import worlds
from tests.export_masks.worlds import GROUP, MODEL, World

OTHER = "another group"


@pytest.fixture
def world(environ: dict[str, str], store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.chdir(tmp_path)
    for key in list(store.list_keys("")):
        if key != "installation-id":
            store.remove(key)
    with connect() as connection:
        connection.execute(
            "TRUNCATE segmentations, people, badlist, pictures, labels, datasets, groups, ret_meta_posts"
        )
        yield worlds.filled(store, connection)


def say(*arguments: str, code: int = 0) -> Result:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == code, done.output
    return done


def head(**changes: object) -> CropsHead:
    return CropsHead(
        group=GROUP, classes=["dress"], crop_size=32, crop_margin=0, background="keep", seed=1, dataset_digest="",
        snapshot_digest="", counts={}, skipped={},
    ).model_copy(update=changes)  # fmt: skip


def crop(picture_id: str, *, person: int = 0, split: str = "train") -> CropRow:
    return CropRow(
        picture_id=picture_id, pixset_id="", sha256="a" * 64, person_index=person, box_xyxy=(0, 0, 1, 1), score=1.0,
        label="dress", split=split, jpeg=b"j" * 2000, mask_png=b"m" * 500,
    )  # fmt: skip


def answer_of(picture_id: str) -> Prediction:
    return Prediction(
        picture_id=picture_id, object_key="", person_index=0, box_xyxy="", person_score=1, label="dress",
        predicted="shorts", probability=0.75, model="summer", version="3", is_main=True,
    )  # fmt: skip


def live(world: World) -> None:
    """Let `plain` go through everything that there is."""
    store, row = world.store, world.rows["plain"]
    twin = dataclasses.replace(row, picture_id="twin of it", label="shorts")
    labels.replace(world.connection, group=OTHER, dataset_digest="c" * 64, pictures=[twin])
    world.decide("plain", "approved", reviewer="anna")
    badlist.add(world.connection, ["twin of it"], by="boris", reason="asked for")
    kept = crops.write(
        Path("crops"), head(skipped={"rejected": ["overlapping"]}), [crop("plain"), crop("plain", person=1)]
    )
    crops.keep(Path("crops"), kept, store)
    record = {"group": GROUP, "experiment": "first", "crops_digest": kept.digest}
    store.put_bytes(f"models/{safe_key(GROUP)}/first/training.json", json.dumps(record).encode())
    predictions.write(Path("answers"), [answer_of("overlapping"), answer_of("plain")])
    store.put_tree(f"inference/{safe_key(GROUP)}", Path("answers"))
    store.put_bytes(f"quarantine/{safe_key(OTHER)}.csv", b'picture_id,reason,detail\nplain,conflict,"two, labels"\n')
    number = posts.begin(world.connection, service="https://pictures", content_digests={"plain": "e" * 64})["plain"]
    posts.end(world.connection, [posts.End(post_id=number, receipt="r-17")])


def test_everything_that_is_known_is_told_to_people(world: World) -> None:
    live(world)
    told = say("explain", "plain").stdout
    for line in (
        "picture plain",
        "  ON THE BADLIST by the same bytes as twin of it, by boris: asked for",
        f"  group {GROUP}: dress",
        f"  quarantined in {OTHER}: conflict, two, labels",
        f"  the same bytes: twin of it in {OTHER}, shorts",
        f"  model {MODEL[:12]}: 2 people, approved, by anna: seen",
        f"  {GROUP}, experiment first: train, 2 people",
        f"  summer version 3, {safe_key(GROUP)}: person 1 (main): shorts 0.750, labelled dress",
        "  last sent eeeeeeeeeeee to https://pictures: receipt r-17",
    ):
        assert line in told.splitlines(), f"{line!r} is missing in\n{told}"
    happened = told.partition("what happened (UTC)\n")[2].partition("\n\n")[0].splitlines()
    happened = [line for line in happened if "that is gone" not in line]  # the audit outlives other tests' worlds
    times = [line[:21] for line in happened]
    assert times == sorted(times)
    assert [line.split("  ")[2] for line in happened] == [
        "fetched from test", f"{GROUP} calls it dress", f"segmented by {MODEL[:12]}: 2 people",
        f"unchecked -> approved ({MODEL[:12]}), by anna: seen", "twin of it put on the badlist, by boris: asked for",
        "sent eeeeeeeeeeee to https://pictures", "taken, receipt r-17",
    ]  # fmt: skip


def test_machines_get_the_same_as_json(world: World) -> None:
    live(world)
    told = json.loads(say("--json", "explain", "plain").stdout)
    assert [row["sha256"] for row in told["fetched"]] == [world.rows["plain"].sha256]
    assert [(row["split"], row["people"]) for row in told["trained"]] == [("train", 2)]
    assert [row["probability"] for row in told["predicted"]] == [0.75]
    assert [row["receipt"] for row in told["posted"]] == ["r-17"]
    assert json.loads(say("--json", "explain", "overlapping").stdout)["trained"][0]["skipped"] == "rejected"


def test_the_right_to_read_is_enough(world: World, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    live(world)
    with login(postgres_dsn, role="silhouette_read") as dsn:
        monkeypatch.setenv("SILHOUETTE_POSTGRES_DSN", dsn)
        assert "receipt r-17" in say("explain", "plain").stdout
        assert "1 files" in say("pull", "models", "first", "--to", "out").stdout


def test_a_withdrawn_picture_still_has_its_story(world: World) -> None:
    rest = [row for name, row in world.rows.items() if name != "plain"]
    labels.replace(world.connection, group=GROUP, dataset_digest="e" * 64, pictures=rest)
    told = say("explain", "plain").stdout
    assert "  in no group" in told.splitlines()
    assert f"{GROUP} withdraws dress" in told


def test_a_document_that_nobody_knows_to_have_arrived_is_told_so(world: World) -> None:
    number = posts.begin(world.connection, service="https://pictures", content_digests={"plain": "e" * 64})["plain"]
    assert "to https://pictures: not known to have arrived" in say("explain", "plain").stdout
    posts.end(world.connection, [posts.End(post_id=number, failure="too large")])
    assert "to https://pictures: not taken: too large" in say("explain", "plain").stdout


def test_an_unknown_picture_is_one_line_with_the_nearest(world: World) -> None:
    failed = say("explain", "plane", code=1).stderr
    assert "nothing knows 'plane'; nearest: 'plain'" in failed
    assert len(failed.splitlines()) == 1
    world.connection.execute("TRUNCATE pictures, labels")
    assert "run `silhouette download`" in say("explain", "plane", code=1).stderr


def test_a_damaged_document_is_told_and_stops_nothing(world: World) -> None:
    world.store.put_bytes("ret_meta/plain.json", b"{}")
    told = say("explain", "plain").stdout
    assert "not looked at" in told
    assert "ret_meta/plain.json must be a ret_meta document" in told


@pytest.mark.parametrize("statement", [FETCHED, LABELLED, TWINS, SEEN, DECIDED, POSTED, BADLISTED])
def test_no_question_reads_a_large_table_from_end_to_end(world: World, statement: str) -> None:
    with psycopg.connect(world.connection.info.dsn, password=world.connection.info.password) as connection:
        connection.execute("SET LOCAL enable_seqscan = off")
        plan = connection.execute(
            f"EXPLAIN {statement}", {"id": "plain", "sha256s": [world.rows["plain"].sha256], "most": 10}
        ).fetchall()
        lines = [
            line
            for (line,) in plan
            if "Seq Scan" in line and not line.split(" on ")[1].startswith(("groups", "badlist"))
        ]
        assert lines == []
        connection.rollback()


@given(ids=st.lists(st.integers(0, 300), min_size=1, max_size=60), asked=st.integers(-1, 301))
def test_rows_are_found_by_halving_wherever_they_lie(
    ids: list[int], asked: int, store: Store, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("crops")
    rows = [crop(f"{number:04d}", person=index) for index, number in enumerate(sorted(ids))]
    kept = crops.write(folder, head(), rows, rows_per_shard=4)
    prefix = f"halving/{kept.digest}"
    store.put_tree(prefix, folder)
    shards = list(store.list_objects(f"{prefix}/crops-train-"))
    found = arrow_rows(store, shards, picture_id=f"{asked:04d}", columns=("picture_id", "person_index"))
    assert [row["person_index"] for row in found] == [
        row.person_index for row in rows if row.picture_id == f"{asked:04d}"
    ]


def test_of_many_crops_and_predictions_little_is_read(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crops.write(tmp_path / "crops", head(), (crop(f"p{number:06d}") for number in range(10_000)))
    predictions.write(tmp_path / "answers", (answer_of(f"p{number:06d}") for number in range(50_000)))
    store.put_tree("many", tmp_path / "crops")
    store.put_tree("many", tmp_path / "answers")
    shards = list(store.list_objects("many/crops-train-"))
    (answers,) = store.list_objects(f"many/{predictions.PARQUET_NAME}")
    read: list[int] = []
    get_range = store.get_range

    def counted(key: str, *, start: int, size_bytes: int) -> bytes:
        read.append(size_bytes)
        return get_range(key, start=start, size_bytes=size_bytes)

    monkeypatch.setattr(store, "get_range", counted)
    assert len(arrow_rows(store, shards, picture_id="p007777", columns=("picture_id", "split"))) == 1
    assert sum(read) < sum(item.size_bytes for item in shards) / 50
    read.clear()
    assert len(parquet_rows(store, answers, picture_id="p007777")) == 1
    assert sum(read) < answers.size_bytes
    assert parquet_rows(store, answers, picture_id="q") == []
