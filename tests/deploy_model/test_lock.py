"""One change of a group's served models at a time: real processes, one of them killed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from silhouette import lease
from silhouette.contracts.deployment import Deployment
from silhouette.deploy_model import events, lock, rollout
from silhouette.deploy_model.deploy import deploy_model
from silhouette.errors import ServiceError
from silhouette.lease import Lease
from silhouette.names import safe_key
from silhouette.store import Store
from silhouette.triton_client import Triton
from tests.deploy_model import bundles

_HALTED = """
import sys, time
from pathlib import Path
from silhouette.deploy_model.deploy import deploy_model
from silhouette.store import Store, open_store
from silhouette.triton_client import open_triton

class Halting(Store):
    def put_bytes(self, key, data, **options):
        if key.endswith("config.pbtxt"):
            print("halted", flush=True)
            time.sleep(600)
        super().put_bytes(key, data, **options)

store = open_store()
store.__class__ = Halting
folder = Path(sys.argv[1])
deploy_model(bundle=folder / "bundle", evaluation=folder / "evaluation", store=store, triton=open_triton(),
             out=folder / "out", by="anna")
"""


def deploy(folder: Path, store: Store, triton: Triton) -> Deployment:
    return deploy_model(
        bundle=folder / "bundle", evaluation=folder / "evaluation", store=store, triton=triton, out=folder / "out",
        by="boris",
    )  # fmt: skip


def locks(store: Store, model: str) -> list[str]:
    return [key.rpartition("/")[2] for key in store.list_keys(f"{events.PREFIX}/{model}/lock/")]


def test_a_second_deployment_a_rollback_and_the_reconciler_are_refused_until_the_first_is_killed(
    group: str, served_store: Store, triton: Triton, tmp_path: Path, services_env: dict[str, str], triton_url: str
) -> None:
    model = safe_key(group)
    for number in (1, 2):
        deploy(
            bundles.make(tmp_path / f"{number}", group=group, strength=5.0 + number).bundle.parent, served_store, triton
        )
    third = bundles.make(tmp_path / "3", group=group, strength=9.0).bundle.parent
    fourth = bundles.make(tmp_path / "4", group=group, strength=4.0).bundle.parent
    environ = {**os.environ, **services_env, "SILHOUETTE_TRITON_URL": triton_url}
    owner = subprocess.Popen(
        [sys.executable, "-c", _HALTED, str(third)], env=environ, stdout=subprocess.PIPE, text=True
    )
    try:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "halted\n"
        told = rf"{model} is being changed by anna on \S+ \(process {owner.pid}\) since .* UTC; wait for its end"
        with pytest.raises(ServiceError, match=told):
            deploy(fourth, served_store, triton)
        command = [str(Path(sys.executable).with_name("silhouette")), "rollback", "--group", group]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1
        (line,) = done.stderr.strip().splitlines()
        assert "one deployment of a group runs at a time" in line
        triton.unload(model)
        assert (
            "one deployment of a group runs at a time"
            in rollout.reconcile(store=served_store, triton=triton).failed[model]
        )
        assert [event.kind for event in events.history(served_store, model)] == ["deployed", "deployed"]
    finally:
        owner.kill()
        owner.communicate()
    assert model in rollout.reconcile(store=served_store, triton=triton).loaded, "the killed one's lock has returned"
    assert triton.versions(model) == ["1", "2"]
    assert deploy(fourth, served_store, triton).version == "4"
    assert len(locks(served_store, model)) == 1


def test_one_of_many_who_begin_at_once_gets_its_turn(fresh_store: Store) -> None:
    for attempt in range(10):
        won, refused, gate, end = list[int](), list[str](), threading.Barrier(6), threading.Event()

        def begin(number: int, won=won, refused=refused, gate=gate, end=end) -> None:  # type: ignore[no-untyped-def]
            gate.wait()
            try:
                with lock.hold(fresh_store, "hats", by=f"{number}"):
                    won.append(number)
                    end.wait(30)
            except ServiceError as error:
                refused.append(str(error))
                if len(refused) == 5:
                    end.set()

        threads = [threading.Thread(target=begin, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert all(f"being changed by {won[0]} on" in line for line in refused)
        assert locks(fresh_store, "hats") == [f"{attempt + 1:08d}"], "numbers rise, and the old ones are taken away"


def test_a_lock_of_another_machine_is_believed_until_it_expires(
    fresh_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = Lease.of_this_process("anna").model_copy(update={"place": "another", "pid": 1})
    fresh_store.put_bytes(f"{events.PREFIX}/hats/lock/00000007", far.to_bytes())
    with pytest.raises(ServiceError, match=r"changed by anna on .* when it was killed until \d\d:\d\d:\d\d, then run"):
        with lock.hold(fresh_store, "hats", by="boris"):
            pass
    monkeypatch.setattr(lease, "EXPIRES_S", 0.0)
    with lock.hold(fresh_store, "hats", by="boris"):
        assert locks(fresh_store, "hats") == ["00000008"]


def test_who_was_believed_dead_and_is_not_changes_nothing_more(fresh_store: Store) -> None:
    with lock.hold(fresh_store, "hats", by="anna") as turn:
        turn.require()
        successor = Lease.of_this_process("boris")
        fresh_store.put_bytes(f"{events.PREFIX}/hats/lock/00000002", successor.to_bytes())
        with pytest.raises(ServiceError, match="that of hats was taken over by boris on"):
            turn.require()
    assert locks(fresh_store, "hats") == ["00000002"], "the successor's stays"


def test_the_lock_is_renewed_while_its_owner_works(fresh_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEW_S", 0.02)
    key, renewed = f"{events.PREFIX}/hats/lock/00000001", threading.Event()
    with lock.hold(fresh_store, "hats", by="anna"):
        first = Lease.read(fresh_store.get_bytes(key))
        assert first is not None
        for _ in range(200):
            now = Lease.read(fresh_store.get_bytes(key))
            if now is not None and now.renewed > first.renewed:
                break
            renewed.wait(0.02)
        else:
            pytest.fail("it was not renewed")
        assert now.is_alive()
    last = Lease.read(fresh_store.get_bytes(key))
    assert last is not None
    assert not last.is_alive()


def test_what_is_no_lease_is_nobodys(fresh_store: Store) -> None:
    fresh_store.put_bytes(f"{events.PREFIX}/hats/lock/00000003", b"{")
    with lock.hold(fresh_store, "hats", by="anna"):
        assert locks(fresh_store, "hats") == ["00000004"]
