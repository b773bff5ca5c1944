"""One change of a group's served models at a time: deployments, rollbacks, and the reconciler's loads.

Reads and writes ``deployments/<model>/lock/<number>`` in the store: the highest number is whose turn it is. A turn is
taken by writing the next number if it is absent, which the store gives to exactly one, so nothing but that condition is
asked of it. (`If-Match`, which would need no numbers, let several win at once in 21 of 150 rounds of eight writers on
SeaweedFS 4.48; `If-None-Match: *` in none.) A database could do it as well, but a deployment has none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from silhouette.deploy_model.events import PREFIX
from silhouette.errors import InputError, ServiceError, SilhouetteError
from silhouette.lease import Lease, renewing
from silhouette.store import Store

_TURNS = 20  # others that may be faster before it is given up; each of them ends with one owner


class Lock:
    """A turn that was taken."""

    def __init__(self, store: Store, model: str, number: int) -> None:
        self._store, self._model, self._number = store, model, number

    def require(self) -> None:
        """See to it that nobody has taken over: a process that was halted for minutes is believed to be dead.

        Raises:
            ServiceError: Somebody has.
        """
        last = _last(self._store, self._model)
        if last > self._number:
            lease = _lease(self._store, self._model, last)
            raise ServiceError(
                f"a deployment must go on renewing its lock, that of {self._model} was taken over by"
                f" {lease.told() if lease else 'another'}; look at `silhouette status` and `history`, then run again"
            )


@contextmanager
def hold(store: Store, model: str, *, by: str) -> Iterator[Lock]:
    """Be the only one who changes what a group's models serve, or say who does.

    Args:
        store: Holds the lock.
        model: Triton's name of the group's classifier; its picture model is covered by it.
        by: Who.

    Raises:
        ServiceError: Somebody else does, or the store failed.
    """
    mine = Lease.of_this_process(by)
    number = _take(store, model, mine)
    key, lock = _key(model, number), Lock(store, model, number)
    with renewing(mine, lambda: store.put_bytes(key, mine.to_bytes())):
        try:
            yield lock
        finally:
            with suppress(SilhouetteError):  # it returns by itself; what happened inside is what is told
                # the last number stays, so that numbers only rise and a late reader cannot take an old one again
                if _last(store, model) == number:
                    store.put_bytes(key, mine.to_bytes(released=True))
                else:
                    store.remove(key)


def _take(store: Store, model: str, mine: Lease) -> int:
    """Take the next turn; return its number."""
    for _ in range(_TURNS):
        last = _last(store, model)
        owner = _lease(store, model, last) if last else None
        if owner is not None and owner.is_alive():
            raise ServiceError(
                f"one deployment of a group runs at a time, {model} is being changed by {owner.told()}; wait for its"
                f" end, or when it was killed until {owner.returns:%H:%M:%S}, then run again"
            )
        number = last + 1
        if not store.put_if_absent(_key(model, number), mine.to_bytes()):
            there = _lease(store, model, number)
            if there is None or there.token != mine.token:  # it may be mine: an answer that was lost is asked again
                continue
        if _last(store, model) > number:  # what was read first was old, and was tidied up since
            store.remove(_key(model, number))
            continue
        for older in _numbers(store, model):
            if older < number:
                store.remove(_key(model, older))
        return number
    raise ServiceError(f"one deployment of a group runs at a time, too many of {model} begin at once; run again")


def _key(model: str, number: int) -> str:
    return f"{PREFIX}/{model}/lock/{number:08d}"


def _numbers(store: Store, model: str) -> list[int]:
    return [int(key.rpartition("/")[2]) for key in store.list_keys(f"{PREFIX}/{model}/lock/")]


def _last(store: Store, model: str) -> int:
    return max(_numbers(store, model), default=0)


def _lease(store: Store, model: str, number: int) -> Lease | None:
    try:
        return Lease.read(store.get_bytes(_key(model, number)))
    except InputError:  # its owner has removed it in this moment
        return None
