"""Models that Triton serves, and the whole way: pictures of the service, a served model, documents at the service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import psycopg
import pytest

from pipelines.embedded.picture_service import create_app
from pipelines.embedded.returned_documents import ReturnedDocuments
from silhouette.build_ret_meta.build import build_ret_meta
from silhouette.config import Config, GroupConfig, ModelConfig, load_config
from silhouette.contracts import ret_meta
from silhouette.contracts.deployment import card_key
from silhouette.deploy_model.deploy import deploy_model
from silhouette.download_pictures.download import download_pictures
from silhouette.errors import InputError, ServiceError
from silhouette.picture_source.returned import RetMetaService
from silhouette.post_ret_meta.post import post_ret_meta
from silhouette.segment_people.segment import segment_people
from silhouette.settings import PictureServiceSettings
from silhouette.store import Store
from silhouette.triton_client import Triton, open_triton
from tests.deploy_model import bundles
from tests.loopback import TOKEN, serving, small_config, write_group
from tests.ret_meta_world import GROUP, World
from tests.segment_people import tiny_models


@pytest.fixture
def world(served_store: Store, connection: psycopg.Connection, tmp_path: Path) -> Iterator[World]:
    """A world in the bucket in which Triton looks for its models."""
    yield World(served_store, connection, tmp_path)
    for prefix in ("ret_meta/", "datasets/"):
        for key in list(served_store.list_keys(prefix)):
            served_store.remove(key)


@pytest.fixture
def deployed(served_store: Store, triton: Triton, tmp_path: Path) -> Iterator[str]:
    """The group's model, served; its name there."""
    judged = bundles.make(tmp_path / "model", group=GROUP)
    served = deploy_model(
        bundle=judged.bundle, evaluation=judged.evaluation, store=served_store, triton=triton, out=tmp_path / "deployed"
    )
    yield served.model
    for key in list(served_store.list_keys(f"triton/{served.model}/")):
        served_store.remove(key)
    triton.unload(served.model)


def config_of(**models: ModelConfig) -> Config:
    groups = {GROUP: GroupConfig(classes=list(bundles.CLASSES))}
    named = {name.replace("_", " "): model for name, model in models.items()}
    return load_config({}).model_copy(update={"models": named, "groups": groups})


def test_every_deployed_group_answers_when_no_model_is_configured(world: World, deployed: str, triton: Triton) -> None:
    for number in range(70):
        world.add(f"p{number:02d}", "red", [("red", 40, 0.5), ("blue", 110, 1.0)])
    world.write()
    tools = {**world.tools, "triton": triton}
    report = build_ret_meta(groups=[GROUP], config=config_of(), **tools)
    assert (report.new, report.people, report.models) == (70, 140, {GROUP: f"{deployed} version 1"})
    for number in range(70):
        found = world.document(f"p{number:02d}")
        assert [person.predictions[GROUP].label for person in found.people] == ["red", "blue"]
        assert found.models[GROUP].gate == "passed"
    alone = config_of().model_copy(update={"groups": {}})  # a group of the command line need not be configured
    assert build_ret_meta(groups=[GROUP], config=alone, **tools).unchanged == 70


def test_a_served_model_and_its_file_give_the_same_document(world: World, deployed: str, triton: Triton) -> None:
    world.add("p0", "red")
    world.write()
    tools = {**world.tools, "triton": triton}
    build_ret_meta(groups=[GROUP], config=config_of(summer_test=ModelConfig(version=1)), **tools)
    served = world.document("p0")
    in_file = config_of(summer_test=world.model(group=GROUP))
    assert build_ret_meta(groups=[GROUP], config=in_file, **{**tools, "triton": None}).unchanged == 1
    assert world.document("p0") == served


