"""Real crops asked of the served version and of the candidate in turn: is it as fast, does it say the same?

Reads and writes nothing but requests to Triton. The crops are those that the served version was asked lately
(`contracts.traffic`), as far as there are, and the candidate's golden ones: real test pictures.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from silhouette.deploy_model.asking import CROPS, ask
from silhouette.errors import ParityError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from silhouette.triton_client import Triton

_ROUNDS = 12
_WARM_UP = 2
_NOISE_MS = 5.0  # a smaller difference of two medians is a busy machine's, whatever their ratio


@dataclass(frozen=True, kw_only=True)
class Replay:
    """Two versions beside one another.

    Attributes:
        crops: How many were asked.
        recent: How many of them are of recent requests.
        batch: How many were in a request that was timed.
        old_ms: Median of a request to the served version, milliseconds.
        new_ms: Of one to the candidate.
        disagreement: Share of the crops that they name differently.
    """

    crops: int
    recent: int
    batch: int
    old_ms: float
    new_ms: float
    disagreement: float

    @property
    def slowdown(self) -> float:
        """Return how many times as long the candidate takes."""
        return self.new_ms / max(self.old_ms, 1e-9)


def replay(
    triton: Triton,
    *,
    old: tuple[str, str],
    new: tuple[str, str],
    recent: npt.NDArray[np.uint8],
    golden: npt.NDArray[np.uint8],
) -> Replay:
    """Ask both in turn, so that what else the machine does hits both; the first crops are timed.

    Args:
        triton: The server.
        old: Model and version that are served.
        new: Model and version of the candidate.
        recent: uint8 [n, size, size, 3], of recent requests; there may be none.
        golden: Likewise, of the candidate.

    Raises:
        ServiceError: Triton failed.
    """
    import numpy as np

    crops = np.concatenate([recent, golden])
    batch = min(CROPS, *(triton.config(model, version=version).max_batch_size for model, version in (old, new)))
    first, times = crops[:batch], {old: list[float](), new: list[float]()}
    for _ in range(_WARM_UP + _ROUNDS):
        for model, version in (old, new):
            times[model, version] += ask(triton, model, first, version=version)[1]
    old_ms, new_ms = (statistics.median(times[side][_WARM_UP:]) for side in (old, new))
    said = [ask(triton, model, crops, version=version)[0].argmax(axis=1) for model, version in (old, new)]
    return Replay(
        crops=len(crops), recent=len(recent), batch=len(first), old_ms=old_ms, new_ms=new_ms,
        disagreement=float((said[0] != said[1]).mean()),
    )  # fmt: skip


def require(found: Replay, *, max_slowdown: float | None, max_disagreement: float | None) -> None:
    """Hold a replay against its limits.

    Args:
        found: What was measured.
        max_slowdown: None: any.
        max_disagreement: None: any.

    Raises:
        ParityError: One is breached.
    """
    is_slower = found.new_ms - found.old_ms > _NOISE_MS
    if max_slowdown is not None and is_slower and found.slowdown > max_slowdown:
        raise ParityError(
            f"a new version may take {max_slowdown:g} times as long as the served one (serving.max_slowdown), it takes"
            f" {found.slowdown:.1f} times: {found.new_ms:.1f} ms against {found.old_ms:.1f} ms for {found.batch} crops;"
            " take a smaller backbone, or allow it"
        )
    if max_disagreement is not None and found.disagreement > max_disagreement:
        raise ParityError(
            f"a new version may name another class for {max_disagreement:.0%} of the crops"
            f" (serving.max_disagreement), it does for {found.disagreement:.0%} of {found.crops}, {found.recent} of"
            " them of recent requests; look at what changed in the pictures and labels, or allow it"
        )
