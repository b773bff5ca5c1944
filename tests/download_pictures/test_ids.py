"""Ids that are paths, quotes, line ends or no text at all: they stay in the data and name nothing outside of it."""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from silhouette.contracts import dataset as dataset_contract
from silhouette.download_pictures.download import DownloadReport, download_pixsets
from silhouette.store import Store
from tests.download_pictures.faulty_service import (
    FaultyService,
    Served,
    download_by_command,
    download_here,
    environment_of,
    limited,
    some_pictures,
)
from tests.loopback import jpeg, small_config

GOOD = [
    "../../x", "..", ".", "...", "a/b", "/etc/passwd", "//host/share", "\\\\host\\share", "C:\\x", "a\\..\\b", "🙂",
    "人 é", "e\u0301", "\u202egpj.exe", "x" * 300, "ж" * 300, " leading and trailing ", " ", "\t", "-rf", "--help",
    'quote"d', "it's", "`id`", "$(id)", "a;b", "a,b", "line\nend", "line\r\nend", "carriage\rreturn", "%2e%2e%2fx",
    "%", "?query=1", "#fragment", "a&b", "<script>alert(1)</script>", "{{ 7 * 7 }}", "'; DROP TABLE pictures; --",
    "=1+1", "@x", "NULL", "null", "None", "0", "\x7f\x1b[31m", "\ufeff", "\ufffd", "\u2028", "CON", ".hidden",
    "picture_id", "datasets/g.csv", "installation-id", "pixset x",
]  # fmt: skip
NO_TEXT = ["with\0NUL", "\0", "lone\ud800", "\udc00lone", "\ud83d\ud83d", "x" * 2000]
KEYS = re.compile(
    r"installation-id|pictures/[0-9a-f]{2}/[0-9a-f]{64}\.jpg|(datasets|quarantine)/(pixsets/)?[a-z0-9_-]+\.csv"
    r"|meta/(pixsets/)?[a-z0-9_-]+\.jsonl\.gz"
)
FILES = {"dataset.csv", "dataset.json", "quarantine.csv", "quality.html"}


