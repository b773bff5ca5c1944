"""Crops asked of a model that answers others as well: in small requests, with a rest after each.

An instance of Triton answers one request after the other, so whoever asks meanwhile waits for all of a large one.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from silhouette.triton_client import Triton

CROPS = 4  # of a request, at most
_REST = 1.0  # times as long as the answer took


def ask(
    triton: Triton, model: str, crops: npt.NDArray[np.uint8], *, version: str
) -> tuple[npt.NDArray[np.float32], list[float]]:
    """Ask a version about crops.

    Args:
        triton: The server.
        model: Triton's name of it.
        crops: uint8 [n, size, size, 3], at least one.
        version: Of it.

    Returns:
        Probabilities, float32 [n, classes], and the milliseconds of every request.

    Raises:
        ServiceError: Triton failed, or does not have it.
    """
    import numpy as np

    step = min(CROPS, triton.config(model, version=version).max_batch_size)
    answers, times = [], []
    for start in range(0, len(crops), step):
        started = time.perf_counter()
        answers.append(triton.infer(model, crops[start : start + step], version=version))
        took = time.perf_counter() - started
        times.append(took * 1000)
        time.sleep(_REST * took)
    return np.concatenate(answers), times
