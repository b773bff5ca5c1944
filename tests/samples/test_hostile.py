"""The hostile files are what they say: the project's own loader opens or refuses each as told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from samples.hostile import HostileFile, make_hostile
from silhouette.errors import PictureError
from silhouette.imaging import open_picture


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[HostileFile]]:
    folder = tmp_path_factory.mktemp("hostile")
    return folder, make_hostile(folder)


def test_every_file_is_opened_or_refused_as_told(hostile: tuple[Path, list[HostileFile]]) -> None:
    folder, files = hostile
    answers = {}
    for file in files:
        try:
            open_picture((folder / file.name).read_bytes())
            answers[file.name] = "ok"
        except PictureError:
            answers[file.name] = "refused"
    assert answers == {file.name: file.expected for file in files}


def test_files_on_disk_are_the_files_listed(hostile: tuple[Path, list[HostileFile]]) -> None:
    folder, files = hostile
    assert len(files) == len({file.name for file in files})
    assert {path.name for path in folder.iterdir()} == {file.name for file in files}
    assert {file.expected for file in files} == {"ok", "refused"}


def test_all_eight_orientations_show_the_same_picture(hostile: tuple[Path, list[HostileFile]]) -> None:
    folder, _ = hostile
    first, *others = [
        open_picture((folder / f"exif_{orientation}.jpg").read_bytes()).pixels.astype(int)
        for orientation in range(1, 9)
    ]
    for other in others:
        assert other.shape == first.shape
        assert np.abs(other - first).mean() < 3


def test_made_again_they_are_the_same_bytes(hostile: tuple[Path, list[HostileFile]], tmp_path: Path) -> None:
    folder, files = hostile
    assert make_hostile(tmp_path) == files
    assert all((tmp_path / file.name).read_bytes() == (folder / file.name).read_bytes() for file in files)