@pytest.fixture
def service() -> Iterator[FaultyService]:
    names = [*GOOD, *NO_TEXT]
    pictures = {
        name: Served(data=jpeg(number), label="ab"[number % 2], pixset_id=name) for number, name in enumerate(names)
    }
    with FaultyService(pictures, page=7) as running:
        yield running


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder deep enough that ``../../x`` would still be seen."""
    return tmp_path / "1" / "2" / "3" / "out"


def check_nothing_is_elsewhere(store: Store, top: Path, out: Path) -> None:
    assert [key for key in store.list_keys("") if not KEYS.fullmatch(key)] == []
    assert {path for path in top.rglob("*") if path.is_file()} == {out / name for name in FILES}


def check_round_trip(out: Path, expected: dict[str, str]) -> None:
    """Check the table by our own reader and by one that knows nothing of us."""
    assert {row.picture_id: row.sha256 for row in dataset_contract.read(out).rows} == expected
    with (out / "dataset.csv").open(newline="", encoding="utf-8") as file:
        assert {row["picture_id"]: row["sha256"] for row in csv.DictReader(file)} == expected


def test_ids_of_every_kind_stay_in_the_data_and_name_nothing_outside(
    service: FaultyService, fresh_store: Store, connection: psycopg.Connection, tmp_path: Path, out: Path
) -> None:
    report = download_here(service, fresh_store, connection, out)
    expected = {name: service.pictures[name].sha256 for name in GOOD}
    assert (report.pictures, dict(report.refused)) == (len(GOOD), {"bad_name": len(NO_TEXT)})
    check_nothing_is_elsewhere(fresh_store, tmp_path, out)
    check_round_trip(out, expected)
    assert "<script" not in (out / "quality.html").read_text(encoding="utf-8")
    assert dict(service.sent) == dict.fromkeys(GOOD, 1), "every picture was asked for under its own name"
    assert [item.reason for item in dataset_contract.read(out).refused] == ["bad_name"] * len(NO_TEXT)
    pixsets = {row.picture_id: row.pixset_id for row in dataset_contract.read(out).rows}
    assert pixsets == {name: name for name in GOOD}
    assert dict(connection.execute("SELECT name, sha256 FROM pictures").fetchall()) == expected
    (meta,) = fresh_store.list_keys("meta/")
    lines = map(json.loads, gzip.decompress(fresh_store.get_bytes(meta)).splitlines())  # of bytes: only at line feeds
    assert {line["picture_id"] for line in lines} >= set(GOOD)


def test_ids_of_every_kind_are_known_again_also_after_the_database_was_wiped(
    service: FaultyService, fresh_store: Store, connection: psycopg.Connection, out: Path
) -> None:
    first = download_here(service, fresh_store, connection, out)
    assert download_here(service, fresh_store, connection, out).fetched == 0
    connection.execute("DELETE FROM pictures")
    again = download_here(service, fresh_store, connection, out)
    assert (again.fetched, again.digest) == (0, first.digest)
    gone = GOOD[:10]
    for name in gone:
        del service.pictures[name]
    for _ in range(2):
        assert download_here(service, fresh_store, connection, out).withdrawn == len(gone)
        left_out = {item.picture_id: item.reason for item in dataset_contract.read(out).refused}
        assert {name for name, reason in left_out.items() if reason == "withdrawn"} == set(gone)


def test_a_group_and_its_classes_may_have_any_name(
    services_env: dict[str, str], fresh_store: Store, connection: psycopg.Connection, fresh_dsn: str, tmp_path: Path
) -> None:
    classes = ("../../a", "b,\"c\"\n'd' 🙂")
    for group in ("../../x", "a/b", "🙂", "x" * 300, 'it\'s "so"\n', ".."):
        pictures = {
            name: Served(data=item.data, label=classes[number % 2])
            for number, (name, item) in enumerate(some_pictures(6).items())
        }
        out = tmp_path / "1" / "2" / "3" / "out"
        with FaultyService(pictures, group=group, classes=classes) as service:
            report = download_here(service, fresh_store, connection, out)
        assert (report.group, report.classes, report.pictures) == (group, classes, 6)
        dataset = dataset_contract.read(out)
        assert (dataset.group, dataset.classes, Counter(row.label for row in dataset.rows)) == (
            group, classes, dict.fromkeys(classes, 3),
        )  # fmt: skip
        check_nothing_is_elsewhere(fresh_store, tmp_path, out)
    assert len(list(fresh_store.list_keys("datasets/"))) == 6


@pytest.mark.parametrize("group", ["../../x", "--help", "it's 🙂"])
def test_the_command_writes_a_group_of_any_name_below_its_state_folder(
    services_env: dict[str, str],
    fresh_store: Store,
    connection: psycopg.Connection,
    fresh_dsn: str,
    tmp_path: Path,
    group: str,
) -> None:
    with FaultyService(some_pictures(10), group=group) as service:
        environment = environment_of(services_env, service, store=fresh_store, dsn=fresh_dsn, scratch=tmp_path / "tmp")
        folder = tmp_path / "1" / "2"
        folder.mkdir(parents=True)
        done = download_by_command(service, environment, folder / "work")
    assert done.returncode == 0, done.stderr
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {f"1/2/work/dataset/{name}" for name in FILES}


@pytest.fixture
def download_sets(
    service: FaultyService, fresh_store: Store, connection: psycopg.Connection, tmp_path: Path, out: Path
) -> Callable[[list[str]], DownloadReport]:
    """Download the named pixsets."""

    def run(names: list[str], *, file: str = "sets.json") -> DownloadReport:
        listed = tmp_path.parent / f"{tmp_path.name} lists" / file
        listed.parent.mkdir(exist_ok=True)
        listed.write_text(json.dumps(names), encoding="utf-8")
        return download_pixsets(
            pixsets=listed, out=out, store=fresh_store, connection=connection, config=small_config(),
            picture_service=service.settings,
        )  # fmt: skip

    return run


def test_pixsets_of_every_kind_of_name_are_asked_for_by_that_name(
    service: FaultyService,
    fresh_store: Store,
    download_sets: Callable[[list[str]], DownloadReport],
    tmp_path: Path,
    out: Path,
) -> None:
    names = [name for name in GOOD if name.strip()]  # a blank one is refused in the list, with its line
    report = download_sets([*names, "no such pixset", "../nor this/.."])
    assert (report.pictures, dict(report.refused)) == (len(names), {"unknown_pixset": 2})
    check_nothing_is_elsewhere(fresh_store, tmp_path, out)
    check_round_trip(out, {name: service.pictures[name].sha256 for name in names})
    assert {row.pixset_id for row in dataset_contract.read(out).rows} == set(names)
    assert {item.picture_id for item in dataset_contract.read(out).refused} == {
        "pixset no such pixset", "pixset ../nor this/..",
    }  # fmt: skip


@pytest.mark.parametrize("file", ["..json", "it's 🙂.json", "-rf.json", "x" * 200 + ".json", "a\nb.json"])
def test_a_list_of_pixsets_may_have_any_name(
    fresh_store: Store,
    download_sets: Callable[..., DownloadReport],
    tmp_path: Path,
    out: Path,
    file: str,
) -> None:
    assert download_sets(["a/b", "🙂"], file=file).pictures == 2
    check_nothing_is_elsewhere(fresh_store, tmp_path, out)


def test_a_picture_that_is_refused_keeps_its_own_name_in_quarantine(
    service: FaultyService, fresh_store: Store, connection: psycopg.Connection, out: Path
) -> None:
    """Two long names that begin alike are two pictures, also when neither can be fetched or opened."""
    alike = "x" * 300
    service.pictures = {
        **some_pictures(6),
        f"{alike} url 1": Served(data=jpeg(901), url="ftp://127.0.0.1/x"),
        f"{alike} url 2": Served(data=jpeg(902), url="ftp://127.0.0.1/x"),
        f"{alike} html": Served(data=b"<html>"),
        f"{alike} label": Served(data=jpeg(903), label="c"),
    }
    download_here(service, fresh_store, connection, out)
    assert {item.picture_id: item.reason for item in dataset_contract.read(out).refused} == {
        f"{alike} url 1": "bad_url",
        f"{alike} url 2": "bad_url",
        f"{alike} html": "unsupported",
        f"{alike} label": "unknown_label",
    }


def test_names_that_are_no_text_take_no_place_of_one_that_is(
    service: FaultyService, fresh_store: Store, connection: psycopg.Connection, out: Path
) -> None:
    service.pictures = some_pictures(6)
    service.pictures |= {"with\0NUL": Served(data=jpeg(901)), "lone\ud800": Served(data=jpeg(902))}
    download_here(service, fresh_store, connection, out)
    stand_ins = [item.picture_id for item in dataset_contract.read(out).refused]
    assert len(stand_ins) == 2
    service.pictures |= {name: Served(data=jpeg(910 + number)) for number, name in enumerate(stand_ins)}
    report = download_here(service, fresh_store, connection, out)
    assert report.pictures == 8, "a picture whose real name looks like the stand-in was left out"
    assert dict(report.refused) == {"bad_name": 2}


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.sets(st.text(min_size=1, max_size=40), min_size=1, max_size=8))
def test_any_text_is_an_id(
    fresh_store: Store, connection: psycopg.Connection, tmp_path: Path, out: Path, names: set[str]
) -> None:
    config = limited()
    config = config.model_copy(update={"dataset": config.dataset.model_copy(update={"min_pictures_per_class": 1})})
    pictures = {name: Served(data=jpeg(number), pixset_id=name) for number, name in enumerate(sorted(names))}
    steady = {"steady a": Served(data=jpeg(500)), "steady b": Served(data=jpeg(501), label="b")}
    with FaultyService({**pictures, **steady}) as service:
        report = download_here(service, fresh_store, connection, out, config=config)
        good = {name: item.sha256 for name, item in service.pictures.items() if "\0" not in name}
    assert report.pictures == len(good)
    check_round_trip(out, good)
    check_nothing_is_elsewhere(fresh_store, tmp_path, out)
