"""Look a cluster over: `make doctor OVERLAY=gpu`, or `python -m manifests.doctor --overlay gpu`.

Reads the overlay, as it renders here, and the cluster of the current context; changes nothing.

finding  the words: what was looked at, what was found, what to do
ground   what must be there before anything runs
running  what must run and answer
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from manifests.doctor.finding import Finding, Patient
from manifests.doctor.ground import config_maps, gpus, namespaces, operators, rights, secret_keys, storage, version
from manifests.doctor.running import kubeflow, triton, workloads
from silhouette.errors import SilhouetteError

__all__ = ["Finding", "Patient", "look_over"]

CHECKS: tuple[Callable[[Patient], Iterator[Finding]], ...] = (
    rights, namespaces, config_maps, secret_keys, storage, gpus, operators, workloads, triton, kubeflow,
)  # fmt: skip


def look_over(patient: Patient) -> Iterator[Finding]:
    """Yield every finding; a check that the cluster refuses is one too.

    Raises:
        ServiceError: The cluster does not answer at all.
    """
    yield from version(patient)
    for check in CHECKS:
        try:
            yield from check(patient)
        except SilhouetteError as error:
            yield Finding(
                what=check.__name__.replace("_", " "), detail=str(error), way_out="correct that, then look again"
            )
