from __future__ import annotations

import json
import secrets
import shlex
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from silhouette.config import ServingConfig
from silhouette.contracts import deployment
from silhouette.contracts.deployment import Deployment
from silhouette.deploy_model.deploy import deploy_model
from silhouette.errors import GateRefusedError, InputError, ParityError, ServiceError
from silhouette.names import safe_key
from silhouette.store import Store
from silhouette.triton_client import Triton, open_triton
from tests.deploy_model import bundles
from tests.deploy_model.bundles import Judged

Deploy = Callable[..., Deployment]


@pytest.fixture
def group(served_store: Store, triton: Triton) -> Iterator[str]:
    """A group of this one test, taken away at its end."""
    name = f"outfit {secrets.token_hex(4)}"
    yield name
    wipe(served_store, safe_key(name))
    triton.unload(safe_key(name))


@pytest.fixture
def deploy(served_store: Store, triton: Triton, tmp_path: Path) -> Deploy:
    def run(judged: Judged, *, store: Store = served_store, server: Triton = triton) -> Deployment:
        return deploy_model(
            bundle=judged.bundle,
            evaluation=judged.evaluation,
            store=store,
            triton=server,
            out=tmp_path / "out put",
            serving=ServingConfig(max_batch_size=4),
        )

    return run


def wipe(store: Store, model: str) -> None:
    for key in list(store.list_keys(f"triton/{model}/")):
        store.remove(key)


def files(store: Store, model: str) -> list[str]:
    return [key.removeprefix(f"triton/{model}/") for key in store.list_keys(f"triton/{model}/")]


def answer(deployed: Deployment) -> str:
    """Run the curl line as a user pastes it, and return the class that Triton names."""
    done = subprocess.run(shlex.split(deployed.curl), capture_output=True, text=True, check=True, timeout=30)
    return str(json.loads(done.stdout)["outputs"][0]["data"][0]).split(":", 2)[2]


def test_first_deployment_serves_version_1_and_its_curl_line_names_a_class(
    deploy: Deploy, group: str, tmp_path: Path, served_store: Store
) -> None:
    deployed = deploy(bundles.make(tmp_path, group=group))
    assert (deployed.version, deployed.already_served, deployed.model) == ("1", False, safe_key(group))
    assert deployed.max_difference < 1e-4
    assert answer(deployed) == "red" == deployed.class_name
    assert files(served_store, deployed.model) == ["1/labels.txt", "1/model.json", "1/model.onnx", "config.pbtxt"]
    assert served_store.get_bytes(f"inference/{deployed.model}/request.bin") == deployed.request_path.read_bytes()


def test_what_is_written_down_holds_no_address_and_is_read_back_with_one(
    deploy: Deploy, group: str, tmp_path: Path
) -> None:
    deployed = deploy(bundles.make(tmp_path, group=group))
    folder = deployed.request_path.parent
    assert "127.0.0.1" not in (folder / deployment.FILE_NAME).read_text() + json.dumps(deployed.metadata())
    assert deployment.read(folder, url=deployed.url) == deployed


def test_same_model_again_changes_nothing(deploy: Deploy, group: str, tmp_path: Path, served_store: Store) -> None:
    judged = bundles.make(tmp_path, group=group)
    first = deploy(judged)
    before = served_store.tree_digest(f"triton/{first.model}/")
    second = deploy(judged)
    assert (second.version, second.already_served) == ("1", True)
    assert served_store.tree_digest(f"triton/{first.model}/") == before


def test_new_model_becomes_the_next_version_and_the_one_before_stays_without_a_gap(
    deploy: Deploy, group: str, tmp_path: Path, triton: Triton
) -> None:
    deploy(bundles.make(tmp_path / "a", group=group))
    model, crop = safe_key(group), np.zeros((1, 32, 32, 3), np.uint8)
    ended, failures, answered = threading.Event(), list[str](), 0

    def ask() -> None:
        nonlocal answered
        while not ended.is_set():
            try:
                triton.infer(model, crop)
                answered += 1
            except (InputError, ServiceError) as error:
                failures.append(str(error))
        triton.close()

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        second = deploy(bundles.make(tmp_path / "b", group=group, strength=7.0))
        third = deploy(bundles.make(tmp_path / "c", group=group, strength=5.0))
    finally:
        ended.set()
        asking.join()
    assert (second.version, third.version) == ("2", "3")
    assert triton.versions(model)[-2:] == ["2", "3"]
    assert failures == []
    assert answered > 0


