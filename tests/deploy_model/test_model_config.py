from __future__ import annotations

from pathlib import Path

import pytest

from silhouette.config import ServingConfig
from silhouette.deploy_model import model_config
from silhouette.errors import ServiceError
from tests.deploy_model import bundles


def build(tmp_path: Path, *, versions: tuple[int, ...] = (4, 7), serving: ServingConfig | None = None) -> object:
    card = bundles.make(tmp_path / str(len(list(tmp_path.iterdir()))), group="g").card
    return model_config.build(card, model="g", versions=versions, serving=serving or ServingConfig())


def test_configuration_survives_its_text(tmp_path: Path) -> None:
    config = build(tmp_path)
    assert model_config.from_text(model_config.to_text(config), source="config.pbtxt") == config
    assert model_config.versions_of(config) == [4, 7]


def test_only_named_versions_are_served_and_names_come_from_the_latest(tmp_path: Path) -> None:
    text = model_config.to_text(build(tmp_path)).decode()
    assert "specific {\n    versions: 4\n    versions: 7\n" in text
    assert 'label_filename: "7/labels.txt"' in text


@pytest.mark.parametrize(("kind", "expected"), [("cpu", "KIND_CPU"), ("gpu", "KIND_GPU"), ("auto", "KIND_AUTO")])
def test_kind_is_always_said(tmp_path: Path, kind: str, expected: str) -> None:
    serving = ServingConfig(kind=kind)  # type: ignore[arg-type]
    text = model_config.to_text(build(tmp_path, serving=serving)).decode()
    # KIND_AUTO is protobuf's default and thus silent; the group itself must be there, or Triton makes two
    assert "instance_group {\n  count: 1\n" in text
    assert (expected in text) == (kind != "auto")
    assert ("intra_op_thread_count" in text) == (kind == "cpu")


def test_every_change_gives_another_fingerprint(tmp_path: Path) -> None:
    configs = [
        build(tmp_path),
        build(tmp_path, versions=(7,)),
        build(tmp_path, serving=ServingConfig(max_batch_size=8)),
    ]
    assert len({model_config.fingerprint(config) for config in configs}) == 3
    assert model_config.fingerprint(configs[0]) == model_config.fingerprint(build(tmp_path))


def test_damaged_text_is_refused_with_its_name() -> None:
    with pytest.raises(ServiceError, match=r"triton/g/config\.pbtxt must be a configuration of Triton"):
        model_config.from_text(b"name: {", source="triton/g/config.pbtxt")
