"""A background set from the command line, step by step: brought in, segmented, frozen, put beside a group's crops."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from pipelines.embedded.picture_service import create_app
from silhouette.cli import app
from silhouette.contracts import crops
from silhouette.detector import _import_ultralytics
from silhouette.store import Store
from tests.loopback import TOKEN, serving, write_group
from tests.segment_people import pictures, tiny_models


@pytest.fixture(autouse=True)
def here(environ: dict[str, str], store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Commands run in a folder of their own; the picture service has shoots 0 to 3."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text("segmentation: {image_size: 64, runtime: torch}\ndataset: {crop_size: 32}\n")
    monkeypatch.setenv("SILHOUETTE_CONFIG", str(tmp_path / "config.yaml"))
    with serving(create_app(write_group(tmp_path / "served", name="g", classes=["a", "b"], each=4), TOKEN)) as url:
        monkeypatch.setenv("SILHOUETTE_PICTURE_SERVICE_URL", url)
        monkeypatch.setenv("SILHOUETTE_PICTURE_SERVICE_TOKEN", TOKEN)
        yield


def say(*arguments: str, code: int = 0) -> Result:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == code, done.output
    return done


def test_places_stand_beside_the_crops_and_people_among_them_stop_the_freezing(tmp_path: Path) -> None:
    _import_ultralytics()
    bold = tiny_models.write_segmenter(tmp_path / "bold.pt")
    blind = tiny_models.write_blind_segmenter(tmp_path / "blind.pt")
    for label in "ab":
        (tmp_path / "source" / label).mkdir(parents=True)
        for number in range(8):
            path = tmp_path / "source" / label / f"{number}.png"
            path.write_bytes(pictures.png(number + 100 * (label == "b")))
    (tmp_path / "my places.v2.json").write_text(json.dumps(["shoot 0", "shoot 1", "shoot 2"]))

    say("download", "--group", "it's", "--source", str(tmp_path / "source"), "--pixsets", "my places.v2.json")
    say("segment", "--group", "it's", "--model-path", str(bold))
    say("snapshot", "--group", "it's")
    early = say("dataset", "--group", "it's", "--background", "my places.v2", code=1)
    assert "run `silhouette snapshot --pixsets` first" in early.stderr

    say("segment", "--pixsets", "my places.v2.json", "--model-path", str(blind))
    frozen = json.loads(say("--json", "snapshot", "--pixsets", "my places.v2").stdout)
    assert (frozen["pictures"], frozen["left_out"]) == (6, {})
    built = json.loads(say("--json", "dataset", "--group", "it's", "--background", "my places.v2.json").stdout)
    assert sum(built["background_counts"].values()) == 6 * 8
    (folder,) = (tmp_path / ".silhouette" / "work").glob("*/crops")
    assert crops.read_head(folder).background_digest == frozen["digest"]

    say("--json", "segment", "--pixsets", "my places.v2", "--model-path", str(bold))
    refused = say("snapshot", "--pixsets", "my places.v2", code=1)
    assert "a background set must have pictures without people" in refused.stderr


@pytest.mark.parametrize("command", ["segment", "snapshot"])
@pytest.mark.parametrize(("options", "got"), [([], "neither"), (["--group", "a", "--pixsets", "b"], "both")])
def test_a_step_works_on_a_group_or_on_a_set(command: str, options: list[str], got: str) -> None:
    assert f"on a group or on a background set, got {got}" in say(command, *options, code=1).stderr