def test_model_with_other_classes_replaces_the_old_one_alone(
    deploy: Deploy, group: str, tmp_path: Path, triton: Triton
) -> None:
    deploy(bundles.make(tmp_path / "a", group=group))
    deployed = deploy(bundles.make(tmp_path / "b", group=group, classes=["r", "g", "b", "none"]))
    assert answer(deployed) == "r"
    assert triton.config(deployed.model).classes == 4


def test_going_back_to_an_older_model_makes_a_new_version(deploy: Deploy, group: str, tmp_path: Path) -> None:
    old = bundles.make(tmp_path / "a", group=group)
    deploy(old)
    deploy(bundles.make(tmp_path / "b", group=group, strength=7.0))
    assert deploy(old).version == "3"


def test_refused_model_is_not_deployed_and_the_old_one_answers(
    deploy: Deploy, group: str, tmp_path: Path, served_store: Store
) -> None:
    old = deploy(bundles.make(tmp_path / "a", group=group))
    before = served_store.tree_digest("triton/")
    with pytest.raises(GateRefusedError, match=r"macro_f1 must be at least 0\.450, got 0\.310"):
        deploy(bundles.make(tmp_path / "b", group=group, strength=7.0, passed=False))
    assert served_store.tree_digest("triton/") == before
    assert answer(old) == "red"


def test_file_that_was_not_judged_is_refused(deploy: Deploy, group: str, tmp_path: Path) -> None:
    judged, other = (bundles.make(tmp_path / name, group=group, strength=x) for name, x in (("a", 9.0), ("b", 7.0)))
    (judged.bundle / "model.onnx").write_bytes((other.bundle / "model.onnx").read_bytes())
    with pytest.raises(InputError, match="what is served must be what was judged: the model file"):
        deploy(judged)


def test_evaluation_of_another_group_is_refused(deploy: Deploy, group: str, tmp_path: Path) -> None:
    ours, theirs = (bundles.make(tmp_path / name, group=name) for name in ("a", "b"))
    with pytest.raises(InputError, match="the group must be b, got a"):
        deploy(Judged(bundle=ours.bundle, evaluation=theirs.evaluation, card=ours.card))


def test_broken_file_is_refused_before_anything_changes(
    deploy: Deploy, group: str, tmp_path: Path, served_store: Store
) -> None:
    old = deploy(bundles.make(tmp_path / "a", group=group))
    before = served_store.tree_digest(f"triton/{old.model}/")
    with pytest.raises(ServiceError, match=r"(?s)refused to load .*INVALID_PROTOBUF.*what was served goes on"):
        deploy(bundles.make(tmp_path / "b", group=group, broken=True))
    assert served_store.tree_digest(f"triton/{old.model}/") == before
    assert answer(old) == "red"


def test_permuted_classes_are_caught_before_anything_changes(
    deploy: Deploy, group: str, tmp_path: Path, served_store: Store
) -> None:
    old = deploy(bundles.make(tmp_path / "a", group=group))
    with pytest.raises(ParityError, match="names another class for 7 of 7"):
        deploy(bundles.make(tmp_path / "b", group=group, strength=7.0, permuted=True))
    assert "2/model.onnx" not in files(served_store, old.model)
    assert answer(old) == "red"


class Spoiling(Store):
    """A store whose disk spoils a version in the moment between its verification and its load."""

    def put_bytes(self, key: str, data: bytes, *, content_type: str = "application/octet-stream") -> None:
        if key.endswith("config.pbtxt") and self.exists(key.replace("config.pbtxt", "2/model.onnx")):
            super().put_bytes(key.replace("config.pbtxt", "2/model.onnx"), b"spoiled")
        super().put_bytes(key, data, content_type=content_type)


def test_version_that_does_not_load_is_removed_and_the_old_one_put_back(
    deploy: Deploy, group: str, tmp_path: Path, served_store: Store, triton: Triton
) -> None:
    old = deploy(bundles.make(tmp_path / "a", group=group))
    config = served_store.get_bytes(f"triton/{old.model}/config.pbtxt")
    spoiling = Spoiling.__new__(Spoiling)
    spoiling.__dict__.update(served_store.__dict__)
    with pytest.raises(ServiceError, match="version 1 is served as before"):
        deploy(bundles.make(tmp_path / "b", group=group, strength=7.0), store=spoiling)
    assert served_store.get_bytes(f"triton/{old.model}/config.pbtxt") == config
    assert [name for name in files(served_store, old.model) if name.startswith("2/")] == []
    assert triton.versions(old.model) == ["1"]
    assert answer(old) == "red"


