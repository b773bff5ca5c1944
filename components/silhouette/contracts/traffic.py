"""What a served model was asked lately: a sample of crops, kept by who classifies, replayed to what is deployed next.

``inference/<model>/recent_crops.npz`` in the store: `crops`, uint8 [n, size, size, 3], RGB. A sample of the last run
takes the place of the one before.
"""

from __future__ import annotations

import io
import logging
import random
import zipfile
from typing import TYPE_CHECKING

from silhouette.errors import InputError
from silhouette.store import MissingObjectError, Store

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Crop = npt.NDArray[np.uint8]

_LOG = logging.getLogger(__name__)
_MOST_BYTES = 1 << 30


class Sample:
    """Crops of a run, every one with the same chance; they take memory for `most`, however many go by.

    J. S. Vitter, Random Sampling with a Reservoir, 1985: algorithm R.

    Args:
        most: How many are kept.
        seed: The same crops in the same order and the same seed give the same sample.
    """

    def __init__(self, most: int, *, seed: str) -> None:
        self.most = most
        self.crops: list[Crop] = []
        self._seen = 0
        self._random = random.Random(seed)  # noqa: S311 - no secret

    def add(self, crop: Crop) -> None:
        """Let a crop go by."""
        self._seen += 1
        if len(self.crops) < self.most:
            self.crops.append(crop)
        elif (place := self._random.randrange(self._seen)) < self.most:
            self.crops[place] = crop


def key(model: str) -> str:
    """Return where the store has the sample of a model, by Triton's name of it."""
    return f"inference/{model}/recent_crops.npz"


def keep(store: Store, model: str, sample: Sample) -> None:
    """Keep a run's sample; a run without crops leaves the one before, one that must keep none removes it."""
    import numpy as np

    if not sample.most:
        store.remove(key(model))
    elif sample.crops:
        stream = io.BytesIO()
        np.savez_compressed(stream, crops=np.stack(sample.crops))
        store.put_bytes(key(model), stream.getvalue())


def recent(store: Store, model: str, *, crop_size: int) -> Crop:
    """Return the sample of a model, uint8 [n, crop_size, crop_size, 3]; none of another size, or when it is damaged."""
    import numpy as np

    none = np.zeros((0, crop_size, crop_size, 3), np.uint8)
    try:
        with np.load(io.BytesIO(store.get_bytes(key(model), max_bytes=_MOST_BYTES))) as arrays:
            crops: Crop = arrays["crops"]
    except MissingObjectError:  # nothing was asked yet, or nothing is to be kept
        return none
    except (InputError, OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        _LOG.warning(
            "%s cannot be read (%s), golden crops alone are replayed; the next run writes it", key(model), error
        )
        return none
    return crops if crops.dtype == np.uint8 and crops.shape[1:] == none.shape[1:] else none
