"""The committed markup pipeline, run by kfp.local on real services: masks in the store, and one line when it cannot."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pipelines import compile as compiler
from pipelines.load import load_pipeline, parameters, required_environment
from silhouette.contracts.markup import INSTANCES_NAME, store_prefix
from silhouette.database import connect
from silhouette.store import Store
from tests.export_masks import worlds
from tests.export_masks.worlds import GROUP

MARKUP = compiler.COMPILED / "markup.yaml"


@pytest.fixture
def connection(environ: dict[str, str]) -> psycopg.Connection:
    return connect()


def run(folder: Path, **arguments: Any) -> None:
    from kfp import local

    pipeline = load_pipeline(MARKUP, retries=False)
    local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=str(folder), enable_caching=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the image is not python:3.11 and resources have no effect here, as meant
        pipeline(**arguments)


def test_it_writes_the_masks_of_a_group_and_again_after_a_verdict(
    store: Store, connection: psycopg.Connection, tmp_path: Path
) -> None:
    with connection:
        world = worlds.filled(store, connection)
        run(tmp_path, group=GROUP, states="unchecked,approved")
        prefix = store_prefix(GROUP)
        assert len(list(store.list_keys(f"{prefix}/masks/"))) == 4
        assert store.exists(f"{prefix}/{INSTANCES_NAME}")
        world.decide("plain", "rejected")
        run(tmp_path, group=GROUP, states="unchecked,approved")  # no cache hides the verdict
        assert len(list(store.list_keys(f"{prefix}/masks/"))) == 3


def test_a_group_that_does_not_exist_is_one_line(
    environ: dict[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RuntimeError):
        run(tmp_path, group="no such")
    told = "".join(capfd.readouterr())
    assert "error: group 'no such' must have been downloaded" in told
    assert "Traceback" not in told


def test_it_asks_for_store_and_database_alone_and_says_what_it_can_be_told() -> None:
    assert set(parameters(MARKUP)) == {"group", "states", "model", "limit", "longest_side"}
    assert {name.split("_")[1] for name in required_environment(MARKUP)} == {"S3", "POSTGRES"}
