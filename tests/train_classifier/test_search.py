"""Workers that search together: what they share, what a kill costs, and what they may do in the database."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import yaml
from psycopg import sql

from silhouette.database import connect, logins, searches
from silhouette.errors import InputError, ServiceError
from silhouette.train_classifier.search import begin, conclude
from tests.conftest import CHECKOUT
from tests.shapes import BACKBONE, recipe, write_shapes


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crops")
    write_shapes(folder, per_class={"train": 2, "val": 2})
    return folder


@pytest.fixture(autouse=True)
def _no_search_yet(postgres_dsn: str) -> None:
    with psycopg.connect(postgres_dsn, autocommit=True) as owner:
        owner.execute("DROP SCHEMA IF EXISTS search CASCADE")


@pytest.fixture
def name(crops: Path, environ: dict[str, str]) -> str:
    return begin(crops=crops, config=recipe(backbone=BACKBONE), parameters=["learning_rate"])


def worker(name: str, crops: Path, out: Path, *, trials: int, seconds: float) -> subprocess.Popen[str]:
    program = [sys.executable, "-m", "tests.train_classifier.searching_worker", name, str(crops), str(out)]
    return subprocess.Popen(
        [*program, str(trials), str(seconds)], cwd=CHECKOUT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def made_by(process: subprocess.Popen[str]) -> int:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return int(out.split()[-1])


def states(dsn: str) -> dict[str, int]:
    with psycopg.connect(dsn) as connection:
        rows = connection.execute("SELECT state::text, count(*) FROM search.trials GROUP BY state")
        return {str(state): int(count) for state, count in rows.fetchall()}


def test_workers_share_the_trials_and_take_over_from_one_that_was_killed(
    name: str, crops: Path, tmp_path: Path, postgres_dsn: str
) -> None:
    with worker(name, crops, tmp_path / "killed", trials=6, seconds=600) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == "training\n"  # with the recipe as it is: nobody else has begun
        killed.kill()
    others = [worker(name, crops, tmp_path / str(number), trials=6, seconds=0.5) for number in range(2)]
    made = [made_by(other) for other in others]
    assert sum(made) == 6
    assert states(postgres_dsn) == {"COMPLETE": 6, "FAIL": 1}
    report = conclude(name, out=tmp_path / "best")
    assert report.trials == 6
    assert report.base_val_macro_f1 == 1 - recipe().learning_rate  # tried again by another
    assert report.best_val_macro_f1 >= report.base_val_macro_f1
    assert yaml.safe_load(report.config.read_text()) == {"training": report.best}
    assert "(the recipe as it was)" in report.table.read_text()
    assert made_by(worker(name, crops, tmp_path / "late", trials=6, seconds=0.5)) == 0  # a run that asks the same


def test_a_search_is_known_by_what_it_is_over(name: str, crops: Path) -> None:
    asked = {"crops": crops, "config": recipe(backbone=BACKBONE), "parameters": ["learning_rate"]}
    assert begin(**asked) == name
    assert begin(**asked | {"parameters": ["mixup"]}) != name
    assert begin(**asked | {"config": recipe(backbone=BACKBONE, epochs=3)}) != name
    with pytest.raises(InputError, match=r"got 'learning_rat'; do you mean learning_rate\?"):
        begin(**asked | {"parameters": ["learning_rat"]})


def test_a_search_of_which_nothing_is_finished_is_one_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"a search must have a finished trial, {name} has none"):
        conclude(name, out=tmp_path)


@pytest.fixture
def password() -> str:
    return secrets.token_urlsafe(24)


@pytest.fixture
def steps(password: str, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The DSN of a login as the cluster's steps have it."""
    login = f"steps_{secrets.token_hex(4)}"
    monkeypatch.setattr(logins, "ROLES", {login: logins.ROLES["silhouette_steps"]})
    with connect(postgres_dsn) as owner:
        logins.keep(owner, {login: password})
        yield f"postgresql://{login}:{password}@{owner.info.host}:{owner.info.port}/{owner.info.dbname}"
        role = sql.Identifier(login)
        owner.execute(sql.SQL("DROP OWNED BY {}").format(role))
        owner.execute(sql.SQL("DROP ROLE {}").format(role))


def test_the_steps_login_keeps_a_search_and_makes_no_other_schema(steps: str, crops: Path) -> None:
    given = {"crops": crops, "config": recipe(backbone=BACKBONE), "parameters": ["learning_rate"], "dsn": steps}
    assert begin(**given) == begin(**given)
    with psycopg.connect(steps, autocommit=True) as connection:
        tables = connection.execute("SELECT schemaname FROM pg_tables WHERE tablename = 'trials'").fetchall()
        assert tables == [(searches.SCHEMA,)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("CREATE SCHEMA another")


def test_a_login_without_the_schema_is_one_line(steps: str, password: str, postgres_dsn: str, crops: Path) -> None:
    with psycopg.connect(postgres_dsn, autocommit=True) as owner:
        owner.execute("DROP SCHEMA search CASCADE")
    with pytest.raises(ServiceError, match="must have the rights of this step") as told:
        begin(crops=crops, config=recipe(backbone=BACKBONE), parameters=["learning_rate"], dsn=steps)
    assert password not in str(told.value)
