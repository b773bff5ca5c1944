"""Versions come and go: slow or contradicting ones are refused, earlier ones come back, servers are reminded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from silhouette.config import ServingConfig
from silhouette.contracts import traffic
from silhouette.contracts.deployment import Deployment
from silhouette.deploy_model import events, rollout
from silhouette.deploy_model.deploy import deploy_model
from silhouette.deploy_model.replay import Replay, require
from silhouette.errors import InputError, ParityError, ServiceError
from silhouette.names import safe_key
from silhouette.store import Store
from silhouette.triton_client import Triton
from tests.deploy_model import bundles

Deploy = Callable[..., Deployment]


@pytest.fixture
def deploy(served_store: Store, triton: Triton, tmp_path: Path, group: str) -> Deploy:
    def run(number: int, *, serving: dict[str, Any] | None = None, **made: Any) -> Deployment:
        judged = bundles.make(tmp_path / f"model {number}", group=group, strength=8.0 + number, **made)
        return deploy_model(
            bundle=judged.bundle, evaluation=judged.evaluation, store=served_store, triton=triton,
            out=tmp_path / "out", serving=ServingConfig(max_batch_size=4, **serving or {}), by="somebody",
        )  # fmt: skip

    return run


def back(group: str, store: Store, triton: Triton, to: str = "") -> rollout.RollbackReport:
    return rollout.rollback(group=group, store=store, triton=triton, by="somebody", to=to)


def test_every_deployment_is_an_event_that_says_what_was_measured(
    deploy: Deploy, group: str, served_store: Store
) -> None:
    deploy(1)
    deploy(1 + 1)
    first, second = events.history(served_store, safe_key(group))
    assert (first.kind, first.version, first.previous, first.by) == ("deployed", "1", "", "somebody")
    assert (second.kind, second.version, second.previous) == ("deployed", "2", "1")
    assert "golden crops differ by" in first.detail
    assert "times the time of the version before" in second.detail
    assert list(second.configs) == [safe_key(group)]


def test_the_same_model_again_is_no_event(
    deploy: Deploy, group: str, served_store: Store, triton: Triton, tmp_path: Path
) -> None:
    deploy(1)
    assert len(events.history(served_store, safe_key(group))) == 1
    deploy_model(
        bundle=tmp_path / "model 1" / "bundle", evaluation=tmp_path / "model 1" / "evaluation", store=served_store,
        triton=triton, out=tmp_path / "out", serving=ServingConfig(max_batch_size=4),
    )  # fmt: skip
    assert len(events.history(served_store, safe_key(group))) == 1


def test_an_earlier_version_comes_back_with_its_own_answers_and_the_way_forward_stays(
    deploy: Deploy, group: str, served_store: Store, triton: Triton
) -> None:
    model = safe_key(group)
    for number in (1, 2, 3):
        deploy(number)
    crop = np.full((1, bundles.SIZE, bundles.SIZE, 3), (200, 120, 40), np.uint8)
    answers = {version: triton.infer(model, crop, version=version) for version in ("2", "3")}
    report = back(group, served_store, triton)
    assert (report.version, report.instead_of) == ("2", "3")
    assert triton.versions(model) == ["1", "2"]
    assert np.array_equal(triton.infer(model, crop), answers["2"])
    assert back(group, served_store, triton).version == "1"
    assert triton.versions(model) == ["1"]
    with pytest.raises(InputError, match="got none; there are: 2, 3"):
        back(group, served_store, triton)
    assert back(group, served_store, triton, to="3").version == "3"
    assert np.array_equal(triton.infer(model, crop), answers["3"])
    assert [event.kind for event in events.history(served_store, model)] == ["deployed"] * 3 + ["rolled_back"] * 3
    assert deploy(4).version == "4"


@pytest.mark.parametrize("to", ["9", "3", "x"])
def test_a_version_that_was_never_served_is_one_line(
    deploy: Deploy, group: str, served_store: Store, triton: Triton, to: str
) -> None:
    with pytest.raises(InputError, match="must be served to go back"):
        back(group, served_store, triton)
    for number in (1, 2, 3):
        deploy(number)
    with pytest.raises(InputError, match=rf"must have been served before 3, got {to}; there are: 1, 2$"):
        back(group, served_store, triton, to=to)
    assert triton.versions(safe_key(group))[-1] == "3"


def test_a_version_whose_file_was_changed_in_the_store_is_not_gone_back_to(
    deploy: Deploy, group: str, served_store: Store, triton: Triton
) -> None:
    deploy(1)
    deploy(2)
    served_store.put_bytes(f"triton/{safe_key(group)}/1/model.onnx", b"other")
    with pytest.raises(InputError, match=r"version 1 .* must be whole in the store"):
        back(group, served_store, triton)
    assert triton.versions(safe_key(group))[-1] == "2"


def test_a_version_that_answers_otherwise_than_then_is_not_left_serving(
    deploy: Deploy, group: str, served_store: Store, triton: Triton, tmp_path: Path
) -> None:
    deploy(1)
    deploy(2)
    model = safe_key(group)
    golden = tmp_path / "golden.npz"
    served_store.get_file(events.golden_key(model, "1"), golden)
    with np.load(golden) as arrays:
        np.savez(golden, crops=arrays["crops"], probabilities=arrays["probabilities"][::-1])
    served_store.put_file(events.golden_key(model, "1"), golden)
    with pytest.raises(ParityError, match="what was served before is served"):
        back(group, served_store, triton)
    assert triton.versions(model) == ["1", "2"]
    assert events.history(served_store, model)[-1].kind == "failed"


def test_a_version_that_contradicts_the_served_one_is_refused_and_that_is_an_event(
    deploy: Deploy, group: str, served_store: Store, triton: Triton
) -> None:
    deploy(1)
    with pytest.raises(ParityError, match=r"may name another class for 0% of the crops.*nothing was changed"):
        deploy(-17, serving={"max_disagreement": 0.0})  # a negative strength names the darkest channel
    assert triton.versions(safe_key(group)) == ["1"]
    last = events.history(served_store, safe_key(group))[-1]
    assert (last.kind, last.previous, last.version) == ("failed", "1", "")
    assert "serving.max_disagreement" in last.detail
    assert deploy(-18, serving={"max_disagreement": None}).version == "2"


def keep_recent(store: Store, group: str, number: int, *, size: int = bundles.SIZE) -> None:
    sample = traffic.Sample(number, seed="")
    for place in range(number):
        sample.add(np.full((size, size, 3), (30 + place, 90, 200), np.uint8))
    traffic.keep(store, safe_key(group), sample)


def test_recent_requests_are_replayed_to_both_and_that_is_told(
    deploy: Deploy, group: str, served_store: Store, triton: Triton
) -> None:
    deploy(1)
    keep_recent(served_store, group, 13)
    deploy(2)
    assert "another class for 0% of 20 crops, 13 of them of recent requests" in (
        events.history(served_store, safe_key(group))[-1].detail
    )
    with pytest.raises(ParityError, match=r"it does for 100% of 20, 13 of them of recent requests"):
        deploy(-17, serving={"max_disagreement": 0.99})
    assert "13 of them of recent requests" in events.history(served_store, safe_key(group))[-1].detail
    assert triton.versions(safe_key(group)) == ["1", "2"]


@pytest.mark.parametrize("spoil", [b"", b"no zip", None], ids=["empty", "damaged", "of another size"])
def test_recent_requests_that_cannot_be_asked_are_left_out(
    deploy: Deploy, group: str, served_store: Store, caplog: pytest.LogCaptureFixture, spoil: bytes | None
) -> None:
    deploy(1)
    keep_recent(served_store, group, 3, size=bundles.SIZE + 1)
    if spoil is not None:
        served_store.put_bytes(traffic.key(safe_key(group)), spoil)
    deploy(2)
    assert "of 7 crops, 0 of them" in events.history(served_store, safe_key(group))[-1].detail
    assert ("cannot be read" in caplog.text) is (spoil is not None)


def test_a_sample_is_of_all_that_went_by_and_no_larger_than_wanted() -> None:
    kept = []
    for seed in range(200):
        sample = traffic.Sample(5, seed=f"{seed}")
        for number in range(50):
            sample.add(np.full((1, 1, 3), number, np.uint8))
        assert len(sample.crops) == len({int(crop[0, 0, 0]) for crop in sample.crops}) == 5
        kept += [int(crop[0, 0, 0]) for crop in sample.crops]
    assert 22 < np.mean(kept) < 27
    assert {min(kept), max(kept)} == {0, 49}


def test_the_limits_of_a_replay() -> None:
    slow = Replay(crops=4, recent=1, batch=4, old_ms=10.0, new_ms=31.0, disagreement=0.75)
    with pytest.raises(ParityError, match=r"may take 2 times .* it takes 3.1 times: 31.0 ms against 10.0 ms"):
        require(slow, max_slowdown=2.0, max_disagreement=None)
    with pytest.raises(ParityError, match=r"for 50% of the crops .* it does for 75% of 4, 1 of them"):
        require(slow, max_slowdown=None, max_disagreement=0.5)
    require(slow, max_slowdown=4.0, max_disagreement=0.8)
    noise = Replay(crops=4, recent=0, batch=4, old_ms=0.7, new_ms=2.0, disagreement=0.0)
    require(noise, max_slowdown=2.0, max_disagreement=0.0)


def test_a_model_that_became_several_times_slower_is_refused(deploy: Deploy, group: str, triton: Triton) -> None:
    deploy(1)
    with pytest.raises(ParityError, match=r"serving.max_slowdown.*nothing was changed, what was served goes on"):
        deploy(2, slow=True)
    assert triton.versions(safe_key(group)) == ["1"]


def test_a_server_that_forgot_is_brought_to_what_the_repository_says(
    deploy: Deploy, group: str, served_store: Store, triton: Triton
) -> None:
    model = safe_key(group)
    deploy(1)
    deploy(2)
    (right,) = rollout.status(store=served_store, servers=[triton], model=model)
    assert (right.wanted, right.served, right.as_wanted, right.problem) == (("1", "2"), ("1", "2"), True, "")
    triton.unload(model)
    (gone,) = rollout.status(store=served_store, servers=[triton], model=model)
    assert (gone.served, gone.as_wanted) == ((), False)
    assert gone.problem
    report = rollout.reconcile(store=served_store, triton=triton)
    assert model in report.loaded
    assert report.failed == {}
    assert triton.versions(model) == ["1", "2"]
    assert model in rollout.reconcile(store=served_store, triton=triton).as_wanted


def test_a_model_that_cannot_be_loaded_does_not_keep_others_from_it(
    deploy: Deploy, group: str, served_store: Store, triton: Triton
) -> None:
    model = safe_key(group)
    deploy(1)
    triton.unload(model)
    broken = f"{model}-broken"
    served_store.put_bytes(f"triton/{broken}/1/model.onnx", b"no model")
    config = served_store.get_bytes(f"triton/{model}/config.pbtxt").decode().replace(model, broken)
    served_store.put_bytes(f"triton/{broken}/config.pbtxt", config.encode())
    try:
        report = rollout.reconcile(store=served_store, triton=triton)
        assert model in report.loaded
        assert broken in report.failed
    finally:
        for key in list(served_store.list_keys(f"triton/{broken}/")):
            served_store.remove(key)


def test_an_unknown_model_is_named_with_those_that_are_there(
    deploy: Deploy, group: str, served_store: Store, triton: Triton
) -> None:
    deploy(1)
    with pytest.raises(InputError, match=rf"got nothing; there are: .*{safe_key(group)}"):
        rollout.status(store=served_store, servers=[triton], model="nothing")


def test_a_replica_that_fails_brings_all_back_to_the_old_version(
    deploy: Deploy, group: str, served_store: Store, triton: Triton, tmp_path: Path, unused_port: int
) -> None:
    model = safe_key(group)
    deploy(1)
    judged = bundles.make(tmp_path / "next", group=group, strength=15.0)
    dead = Triton(f"http://127.0.0.1:{unused_port}")
    with pytest.raises(ServiceError, match=rf"the replica http://127.0.0.1:{unused_port}"):
        deploy_model(
            bundle=judged.bundle, evaluation=judged.evaluation, store=served_store, triton=triton, replicas=[dead],
            out=tmp_path / "out", serving=ServingConfig(max_batch_size=4),
        )  # fmt: skip
    assert triton.versions(model) == ["1"]
    assert events.history(served_store, model)[-1].kind == "failed"


def test_a_replica_takes_up_what_the_first_server_proved(
    deploy: Deploy, group: str, served_store: Store, triton: Triton, tmp_path: Path
) -> None:
    """The same server stands for a replica: it is told, asked and proved as one."""
    judged = bundles.make(tmp_path / "next", group=group, strength=15.0)
    deployed = deploy_model(
        bundle=judged.bundle, evaluation=judged.evaluation, store=served_store, triton=triton,
        replicas=[Triton(triton.url)], out=tmp_path / "out", serving=ServingConfig(max_batch_size=4),
    )  # fmt: skip
    assert deployed.version == "1"
