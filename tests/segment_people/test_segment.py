"""Segmentation does each picture once, whatever happens in between."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest

from silhouette import served_segmenter
from silhouette.config import SegmentationConfig
from silhouette.contracts import contours, dataset
from silhouette.contracts.segmenter import card_key
from silhouette.database import connect, reviews
from silhouette.database.people import read_people
from silhouette.database.segmentations import Segmentation
from silhouette.detector import load_detector
from silhouette.errors import InputError, PictureError, ServiceError
from silhouette.segment_people import flow
from silhouette.segment_people.claims import Claims
from silhouette.segment_people.flow import by_shape
from silhouette.segment_people.records import Orders, Records
from silhouette.segment_people.segment import segment_people
from silhouette.store import Store
from silhouette.working_copy import WorkingPicture
from tests.loopback import serving
from tests.segment_people import pictures, tiny_models
from tests.wandb_server import KEY, WandbServer

CONFIG = SegmentationConfig(
    model_path="unused", person_class="person", image_size=64, min_score=0.25, runtime="torch", device="cpu"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_models.write_segmenter(tmp_path_factory.mktemp("model") / "tiny.pt"))


@pytest.fixture
def connection(postgres_dsn: str) -> Iterator[psycopg.Connection]:
    with connect(postgres_dsn) as opened:
        opened.execute("TRUNCATE segmentations, people")
        yield opened


def people_by_picture(connection: psycopg.Connection) -> dict[str, list[int]]:
    """The numbers of the people recorded on each picture, in order."""
    rows = connection.execute(
        "SELECT picture_sha256, array_agg(person_index ORDER BY person_index) FILTER (WHERE person_index IS NOT NULL)"
        " FROM segmentations LEFT JOIN people ON people.segmentation_id = segmentations.id GROUP BY 1"
    ).fetchall()
    return {str(sha256): numbers or [] for sha256, numbers in rows}


def counts(connection: psycopg.Connection) -> tuple[int, int]:
    found = connection.execute("SELECT (SELECT count(*) FROM segmentations), (SELECT count(*) FROM people)").fetchone()
    assert found is not None
    return found[0], found[1]


def test_every_picture_is_segmented_once(
    store: Store, connection: psycopg.Connection, model: str, tmp_path: Path
) -> None:
    folder = pictures.put_dataset(store, tmp_path / "dataset", 20)
    first = segment_people(dataset=folder, model=model, store=store, connection=connection, config=CONFIG)
    assert (first.pictures, first.already_done) == (20, 0)
    assert counts(connection) == (20, first.people)
    again = segment_people(dataset=folder, model=model, store=store, connection=connection, config=CONFIG)
    assert (again.pictures, again.already_done, again.people) == (0, 20, 0)
    assert again.model_digest == first.model_digest
    sha256s = [row.sha256 for row in dataset.read(folder).rows]
    for found in read_people(connection, model_digest=first.model_digest, sha256s=sha256s):
        assert (found.width, found.height, found.status) == (pictures.WIDTH, pictures.HEIGHT, "unchecked")
        if found.person:
            outline = contours.decode(found.person.contours)
            assert contours.to_mask(outline, width=found.width, height=found.height).any()


def test_a_model_at_weights_and_biases_is_the_same_segmenter_as_its_file(
    store: Store, connection: psycopg.Connection, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = pictures.put_dataset(store, tmp_path / "dataset", 4)
    first = segment_people(dataset=folder, model=model, store=store, connection=connection, config=CONFIG)
    server = WandbServer(versions=[{"tiny.pt": Path(model).read_bytes()}])
    with serving(server.app) as url:
        server.base, server.files_url = url, f"{url}/files"
        monkeypatch.setenv("WANDB_BASE_URL", url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        address = "wandb:team/outfits/model:latest"
        again = segment_people(dataset=folder, model=address, store=store, connection=connection, config=CONFIG)
    assert (again.model_digest, again.already_done) == (first.model_digest, 4)


def test_other_settings_are_another_segmenter(
    store: Store, connection: psycopg.Connection, model: str, tmp_path: Path
) -> None:
    folder = pictures.put_dataset(store, tmp_path / "dataset", 4)
    bolder = CONFIG.model_copy(update={"min_score": 0.9})
    first = segment_people(dataset=folder, model=model, store=store, connection=connection, config=CONFIG)
    other = segment_people(dataset=folder, model=model, store=store, connection=connection, config=bolder)
    assert other.pictures == 4
    assert other.model_digest != first.model_digest


def test_the_same_bytes_under_two_ids_are_segmented_once(
    store: Store, connection: psycopg.Connection, model: str, tmp_path: Path
) -> None:
    data = pictures.png(1)
    twins = [pictures.row("a", data), pictures.row("b", data)]
    store.put_bytes(twins[0].object_key, data)
    folder = pictures.write_dataset(tmp_path / "dataset", twins)
    report = segment_people(dataset=folder, model=model, store=store, connection=connection, config=CONFIG)
    assert report.pictures == 1


def test_a_picture_that_does_not_open_is_counted_and_the_run_goes_on(
    store: Store, connection: psycopg.Connection, model: str, tmp_path: Path
) -> None:
    good, bad = pictures.png(1), pictures.png(2)[:200]
    rows = [pictures.row("good", good), pictures.row("bad", bad)]
    for row, data in zip(rows, (good, bad), strict=True):
        store.put_bytes(row.object_key, data)
    folder = pictures.write_dataset(tmp_path / "dataset", rows)
    report = segment_people(dataset=folder, model=model, store=store, connection=connection, config=CONFIG)
    assert report.pictures == 1
    assert sum(report.unreadable.values()) == 1


def test_pictures_without_people_are_recorded(store: Store, connection: psycopg.Connection, tmp_path: Path) -> None:
    blind = str(tiny_models.write_blind_segmenter(tmp_path / "blind.pt"))
    folder = pictures.put_dataset(store, tmp_path / "dataset", 3)
    report = segment_people(dataset=folder, model=blind, store=store, connection=connection, config=CONFIG)
    assert (report.pictures, report.people, report.without_people) == (3, 0, 3)
    again = segment_people(dataset=folder, model=blind, store=store, connection=connection, config=CONFIG)
    assert (again.pictures, again.already_done) == (0, 3)


def test_a_picture_gone_from_the_store_and_a_missing_model_are_named(
    store: Store, connection: psycopg.Connection, model: str, tmp_path: Path
) -> None:
    folder = pictures.write_dataset(tmp_path / "dataset", [pictures.row("gone", b"never stored")])
    with pytest.raises(InputError, match="must hold the object"):
        segment_people(dataset=folder, model=model, store=store, connection=connection, config=CONFIG)
    with pytest.raises(InputError, match=r"neither a file nor an object 'no/such\.pt'"):
        segment_people(dataset=folder, model="no/such.pt", store=store, connection=connection, config=CONFIG)


def test_a_connection_lost_on_the_way_keeps_finished_batches(
    store: Store, connection: psycopg.Connection, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    postgres_dsn: str,
) -> None:  # fmt: skip
    monkeypatch.setattr("silhouette.segment_people.segment.WRITE_AT_ONCE", 5)
    folder = pictures.put_dataset(store, tmp_path / "dataset", 20)
    victim, real_write = connect(postgres_dsn), Records.write

    def write_and_cut(own: Records, found: Sequence[Segmentation]) -> int:
        written = real_write(own, found)
        connection.execute("SELECT pg_terminate_backend(%s)", (victim.info.backend_pid,))
        return written

    with monkeypatch.context() as patch:
        patch.setattr(Records, "write", write_and_cut)
        with pytest.raises(ServiceError, match="must answer"):
            segment_people(dataset=folder, model=model, store=store, connection=victim, config=CONFIG)
    victim.close()
    report = segment_people(dataset=folder, model=model, store=store, connection=connection, config=CONFIG)
    assert (report.already_done, report.pictures) == (5, 15)


def test_both_runtimes_record_the_same_people_under_one_digest(
    store: Store, connection: psycopg.Connection, model: str, tmp_path: Path
) -> None:
    folder = pictures.put_dataset(store, tmp_path / "dataset", 4)
    in_torch = segment_people(dataset=folder, model=model, store=store, connection=connection, config=CONFIG)
    sha256s = [row.sha256 for row in dataset.read(folder).rows]
    before = list(read_people(connection, model_digest=in_torch.model_digest, sha256s=sha256s))
    connection.execute("TRUNCATE segmentations, people")
    exported = CONFIG.model_copy(update={"runtime": "onnxruntime"})
    in_onnx = segment_people(dataset=folder, model=model, store=store, connection=connection, config=exported)
    assert in_onnx.model_digest == in_torch.model_digest
    after = list(read_people(connection, model_digest=in_onnx.model_digest, sha256s=sha256s))
    assert [(item.picture_sha256, item.person_index) for item in after] == [
        (item.picture_sha256, item.person_index) for item in before
    ]
    published = served_segmenter.find(in_onnx.model_digest, store=store)
    assert published is not None
    assert set(store.list_keys("segmenters/")) >= {published.onnx_key, card_key(in_onnx.model_digest)}
    served_segmenter.fetch(published, tmp_path / "served.onnx", store=store)
    again = segment_people(dataset=folder, model=model, store=store, connection=connection, config=CONFIG)
    assert (again.pictures, again.already_done) == (0, 4)


def status_of(connection: psycopg.Connection, folder: Path) -> dict[str, tuple[str, str]]:
    """Status and reviewer by picture id."""
    rows = connection.execute("SELECT picture_sha256, status, reviewer FROM segmentations").fetchall()
    found = {sha256: (status, reviewer) for sha256, status, reviewer in rows}
    return {row.picture_id: found[row.sha256] for row in dataset.read(folder).rows}


def ids_of(connection: psycopg.Connection) -> dict[str, int]:
    return dict(connection.execute("SELECT picture_sha256, id FROM segmentations").fetchall())


def approve(connection: psycopg.Connection, folder: Path, picture_id: str, model_digest: str) -> str:
    [sha256] = [row.sha256 for row in dataset.read(folder).rows if row.picture_id == picture_id]
    verdict = reviews.Verdict(
        picture_sha256=sha256, model_digest=model_digest, status="approved", revision=0, reviewer="ann"
    )
    reviews.decide(connection, [verdict])
    return sha256


def test_processing_all_again_leaves_verdicts_alone(
    store: Store, connection: psycopg.Connection, model: str, tmp_path: Path
) -> None:
    folder = pictures.put_dataset(store, tmp_path / "dataset", 4)
    first = segment_people(dataset=folder, model=model, store=store, connection=connection, config=CONFIG)
    kept = approve(connection, folder, "picture 002", first.model_digest)
    before = ids_of(connection)
    report = segment_people(
        dataset=folder, model=model, store=store, connection=connection, config=CONFIG,
        orders=Orders(process_all=True),
    )  # fmt: skip
    assert (report.pictures, report.already_done) == (3, 1)
    after = ids_of(connection)
    assert after.keys() == before.keys()
    assert {sha256 for sha256 in before if before[sha256] == after[sha256]} == {kept}
    assert status_of(connection, folder)["picture 002"] == ("approved", "ann")
    assert counts(connection) == (4, first.people)


def test_a_verdict_that_comes_while_all_is_processed_stays(
    store: Store, connection: psycopg.Connection, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = pictures.put_dataset(store, tmp_path / "dataset", 3)
    first = segment_people(dataset=folder, model=model, store=store, connection=connection, config=CONFIG)
    before, real_write = ids_of(connection), Records.write

    def approve_and_write(own: Records, found: Sequence[Segmentation]) -> int:
        approve(connection, folder, "picture 001", first.model_digest)
        return real_write(own, found)

    monkeypatch.setattr(Records, "write", approve_and_write)
    report = segment_people(
        dataset=folder, model=model, store=store, connection=connection, config=CONFIG,
        orders=Orders(process_all=True),
    )  # fmt: skip
    assert report.pictures == 2
    assert status_of(connection, folder)["picture 001"] == ("approved", "ann")
    assert sum(before[sha256] == number for sha256, number in ids_of(connection).items()) == 1


def test_a_reviewed_picture_is_done_again_when_it_is_named(
    store: Store, connection: psycopg.Connection, model: str, tmp_path: Path
) -> None:
    folder = pictures.put_dataset(store, tmp_path / "dataset", 3)
    first = segment_people(dataset=folder, model=model, store=store, connection=connection, config=CONFIG)
    sha256 = approve(connection, folder, "picture 001", first.model_digest)
    before = ids_of(connection)
    report = segment_people(
        dataset=folder, model=model, store=store, connection=connection, config=CONFIG,
        orders=Orders(redo_reviewed=["picture 001"], reviewer="bob"),
    )  # fmt: skip
    assert (report.pictures, report.already_done) == (1, 2)
    changed = ids_of(connection)
    assert {key for key in before if changed[key] != before[key]} == {sha256}
    assert status_of(connection, folder)["picture 001"] == ("unchecked", "")
    last = reviews.history(connection, picture_sha256=sha256)[-1]
    assert (last.to_status, last.reviewer) == ("unchecked", "bob")
    with pytest.raises(InputError, match="must be one of the group, 'nowhere' is not"):
        segment_people(
            dataset=folder, model=model, store=store, connection=connection, config=CONFIG,
            orders=Orders(redo_reviewed=["nowhere"], reviewer="bob"),
        )  # fmt: skip


def test_what_is_found_may_be_marked_approved(
    store: Store, connection: psycopg.Connection, model: str, tmp_path: Path
) -> None:
    folder = pictures.put_dataset(store, tmp_path / "dataset", 2)
    segment_people(dataset=folder, model=model, store=store, connection=connection, config=CONFIG)
    folder = pictures.put_dataset(store, tmp_path / "dataset", 5)
    orders = Orders(mark_approved=True, reviewer="ann")
    report = segment_people(
        dataset=folder, model=model, store=store, connection=connection, config=CONFIG, orders=orders
    )
    assert report.pictures == 3
    assert sorted(status_of(connection, folder).values()) == [("approved", "ann")] * 3 + [("unchecked", "")] * 2
    with pytest.raises(InputError, match="a verdict must have a reviewer, got none; say --reviewer NAME"):
        Orders(mark_approved=True)


def claims_of(connection: psycopg.Connection, count: int, **options: Any) -> Claims:
    rows = [pictures.row(f"picture {number}", b"%d" % number) for number in range(count)]
    given = {"model_digest": "m", "finished": lambda sha256s: set(), "size": 2, **options}
    return Claims(connection, rows=rows, **given)


def test_a_batch_is_claimed_by_one_worker_until_it_dies(connection: psycopg.Connection, postgres_dsn: str) -> None:
    other = connect(postgres_dsn)
    mine, theirs = claims_of(connection, 6), claims_of(other, 6)
    first = next(mine.free())
    taken = list(theirs.free())
    assert first.lock not in {claim.lock for claim in taken}
    assert len(taken) == 2
    assert theirs.any_left
    assert list(mine.free()) == []  # the other two are theirs
    other.close()
    deadline = time.monotonic() + 60
    back: list[int] = []
    while len(back) < 2 and time.monotonic() < deadline:  # the server notices a little later
        back += [claim.lock for claim in mine.free()]
    assert sorted(back) == sorted(claim.lock for claim in taken)
    assert not mine.any_left
    mine.close()


def test_what_another_finished_in_the_meantime_is_not_done_again(connection: psycopg.Connection) -> None:
    done: set[str] = set()
    claims = claims_of(connection, 4, finished=lambda sha256s: done & set(sha256s))
    assert claims.missing == 4
    first, *_ = claims.free()
    claims.close()
    done.update(row.sha256 for row in first.rows)
    [second] = claims_of(connection, 4, finished=lambda sha256s: done & set(sha256s)).free()
    assert second.lock != first.lock
    claims = claims_of(connection, 4, finished=set)
    assert (claims.missing, claims.already_done, list(claims.free())) == (0, 4, [])
    connection.execute("SELECT pg_advisory_unlock_all()")


def test_batches_of_another_model_are_others(connection: psycopg.Connection, postgres_dsn: str) -> None:
    with connect(postgres_dsn) as other:
        assert len(list(claims_of(connection, 4).free())) == 2
        assert len(list(claims_of(other, 4, model_digest="n").free())) == 2
        assert len(list(claims_of(other, 4).free())) == 0
    connection.execute("SELECT pg_advisory_unlock_all()")


class Opened:
    """What `by_shape` looks at."""

    def __init__(self, claim: object, shape: tuple[int, int, int] | None) -> None:
        self.claim = claim
        self.picture: Any = PictureError("corrupt", "damaged")
        if shape:
            self.picture = WorkingPicture(pixels=np.zeros(shape, np.uint8), width=shape[1], height=shape[0])


def test_pictures_are_gathered_by_shape_within_a_claim() -> None:
    wide, tall = (2, 3, 3), (3, 2, 3)
    items: Any = [Opened("a", shape) for shape in (wide, tall, wide, None, wide, tall)] + [Opened("b", wide)]
    numbers = [[items.index(item) for item in batch] for batch in by_shape(items, at_once=2)]
    assert numbers == [[0, 2], [1, 5], [3], [4], [6]]


_RUN = """
import sys
from pathlib import Path
from silhouette.config import SegmentationConfig
from silhouette.database import connect
from silhouette.segment_people import segment
from silhouette.store import open_store
segment.WRITE_AT_ONCE = 8
with connect() as connection:
    report = segment.segment_people(dataset=Path(sys.argv[1]), model=sys.argv[2], store=open_store(),
        connection=connection, config=SegmentationConfig(model_path="-", person_class="person", image_size=64,
        min_score=0.25, device="cpu", runtime=sys.argv[3]))
