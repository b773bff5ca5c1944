"""What a hostile or failing service, store, database or disk does to a whole download, and to the one after it."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
import stamina

from silhouette.contracts import dataset as dataset_contract
from silhouette.download_pictures.download import DownloadReport
from silhouette.download_pictures.scratch import Scratch
from silhouette.errors import InputError, ServiceError
from silhouette.picture_source import service as service_module
from silhouette.picture_source.fetcher import Fetcher
from silhouette.store import Store, open_store
from tests.download_pictures.faulty_service import (
    Fault,
    FaultyService,
    Served,
    cut_short,
    download_by_command,
    download_command,
    download_here,
    endless,
    environment_of,
    hang_up,
    length_nonsense,
    length_too_small,
    limited,
    reset,
    some_pictures,
    status,
    trickle,
)
from tests.faulty_store import FaultyStore
from tests.loopback import jpeg

WORKERS = limited().pictures.workers
Download = Callable[..., DownloadReport]


@pytest.fixture
def service() -> Iterator[FaultyService]:
    with FaultyService(some_pictures(20)) as running:
        yield running


@pytest.fixture
def download(
    service: FaultyService, fresh_store: Store, connection: psycopg.Connection, tmp_path: Path
) -> Callable[..., DownloadReport]:
    """Download all of the service into the test's own bucket and database, with `limits` at the door."""

    def run(*, store: Store = fresh_store, **limits: float) -> DownloadReport:
        return download_here(service, store, connection, tmp_path / "out", config=limited(**limits))

    return run


@pytest.fixture
def again() -> None:
    """Try as often as in earnest, without waiting."""
    stamina.set_testing(True, attempts=5)


