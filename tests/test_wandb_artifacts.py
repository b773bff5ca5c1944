"""Files of artifacts come from Weights & Biases as they were logged, or with one line that says why not."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import stamina
from typer.testing import CliRunner

from silhouette.cli import app
from silhouette.errors import InputError, ServiceError, SettingError
from silhouette.input_file import pin_file, resolve_file
from silhouette.model_source import resolve_model
from silhouette.store import Store
from silhouette.wandb_artifacts.fetch import fetch_artifact
from tests.loopback import serving
from tests.wandb_server import KEY, WandbServer

FIRST, SECOND, CARD = b"first weights" * 100, b"second weights" * 5000, b"# a card"
MODEL = "wandb:team/outfits/model"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    found = WandbServer(versions=[{"weights.pt": FIRST}, {"weights.pt": SECOND, "notes/card.md": CARD}])
    with serving(found.app) as url:
        found.base = found.files_url = url
        found.files_url += "/files"
        monkeypatch.setenv("WANDB_BASE_URL", url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        yield found


def test_the_package_of_wandb_takes_the_server_of_these_tests_for_the_real_one(
    server: WandbServer, tmp_path: Path
) -> None:
    code = "import sys, wandb; wandb.Api(timeout=20).artifact(sys.argv[1]).download(root=sys.argv[2])"
    environ = {
        "PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "WANDB_BASE_URL": server.base, "WANDB_API_KEY": KEY,
        "WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false", "WANDB_CACHE_DIR": str(tmp_path / "cache"),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code, "team/outfits/model:latest", str(tmp_path / "theirs")], env=environ,
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ours = fetch_artifact("team/outfits/model:latest", to=tmp_path / "ours")
    assert ours.files.keys() == {"weights.pt", "notes/card.md"}
    for name in ours.files:
        assert (tmp_path / "ours" / name).read_bytes() == (tmp_path / "theirs" / name).read_bytes()


def test_the_only_file_of_an_artifact_needs_no_name(server: WandbServer, store: Store, tmp_path: Path) -> None:
    found = resolve_model(f"{MODEL}:v0", folder=tmp_path, store=store)
    assert (found.name, found.read_bytes()) == ("weights.pt", FIRST)


def test_one_file_of_several_is_named_behind_the_alias(server: WandbServer, store: Store, tmp_path: Path) -> None:
    found = resolve_file(f"{MODEL}:latest/notes/card.md", what="the card", folder=tmp_path, store=store)
    assert (found.name, found.read_bytes()) == ("card.md", CARD)
    with pytest.raises(
        InputError, match=r"the card must be one file of team/outfits/model:v1, got none; it has not"
    ) as caught:
        resolve_file(f"{MODEL}:latest", what="the card", folder=tmp_path, store=store)
    assert "notes/card.md, weights.pt: say which, as wandb:ENTITY/PROJECT/ARTIFACT:ALIAS" in str(caught.value)
    with pytest.raises(InputError, match=r"got no/such\.pt; it has"):
        resolve_file(f"{MODEL}:latest/no/such.pt", what="the card", folder=tmp_path, store=store)


def test_what_an_alias_named_is_kept_in_the_store_under_its_sha256(server: WandbServer, store: Store) -> None:
    key = pin_file(f"{MODEL}:latest/weights.pt", what="the weights", store=store)
    assert key == f"inputs/{hashlib.sha256(SECOND).hexdigest()}/weights.pt"
    assert store.get_bytes(key) == SECOND


def test_bytes_that_were_not_logged_are_refused_and_leave_nothing(
    server: WandbServer, store: Store, tmp_path: Path
) -> None:
    server.sent["weights.pt"] = FIRST[:-1] + b"?"
    with pytest.raises(ServiceError, match=r"'weights.pt' must have the MD5 [0-9a-f]{32}, it has [0-9a-f]{32}"):
        resolve_model(f"{MODEL}:v0", folder=tmp_path, store=store)
    server.sent["weights.pt"] = FIRST + b"more"
    with pytest.raises(ServiceError, match="must send 1300 bytes, it sends more"):
        resolve_model(f"{MODEL}:v0", folder=tmp_path, store=store)
    server.sent["weights.pt"] = FIRST[:5]
    with pytest.raises(ServiceError, match="must have the MD5"):
        resolve_model(f"{MODEL}:v0", folder=tmp_path, store=store)
    assert list(tmp_path.iterdir()) == []


def test_a_manifest_that_is_not_the_artifacts_is_refused(server: WandbServer, tmp_path: Path) -> None:
    server.manifest_digest = "0" * 32
    with pytest.raises(ServiceError, match="its manifest must have the digest 00000000000000000000000000000000, not"):
        fetch_artifact("team/outfits/model:v0", to=tmp_path)


def test_without_a_key_or_with_a_wrong_one_a_line_says_so(
    server: WandbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "f" * 40)
    with pytest.raises(SettingError, match=r"WANDB_API_KEY must be a key that 127.0.0.1:[0-9]+ takes, it answered 401"):
        fetch_artifact("team/outfits/model:v0", to=tmp_path)
    monkeypatch.delenv("WANDB_API_KEY")
    asked = len(server.asked)
    done = CliRunner().invoke(app, ["fetch-model", "--artifact-name", "team/outfits/model:v0", "--to", str(tmp_path)])
    assert done.exit_code == 1
    assert done.stderr.startswith("error: models at Weights & Biases need an account, WANDB_API_KEY is not set")
    assert len(done.stderr.splitlines()) == 1
    assert len(server.asked) == asked


@pytest.mark.parametrize("name", ["model", "team/model:v0", "team/outfits/model", "team/outfits/model:", "a/b/c:v0 "])
def test_a_name_of_another_form_is_refused_before_anything_is_asked(
    server: WandbServer, tmp_path: Path, name: str
) -> None:
    with pytest.raises(InputError, match="must be wandb:ENTITY/PROJECT/ARTIFACT:ALIAS, with /path of one file"):
        fetch_artifact(name, to=tmp_path)
    assert server.asked == []


@pytest.mark.parametrize("name", ["team/outfits/other:v0", "team/outfits/model:v7", "others/outfits/model:v0"])
def test_an_artifact_that_is_not_there_is_told(server: WandbServer, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"must have the artifact {name}, there is none that this key may see"):
        fetch_artifact(name, to=tmp_path)


def test_the_key_goes_to_its_own_server_alone(server: WandbServer, store: Store, tmp_path: Path) -> None:
    with serving(server.app) as elsewhere:  # as signed addresses of a cloud's bucket are
        server.files_url = f"{elsewhere}/files"
        resolve_model(f"{MODEL}:v0", folder=tmp_path, store=store)
        assert server.asked[-1] == ("/files/0/weights.pt", False)
        server.files_url, server.moved_to = f"{server.base}/moved", f"{elsewhere}/files"
        resolve_model(f"{MODEL}:v0", folder=tmp_path, store=store)
        assert server.asked[-2:] == [("/moved/0/weights.pt", True), ("/files/0/weights.pt", False)]
    assert all(keyed for path, keyed in server.asked if path == "/graphql")


def test_a_fault_that_passes_is_no_failure(server: WandbServer, store: Store, tmp_path: Path) -> None:
    stamina.set_testing(True, attempts=3)
    server.failures = 2
    assert resolve_model(f"{MODEL}:v0", folder=tmp_path, store=store).read_bytes() == FIRST
    server.failures = 3
    with pytest.raises(ServiceError, match="must answer, it answered 503; try again later"):
        resolve_model(f"{MODEL}:v0", folder=tmp_path, store=store)


def test_a_server_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    with pytest.raises(ServiceError, match=r"Weights & Biases at 127.0.0.1:9 must answer, it did not \(NewConnection"):
        fetch_artifact("team/outfits/model:v0", to=tmp_path)
    monkeypatch.setenv("WANDB_BASE_URL", "127.0.0.1")
    with pytest.raises(SettingError, match="WANDB_BASE_URL must be http"):
        fetch_artifact("team/outfits/model:v0", to=tmp_path)


def test_a_whole_artifact_comes_into_a_folder_once(
    server: WandbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["--json", "fetch-model", "--artifact-name", "team/outfits/model:latest"]
    for _ in range(2):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
        report = json.loads(done.stdout)
        assert (report["artifact"], report["folder"]) == ("team/outfits/model:v1", "model")
        assert report["files"]["weights.pt"] == hashlib.sha256(SECOND).hexdigest()
        assert report["digest"] == server.digest(1)
    assert (tmp_path / "model" / "notes" / "card.md").read_bytes() == CARD
    assert [path for path, _ in server.asked].count("/files/1/weights.pt") == 1
    (tmp_path / "model" / "weights.pt").write_bytes(b"mine")
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 1
    assert "weights.pt must not be there, or be the artifact's own, it is another; move it away" in done.stderr
    assert (tmp_path / "model" / "weights.pt").read_bytes() == b"mine"


def test_a_name_that_leads_out_of_the_folder_is_refused(server: WandbServer, tmp_path: Path) -> None:
    server.versions = [{"../outside.pt": FIRST}]
    with pytest.raises(InputError, match=r"must stay inside its folder, '\.\./outside\.pt' would not"):
        fetch_artifact("team/outfits/model:v0", to=tmp_path / "in")
    assert not (tmp_path / "outside.pt").exists()


def test_what_wandb_does_not_keep_or_hash_as_we_can_check_is_told(server: WandbServer, tmp_path: Path) -> None:
    server.references = {"far.pt": "s3://elsewhere/far.pt"}
    with pytest.raises(InputError, match=r"'far.pt' of .* it is a reference to s3://elsewhere/far.pt"):
        fetch_artifact("team/outfits/model:v0/far.pt", to=tmp_path)
    server.algorithm = "MANIFEST_XXH128"
    with pytest.raises(InputError, match="must carry MD5 digests, it has MANIFEST_XXH128"):
        fetch_artifact("team/outfits/model:v0", to=tmp_path)
