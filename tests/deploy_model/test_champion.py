"""Which version a new model is held against, on a real store."""

from __future__ import annotations

import pytest

from silhouette.config import ServingConfig
from silhouette.contracts.deployment import ServedVersion
from silhouette.deploy_model import model_config
from silhouette.deploy_model.champion import find_champion
from silhouette.deploy_model.repository import ModelRepository
from silhouette.names import safe_key
from silhouette.store import Store
from tests.deploy_model.bundles import Judged, make

GROUP = "summer “x”/Лето"


def put(store: Store, judged: Judged) -> int:
    repository = ModelRepository(store, safe_key(GROUP))
    return repository.add_version(judged.bundle / "model.onnx", judged.card, above=max([0, *repository.versions()]))


def serve(store: Store, judged: Judged, versions: list[int]) -> None:
    repository = ModelRepository(store, safe_key(GROUP))
    config = model_config.build(judged.card, model=repository.model, versions=versions, serving=ServingConfig())
    repository.put_config(config)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Judged]:
    return [make(tmp_path_factory.mktemp("model"), group=GROUP, strength=strength) for strength in (5, 6, 7)]


def champion(store: Store, judged: Judged) -> str:
    return find_champion(group=GROUP, onnx_sha256=judged.card.onnx_sha256, store=store)


def told(version: int, judged: Judged) -> str:
    return ServedVersion(version=str(version), onnx_sha256=judged.card.onnx_sha256).text()


def test_where_nothing_was_ever_deployed_there_is_none(fresh_store: Store, models: list[Judged]) -> None:
    assert champion(fresh_store, models[0]) == ""


def test_a_new_model_meets_what_is_served(fresh_store: Store, models: list[Judged]) -> None:
    first = put(fresh_store, models[0])
    serve(fresh_store, models[0], [first])
    assert champion(fresh_store, models[1]) == told(first, models[0])


def test_a_repeated_run_meets_the_champion_of_the_first_time(fresh_store: Store, models: list[Judged]) -> None:
    first = put(fresh_store, models[0])
    serve(fresh_store, models[0], [first])
    assert champion(fresh_store, models[0]) == "", "it is what is served, and there was none before"
    before = champion(fresh_store, models[1])
    second = put(fresh_store, models[1])
    serve(fresh_store, models[1], [first, second])
    assert champion(fresh_store, models[1]) == before == told(first, models[0])


def test_what_is_served_counts_and_not_what_lies_there(fresh_store: Store, models: list[Judged]) -> None:
    first, second = put(fresh_store, models[0]), put(fresh_store, models[1])
    serve(fresh_store, models[0], [first])  # rolled back, or killed before the second was named
    assert second > first
    assert champion(fresh_store, models[2]) == told(first, models[0])


def test_a_version_that_was_not_written_to_its_end_is_passed_over(fresh_store: Store, models: list[Judged]) -> None:
    first, second = put(fresh_store, models[0]), put(fresh_store, models[1])
    fresh_store.remove(f"triton/{safe_key(GROUP)}/{second}/model.json")
    serve(fresh_store, models[1], [first, second])
    assert champion(fresh_store, models[2]) == told(first, models[0])
