"""Images are asked for by the registry's own protocol, and a password goes nowhere else."""

import base64
import json
from pathlib import Path

import pytest

from pipelines.cluster.registry import require_images
from silhouette.errors import InputError, ServiceError
from tests.pipelines.cluster.registry_server import RegistryServer
from tests.pipelines.cluster.stand_in import Fault

LOGIN = base64.b64encode(b"someone:a password").decode()


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"DOCKER_CONFIG": str(tmp_path)}


def _log_in(environ: dict[str, str], host: str) -> None:
    content = {"auths": {host: {"auth": LOGIN}}}
    (Path(environ["DOCKER_CONFIG"]) / "config.json").write_text(json.dumps(content))


def test_image_that_is_there_is_asked_for_without_its_content(environ: dict[str, str]) -> None:
    with RegistryServer() as registry:
        registry.images = {"team/silhouette/cpu:1"}
        require_images([f"127.0.0.1:{registry.port}/team/silhouette/cpu:1"], environ=environ)
        assert [asked.method for asked in registry.asked] == ["HEAD"]


def test_image_that_is_not_there_is_named(environ: dict[str, str]) -> None:
    with RegistryServer() as registry, pytest.raises(InputError, match=r"/team/cpu:2 is not; `make images`"):
        require_images([f"127.0.0.1:{registry.port}/team/cpu:2"], environ=environ)


def test_dockers_login_buys_a_token_at_the_registrys_door(environ: dict[str, str]) -> None:
    with RegistryServer() as registry:
        registry.images, registry.basic = {"team/cpu:1"}, LOGIN
        _log_in(environ, f"127.0.0.1:{registry.port}")
        require_images([f"127.0.0.1:{registry.port}/team/cpu:1"], environ=environ)
        assert [asked.path for asked in registry.asked] == [
            "/v2/team/cpu/manifests/1",
            "/token",
            "/v2/team/cpu/manifests/1",
        ]
        assert LOGIN not in registry.asked[0].headers.get("authorization", "")


@pytest.mark.parametrize("login", [False, True])
def test_registry_that_lets_nobody_in_is_one_line(environ: dict[str, str], login: bool) -> None:
    with RegistryServer() as registry:
        registry.basic = "another"
        if login:
            _log_in(environ, f"127.0.0.1:{registry.port}")
        with pytest.raises(ServiceError, match=r"it says 401; `docker login 127.0.0.1"):
            require_images([f"127.0.0.1:{registry.port}/team/cpu:1"], environ=environ)


def test_password_goes_to_no_token_door_without_encryption(environ: dict[str, str]) -> None:
    with RegistryServer() as registry:
        registry.basic = LOGIN
        _log_in(environ, f"127.0.0.1:{registry.port}")
        registry.url = "http://registry.example.com"  # where its challenge sends us
        with pytest.raises(ServiceError, match="401"):
            require_images([f"127.0.0.1:{registry.port}/team/cpu:1"], environ=environ)
        assert len(registry.asked) == 1


def test_registry_that_is_busy_is_asked_again(environ: dict[str, str]) -> None:
    with RegistryServer(faults=[Fault("HEAD", "/v2/", 503, times=2)]) as registry:
        registry.images = {"team/cpu:1"}
        require_images([f"127.0.0.1:{registry.port}/team/cpu:1"], environ=environ)
        assert len(registry.asked) == 3


def test_damaged_login_of_docker_is_none(environ: dict[str, str]) -> None:
    (Path(environ["DOCKER_CONFIG"]) / "config.json").write_text("{")
    with RegistryServer() as registry:
        registry.images = {"team/cpu:1"}
        require_images([f"127.0.0.1:{registry.port}/team/cpu:1"], environ=environ)
