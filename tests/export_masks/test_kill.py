"""An export that is killed leaves nothing half, and the next one goes on where it ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from silhouette.contracts.markup import INSTANCES_NAME, MASKS, TABLE_NAME, read_png, store_prefix
from silhouette.export_masks.export import export_masks
from silhouette.store import Store
from tests.export_masks import worlds
from tests.export_masks.worlds import GROUP, HEIGHT, PLAIN, WIDTH

PICTURES = 150


@pytest.mark.timeout(300)
def test_a_kill_loses_and_repeats_nothing(
    store: Store, connection: psycopg.Connection, environ: dict[str, str], tmp_path: Path
) -> None:
    world = worlds.bring(store, connection, [f"p{number}" for number in range(PICTURES)])
    for picture_id in world.rows:
        world.segment(picture_id, PLAIN)
    prefix, out = f"{store_prefix(GROUP)}/{MASKS}/", tmp_path / "out"
    program = [Path(sys.executable).with_name("silhouette"), "masks", "export", "--group", GROUP, "--to", out]
    with subprocess.Popen(program, cwd=tmp_path, env={**os.environ, **environ}, stderr=subprocess.DEVNULL) as process:
        while len(list(store.list_keys(prefix))) < 10:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    there = {item.key: item.etag for item in store.list_objects(prefix)}
    assert 10 <= len(there) < PICTURES
    assert not store.exists(f"{store_prefix(GROUP)}/{TABLE_NAME}")
    for path in (out / MASKS).glob("*.png"):
        read_png(path.read_bytes(), width=WIDTH, height=HEIGHT)
    deadline = time.monotonic() + 60
    while connection.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").fetchone() != (0,):
        assert time.monotonic() < deadline, "the server must let the dead one's lock go"
        time.sleep(0.1)
    report = export_masks(group=GROUP, store=store, connection=connection, folder=out)
    assert report.pictures == PICTURES
    assert report.drawn <= PICTURES - len(there) + 3  # what was on the way
    assert {key: etag for key, etag in ((i.key, i.etag) for i in store.list_objects(prefix)) if key in there} == there
    assert (out / INSTANCES_NAME).is_file()
    assert len(list((out / MASKS).iterdir())) >= PICTURES
