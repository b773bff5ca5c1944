"""Clients ask while versions are switched: nobody is refused, and every answer is of one version as a whole."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from silhouette.contracts.deployment import Deployment
from silhouette.deploy_model import rollout
from silhouette.deploy_model.deploy import deploy_model
from silhouette.errors import SilhouetteError
from silhouette.store import Store
from silhouette.triton_client import Triton
from tests.deploy_model import bundles
from tests.serving import world
from tests.serving.open_loop import Answered, Offer, offering, percentile_s
from tests.serving.world import Served

OTHER = ["r", "g", "b", "none"]
# of a request that meant the highest version when it was taken away: the way back, which docs/rollout.md tells
_TRITONS = "is not at ready state"


@pytest.fixture
def own(served_store: Store, triton: Triton, tmp_path: Path) -> Iterator[Served]:
    """A group of this one test."""
    made = world.serve(tmp_path / "own", f"switched {tmp_path.name}", store=served_store, triton=triton)
    yield made
    world.withdraw(made, store=served_store, triton=triton)


def deploy(own: Served, store: Store, triton: Triton, folder: Path, **made: Any) -> Deployment:
    judged = bundles.make(folder, group=own.judged.card.group, **made)
    return deploy_model(
        bundle=judged.bundle, evaluation=judged.evaluation, store=store, triton=triton, out=folder / "out",
        segmenter=own.segmenter.model_digest,
    )  # fmt: skip


@contextmanager
def asking(url: str, ask: Callable[[Triton], Any]) -> Iterator[list[Any]]:
    """Ask from two threads without a pause; yield the answers, refusals among them as exceptions."""
    answers, ended = list[Any](), threading.Event()

    def go() -> None:
        with Triton(url) as triton:
            while not ended.is_set():
                try:
                    answers.append(ask(triton))
                except SilhouetteError as error:
                    answers.append(error)

    threads = [threading.Thread(target=go) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        while not answers:
            time.sleep(0.01)
        yield answers
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def test_pictures_are_answered_without_a_gap_while_the_classes_change(
    own: Served, served_store: Store, triton: Triton, tmp_path: Path
) -> None:
    model, picture = own.deployed.model, own.deployed.picture_model
    data = world.encoded(world.oval("red"))
    with asking(triton.url, lambda client: client.answer_picture(picture, data)) as answers:
        deployed = deploy(own, served_store, triton, tmp_path / "other", classes=OTHER, strength=7.0)
        forward = len(answers)
        rollout.rollback(group=own.judged.card.group, store=served_store, triton=triton, by="somebody")
    refused = [str(answer) for answer in answers if isinstance(answer, SilhouetteError)]
    assert [line for line in refused if _TRITONS not in line] == [], "nor does any of ours on the way back"
    assert not any(isinstance(answer, SilhouetteError) for answer in answers[:forward])
    seen = {
        (
            answer["models"]["picture"]["version"],
            answer["models"]["classifier"]["version"],
            answer["label"],
            len(answer["people"][0]["probabilities"]),
        )
        for answer in answers
        if not isinstance(answer, SilhouetteError)
    }
    assert seen == {("1", "1", "red", 3), ("2", "2", "r", 4)}
    assert (deployed.version, deployed.picture_version) == ("2", "2")
    for judged in (own.judged.card.onnx_sha256, deployed.onnx_sha256):
        assert triton.versions(f"{model}--{judged[:16]}") == [], "nothing stands by any more"


@pytest.mark.long
def test_50_requests_a_second_across_a_switch_none_fails_and_two_versions_answer(
    own: Served, served_store: Store, triton: Triton, tmp_path: Path
) -> None:
    offer = Offer(
        url=triton.url, model=own.deployed.model, body_path=str(own.deployed.request_path),
        header_length=own.deployed.header_length, per_s=50.0,
    )  # fmt: skip
    begun = time.monotonic()
    with offering(offer) as answers:
        deploy(own, served_store, triton, tmp_path / "next", strength=7.0)
        time.sleep(1.0)
    ended = time.monotonic()
    assert [answer.error for answer in answers if answer.error] == []
    assert {answer.version for answer in answers} == {"1", "2"}
    assert answers[-1].version == "2"
    apart = [later.planned - earlier.planned for earlier, later in pairwise(answers)]
    assert apart == pytest.approx([1 / 50] * len(apart)), "no request was left out of the schedule"
    assert begun < answers[0].planned
    assert answers[-1].planned < ended


def test_the_latency_that_most_answers_keep_is_one_of_theirs() -> None:
    answers = [Answered(planned=0.0, latency_s=value / 100, version="1", error="") for value in range(100, 0, -1)]
    assert (percentile_s(answers, 0.99), percentile_s(answers, 0.5), percentile_s(answers[:1], 0.99)) == (0.99, 0.5, 1)