@pytest.fixture
def quick_fetcher(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lose patience with an answer in a fraction of a second."""
    monkeypatch.setattr(service_module, "Fetcher", partial(Fetcher, silence_s=0.4, attempt_s=0.6, total_s=2.0))


@pytest.fixture
def environment(
    services_env: dict[str, str], service: FaultyService, fresh_store: Store, fresh_dsn: str, tmp_path: Path
) -> dict[str, str]:
    """The environment of a download in a process of its own."""
    return environment_of(services_env, service, store=fresh_store, dsn=fresh_dsn, scratch=tmp_path / "tmp")


def quarantine(out: Path) -> dict[str, str]:
    return {item.picture_id: item.reason for item in dataset_contract.read(out).refused}


def rows_of(out: Path) -> dict[str, str]:
    return {row.picture_id: row.sha256 for row in dataset_contract.read(out).rows}


def recorded(connection: psycopg.Connection) -> dict[str, str]:
    """Return the reason, or nothing, of every picture that the database knows."""
    return dict(connection.execute("SELECT name, reason FROM pictures").fetchall())


def check_all_is_in(service: FaultyService, out: Path, connection: psycopg.Connection) -> None:
    assert rows_of(out) == {name: item.sha256 for name, item in service.pictures.items()}
    assert quarantine(out) == {}
    assert recorded(connection) == dict.fromkeys(service.pictures, "")


# ---- hostile files


def upright_size(picture: dict[str, Any]) -> tuple[int, int] | None:
    """Return the upright size that another decoder found in a file of the hostile set."""
    words = (picture["pillow_13_0"] + " " + (picture["pillow_heif_1_8"] or "")).split()
    found = [word for word in words if word.replace("x", "", 1).isdigit() and "x" in word]
    if not found:
        return None
    width, height = map(int, found[0].split("x"))
    return (height, width) if any(f"ori={turned}" in words for turned in range(5, 9)) else (width, height)


def most_memory_kb(process: subprocess.Popen[bytes]) -> int:
    """Wait for a process and return its largest resident set; ru_maxrss would begin with that of this process."""
    largest = 0
    while process.poll() is None:
        with suppress(OSError):
            lines = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii").splitlines()
            largest = max([largest, *(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))])
        time.sleep(0.01)
    return largest


REASONS = {
    "animated": {"animated"},
    "bomb": {"too_large"},
    "corrupt": {"", "corrupt", "truncated", "unsupported"},
    "truncated": {"truncated"},
    "other_format": {"unsupported"},
    "wrong_name": {"unsupported"},
    "zero_byte": {"empty"},
}
EXCEPTIONS = {  # what the name promises is not what is inside
    "animated__Pillow__hopper_zero_comment_subblocks.gif": "",  # one frame
    "bomb__Pillow__decompression_bomb.ico": "unsupported",
    "bomb__Pillow__decompression_bomb_extents.gif": "animated",
    "bomb__Pillow__oom-225817ca0f8c663be7ab4b9e717b02c661e66834.tif": "corrupt",
    "corrupt__image__Bad_height.bmp": "too_large",
    "depth16__Pillow__mode_16bit.png": "animated",
    "other_format__libvips__looks-like-svg.webp": "",
    "truncated__libvips__invalid_multiframe.gif": "animated",
    "truncated__pillow_heif__truncated.heic": "",  # the picture is whole, what follows it is not
    "wrong_name__made__name with spaces é 人 🙂.jpg": "",
}


def test_every_hostile_file_comes_in_upright_or_is_refused_with_its_reason_and_memory_stays_bounded(
    service: FaultyService,
    environment: dict[str, str],
    shared_data: Callable[[str], Path],
    connection: psycopg.Connection,
    tmp_path: Path,
) -> None:
    folder = shared_data("hostile")
    files = {item["file"]: item for item in json.loads((folder / "expected.json").read_text(encoding="utf-8"))}
    assert len(files) > 80
    service.pictures |= {name: Served(data=(folder / name).read_bytes()) for name in files}
    with (tmp_path / "said").open("wb") as said:
        process = subprocess.Popen(
            download_command(service, tmp_path / "work"),
            env=environment, cwd=environment["TMPDIR"], stdout=subprocess.DEVNULL, stderr=said,
        )  # fmt: skip
        largest_kb = most_memory_kb(process)
    assert process.returncode == 0, (tmp_path / "said").read_text()
    assert 0 < largest_kb < 500_000, f"{largest_kb} kB; the largest bomb alone has 1 200 000 as pixels"
    refused, rows = quarantine(tmp_path / "work" / "dataset"), dataset_contract.read(tmp_path / "work" / "dataset").rows
    admitted = {row.picture_id: (row.width, row.height) for row in rows}
    assert not refused.keys() & admitted.keys()
    assert refused.keys() | admitted.keys() == service.pictures.keys()
    for name, item in files.items():
        wanted = {EXCEPTIONS[name]} if name in EXCEPTIONS else REASONS.get(item["category"], {""})
        assert refused.get(name, "") in wanted, name
        if name in admitted:
            assert admitted[name] == upright_size(item), name
    assert {name: reason for name, reason in recorded(connection).items() if reason} == refused
    assert download_by_command(service, environment, tmp_path / "work").returncode == 0
    assert set(service.asked.values()) == {1}, "a file that was judged is asked for again"


# ---- a service that is ill for a while

ONCE: dict[str, list[Fault]] = {
    "429 and when to come again": [status(429, Retry_After="0")] * 2,
    "429 and nonsense": [status(429, Retry_After="soon")],
    "a burst of 500": [status(500)] * 4,
    "503 and 502": [status(503, Retry_After="0"), status(502)],
    "a body cut short": [cut_short] * 2,
    "a length that is no number": [length_nonsense],
    "no answer": [hang_up] * 3,
    "a reset": [reset] * 3,
    "all of it": [status(500), cut_short, reset, status(429, Retry_After="0")],
}


@pytest.mark.usefixtures("again")
@pytest.mark.parametrize("faults", ONCE.values(), ids=ONCE.keys())
def test_a_fault_that_passes_leaves_no_trace(
    service: FaultyService, download: Download, connection: psycopg.Connection, tmp_path: Path, faults: list[Fault]
) -> None:
    ill = ["p000", "p007", "p019"]
    for name in ill:
        for fault in faults:
            service.fail(name, fault, times=1)
    report = download()
    assert (report.pictures, report.fetched, dict(report.refused)) == (20, 20, {})
    check_all_is_in(service, tmp_path / "out", connection)
    assert service.asked == {name: 1 + len(faults) * (name in ill) for name in service.pictures}
    assert download().fetched == 0
    assert set(service.sent.values()) == {1}


def test_a_service_that_is_busy_is_asked_again_by_the_command_as_well(
    service: FaultyService, environment: dict[str, str], connection: psycopg.Connection, tmp_path: Path
) -> None:
    for name in service.pictures:
        service.fail(name, status(429, Retry_After="0"), times=1)
    service.fail("p003", status(503, Retry_After="1"), times=2)
    service.listing_faults += [status(429, Retry_After="0"), cut_short, reset]
    done = download_by_command(service, environment, tmp_path)
    assert (done.returncode, json.loads(done.stdout)["pictures"]) == (0, 20), done.stderr
    check_all_is_in(service, tmp_path / "dataset", connection)


@pytest.mark.usefixtures("quick_fetcher")
@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (status(500), "500"),
        (status(429, Retry_After="0"), "429"),
        (status(418), "418"),
        (cut_short, "did not answer"),
        (length_nonsense, "did not answer"),
        (hang_up, "did not answer"),
        (trickle(0.05), "did not answer"),
    ],
    ids=["500", "429", "418", "cut short", "no number", "no answer", "a slow trickle"],
)
def test_a_picture_that_never_comes_ends_the_run_when_the_others_are_in_and_the_next_run_fetches_it_alone(
    service: FaultyService,
    download: Download,
    connection: psycopg.Connection,
    tmp_path: Path,
    fault: Fault,
    says: str,
) -> None:
    service.fail("p005", fault)
    with pytest.raises(ServiceError, match=f"(?s)1 did not come.*'p005'.*{says}.*what is done stays") as raised:
        download()
    assert "\n" not in str(raised.value)
    assert recorded(connection) == dict.fromkeys(service.pictures.keys() - {"p005"}, "")
    assert not (tmp_path / "out").exists()
    report = download(max_unavailable=1)
    assert (report.pictures, dict(report.refused)) == (19, {"unavailable": 1})
    assert quarantine(tmp_path / "out") == {"p005": "unavailable"}
    service.heal()
    assert download().fetched == 1
    check_all_is_in(service, tmp_path / "out", connection)
    assert set(service.sent.values()) == {1}


def test_an_endless_body_is_cut_off_and_recorded(
    service: FaultyService, download: Download, connection: psycopg.Connection, tmp_path: Path
) -> None:
    service.fail("p005", endless)
    report = download(max_megabytes=0.2)
    assert (report.pictures, dict(report.refused)) == (19, {"too_many_bytes": 1})
    assert recorded(connection)["p005"] == "too_many_bytes"
    service.forget()
    assert download(max_megabytes=0.2).fetched == 0
    assert not service.asked, "the same limits judge the same"
    service.heal()
    assert download(max_megabytes=0.3).fetched == 1, "other limits may judge otherwise"
    check_all_is_in(service, tmp_path / "out", connection)


@pytest.mark.usefixtures("again")
@pytest.mark.parametrize("promises_sha256", [False, True])
def test_a_length_that_is_too_small_harms_no_other_picture(
    service: FaultyService, download: Download, tmp_path: Path, promises_sha256: bool
) -> None:
    service.pictures = some_pictures(20, promises_sha256=promises_sha256)
    service.fail("p005", length_too_small, times=1)
    download()
    others = {name: item.sha256 for name, item in service.pictures.items() if name != "p005"}
    found = rows_of(tmp_path / "out")
    assert {name: found.get(name) for name in others} == others
    reason = "not_what_was_listed" if promises_sha256 else "truncated"
    assert quarantine(tmp_path / "out") == {"p005": reason}
    if promises_sha256:  # nobody can tell otherwise that it was not the picture's fault
        assert download().pictures == 20


def test_a_command_that_fails_says_why_in_one_line_and_ends_with_1(
    service: FaultyService, environment: dict[str, str], connection: psycopg.Connection, tmp_path: Path
) -> None:
    service.fail("p005", status(501))
    done = download_by_command(service, environment, tmp_path)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "'p005'" in line
    assert "pictures.max_unavailable" in line
    assert "Traceback" not in done.stderr
    assert len(recorded(connection)) == 19
    config = tmp_path / "config.yaml"
    config.write_text("pictures: {max_unavailable: 1}\n", encoding="utf-8")
    done = download_by_command(service, {**environment, "SILHOUETTE_CONFIG": str(config)}, tmp_path)
    assert (done.returncode, json.loads(done.stdout)["refused"]) == (0, {"unavailable": 1}), done.stderr


def test_a_service_that_is_down_is_noticed_after_a_few_pictures(
    service: FaultyService, download: Download, connection: psycopg.Connection
) -> None:
    service.pictures = some_pictures(200)
    for name in service.pictures:
        service.fail(name, status(503))
    with pytest.raises(ServiceError, match="what is done stays"):
        download(max_unavailable=1000)
    assert len(service.asked) <= 6 * WORKERS, "it went through all of them"
    service.heal()
    assert download().pictures == 200


def test_a_service_that_is_down_is_noticed_when_every_second_picture_is_known(
    service: FaultyService, download: Download
) -> None:
    pictures = some_pictures(200)
    service.pictures = {name: item for number, (name, item) in enumerate(pictures.items()) if number % 4 < 2}
    download()
    service.pictures = pictures
    service.forget()
    for name in pictures:
        service.fail(name, status(503))
    with pytest.raises(ServiceError, match="what is done stays"):
        download(max_unavailable=1000)
    assert len(service.asked) <= 8 * WORKERS, "it went through all of them"


def test_a_service_that_hangs_up_on_everybody_after_a_while_loses_nothing(
    service: FaultyService, download: Download, connection: psycopg.Connection, tmp_path: Path
) -> None:
    service.pictures = some_pictures(60)
    for name in list(service.pictures)[30:]:
        service.fail(name, reset)
    with pytest.raises(ServiceError):
        download()
    assert recorded(connection) == dict.fromkeys(list(service.pictures)[:30], "")
    service.heal()
    report = download()
    assert (report.reused, report.fetched) == (30, 30)
    check_all_is_in(service, tmp_path / "out", connection)
    assert set(service.sent.values()) == {1}


# ---- the listing


@pytest.mark.usefixtures("again")
def test_a_listing_that_fails_for_a_while_is_read_to_its_end(
    service: FaultyService, download: Download, connection: psycopg.Connection, tmp_path: Path
) -> None:
    service.page = 6
    service.listing_faults += [status(429, Retry_After="0"), status(500), cut_short, hang_up]
    download()
    check_all_is_in(service, tmp_path / "out", connection)


@pytest.mark.usefixtures("quick_fetcher")
@pytest.mark.parametrize("fault", [status(500), cut_short, endless, trickle(0.05), hang_up, length_too_small])
def test_a_listing_that_cannot_be_had_is_loud_and_leaves_the_last_dataset_alone(
    service: FaultyService, download: Download, fresh_store: Store, tmp_path: Path, fault: Fault
) -> None:
    download()
    before = {key: fresh_store.get_bytes(key) for key in fresh_store.list_keys("")}
    here = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    service.page = 6
    service.before_page = lambda number: service.listing_faults.append(fault) if number == 3 else None
    with pytest.raises(ServiceError) as raised:
        download()
    assert "\n" not in str(raised.value)
    assert {key: fresh_store.get_bytes(key) for key in fresh_store.list_keys("")} == before
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == here


def test_a_page_that_comes_twice_counts_once(
    service: FaultyService, download: Download, connection: psycopg.Connection, tmp_path: Path
) -> None:
    service.page, cursors = 6, iter(["6", "6 again", "12", "18"])
    service.cursor_of = lambda _end: next(cursors)
    assert download().pictures == 20
    check_all_is_in(service, tmp_path / "out", connection)
    assert set(service.asked.values()) == {1}


def test_a_listing_that_goes_in_circles_is_loud(service: FaultyService, download: Download) -> None:
    service.page = 6
    service.cursor_of = lambda _end: "6"
    with pytest.raises(ServiceError, match="must end its listing"):
        download()


def test_a_listing_that_changes_while_it_is_read_counts_what_it_said_last(
    service: FaultyService, download: Download, connection: psycopg.Connection, tmp_path: Path
) -> None:
    """Pictures come in before the cursor, so one is listed twice; by then its bytes have changed."""
    service.page = 6

    def change(number: int) -> None:
        if number == 2:
            changed = service.pictures["p005"]
            new = {"new": Served(data=jpeg(900)), **service.pictures}
            service.pictures = {**new, "p005": replace(changed, data=jpeg(901))}
        if number == 3:
            del service.pictures["p019"]

    service.before_page = change
    report = download()
    assert report.pictures == 19, "the new one was before the cursor: the next run sees it"
    assert rows_of(tmp_path / "out")["p005"] == service.pictures["p005"].sha256
    service.before_page = lambda _number: None
    report = download()
    assert (report.fetched, report.withdrawn) == (1, 0)
    check_all_is_in(service, tmp_path / "out", connection)


def test_a_picture_whose_label_changes_while_the_listing_is_read_is_left_out(
    service: FaultyService, download: Download, tmp_path: Path
) -> None:
    service.page = 6

    def change(number: int) -> None:
        if number == 2:
            changed = replace(service.pictures["p005"], label="a")
            service.pictures = {"new": Served(data=jpeg(900)), **service.pictures, "p005": changed}

    service.before_page = change
    assert download().pictures == 19
    assert quarantine(tmp_path / "out") == {"p005": "listed_twice"}
    service.before_page = lambda _number: None
    assert download().pictures == 21


def test_a_picture_that_goes_between_listing_and_fetching_is_a_row_in_quarantine(
    service: FaultyService, download: Download, connection: psycopg.Connection, tmp_path: Path
) -> None:
    service.fail("p004", status(404))
    service.fail("p005", status(410))
    service.fail("p006", status(403))
    report = download()
    assert (report.pictures, report.withdrawn) == (17, 0)
    assert quarantine(tmp_path / "out") == {"p004": "missing", "p005": "withdrawn", "p006": "forbidden"}
    assert len(recorded(connection)) == 17, "what may be better tomorrow is asked for again"
    service.heal()
    assert download().fetched == 3
    check_all_is_in(service, tmp_path / "out", connection)


# ---- what changes between two runs


def test_a_withdrawn_picture_leaves_the_dataset_and_stays_listed_until_it_comes_back(
    service: FaultyService, download: Download, fresh_store: Store, tmp_path: Path
) -> None:
    download()
    gone = service.pictures.pop("p004")
    for _ in range(3):
        report = download()
        assert (report.pictures, report.withdrawn, report.fetched, dict(report.refused)) == (19, 1, 0, {})
        assert quarantine(tmp_path / "out") == {"p004": "withdrawn"}
        assert "p004" not in rows_of(tmp_path / "out")
    del service.pictures["p011"]
    assert (download().withdrawn, set(quarantine(tmp_path / "out"))) == (2, {"p004", "p011"})
    (key,) = fresh_store.list_keys("quarantine/")
    assert fresh_store.get_bytes(key) == (tmp_path / "out" / "quarantine.csv").read_bytes()
    service.pictures["p004"] = gone
    report = download()
    assert (report.pictures, report.withdrawn, report.fetched) == (19, 1, 0), "its bytes were kept"
    assert quarantine(tmp_path / "out") == {"p011": "withdrawn"}


def test_a_picture_that_the_service_stops_to_send_and_then_to_list_is_withdrawn(
    service: FaultyService, download: Download, tmp_path: Path
) -> None:
    download()
    for name in ("p004", "p005"):
        service.pictures[name] = replace(service.pictures[name], stamp="another")
    service.fail("p004", status(404))
    service.fail("p005", status(410))
    download()
    assert quarantine(tmp_path / "out") == {"p004": "missing", "p005": "withdrawn"}
    del service.pictures["p004"], service.pictures["p005"]
    assert download().withdrawn == 2
    assert quarantine(tmp_path / "out") == {"p004": "withdrawn", "p005": "withdrawn"}


def test_a_withdrawn_picture_is_not_forgotten_by_a_run_that_failed(
    service: FaultyService, download: Download, tmp_path: Path
) -> None:
    download()
    del service.pictures["p004"]
    service.pictures["new"] = Served(data=jpeg(900))
    service.fail("new", status(500))
    with pytest.raises(ServiceError):
        download()
    service.heal()
    assert download().withdrawn == 1
    assert quarantine(tmp_path / "out") == {"p004": "withdrawn"}


def test_a_changed_picture_is_fetched_alone_and_its_old_bytes_stay(
    service: FaultyService, download: Download, fresh_store: Store, connection: psycopg.Connection, tmp_path: Path
) -> None:
    first = download()
    old = service.pictures["p004"]
    service.pictures["p004"] = replace(old, data=jpeg(904))
    service.forget()
    second = download()
    assert (second.fetched, second.reused, dict(service.asked)) == (1, 19, {"p004": 1})
    assert first.digest != second.digest
    check_all_is_in(service, tmp_path / "out", connection)
    assert fresh_store.get_bytes(f"pictures/{old.sha256[:2]}/{old.sha256}.jpg") == old.data


def test_a_new_stamp_on_the_same_bytes_costs_one_short_answer(
    service: FaultyService, download: Download, tmp_path: Path
) -> None:
    first = download()
    for name in ("p004", "p005"):
        service.pictures[name] = replace(service.pictures[name], stamp=f"new stamp of {name}")
    service.forget()
    second = download()
    assert (second.fetched, second.size_bytes, second.digest) == (0, 0, first.digest)
    assert (dict(service.not_modified), dict(service.sent)) == ({"p004": 1, "p005": 1}, {})
    service.forget()
    assert download().fetched == 0
    assert not service.asked, "the new stamp is remembered"


def test_a_damaged_picture_that_is_mended_is_fetched_again(service: FaultyService, download: Download) -> None:
    whole = service.pictures["p004"]
    service.pictures["p004"] = replace(whole, data=whole.data[:300])
    assert dict(download().refused) == {"truncated": 1}
    service.forget()
    assert dict(download().refused) == {"truncated": 1}
    assert not service.asked
    service.pictures["p004"] = whole
    assert download().pictures == 20


# ---- what was wiped, and what is known by its content


def test_a_wiped_database_learns_from_the_store_and_nothing_is_fetched_again(
    service: FaultyService, download: Download, connection: psycopg.Connection, tmp_path: Path
) -> None:
    service.pictures["half"] = Served(data=jpeg(900)[:300])
    first = download()
    before = connection.execute("SELECT * FROM pictures ORDER BY name").fetchall()
    connection.execute("DELETE FROM pictures")
    service.forget()
    second = download()
    assert (second.fetched, dict(service.asked), second.digest) == (0, {}, first.digest)
    assert quarantine(tmp_path / "out") == {"half": "truncated"}
    after = connection.execute("SELECT * FROM pictures ORDER BY name").fetchall()
    assert [row[:-1] for row in after] == [row[:-1] for row in before], "all but the moment"


def test_a_wiped_bucket_is_filled_again_although_the_database_knows_all(
    service: FaultyService, download: Download, fresh_store: Store, connection: psycopg.Connection, tmp_path: Path
) -> None:
    service.pictures["half"] = Served(data=jpeg(900)[:300])
    first = download()
    for key in list(fresh_store.list_keys("")):
        fresh_store.remove(key)
    service.forget()
    second = download()
    assert (second.fetched, second.digest) == (20, first.digest)
    assert set(service.sent) == service.pictures.keys() - {"half"}, "that one is still no picture"
    assert len(list(fresh_store.list_keys("pictures/"))) == 20


@pytest.mark.parametrize("listed_store", [False, True])
def test_objects_that_are_missing_are_fetched_again_alone(
    service: FaultyService,
    download: Download,
    fresh_store: Store,
    monkeypatch: pytest.MonkeyPatch,
    listed_store: bool,
) -> None:
    if listed_store:  # as for a large group
        monkeypatch.setattr("silhouette.download_pictures.bring._LIST_FROM", 1)
    service.pictures["large"] = Served(data=jpeg(900, width=1700, height=20))
    download()
    lost = [service.pictures[name].sha256 for name in ("p004", "p005", "large")]
    for sha256 in lost[:2]:
        fresh_store.remove(f"pictures/{sha256[:2]}/{sha256}.jpg")
    fresh_store.remove(f"working/1600/{lost[2][:2]}/{lost[2]}.jpg")
    service.forget()
    assert download().fetched == 3
    assert set(service.sent) == {"p004", "p005", "large"}


def test_pictures_that_are_known_by_content_are_not_fetched_under_another_id(
    service: FaultyService, download: Download, connection: psycopg.Connection, tmp_path: Path
) -> None:
    service.pictures = some_pictures(20, promises_sha256=True)
    download()
    service.forget()
    service.pictures = {f"renamed {name}": item for name, item in service.pictures.items()}
    report = download()
    assert (report.fetched, report.reused, report.withdrawn, dict(service.asked)) == (0, 20, 20, {})
    assert rows_of(tmp_path / "out") == {name: item.sha256 for name, item in service.pictures.items()}
    assert service.pictures.keys() <= recorded(connection).keys()


def test_content_that_is_known_but_gone_from_the_store_is_fetched(
    service: FaultyService, download: Download, fresh_store: Store
) -> None:
    service.pictures = some_pictures(20, promises_sha256=True)
    download()
    for key in list(fresh_store.list_keys("pictures/")):
        fresh_store.remove(key)
    service.forget()
    service.pictures = {f"renamed {name}": item for name, item in service.pictures.items()}
    assert download().fetched == 20


def test_an_archive_of_another_version_is_passed_over(
    service: FaultyService, download: Download, fresh_store: Store, connection: psycopg.Connection, tmp_path: Path
) -> None:
    download()
    (key,) = fresh_store.list_keys("meta/")
    lines = [json.loads(line) for line in gzip.decompress(fresh_store.get_bytes(key)).splitlines()]
    other = b"".join(json.dumps({"picture_id": line["picture_id"]}).encode() + b"\n" for line in lines)
    fresh_store.put_bytes(key, gzip.compress(other))
    assert download().fetched == 0
    fresh_store.put_bytes(key, gzip.compress(other))
    connection.execute("DELETE FROM pictures")
    assert download().fetched == 20
    check_all_is_in(service, tmp_path / "out", connection)


# ---- a store that fails


def test_a_store_that_answers_503_now_and_then_is_asked_again(
    service: FaultyService, download: Download, fresh_store: Store, connection: psycopg.Connection, tmp_path: Path
) -> None:
    with FaultyStore(fresh_store.endpoint) as faulty:
        through = open_store(replace(fresh_store.settings, endpoint=faulty.endpoint), patience_s=20)
        faulty.answer_503(4)
        assert download(store=through).pictures == 20
        faulty.break_off(2)
        assert download(store=through).fetched == 0
    check_all_is_in(service, tmp_path / "out", connection)
    assert set(service.sent.values()) == {1}


def test_a_store_that_is_gone_for_a_while_is_waited_for(
    service: FaultyService, download: Download, fresh_store: Store, connection: psycopg.Connection, tmp_path: Path
) -> None:
    service.pause_s = 0.02
    with FaultyStore(fresh_store.endpoint) as faulty:
        through = open_store(replace(fresh_store.settings, endpoint=faulty.endpoint), patience_s=30)

        def go_and_come() -> None:
            while service.contents_sent() < 8:
                time.sleep(0.002)
            faulty.refuse()
            time.sleep(1.5)
            faulty.heal()

        absent = threading.Thread(target=go_and_come)
        absent.start()
        report = download(store=through)
        absent.join()
    assert (report.pictures, report.fetched) == (20, 20)
    check_all_is_in(service, tmp_path / "out", connection)
    assert set(service.sent.values()) == {1}, "the bytes are kept while the store is away"


def test_a_store_that_is_gone_for_longer_is_loud_and_what_is_done_stays(
    service: FaultyService, download: Download, fresh_store: Store, connection: psycopg.Connection, tmp_path: Path
) -> None:
    service.pictures = some_pictures(60)
    service.pause_s = 0.02
    with FaultyStore(fresh_store.endpoint) as faulty:
        through = open_store(replace(fresh_store.settings, endpoint=faulty.endpoint), patience_s=0.5)

        def go() -> None:
            while len(list(fresh_store.list_keys("pictures/"))) < 12:
                time.sleep(0.002)
            faulty.refuse()

        absent = threading.Thread(target=go)
        absent.start()
        with pytest.raises(ServiceError) as raised:
            download(store=through)
        absent.join()
    assert "\n" not in str(raised.value)
    done = recorded(connection)
    assert 0 < len(done) < 60
    assert set(done.values()) == {""}
    assert list(fresh_store.list_keys("datasets/")) == []
    service.forget()
    report = download()
    assert (report.reused, report.fetched) == (len(done), 60 - len(done))
    assert service.sent.keys() == service.pictures.keys() - done.keys()
    check_all_is_in(service, tmp_path / "out", connection)


@pytest.mark.long
def test_a_store_that_is_gone_for_twenty_seconds_does_not_stop_the_command(
    service: FaultyService,
    environment: dict[str, str],
    fresh_store: Store,
    connection: psycopg.Connection,
    tmp_path: Path,
) -> None:
    service.pictures = some_pictures(100)
    service.pause_s = 0.05
    with FaultyStore(fresh_store.endpoint) as faulty:

        def go_and_come() -> None:
            while service.contents_sent() < 30:
                time.sleep(0.01)
            faulty.refuse()
            time.sleep(20)
            faulty.heal()

        absent = threading.Thread(target=go_and_come)
        absent.start()
        done = download_by_command(service, {**environment, "SILHOUETTE_S3_ENDPOINT": faulty.endpoint}, tmp_path)
        absent.join()
    assert done.returncode == 0, done.stderr
    check_all_is_in(service, tmp_path / "dataset", connection)
    assert set(service.sent.values()) == {1}


def test_a_database_that_goes_away_is_loud_and_the_next_run_goes_on(
    service: FaultyService, download: Download, fresh_store: Store, fresh_dsn: str, tmp_path: Path
) -> None:
    service.pictures = some_pictures(60)
    service.pause_s = 0.02

    def cut() -> None:
        while service.contents_sent() < 12:
            time.sleep(0.002)
        with psycopg.connect(fresh_dsn, autocommit=True) as other:
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    cutting = threading.Thread(target=cut)
    cutting.start()
    with pytest.raises(ServiceError, match="PostgreSQL") as raised:
        download()
    cutting.join()
    assert "\n" not in str(raised.value)
    with psycopg.connect(fresh_dsn, autocommit=True) as other:
        done = recorded(other)
        assert 0 < len(done) < 60
        service.pause_s = 0.0
        service.forget()
        report = download_here(service, fresh_store, other, tmp_path / "out")
        assert (report.reused, report.fetched) == (len(done), 60 - len(done))
        check_all_is_in(service, tmp_path / "out", other)


# ---- a disk that is full


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Callable[[list[str], str], list[str]]:
    """Run a command with a filesystem of a given size below this test's folder `disk`; nobody else sees it."""
    unshare = shutil.which("unshare")
    space = [unshare or "", "--user", "--map-root-user", "--mount"]
    (tmp_path / "disk").mkdir()
    probe = ["sh", "-c", 'mount -t tmpfs -o size=64k tmpfs "$0"', str(tmp_path / "disk")]
    if unshare is None or subprocess.run([*space, *probe], capture_output=True, check=False).returncode:
        pytest.skip("needs unprivileged user namespaces in which a tmpfs may be mounted; this system has none")

    def wrap(command: list[str], size: str) -> list[str]:
        script = 'mount -t tmpfs -o "size=$1" tmpfs "$0" && mkdir "$0/tmp" && shift && exec "$@"'
        return [*space, "sh", "-c", script, str(tmp_path / "disk"), size, *command]

    return wrap


def run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env=environment, cwd=Path(environment["TMPDIR"]).anchor, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip


def check_says_that_the_disk_is_full(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr, done.stderr[-1500:]
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "full" in line
    assert "free some" in line


@pytest.mark.parametrize(
    ("size", "least"),
    [("32k", 0), pytest.param("100k", 1, marks=pytest.mark.long), ("300k", 250)],
    ids=["listing", "bringing", "comparing"],
)
def test_a_scratch_disk_that_is_full_is_said_in_one_line_and_the_next_run_goes_on(
    service: FaultyService,
    environment: dict[str, str],
    fresh_store: Store,
    connection: psycopg.Connection,
    tmp_path: Path,
    tiny_disk: Callable[[list[str], str], list[str]],
    size: str,
    least: int,
) -> None:
    service.pictures = some_pictures(250)
    scratch = {**environment, "TMPDIR": str(tmp_path / "disk" / "tmp")}
    done = run(tiny_disk(download_command(service, tmp_path / "work"), size), scratch)
    check_says_that_the_disk_is_full(done)
    check_goes_on(service, environment, fresh_store, connection, tmp_path, least=least)


@pytest.mark.parametrize("size", ["40k", pytest.param("72k", marks=pytest.mark.long)], ids=["table", "page"])
def test_a_work_folder_that_is_full_is_said_in_one_line_and_the_next_run_goes_on(
    service: FaultyService,
    environment: dict[str, str],
    fresh_store: Store,
    connection: psycopg.Connection,
    tmp_path: Path,
    tiny_disk: Callable[[list[str], str], list[str]],
    size: str,
) -> None:
    service.pictures = some_pictures(250)
    done = run(tiny_disk(download_command(service, tmp_path / "disk" / "work"), size), environment)
    check_says_that_the_disk_is_full(done)
    check_goes_on(service, environment, fresh_store, connection, tmp_path, least=250)


def check_goes_on(
    service: FaultyService,
    environment: dict[str, str],
    store: Store,
    connection: psycopg.Connection,
    tmp_path: Path,
    *,
    least: int,
) -> None:
    known = recorded(connection)
    assert len(known) >= least
    assert list(store.list_keys("datasets/")) == []
    service.forget()
    done = download_by_command(service, environment, tmp_path / "work")
    assert done.returncode == 0, done.stderr
    assert service.asked.keys() == service.pictures.keys() - known.keys()
    check_all_is_in(service, tmp_path / "work" / "dataset", connection)


class _Killed(BaseException):
    """A run that ends at once, as by a signal."""


@pytest.mark.parametrize("dies_in", ["rows", "left_out"])
def test_a_run_that_dies_while_it_writes_the_dataset_leaves_no_mixture_of_two(
    service: FaultyService, download: Download, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, dies_in: str
) -> None:
    pictures = some_pictures(20)
    service.pictures = dict(list(pictures.items())[:10])
    download()
    old = dataset_contract.read(tmp_path / "out")
    service.pictures = {**pictures, "half": Served(data=b"")}
    real = getattr(Scratch, dies_in)

    def dying(self: Scratch) -> Iterator[Any]:
        for number, row in enumerate(real(self)):
            if number == (12 if dies_in == "rows" else 0):
                raise _Killed
            yield row

    monkeypatch.setattr(Scratch, dies_in, dying)
    with pytest.raises(_Killed):
        download()
    try:
        found = dataset_contract.read(tmp_path / "out")
    except InputError:
        return  # it says that there is no dataset: nobody works on half of one
    assert found == old


@pytest.mark.long
def test_a_store_whose_disk_is_full_is_loud_and_the_next_run_goes_on(
    service: FaultyService,
    environment: dict[str, str],
    connection: psycopg.Connection,
    tmp_path: Path,
    tiny_disk: Callable[[list[str], str], list[str]],
) -> None:
    """A real server on a filesystem of its own, which is filled in the middle of a download and then freed."""
    service.pictures = {
        name: replace(item, data=jpeg(number, width=900, height=900))
        for number, (name, item) in enumerate(some_pictures(60).items())
    }
    script = tmp_path / "store.py"
    script.write_text(_FULL_STORE, encoding="utf-8")
    command = [sys.executable, str(script), str(tmp_path / "disk"), str(tmp_path / "work"), service.group]
    done = run(tiny_disk(command, "700m"), {**environment, "PYTHONPATH": str(Path(__file__).parents[2])})
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["error"].startswith("ServiceError"), said
    assert "\n" not in said["error"]
    assert 0 < said["records"] < 60
    assert (said["fetched"], said["pictures"], said["datasets"]) == (60 - said["records"], 60, [0, 1])


_FULL_STORE = """
import json, os, sys
from pathlib import Path
from pipelines.embedded import down, up
from silhouette.config import load_config
from silhouette.database import connect
from silhouette.download_pictures.download import download_pictures
from silhouette.errors import SilhouetteError
from silhouette.store import Store, open_store
from silhouette.settings import store_settings

disk, work, group = sys.argv[1:]
for name in [name for name in os.environ if name.startswith("SILHOUETTE_S3_")]:
    del os.environ[name]
state, filler = Path(disk, "state"), Path(disk, "filler")
services = up(state, services=("object_store",))
try:
    store = open_store(store_settings({**os.environ, **services.environment}), patience_s=2)
    real, puts = Store.put_bytes, [0]

    def put(self, key, data, **options):
        puts[0] += 1
        if puts[0] == 20:
            with filler.open("wb") as file:
                try:
                    while file.write(bytes(1 << 16)):
                        file.flush()
                except OSError:
                    pass
        real(self, key, data, **options)

    Store.put_bytes = put
    said = {}
    with connect() as connection:
        common = dict(group=group, source=None, out=Path(work), store=store, connection=connection)
        common["config"] = load_config({})
        try:
            download_pictures(**common)
            said["error"] = "none"
        except SilhouetteError as error:
            said["error"] = f"{type(error).__name__}: {error}"
        said["datasets"] = [len(list(store.list_keys("datasets/")))]
        said["records"] = connection.execute("SELECT count(*) FROM pictures").fetchone()[0]
        filler.unlink(missing_ok=True)
        down(state)
        services = up(state, services=("object_store",))
        report = download_pictures(**common)
        said |= {"fetched": report.fetched, "pictures": report.pictures}
        said["datasets"].append(len(list(store.list_keys("datasets/"))))
    print(json.dumps(said))
finally:
    down(state)
"""
