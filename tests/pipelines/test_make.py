"""The door itself: names reach the programs verbatim, and bad input is one line and exit code 1 (2 from make)."""

import os
import subprocess
from pathlib import Path

import pytest

from silhouette import names

CHECKOUT = Path(__file__).resolve().parents[2]


def _make(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=CHECKOUT,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_help_lists_every_target() -> None:
    listed = _make("help").stdout
    targets = [
        line.split(":")[0]
        for line in (CHECKOUT / "Makefile").read_text().splitlines()
        if line.startswith(".PHONY: ") or ":" not in line
        for line in [line.removeprefix(".PHONY: ")]
        if line and line.replace("-", "").isalpha()
    ]
    assert len(targets) > 10
    assert [target for target in targets if f"make {target} " not in listed] == []


@pytest.mark.parametrize(
    "group",
    [
        "summer test",
        "it's",
        'say "a"',
        "a$b",
        "$(shell exit 3)",
        "a/b",
        "../../x",
        "Лето 2026",
        "$$",
        "a;b&c|d",
        "`id`",
    ],
)
def test_any_group_name_reaches_the_program_verbatim(group: str, tmp_path: Path) -> None:
    source = tmp_path / "empty"
    source.mkdir()
    done = _make("run", f"GROUP={group}", f"SOURCE={source}", "ARGS=nonsense=1")
    assert done.returncode != 0
    assert "error: a parameter must be one of the pipeline's, got 'nonsense'" in done.stderr
    shown = subprocess.run(
        ["make", "-n", "run", f"GROUP={group}"], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    assert group not in shown.stdout  # it is no part of a command line that a shell would read
    assert names.safe_key(group)


@pytest.mark.parametrize("group", ["it's", "$(shell exit 3)", "Лето 2026"])
def test_any_group_name_reaches_the_cluster_program_verbatim(group: str) -> None:
    for target in ("submit", "schedule", "estimate"):
        done = _make(target, f"GROUP={group}", "ARGS=nonsense=1", "CRON=0 3 * * 1")
        assert "error: a parameter must be one of the pipeline's, got 'nonsense'" in done.stderr
    listed = _make("runs", f"GROUP={group}", SILHOUETTE_KFP_URL="nowhere")
    assert "error: SILHOUETTE_KFP_URL must be http://host:port" in listed.stderr


def test_another_pipeline_is_run_by_its_name() -> None:
    done = _make("run", "PIPELINE=segmentation", "ARGS=epochs=3")
    assert "error: a parameter must be one of the pipeline's, got 'epochs'" in done.stderr  # it trains nothing


def test_verbatim_name_is_what_the_environment_holds(tmp_path: Path) -> None:
    probe = tmp_path / "probe.mk"
    probe.write_text(f"include {CHECKOUT}/Makefile\nprobe:\n\t@printf '%s' \"$$RUN_GROUP\"\n")
    for group in ("a$b", "it's", 'say "a"', "$(shell echo no)", "Лето", "a\\b"):
        done = _make("-f", str(probe), "probe", f"GROUP={group}")
        assert done.stdout == group
