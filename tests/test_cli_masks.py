"""`silhouette masks` says what it did, to people and to machines, and ends with 1 when something was refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from silhouette.cli import app
from silhouette.database import connect, corrections
from silhouette.store import Store
from tests.export_masks import worlds
from tests.export_masks.worlds import GROUP, HEIGHT, WIDTH, World


@pytest.fixture
def world(environ: dict[str, str], store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.chdir(tmp_path)
    with connect() as connection:
        connection.execute("TRUNCATE segmentations, people, badlist, pictures, labels, datasets, groups")
        yield worlds.filled(store, connection)


def say(*arguments: str, code: int = 0) -> Result:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == code, done.output
    return done


@pytest.mark.parametrize("command", ["export", "import"])
def test_every_command_says_what_it_does(command: str) -> None:
    assert len(say("masks", command, "--help").output.splitlines()[2].strip()) > 20


def test_masks_go_out_are_painted_and_come_back(world: World, tmp_path: Path) -> None:
    out = say("--json", "masks", "export", "--group", GROUP, "--to", "out", "--states", "unchecked")
    report = json.loads(out.stdout)
    assert (report["pictures"], report["people"], report["unreadable"]) == (4, 5, {})
    path = tmp_path / "out" / "masks" / f"{world.name('plain')}.png"
    Image.fromarray(np.full((HEIGHT, WIDTH), 1, np.uint8)).save(path)
    dry = say("masks", "import", "out", "--group", GROUP, "--reviewer", "anna", "--dry-run")
    assert "nothing was written; it would be 1 corrected" in dry.stdout
    done = say("masks", "import", "out", "--group", GROUP, "--reviewer", "anna", "--approve-unchanged")
    assert done.stdout.splitlines() == [
        "1 corrected, 0 with nobody on them, 0 unchanged, 3 unchanged and approved, 0 refused",
        "corrected: plain",
    ]
    assert corrections.counting(world.connection, sha256s=[world.rows["plain"].sha256])


def test_a_refused_picture_is_a_line_and_exit_code_1(world: World, tmp_path: Path) -> None:
    say("masks", "export", "--group", GROUP, "--to", "out", "--no-pictures")
    bad = tmp_path / "out" / "masks" / f"{world.name('plain')}.png"
    bad.write_bytes(b"no picture")
    done = say("masks", "import", "out/masks", "--group", GROUP, "--reviewer", "anna", code=1)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("refused: ")]
    assert str(bad.relative_to(tmp_path)) in line
    machine = json.loads(say("--json", "masks", "import", "out/masks", "--group", GROUP, code=1).stdout)
    assert machine["unchanged"] == 3
    assert machine["refused"][0]["where"] == str(bad.relative_to(tmp_path))


def test_what_cannot_be_done_is_one_line(world: World) -> None:
    for arguments, message in (
        (["export", "--group", "no such"], "error: group 'no such' must have been downloaded"),
        (["export", "--group", GROUP, "--states", "good"], "error: --states must be of"),
        (["import", "missing.json", "--group", GROUP], "error: masks must be in a COCO file"),
    ):
        done = say("masks", *arguments, code=1)
        assert done.stderr.startswith(message)
        assert len(done.stderr.splitlines()) == 1
