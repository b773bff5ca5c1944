"""What every step does around its work."""

import errno
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from silhouette.errors import InputError
from silhouette.step import keep_metadata, scalars, step


def test_expected_error_is_one_line_and_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, step():
        raise InputError("a rule,\n  a value; a way out")
    assert ended.value.code == 1
    assert capsys.readouterr().err == "error: a rule, a value; a way out\n"


def test_traceback_is_there_for_those_who_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SILHOUETTE_DEBUG", "1")
    with pytest.raises(InputError), step():
        raise InputError("a rule")


def test_full_disk_is_one_line_that_names_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), step():
        raise OSError(errno.ENOSPC, "No space left on device", "/data/crops.arrow")
    assert "the disk must have room to write, /data/crops.arrow is full" in capsys.readouterr().err


def test_unexpected_error_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError), step():
        _ = 1 / 0


def test_reports_become_metadata_of_texts_and_numbers() -> None:
    @dataclass(frozen=True)
    class Report:
        name: str
        pictures: int
        share: float
        skipped: dict[str, int]

    assert scalars(Report("a", 3, 0.5, {"b": 1})) == {"name": "a", "pictures": 3, "share": 0.5}


def test_metadata_is_kept_in_the_artifacts_file(tmp_path: Path) -> None:
    class Metrics:
        path = str(tmp_path / "metrics")
        metadata = {"macro_f1": 0.5}  # noqa: RUF012

    keep_metadata(Metrics())
    assert json.loads((tmp_path / "metrics").read_text()) == {"macro_f1": 0.5}