def test_a_model_that_triton_does_not_have_is_refused(
    world: World, deployed: str, triton: Triton, unused_port: int
) -> None:
    world.add("p0", "red")
    world.write()
    tools = {**world.tools, "triton": triton}
    for model, told in (
        (ModelConfig(triton="nobody"), r"does not have 'nobody' \(served: none\); deploy it, or correct `models`"),
        (ModelConfig(version=7), rf"does not have '{deployed}' version 7 \(served: 1\)"),
    ):
        with pytest.raises(InputError, match=f"the model of group 'summer test' must be served, .*{told}"):
            build_ret_meta(groups=[GROUP], config=config_of(summer_test=model), **tools)
    none = config_of().model_copy(update={"groups": {}})
    world.add("x", "red", groups=["test"])
    world.write()
    with pytest.raises(InputError, match=r"at least one group must be deployed, .* serves none of 'test'"):
        build_ret_meta(groups=["test"], config=none, **tools)
    gone = open_triton(f"http://127.0.0.1:{unused_port}")
    with pytest.raises(ServiceError, match="must answer, it did not"):
        build_ret_meta(groups=[GROUP], config=config_of(), **{**tools, "triton": gone})


def test_a_served_model_with_other_classes_than_the_configuration_is_refused(
    world: World, deployed: str, triton: Triton
) -> None:
    world.add("p0", "red")
    world.write()
    config = config_of().model_copy(update={"groups": {GROUP: GroupConfig(classes=["red", "green"])}})
    with pytest.raises(
        InputError, match=r"must have the group's classes, in the configuration \['red', 'green'\], got"
    ):
        build_ret_meta(groups=[GROUP], config=config, **{**world.tools, "triton": triton})


def test_a_served_model_that_nobody_deployed_with_us_is_refused(world: World, deployed: str, triton: Triton) -> None:
    world.add("p0", "red")
    world.write()
    key = card_key(deployed, "1")
    card = world.store.get_bytes(key)
    tools = {**world.tools, "triton": triton}
    world.store.remove(key)
    with pytest.raises(InputError, match=r"must have its card in the store, .* deploy it with `silhouette deploy`"):
        build_ret_meta(groups=[GROUP], config=config_of(), **tools)
    other = {**json.loads(card), "classes": ["red", "green"]}
    world.store.put_bytes(key, json.dumps(other).encode())
    with pytest.raises(InputError, match="a served model must be what its card says: 2 classes"):
        build_ret_meta(groups=[GROUP], config=config_of().model_copy(update={"groups": {}}), **tools)


def test_the_circle_closes(
    world: World, deployed: str, triton: Triton, connection: psycopg.Connection, tmp_path: Path
) -> None:
    """Pictures come from the service, and what a served model says of their people is there in the end."""
    root = write_group(tmp_path / "groups" / "one", name=GROUP, classes=list(bundles.CLASSES), each=3)
    kept = tmp_path / "kept"
    with serving(create_app(root.parent, TOKEN, documents=kept)) as url:
        settings = PictureServiceSettings(url=url, token=TOKEN)
        config = small_config()
        config = config.model_copy(
            update={
                "segmentation": config.segmentation.model_copy(update={"image_size": 64, "runtime": "torch"}),
                "groups": {GROUP: GroupConfig(classes=list(bundles.CLASSES))},
            }
        )
        dataset = tmp_path / "dataset"
        tools = {"store": world.store, "connection": connection}
        download_pictures(group=GROUP, source=None, out=dataset, config=config, picture_service=settings, **tools)
        segment_people(
            dataset=dataset, model=str(tiny_models.write_segmenter(tmp_path / "tiny.pt")), config=config.segmentation,
            **tools,
        )  # fmt: skip
        built = build_ret_meta(groups=[GROUP], out=tmp_path / "out", triton=triton, config=config, **tools)
        assert built.new == 9
        client = RetMetaService(settings)
        posted = post_ret_meta(groups=[GROUP], service=client, **tools)
        assert (posted.posted, posted.failed) == (9, {})
        again = post_ret_meta(groups=[GROUP], service=client, ask=True, **tools)
        assert (again.posted, again.known) == (0, 9)
        client.close()
        answer = httpx2.get(
            f"{url}/pictures/p004/ret_meta", headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False
        ).json()
    ours = world.store.get_bytes(ret_meta.store_key("p004"))
    assert answer["document"] == json.loads(ours)
    assert answer["content_digest"] == ret_meta.read(ours, where="ours").content_digest
    assert ReturnedDocuments(kept).counts() == {f"p{number:03d}": 1 for number in range(9)}
