"""Segmentation does each picture once, whatever happens in between."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from silhouette.config import SegmentationConfig
from silhouette.contracts import contours, dataset
from silhouette.database import connect
from silhouette.database.people import read_people
from silhouette.errors import InputError, ServiceError
from silhouette.segment_people.segment import segment_people
from silhouette.store import Store
from tests.segment_people import pictures, tiny_models

CONFIG = SegmentationConfig(model_path="unused", person_class="person", image_size=64, min_score=0.25)


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
    monkeypatch.setattr("silhouette.segment_people.segment.DETECT_AT_ONCE", 5)
    monkeypatch.setattr("silhouette.segment_people.segment.WRITE_AT_ONCE", 5)
    folder = pictures.put_dataset(store, tmp_path / "dataset", 20)
    from silhouette.database import segmentations

    victim, real_add = connect(postgres_dsn), segmentations.add

    def add_and_cut(own: psycopg.Connection, **options: object) -> int:
        written = real_add(own, **options)  # type: ignore[arg-type]
        connection.execute("SELECT pg_terminate_backend(%s)", (victim.info.backend_pid,))
        return written

    monkeypatch.setattr(segmentations, "add", add_and_cut)
    with pytest.raises(ServiceError, match="must answer"):
        segment_people(dataset=folder, model=model, store=store, connection=victim, config=CONFIG)
    victim.close()
    monkeypatch.setattr(segmentations, "add", real_add)
    report = segment_people(dataset=folder, model=model, store=store, connection=connection, config=CONFIG)
    assert (report.already_done, report.pictures) == (5, 15)


_RUN = """
import sys
from pathlib import Path
from silhouette.config import SegmentationConfig
from silhouette.database import connect
from silhouette.segment_people import segment
from silhouette.store import open_store
segment.DETECT_AT_ONCE = segment.WRITE_AT_ONCE = 4
with connect() as connection:
    segment.segment_people(dataset=Path(sys.argv[1]), model=sys.argv[2], store=open_store(), connection=connection,
        config=SegmentationConfig(model_path="-", person_class="person", image_size=64, min_score=0.25))
"""


@pytest.mark.long
def test_two_runs_at_once_of_which_one_is_killed_leave_no_duplicate(
    store: Store, connection: psycopg.Connection, model: str, tmp_path: Path, environ: dict[str, str]
) -> None:
    folder = pictures.put_dataset(store, tmp_path / "dataset", 120)
    command = [sys.executable, "-c", _RUN, str(folder), model]
    environment = {**os.environ, **environ, "OMP_NUM_THREADS": "1"}  # two networks at once must not spin
    killed, other = (subprocess.Popen(command, env=environment) for _ in range(2))
    deadline = time.monotonic() + 120
    while counts(connection)[0] < 20 and time.monotonic() < deadline:
        time.sleep(0.02)
    killed.kill()
    assert killed.wait() == -9
    assert other.wait() == 0
    report = segment_people(dataset=folder, model=model, store=store, connection=connection, config=CONFIG)
    assert (report.already_done, report.pictures) == (120, 0)
    whole = people_by_picture(connection)
    assert len(whole) == 120
    assert all(numbers == list(range(len(numbers))) for numbers in whole.values())  # none lost, none twice
    connection.execute("TRUNCATE segmentations, people")
    assert subprocess.run(command, env=environment, check=False).returncode == 0
    alone = people_by_picture(connection)
    assert alone.keys() == whole.keys()
    # in batches of another size the last bits of a score may differ, and so who is above the least score
    people, differing = sum(map(len, alone.values())), sum(alone[key] != whole[key] for key in alone)
    assert differing <= 0.05 * len(alone), (people, differing)