class Dying(Store):
    """A store in whose middle the process is killed: at the write of a key that ends in `last`."""

    last = ""

    def put_bytes(self, key: str, data: bytes, *, content_type: str = "application/octet-stream") -> None:
        if key.endswith(self.last):
            raise KeyboardInterrupt
        super().put_bytes(key, data, content_type=content_type)


@pytest.mark.parametrize(("last", "version"), [("2/model.json", "3"), ("config.pbtxt", "2"), ("request.bin", "2")])
def test_killed_deployment_is_finished_by_the_next(
    deploy: Deploy, group: str, tmp_path: Path, served_store: Store, last: str, version: str
) -> None:
    old, new = (
        deploy(bundles.make(tmp_path / "a", group=group)),
        bundles.make(tmp_path / "b", group=group, strength=7.0),
    )
    dying = Dying.__new__(Dying)
    dying.__dict__.update(served_store.__dict__, last=last)
    with pytest.raises(KeyboardInterrupt):
        deploy(new, store=dying)
    assert answer(old) == "red"
    assert deploy(new).version == version


def test_wiped_bucket_is_filled_again(deploy: Deploy, group: str, tmp_path: Path, served_store: Store) -> None:
    judged = bundles.make(tmp_path, group=group)
    deployed = deploy(judged)
    wipe(served_store, deployed.model)
    again = deploy(judged)
    assert not again.already_served
    assert again.version == "2"  # 1 is what Triton still holds in its memory
    assert answer(again) == "red"


def test_spoiled_file_in_the_store_is_replaced_by_a_new_version(
    deploy: Deploy, group: str, tmp_path: Path, served_store: Store
) -> None:
    judged = bundles.make(tmp_path, group=group)
    deployed = deploy(judged)
    served_store.put_bytes(f"triton/{deployed.model}/1/model.onnx", b"spoiled")
    assert deploy(judged).version == "2"


def test_model_that_triton_forgot_is_loaded_again(deploy: Deploy, group: str, tmp_path: Path, triton: Triton) -> None:
    judged = bundles.make(tmp_path, group=group)
    deployed = deploy(judged)
    triton.unload(deployed.model)
    again = deploy(judged)
    assert (again.version, again.already_served) == ("1", False)
    assert answer(again) == "red"


def test_triton_that_is_gone_is_one_clear_line(
    deploy: Deploy, tmp_path: Path, unused_port: int, served_store: Store
) -> None:
    before = served_store.tree_digest("triton/")
    with pytest.raises(
        ServiceError, match=r"must answer, it did not when asked to .* start it \(on a laptop: `make up`"
    ):
        deploy(bundles.make(tmp_path, group="gone"), server=open_triton(f"http://127.0.0.1:{unused_port}"))
    assert served_store.tree_digest("triton/") == before


def test_gpu_is_refused_by_a_server_without_one(
    group: str, tmp_path: Path, served_store: Store, triton: Triton
) -> None:
    judged = bundles.make(tmp_path, group=group)
    with pytest.raises(ServiceError, match="GPU"):
        deploy_model(
            bundle=judged.bundle,
            evaluation=judged.evaluation,
            store=served_store,
            triton=triton,
            out=tmp_path / "out",
            serving=ServingConfig(kind="gpu"),
        )


def test_names_of_any_kind_come_back_from_the_server(deploy: Deploy, tmp_path: Path, served_store: Store) -> None:
    hostile = 'платье: "a" \\ $HOME\n<b>'
    deployed = deploy(bundles.make(tmp_path, group="лето/'\"$(x) ..", classes=[hostile, "юбка", ""]))
    assert answer(deployed) == 'платье: "a" \\ $HOME <b>' == deployed.class_name
    wipe(served_store, deployed.model)


@pytest.mark.parametrize("spoil", [b"", b"no zip"])
def test_damaged_golden_file_is_refused(deploy: Deploy, group: str, tmp_path: Path, spoil: bytes) -> None:
    judged = bundles.make(tmp_path, group=group)
    (judged.bundle / "golden.npz").write_bytes(spoil)
    with pytest.raises(InputError, match="must hold the golden crops"):
        deploy(judged)
