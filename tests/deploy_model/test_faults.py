"""What goes wrong in the middle of a deployment: the old version keeps serving, and the next one finishes the work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from pipelines.embedded import status, up
from silhouette.contracts.deployment import Deployment
from silhouette.deploy_model import rollout
from silhouette.deploy_model.deploy import deploy_model
from silhouette.errors import ParityError, ServiceError
from silhouette.names import safe_key
from silhouette.store import Store
from silhouette.triton_client import Triton
from tests.deploy_model import bundles

Deploy = Callable[..., Deployment]
CROP = np.full((1, bundles.SIZE, bundles.SIZE, 3), (200, 40, 40), np.uint8)


@pytest.fixture
def deploy(served_store: Store, triton: Triton, tmp_path: Path, group: str) -> Deploy:
    def run(number: int, *, store: Store = served_store, server: Triton = triton, **made: Any) -> Deployment:
        folder = tmp_path / f"model {number}"
        if not folder.exists():
            bundles.make(folder, group=group, strength=4.0 + number, **made)
        return deploy_model(
            bundle=folder / "bundle", evaluation=folder / "evaluation", store=store, triton=server,
            out=tmp_path / "out",
        )  # fmt: skip

    return run


def kill(state_dir: Path, service: str) -> None:
    """Kill -9 a service of this session with its children, as a pod's end does: Triton's hold on to connections."""
    (row,) = status(state_dir, services=(service,))
    assert row.pid, "it must be running to be killed"
    process = psutil.Process(row.pid)
    all_of_it = [process, *process.children(recursive=True)]
    for one in all_of_it:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    psutil.wait_procs(all_of_it, timeout=30)


def test_answers_that_are_no_numbers_are_refused_before_anything_changes(
    deploy: Deploy, group: str, served_store: Store, triton: Triton
) -> None:
    deploy(1)
    before = served_store.tree_digest(f"triton/{safe_key(group)}/")
    with pytest.raises(ParityError, match=r"differs by nan .*nothing was changed, what was served goes on"):
        deploy(2, nan=True)
    assert served_store.tree_digest(f"triton/{safe_key(group)}/") == before
    assert triton.infer(safe_key(group), CROP).argmax() == 0


def test_a_typo_in_a_configuration_is_one_line_and_holds_up_no_other_model(
    deploy: Deploy, group: str, served_store: Store, triton: Triton
) -> None:
    model, broken = safe_key(group), f"{safe_key(group)}-typo"
    deploy(1)
    config = served_store.get_bytes(f"triton/{model}/config.pbtxt")
    served_store.put_bytes(f"triton/{model}/config.pbtxt", config.replace(b"max_batch_size", b"max_bach_size"))
    with pytest.raises(ServiceError, match="refused to load"):
        triton.load(model)
    with pytest.raises(ServiceError, match=rf"{model}/config.pbtxt must be a configuration .*max_bach_size"):
        deploy(2)
    assert triton.infer(model, CROP, version="1").argmax() == 0
    served_store.put_bytes(f"triton/{broken}/config.pbtxt", config.replace(b"max_batch_size", b"max_bach_size"))
    served_store.put_bytes(f"triton/{model}/config.pbtxt", config)
    try:
        triton.unload(model)
        report = rollout.reconcile(store=served_store, triton=triton)
        assert model in report.loaded
        assert "must be a configuration of Triton" in report.failed[broken]
    finally:
        served_store.remove(f"triton/{broken}/config.pbtxt")


class Killing(Triton):
    """A server that is killed in the middle of its first load from the repository."""

    state_dir: Path
    is_killed = False

    def load(self, model: str, **options: Any) -> None:
        if options or self.is_killed:  # the trial, from memory
            super().load(model, **options)
            return
        self.is_killed = True
        timer = threading.Timer(0.15, kill, (self.state_dir, "triton"))
        timer.start()
        try:
            super().load(model)
        finally:
            timer.join()


@pytest.mark.long
def test_a_server_that_is_killed_in_a_load_serves_the_old_version_again_and_the_next_deployment_the_new_one(
    deploy: Deploy, group: str, served_store: Store, triton: Triton, state_dir: Path
) -> None:
    model = safe_key(group)
    deploy(1)
    config = served_store.get_bytes(f"triton/{model}/config.pbtxt")
    killing = Killing(triton.url)
    killing.state_dir = state_dir
    try:
        with pytest.raises(ServiceError, match=r"(?s)must answer, it did not when asked to load .* failed as well"):
            deploy(2, server=killing)
    finally:
        killing.close()
        up(state_dir, services=("triton",))
    assert served_store.get_bytes(f"triton/{model}/config.pbtxt") == config
    assert triton.versions(model) == ["1"]
    assert triton.infer(model, CROP).argmax() == 0
    assert deploy(2).version == "2"
    assert triton.versions(model) == ["1", "2"]


class Vanishing(Store):
    """A store that is killed when a configuration has been written, before the server reads it."""

    state_dir: Path

    def put_bytes(self, key: str, data: bytes, *, content_type: str = "application/octet-stream") -> None:
        super().put_bytes(key, data, content_type=content_type)
        if key.endswith("config.pbtxt"):
            kill(self.state_dir, "object_store")


@pytest.mark.long
def test_a_store_that_goes_in_a_load_leaves_the_old_version_serving_and_the_next_deployment_finishes(
    deploy: Deploy, group: str, served_store: Store, triton: Triton, state_dir: Path
) -> None:
    model = safe_key(group)
    deploy(1)
    vanishing = Vanishing.__new__(Vanishing)
    vanishing.__dict__.update(served_store.__dict__, state_dir=state_dir)
    begun = time.monotonic()
    try:
        with pytest.raises(ServiceError, match="failed as well: the store at"):
            deploy(2, store=vanishing)
        assert triton.infer(model, CROP).argmax() == 0
        assert triton.versions(model) == ["1"]
    finally:
        up(state_dir, services=("object_store",))
    assert deploy(2).version == "2", f"after {time.monotonic() - begun:.0f} s"
    assert triton.versions(model) == ["1", "2"]
