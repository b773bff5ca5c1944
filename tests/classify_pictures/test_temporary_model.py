from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest

from silhouette import lease
from silhouette.classify_pictures.temporary_model import LEASES, read_card, remove_abandoned, served_file
from silhouette.config import DatasetConfig, load_config
from silhouette.errors import InputError
from silhouette.lease import Lease
from silhouette.store import Store
from silhouette.triton_client import Triton
from tests.deploy_model import bundles

_OWNER = """
import sys, time
from pathlib import Path
from silhouette.classify_pictures.temporary_model import served_file
from silhouette.config import load_config
from silhouette.store import open_store
from silhouette.triton_client import open_triton
with served_file(Path(sys.argv[1]), store=open_store(), triton=open_triton(), config=load_config({}).dataset) as served:
    print(served.model, flush=True)
    time.sleep(120)
"""


@pytest.fixture
def config() -> DatasetConfig:
    return load_config({}).dataset


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "my model.onnx"
    bundles.write_onnx(path, weights=(np.eye(3) * 9).astype(np.float32))
    return path


@pytest.fixture
def _clean(served_store: Store) -> Iterator[None]:
    yield
    assert list(served_store.list_keys(LEASES)) == []


@pytest.mark.usefixtures("_clean")
def test_a_file_is_served_and_taken_away(
    file: Path, served_store: Store, triton: Triton, config: DatasetConfig
) -> None:
    crops = np.zeros((2, 32, 32, 3), np.uint8)
    crops[0, :, :, 1], crops[1, :, :, 2] = 200, 200
    with served_file(file, store=served_store, triton=triton, config=config) as served:
        assert triton.infer(served.model, crops).argmax(axis=1).tolist() == [1, 2]
        assert served.told_as.startswith("my model (")
        assert [key for key in served_store.list_keys(LEASES) if served.model in key]
        assert remove_abandoned(store=served_store, triton=triton) == [], "its owner lives"
    assert triton.versions(served.model) == []


@pytest.mark.usefixtures("_clean")
def test_it_is_taken_away_when_its_owner_fails(
    file: Path, served_store: Store, triton: Triton, config: DatasetConfig
) -> None:
    with pytest.raises(RuntimeError, match="failed"):
        with served_file(file, store=served_store, triton=triton, config=config) as served:
            raise RuntimeError("failed")
    assert triton.versions(served.model) == []


@pytest.mark.usefixtures("_clean")
def test_what_a_killed_owner_left_is_taken_away_by_the_next(
    file: Path,
    served_store: Store,
    triton: Triton,
    config: DatasetConfig,
    services_env: dict[str, str],
    triton_url: str,
) -> None:
    environ = {**os.environ, **services_env, "SILHOUETTE_TRITON_URL": triton_url}
    owner = subprocess.Popen([sys.executable, "-c", _OWNER, str(file)], env=environ, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    left = owner.stdout.readline().strip()
    assert triton.versions(left) == ["1"]
    owner.kill()
    owner.communicate()
    with served_file(file, store=served_store, triton=triton, config=config) as served:
        assert served.model != left
        assert triton.versions(left) == []


@pytest.mark.usefixtures("_clean")
def test_a_lease_of_another_machine_is_believed_until_it_expires(
    served_store: Store, triton: Triton, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = Lease.of_this_process().model_copy(update={"place": "another", "pid": 1})
    served_store.put_bytes(f"{LEASES}onnx-far--1.json", far.to_bytes())
    assert remove_abandoned(store=served_store, triton=triton) == []
    monkeypatch.setattr(lease, "EXPIRES_S", 0.0)
    assert remove_abandoned(store=served_store, triton=triton) == ["onnx-far--1"]


def test_a_lease_is_renewed_while_the_owner_works(
    file: Path, served_store: Store, triton: Triton, config: DatasetConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "RENEW_S", 0.05)
    with served_file(file, store=served_store, triton=triton, config=config) as served:
        key = f"{LEASES}{served.model}.json"
        first = json.loads(served_store.get_bytes(key))["renewed"]
        time.sleep(0.4)
        assert json.loads(served_store.get_bytes(key))["renewed"] > first


def test_metadata_say_classes_margin_and_background(file: Path, config: DatasetConfig) -> None:
    bare = read_card(file, config)
    assert (bare.classes, bare.crop_size) == (["class 0", "class 1", "class 2"], 32)
    assert (bare.crop_margin, bare.background) == (config.crop_margin, config.background)
    model = onnx.load(str(file))
    said = {"classes": json.dumps(["а", "b", "c"]), "crop_margin": "0.2", "background": "keep", "group": "g"}
    onnx.helper.set_model_props(model, said)
    onnx.save(model, str(file))
    card = read_card(file, config)
    assert (card.classes, card.crop_margin, card.background, card.group) == (["а", "b", "c"], 0.2, "keep", "g")


def test_what_is_no_classifier_of_crops_is_refused(tmp_path: Path, config: DatasetConfig) -> None:
    (tmp_path / "notes.onnx").write_bytes(b"no model")
    with pytest.raises(InputError, match="must be an ONNX model that ONNX Runtime can run"):
        read_card(tmp_path / "notes.onnx", config)
    bundles.write_onnx(tmp_path / "odd.onnx", weights=np.eye(3, dtype=np.float32))
    model = onnx.load(str(tmp_path / "odd.onnx"))
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 64
    onnx.save(model, str(tmp_path / "odd.onnx"))
    with pytest.raises(InputError, match=r"must take crops uint8 \[n, size, size, 3\] and give probabilities"):
        read_card(tmp_path / "odd.onnx", config)
