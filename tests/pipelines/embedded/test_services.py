from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from minio import Minio

from pipelines.embedded import ALL, down, environment, status, up
from pipelines.embedded import service as service_module
from pipelines.embedded.__main__ import main
from pipelines.embedded.installation import RecordedProcess, load, locked
from pipelines.embedded.postgres import Postgres
from pipelines.embedded.processes import MARK
from silhouette.errors import ServiceError, SettingError
from tests.pipelines.embedded.conftest import processes_of

BOTH = ("postgres", "object_store")
CHECKOUT = Path(__file__).resolve().parents[3]


def pids(state_dir: Path, *names: str) -> dict[str, int | None]:
    return {row.name: row.pid for row in status(state_dir, services=names or BOTH)}


def store_of(variables: dict[str, str]) -> Any:
    keys = variables["SILHOUETTE_S3_ACCESS_KEY"], variables["SILHOUETTE_S3_SECRET_KEY"]
    return Minio(variables["SILHOUETTE_S3_ENDPOINT"], *keys, secure=False)


def write_data(state_dir: Path) -> None:
    variables = environment(state_dir)
    with psycopg.connect(variables["SILHOUETTE_POSTGRES_DSN"]) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (word text)")
        connection.execute("INSERT INTO kept VALUES ('Фото')")
    store_of(variables).put_object("silhouette", "a/b.bin", io.BytesIO(b"x" * 100_000), 100_000)


def assert_data_is_kept(state_dir: Path) -> None:
    variables = environment(state_dir)
    with psycopg.connect(variables["SILHOUETTE_POSTGRES_DSN"]) as connection:
        assert connection.execute("SELECT word FROM kept").fetchall() == [("Фото",)]
    response = store_of(variables).get_object("silhouette", "a/b.bin")
    with response:
        assert response.read() == b"x" * 100_000


