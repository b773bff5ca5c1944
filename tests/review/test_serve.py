"""The command starts, says where the page is, ends cleanly, and refuses in one line what it cannot serve."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import httpx2
import psycopg
import pytest

from silhouette.database import labels
from silhouette.errors import InputError
from silhouette.review.serve import Place, serve
from tests.database.conftest import login
from tests.review.conftest import GROUP, MODEL, OTHER, World
from tests.review.serving import PROGRAM, refused, reviewing


@pytest.fixture
def here(environ: dict[str, str], group: World) -> dict[str, str]:
    """The environment of a command that finds the group."""
    return environ


def test_the_printed_address_opens_the_page_for_who_has_it(here: dict[str, str], tmp_path: Path, group: World) -> None:
    with reviewing(GROUP, "--reviewer", "anna", environ=here, folder=tmp_path) as (address, process):
        assert address.startswith("http://127.0.0.1:")
        base = address.partition("?")[0]
        with httpx2.Client(base_url=base, follow_redirects=True) as client:
            assert client.get("api/group").status_code == 401
            assert "<title>Review</title>" in client.get(address).text
            said = client.get("api/group").json()
            assert (said["group"], said["reviewer"]) == (GROUP, "anna")
            assert client.get("api/pictures").status_code == 200
            assert client.get("api/group", headers={"Host": "evil.example"}).status_code == 403
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, err) == (0, "")
        assert out.endswith("ended; every verdict is kept\n")
    with group.connection.cursor() as cursor:
        open_now = cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchone()
    assert open_now == (0,)


def test_a_browser_that_keeps_its_connection_does_not_hold_it_up(here: dict[str, str], tmp_path: Path) -> None:
    with reviewing(GROUP, environ=here, folder=tmp_path) as (address, process):
        with httpx2.Client() as client:
            client.get(address)
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=20) in (0, -signal.SIGTERM)


def test_machines_are_told_the_address_as_json(here: dict[str, str], tmp_path: Path) -> None:
    command = [*PROGRAM, "--json", "review", "-g", GROUP]
    environ = {**os.environ, **here}
    with subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        said = json.loads(process.stdout.readline())
        assert httpx2.get(said["address"], follow_redirects=False).status_code == 303
        process.send_signal(signal.SIGINT)
        assert (process.communicate(timeout=20)[0], process.returncode) == ("", 0)


def test_two_pages_of_one_machine_keep_their_tokens_apart(here: dict[str, str], tmp_path: Path) -> None:
    with (
        reviewing(GROUP, "--reviewer", "anna", environ=here, folder=tmp_path) as (one, _),
        reviewing(GROUP, "--reviewer", "boris", environ=here, folder=tmp_path) as (other, _),
        httpx2.Client(follow_redirects=True) as client,
    ):
        for address in (one, other):
            assert client.get(address).status_code == 200
        names = [client.get(f"{address.partition('?')[0]}api/group").json()["reviewer"] for address in (one, other)]
    assert names == ["anna", "boris"]


def test_the_token_and_the_password_are_in_no_log(here: dict[str, str], tmp_path: Path) -> None:
    with reviewing(GROUP, environ=here, folder=tmp_path) as (address, process):
        token = address.partition("token=")[2]
        with httpx2.Client(follow_redirects=True) as client:
            client.get(address)
            client.get(f"{address.partition('?')[0]}?token={token}x")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert token
    assert token not in out + err


def test_behind_a_proxy_there_is_no_token(here: dict[str, str], tmp_path: Path) -> None:
    options = ("--user-header", "X-Forwarded-User", "--allow-host", "Review.Example.org", "--base-path", "/review/")
    with reviewing(GROUP, *options, environ=here, folder=tmp_path) as (address, _):
        assert address.endswith("/review/")
        assert httpx2.get(f"{address}health").json() == {"status": "ok"}
        assert httpx2.get(f"{address}ready").json() == {"status": "ready"}
        headers = {"Host": "review.example.org", "X-Forwarded-User": "boris"}
        assert httpx2.get(f"{address}api/group", headers=headers).json()["reviewer"] == "boris"
        assert httpx2.get(f"{address}api/group", headers={"Host": "review.example.org"}).status_code == 401


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--group", "its лета"),
            "error: group 'its лета' must have been downloaded, the database has",
        ),
        (
            ("--group", GROUP, "--model", "f"),
            "error: a model must be one that has seen the group (aaaaaaaaaaaa), got 'f'",
        ),
        (
            ("--group", GROUP, "--bind", "0.0.0.0"),
            "error: --bind must be a loopback address unless a proxy says who asks",
        ),
        (("--group", GROUP, "--bind", "everywhere"), "error: --bind must be an IP address, got 'everywhere'"),
        (("--group", GROUP, "--port", "70000"), "error: --port must be 0 to 65535, got 70000"),
        (("--group", GROUP, "--user-header", "X-User"), "error: --user-header needs the name under which the proxy"),
        (("--group", GROUP, "--reviewer", " "), "error: a reviewer must have a name of 1 to 200 characters, got ' '"),
        (("--group", GROUP, "--reviewer", "x" * 201), "error: a reviewer must have a name of 1 to 200 characters"),
        (("--group", GROUP, "--base-path", "review"), "error: --base-path must be like /review, got 'review'"),
    ],
)
def test_what_cannot_be_served_is_one_line(
    here: dict[str, str], tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    assert refused(*arguments, environ=here, folder=tmp_path).startswith(message)


def test_the_nearest_groups_are_named(here: dict[str, str], tmp_path: Path, group: World) -> None:
    for name in ("street", "streets", "indoors"):
        labels.replace(group.connection, group=name, dataset_digest="d" * 64, pictures=[])
    said = refused("--group", "steret", environ=here, folder=tmp_path)
    assert "the database has 'street', 'streets', ...; correct --group" in said


def test_a_group_without_pictures_or_segmentations_says_which_step_is_missing(
    here: dict[str, str], tmp_path: Path, group: World
) -> None:
    labels.replace(group.connection, group="empty", dataset_digest="d" * 64, pictures=[])
    said = refused("--group", "empty", environ=here, folder=tmp_path)
    assert said == "error: a group must have pictures to be reviewed, 'empty' has none; run `silhouette download`"
    group.connection.execute("DELETE FROM segmentations")
    said = refused("--group", GROUP, environ=here, folder=tmp_path)
    assert "no model has seen one of its pictures; run `silhouette segment` first" in said
    group.connection.execute("TRUNCATE groups, datasets, labels")
    assert "the database has none; correct --group" in refused("--group", "any", environ=here, folder=tmp_path)


def test_a_port_that_is_taken_is_named(here: dict[str, str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused("--group", GROUP, "--port", str(port), environ=here, folder=tmp_path)
    assert said.startswith(f"error: --port must be free, somebody listens on 127.0.0.1:{port}")


def test_without_a_database_it_does_not_start(here: dict[str, str], tmp_path: Path, unused_port: int) -> None:
    nowhere = {**here, "SILHOUETTE_POSTGRES_DSN": f"postgresql://u:secret@127.0.0.1:{unused_port}/d"}
    said = refused("--group", GROUP, environ=nowhere, folder=tmp_path)
    assert said.startswith(f"error: PostgreSQL at 127.0.0.1:{unused_port}/d must answer")
    assert "secret" not in said


def test_the_role_of_a_reviewer_is_enough_to_start(here: dict[str, str], tmp_path: Path, group: World) -> None:
    with login(group.dsn, role="silhouette_review") as dsn:
        limited = {**here, "SILHOUETTE_POSTGRES_DSN": dsn}
        with reviewing(GROUP, environ=limited, folder=tmp_path) as (address, _):
            assert httpx2.get(address).status_code == 303


def test_the_start_of_a_digest_names_a_model_and_the_latest_is_the_default(
    here: dict[str, str], tmp_path: Path, group: World
) -> None:
    group.segment({0: []}, model=OTHER)
    for options, expected in (((), OTHER), (("--model", "aaa"), MODEL)):
        with (
            reviewing(GROUP, *options, environ=here, folder=tmp_path) as (address, _),
            httpx2.Client(follow_redirects=True) as client,
        ):
            client.get(address)
            assert client.get(f"{address.partition('?')[0]}api/group").json()["model"] == expected


def test_a_database_of_an_older_schema_is_brought_up_to_date_by_its_owner_only(world: World) -> None:
    from silhouette.database import migrations

    migrations.downgrade(world.dsn, to="0003")
    try:
        with login(world.dsn, role="silhouette_review") as dsn, pytest.raises(Exception, match="the owner's login"):
            serve(group=GROUP, model="", store=world.store, place=Place(reviewer="anna"), told=print, dsn=dsn)
        with pytest.raises(InputError, match="the database has none"):
            serve(group=GROUP, model="", store=world.store, place=Place(reviewer="anna"), told=print, dsn=world.dsn)
    finally:
        migrations.migrate(world.dsn)
    with psycopg.connect(world.dsn) as connection:
        assert migrations.is_current(connection)
