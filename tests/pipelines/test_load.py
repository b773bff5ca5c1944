"""One compiled pipeline, two places: what differs is the retries, and nothing else."""

import copy
from pathlib import Path
from typing import Any

import yaml

from pipelines.compile import COMPILED
from pipelines.load import (
    cluster_objects,
    dump,
    for_place,
    load_pipeline,
    parameters,
    required_environment,
    titles,
)

TRAINING = COMPILED / "training.yaml"


def _documents(path: Path = TRAINING) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def _without_retries(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _without_retries(value) for key, value in content.items() if key != "retryPolicy"}
    if isinstance(content, list):
        return [_without_retries(value) for value in content]
    return content


def test_the_laptop_differs_from_the_cluster_by_the_retries_alone() -> None:
    cluster = _documents()
    laptop = for_place(copy.deepcopy(cluster), retries=False)
    assert laptop != cluster
    assert laptop == _without_retries(cluster)


def test_the_cluster_gets_the_committed_document_as_it_is() -> None:
    assert for_place(_documents(), retries=True) == _documents()


def test_a_registry_stands_before_the_images_and_nowhere_else() -> None:
    committed, moved = (
        dump(_documents()),
        dump(for_place(_documents(), retries=True, registry="registry.example.com/x")),
    )
    assert committed.count("image: silhouette/") == 15
    assert moved == committed.replace("image: silhouette/", "image: registry.example.com/x/silhouette/")


def test_steps_have_titles_in_the_order_of_the_file() -> None:
    found = titles(_documents())
    assert found["train-classifier"] == "Train classifier"
    assert len(found) == 14  # people are segmented twice, under one name
    assert not [name for name in found if name.startswith("condition")]


def test_optional_objects_are_told_from_those_that_a_pod_waits_for() -> None:
    found = list(cluster_objects(_documents()))
    assert {item.name for item in found if item.optional} == {
        "silhouette",
        "silhouette-picture-service",
        "silhouette-wandb",
    }
    dsn = next(item for item in found if item.variable == "SILHOUETTE_POSTGRES_DSN")
    assert (dsn.kind, dsn.name, dsn.key, dsn.optional) == ("Secret", "silhouette-postgres", "dsn", False)


def test_every_task_of_the_cluster_has_a_retry_policy() -> None:
    spec = _documents()[0]
    tasks = [
        task
        for component in [spec["root"], *spec["components"].values()]
        for task in component.get("dag", {}).get("tasks", {}).values()
        if "executorLabel" in spec["components"][task["componentRef"]["name"]]  # conditions and pipelines run nothing
    ]
    assert len(tasks) == 15
    assert all("retryPolicy" in task for task in tasks)


def test_loaded_pipeline_is_callable_by_kfp() -> None:
    pipeline = load_pipeline(TRAINING, retries=False)
    assert set(pipeline.component_spec.inputs) == set(parameters(TRAINING))


def test_only_the_group_has_no_default() -> None:
    required = [name for name, spec in parameters(TRAINING).items() if not spec.get("isOptional")]
    assert required == ["group"]


def test_required_environment_leaves_the_optional_ones_out() -> None:
    needed = required_environment(TRAINING)
    assert "SILHOUETTE_POSTGRES_DSN" in needed
    assert "SILHOUETTE_S3_SECRET_KEY" in needed
    assert "WANDB_API_KEY" not in needed
    assert "SILHOUETTE_PICTURE_SERVICE_TOKEN" not in needed
