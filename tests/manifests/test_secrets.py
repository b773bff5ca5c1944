"""Missing Secrets are made, those that are there are kept, and no value is ever shown."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from manifests import api, secrets
from silhouette.errors import InputError, ServiceError
from tests.conftest import CHECKOUT
from tests.manifests import api_server
from tests.manifests.api_server import Api


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    with api_server.serving(tmp_path) as (running, kubeconfig):
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
        for name in ("silhouette", "kubeflow"):
            running.objects[f"/api/v1/namespaces/{name}"] = {"metadata": {"name": name}}
        yield running


def made(server: Api, namespace: str, name: str) -> dict[str, str]:
    data = server.objects[f"/api/v1/namespaces/{namespace}/secrets/{name}"]["data"]
    return {key: base64.b64decode(text).decode() for key, text in data.items()}


def keep(**environ: str) -> list[str]:
    return list(secrets.keep(api.connect(), namespace="kubeflow", environ=environ))


def test_every_secret_is_made_and_values_that_belong_together_fit(server: Api) -> None:
    keep(WANDB_API_KEY="of wandb")
    logins = made(server, "silhouette", "silhouette-logins")
    users = made(server, "silhouette", "silhouette-store-users")
    assert made(server, "kubeflow", "silhouette-postgres")["dsn"] == (
        f"postgresql://silhouette_steps:{logins['silhouette_steps']}@postgres.silhouette.svc.cluster.local:5432/silhouette"
    )
    assert made(server, "kubeflow", "silhouette-store") == {
        "access_key": "silhouette-steps", "secret_key": users["silhouette-steps"],
    }  # fmt: skip
    assert made(server, "kubeflow", "silhouette-wandb") == {"api_key": "of wandb"}
    assert len({*logins.values(), *users.values()}) == len(logins) + len(users)
    assert all(len(value) == 32 for value in [*logins.values(), *users.values()])


def test_optional_ones_are_left_out_and_named_when_their_variable_is_not_set(server: Api) -> None:
    lines = keep()
    assert "kubeflow/silhouette-wandb: left out api_key: environment WANDB_API_KEY is not set" in lines
    assert "/api/v1/namespaces/kubeflow/secrets/silhouette-wandb" not in server.objects


def test_second_time_everything_is_kept(server: Api) -> None:
    keep()
    before = {path: str(item) for path, item in server.objects.items()}
    server.asked.clear()
    assert all("made" not in line for line in keep())
    assert {path: str(item) for path, item in server.objects.items()} == before
    assert not [line for line in server.asked if not line.startswith("GET ")]


def test_key_that_is_missing_is_added_to_those_that_are_there(server: Api) -> None:
    keep()
    path = "/api/v1/namespaces/silhouette/secrets/silhouette-logins"
    kept = server.objects[path]["data"]["silhouette_steps"]
    del server.objects[path]["data"]["silhouette_backup"]
    assert "silhouette/silhouette-logins: made silhouette_backup" in keep()
    assert server.objects[path]["data"]["silhouette_steps"] == kept
    assert server.objects[path]["data"].keys() == {"silhouette_steps", "silhouette_reviewer", "silhouette_backup"}


def test_no_value_is_shown(server: Api) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "manifests.secrets"],
        cwd=CHECKOUT, env={**os.environ, "WANDB_API_KEY": "of-wandb"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "kubeflow/silhouette-wandb: made api_key" in done.stdout
    values = [
        base64.b64decode(text).decode() for item in server.objects.values() for text in item.get("data", {}).values()
    ]
    assert len(values) > 10
    hidden = [value for value in values if not value.startswith("silhouette-")]  # access keys are names
    assert not [value for value in hidden if value in done.stdout + done.stderr]


def test_namespace_that_is_not_there_is_named_with_the_way_out(server: Api) -> None:
    del server.objects["/api/v1/namespaces/silhouette"]
    with pytest.raises(InputError, match="the namespace silhouette must be there, it is not; kubectl apply"):
        keep()


def test_expired_token_is_told(server: Api) -> None:
    server.token = "another"
    with pytest.raises(ServiceError, match="the token or certificate has expired; log in again"):
        keep()


def test_missing_right_is_told(server: Api) -> None:
    server.forbidden.add("/api/v1/namespaces/silhouette/secrets/silhouette-postgres-admin")
    with pytest.raises(ServiceError, match=r"must allow this, it does not: User .* ask its administrator"):
        keep()


def test_cluster_that_does_not_answer_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unused_port: int
) -> None:
    path = api_server.write_kubeconfig(tmp_path, f"http://127.0.0.1:{unused_port}")
    monkeypatch.setenv("KUBECONFIG", str(path))
    with pytest.raises(ServiceError, match=r"must answer, got: \w+; is it up"):
        keep()


@pytest.mark.parametrize("content", [None, "", "{", "contexts: []"])
def test_kubeconfig_that_is_none_is_one_line_and_exit_code_1(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    if content is not None:
        path.write_text(content)
    done = subprocess.run(
        [sys.executable, "-m", "manifests.secrets"],
        cwd=CHECKOUT, env={**os.environ, "KUBECONFIG": str(path)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("error: a kubeconfig must say where the cluster is")
    assert len(done.stderr.splitlines()) == 1


def test_recipe_that_names_a_key_that_is_nowhere_is_refused() -> None:
    with pytest.raises(InputError, match="the Secret a/b must have the key c"):
        secrets.value("<same a/b/c>", {}, {})


def test_run_namespace_is_that_of_the_overlay_or_of_the_one_below() -> None:
    assert {secrets.run_namespace(overlay) for overlay in ("kind", "gpu", "air-gapped")} == {"kubeflow"}
    moved = secrets.read_example(run_namespace="team-a")
    assert ("team-a", "silhouette-store") in moved
    assert not [place for place, _ in moved if place == "kubeflow"]