def start_up_process(state_dir: Path, *names: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines.embedded", "up", "--json", "--state-dir", state_dir, *names],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_second_up_reuses_the_processes_and_down_ends_them(state_dir: Path) -> None:
    services = up(state_dir, services=BOTH)
    assert [row.state for row in services.statuses] == ["running", "running"]
    assert services.environment == environment(state_dir)
    first = pids(state_dir)
    assert [row.pid for row in up(state_dir, services=BOTH).statuses] == list(first.values())
    assert sorted(down(state_dir)) == sorted(BOTH)
    assert processes_of(state_dir) == []
    assert down(state_dir) == []
    assert {row.state for row in status(state_dir)} == {"stopped"}


def test_no_secret_is_readable_by_others_or_stands_on_a_command_line(running: Path) -> None:
    services = up(running, services=BOTH)
    installation = load(running)
    assert installation is not None
    secrets = [word for name in BOTH for word in installation.record(name).secrets.values()]
    lines = [" ".join(process.cmdline()) for process in processes_of(running)]
    assert len(secrets) == 7
    assert not [word for word in secrets if any(word in line for line in lines)]
    assert not [word for word in secrets if word in repr(services)]
    for path in (
        running,
        running / "state.json",
        running / "object_store/identities.json",
        running / "postgres",
    ):
        assert path.stat().st_mode & 0o077 == 0
    assert not list(running.rglob("password*"))
    for path in (running / "logs").iterdir():
        assert not [word for word in secrets if word in path.read_text(errors="replace")]


def test_everything_listens_on_loopback_only(running: Path) -> None:
    listening = [
        connection.laddr.ip
        for process in processes_of(running)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 8
    assert set(listening) == {"127.0.0.1"}


def test_wrong_password_and_wrong_key_are_refused(running: Path) -> None:
    variables = environment(running)
    dsn = variables["SILHOUETTE_POSTGRES_DSN"]
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(dsn.replace(dsn.split(":")[2].split("@")[0], "wrong"))
    variables["SILHOUETTE_S3_SECRET_KEY"] = "wrong"
    with pytest.raises(Exception, match="SignatureDoesNotMatch"):
        store_of(variables).list_buckets()


def test_data_is_kept_when_services_are_killed(state_dir: Path) -> None:
    up(state_dir, services=BOTH)
    write_data(state_dir)
    for killed in (("postgres",), BOTH):
        before = pids(state_dir)
        for name in killed:
            os.kill(before[name] or 0, signal.SIGKILL)
        time.sleep(0.1)
        states = {row.name: (row.state, "is gone" in row.detail) for row in status(state_dir, services=BOTH)}
        assert all(states[name] == ("failing", True) for name in killed)
        up(state_dir, services=BOTH)
        after = pids(state_dir)
        assert {name for name in BOTH if before[name] != after[name]} == set(killed)
        assert_data_is_kept(state_dir)


def test_lock_file_of_a_killed_postgres_that_names_a_living_stranger_is_taken_away(state_dir: Path) -> None:
    up(state_dir, services=["postgres"])
    os.kill(pids(state_dir)["postgres"] or 0, signal.SIGKILL)
    time.sleep(0.5)
    lock = state_dir / "postgres/data/postmaster.pid"
    lines = lock.read_text().splitlines()
    lock.write_text("\n".join([str(os.getppid()), *lines[1:]]) + "\n")
    assert up(state_dir, services=["postgres"]).statuses[0].state == "running"


def test_half_made_data_folder_is_made_again(state_dir: Path) -> None:
    partial = state_dir / "postgres" / "data.partial"
    partial.mkdir(parents=True)
    (partial / "PG_VERSION").write_text("18\n")
    assert up(state_dir, services=["postgres"]).statuses[0].state == "running"
    assert not partial.exists()


def assert_parent_killed_after_leaves_nothing_unrecorded(state_dir: Path, seconds: float, *names: str) -> None:
    parent = start_up_process(state_dir, *names)
    while not (state_dir / "state.json").exists():
        time.sleep(0.005)
    time.sleep(seconds)
    parent.kill()
    parent.communicate()
    time.sleep(0.3)  # a gate whose parent is gone ends by itself
    installation = load(state_dir)
    assert installation is not None
    named = [record.process.pid for record in installation.state.services.values() if record.process]
    strangers = [
        process
        for process in processes_of(state_dir)
        if not {process.pid, *(parent.pid for parent in process.parents())} & set(named)
    ]
    assert strangers == []
    up(state_dir, services=names)
    write_data(state_dir)
    assert_data_is_kept(state_dir)


@pytest.mark.parametrize("seconds", [0.02, 0.5, 1.2])
def test_parent_killed_in_the_middle_of_up_leaves_nothing_unrecorded(state_dir: Path, seconds: float) -> None:
    assert_parent_killed_after_leaves_nothing_unrecorded(state_dir, seconds, *BOTH)


@pytest.mark.long
@pytest.mark.parametrize("seconds", [random.Random(n).uniform(0, 5) for n in range(8)])
def test_parent_killed_at_a_random_moment_leaves_nothing_unrecorded(state_dir: Path, seconds: float) -> None:
    assert_parent_killed_after_leaves_nothing_unrecorded(state_dir, seconds, *ALL)


@pytest.mark.long
def test_frozen_service_is_started_again(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_module, "REUSE_WAIT_S", 1.0)
    monkeypatch.setattr(Postgres, "grace_s", 1.0)
    up(state_dir, services=["postgres"])
    frozen = psutil.Process(pids(state_dir)["postgres"])
    frozen.suspend()
    assert up(state_dir, services=["postgres"]).statuses[0].state == "running"
    assert not frozen.is_running() or frozen.status() == "zombie"


def test_two_ups_at_the_same_time_end_with_the_same_processes(state_dir: Path) -> None:
    parents = [start_up_process(state_dir, *BOTH) for _ in range(3)]
    answers = [parent.communicate(timeout=120) for parent in parents]
    assert [parent.returncode for parent in parents] == [0, 0, 0], answers
    rows = [[row["pid"] for row in json.loads(out)] for out, _ in answers]
    assert rows[0] == rows[1] == rows[2] == list(pids(state_dir).values())
    assert any(b"waiting for process" in err for _, err in answers)


def test_lock_that_stays_held_is_said(state_dir: Path) -> None:
    with locked(state_dir), pytest.raises(ServiceError, match=f"process {os.getpid()} has been at it"):
        with locked(state_dir, wait_s=0.2):
            pass


def test_taken_port_is_named_and_the_ports_and_data_are_kept_over_down_and_up(state_dir: Path) -> None:
    before = up(state_dir, services=BOTH).environment
    write_data(state_dir)
    port = int(environment(state_dir)["SILHOUETTE_S3_ENDPOINT"].split(":")[1])
    down(state_dir)
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind(("127.0.0.1", port))
        stranger.listen()
        with pytest.raises(ServiceError, match=rf"port {port} .* process {os.getpid()} .* stop that program"):
            up(state_dir, services=BOTH)
        assert pids(state_dir)["postgres"]  # the others came up
    assert up(state_dir, services=BOTH).environment == before  # ports and secrets are kept
    assert_data_is_kept(state_dir)


def test_two_installations_do_not_disturb_each_other(state_dir: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    try:
        up(state_dir, services=["object_store"])
        up(other, services=["object_store"])
        before = pids(other, "object_store")
        down(state_dir)
        assert pids(other, "object_store") == before
        assert {row.state for row in status(other, services=["object_store"])} == {"running"}
    finally:
        down(other)


def test_process_that_got_the_id_of_a_dead_service_is_left_alone(state_dir: Path) -> None:
    up(state_dir, services=["object_store"])
    down(state_dir)
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        installation = load(state_dir)
        assert installation is not None
        installation.set_process("object_store", RecordedProcess(pid=stranger.pid, created=1_000_000_000.0))
        assert status(state_dir, services=["object_store"])[0].state == "failing"
        down(state_dir)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_processes_are_found_without_their_record(state_dir: Path) -> None:
    up(state_dir, services=BOTH)
    write_data(state_dir)
    before = pids(state_dir)
    installation = load(state_dir)
    assert installation is not None
    for name in BOTH:
        installation.set_process(name, None)
    assert all("runs unrecorded" in row.detail for row in status(state_dir, services=BOTH))
    up(state_dir, services=BOTH)
    assert not set(before.values()) & set(pids(state_dir).values())
    assert_data_is_kept(state_dir)


def test_processes_of_a_deleted_state_folder_are_ended(state_dir: Path) -> None:
    up(state_dir, services=["object_store"])
    before = [psutil.Process(pid) for pid in pids(state_dir, "object_store").values()]
    shutil.rmtree(state_dir)
    up(state_dir, services=["object_store"])
    assert not [process for process in before if process.is_running() and process.status() != "zombie"]


def test_copied_state_folder_becomes_an_installation_of_its_own(state_dir: Path, tmp_path: Path) -> None:
    up(state_dir, services=["object_store"])
    copy = tmp_path / "copy"
    shutil.copytree(state_dir, copy, ignore=shutil.ignore_patterns("*.sock"))
    with pytest.raises(ServiceError, match="must not share its processes"):
        up(copy, services=["object_store"])
    down(state_dir)
    try:
        up(copy, services=["object_store"])
        assert status(state_dir, services=["object_store"])[0].state == "stopped"
    finally:
        down(copy)


def test_server_of_the_user_is_left_to_him(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SILHOUETTE_POSTGRES_DSN", "postgresql://me:secret@db.example:5432/mine")
    services = up(state_dir, services=["postgres"])
    assert services.statuses[0].state == "external"
    assert "secret" not in repr(services)
    assert services.environment == {"SILHOUETTE_POSTGRES_DSN": "postgresql://me:secret@db.example:5432/mine"}
    assert processes_of(state_dir) == []


def test_half_set_store_of_the_user_is_refused(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SILHOUETTE_S3_ENDPOINT", "s3.example:443")
    with pytest.raises(SettingError, match="SILHOUETTE_S3_ACCESS_KEY must be set since SILHOUETTE_S3_ENDPOINT is"):
        up(state_dir, services=["object_store"])


def test_environment_that_names_the_embedded_services_is_not_the_users(
    running: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = up(running, services=BOTH)
    for name, value in services.environment.items():
        monkeypatch.setenv(name, value)
    assert up(running, services=BOTH) == services


def test_other_bucket_is_refused(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SILHOUETTE_S3_BUCKET", "mine")
    with pytest.raises(ServiceError, match=r"SILHOUETTE_S3_BUCKET must be silhouette .* got mine"):
        up(state_dir, services=["object_store"])


def test_full_disk_is_said(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_module, "NEEDED_FREE_BYTES", 2**60)
    with pytest.raises(ServiceError, match=r"needs .* MB free on the disk of"):
        up(state_dir, services=["object_store"])


def test_unwritable_place_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ServiceError, match="must be writable: Not a directory"):
        up(tmp_path / "file" / "state", services=["object_store"])


def test_damaged_state_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(SettingError, match="must be a state file"):
        up(tmp_path, services=["object_store"])


def test_environment_before_the_first_up_tells_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="run `make up`"):
        environment(tmp_path)


def test_folder_with_a_space_cyrillic_and_length_works(state_dir: Path) -> None:
    deep = state_dir / "папка с 'пробелом'" / ("d" * 120)
    try:
        up(deep, services=BOTH)
        write_data(deep)
        assert_data_is_kept(deep)
    finally:
        down(deep)


def test_command_prints_no_secret_and_one_line_for_an_error(
    state_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--state-dir", str(state_dir)]
    assert main(["up", *arguments, *BOTH]) == 0
    assert main(["status", *arguments]) == 0
    printed = capsys.readouterr()
    installation = load(state_dir)
    assert installation is not None
    words = [word for name in BOTH for word in installation.record(name).secrets.values()]
    assert not [word for word in words if word in printed.out + printed.err]
    assert "postgres         running" in printed.out
    assert main(["up", *arguments, "mysql"]) == 1
    error = capsys.readouterr().err
    assert error == f"error: a service must be one of {', '.join(ALL)}, got 'mysql'\n"
    assert main(["down", *arguments]) == 0
    assert MARK not in os.environ