print(report.pictures)
"""


def test_a_server_that_restarts_in_mid_batch_ends_the_run_and_the_next_one_goes_on(
    store: Store, connection: psycopg.Connection, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    postgres_dsn: str,
) -> None:  # fmt: skip
    monkeypatch.setattr("silhouette.segment_people.segment.WRITE_AT_ONCE", 5)
    folder = pictures.put_dataset(store, tmp_path / "dataset", 12)
    real_read, read = flow.read_picture, []

    def read_and_cut(*arguments: Any, **options: Any) -> Any:
        read.append(arguments)
        if len(read) == 8:  # what a restart does to everybody who is connected
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        return real_read(*arguments, **options)

    with monkeypatch.context() as patch, connect(postgres_dsn) as victim:
        patch.setattr(flow, "read_picture", read_and_cut)
        with pytest.raises(ServiceError, match=r"must answer, .*finished work is kept, run the step again"):
            segment_people(dataset=folder, model=model, store=store, connection=victim, config=CONFIG)
    kept = counts(connection)[0]
    assert kept in (0, 2, 5, 7, 10)  # whole batches
    report = segment_people(dataset=folder, model=model, store=store, connection=connection, config=CONFIG)
    assert (report.already_done, report.pictures) == (kept, 12 - kept)


@pytest.mark.long
@pytest.mark.parametrize("runtime", ["torch", "onnxruntime"])
def test_three_workers_of_which_one_is_killed_do_every_picture_once(
    store: Store, connection: psycopg.Connection, model: str, tmp_path: Path, environ: dict[str, str], runtime: str
) -> None:
    folder = pictures.put_dataset(store, tmp_path / "dataset", 240)
    if runtime == "onnxruntime":  # so that nobody is killed while it exports
        load_detector(Path(model), image_size=64, runtime="onnxruntime", device="cpu", store=store)
    command = [sys.executable, "-c", _RUN, str(folder), model, runtime]
    environment = {**os.environ, **environ, "OMP_NUM_THREADS": "1"}  # three networks at once must not spin
    killed, *others = (subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) for _ in range(3))
    deadline = time.monotonic() + 240
    while not _claims_of_all(connection, 3) and time.monotonic() < deadline:
        time.sleep(0.01)
    killed.kill()
    killed.communicate()
    assert killed.returncode == -9
    lost = 240 - counts(connection)[0]
    assert lost > 0
    done = [int(worker.communicate()[0]) for worker in others]
    assert [worker.returncode for worker in others] == [0, 0]
    assert 0 < sum(done) <= 240
    whole = people_by_picture(connection)
    assert len(whole) == 240  # by the others alone: the dead worker's claim came back
    assert all(numbers == list(range(len(numbers))) for numbers in whole.values())  # none lost, none twice
    report = segment_people(dataset=folder, model=model, store=store, connection=connection, config=CONFIG)
    assert (report.already_done, report.pictures) == (240, 0)


def _claims_of_all(connection: psycopg.Connection, workers: int) -> bool:
    """Tell whether so many connections hold a claim at this moment."""
    row = connection.execute(
        "SELECT count(DISTINCT pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    ).fetchone()
    return row is not None and row[0] >= workers
