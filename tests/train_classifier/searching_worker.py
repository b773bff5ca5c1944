"""A worker of a search, as a process that a test may kill: its training takes a while and answers with a number.

python -m tests.train_classifier.searching_worker NAME CROPS OUT TRIALS SECONDS
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

from silhouette.train_classifier import search, tune
from tests.shapes import BACKBONE, recipe


class Trained:
    """What counts of a training."""

    def __init__(self, score: float) -> None:
        self.val_macro_f1 = score


def main() -> None:
    """Take part."""
    name, crops, out, trials, seconds = sys.argv[1:]

    def train(**options: Any) -> Trained:
        print("training", flush=True)
        time.sleep(float(seconds))
        return Trained(1 - options["config"].learning_rate)

    with patch.object(tune, "train_classifier", train), patch.object(search, "PAUSE_S", 0.2):
        made = search.take_part(
            name, crops=Path(crops), out=Path(out), config=recipe(backbone=BACKBONE), parameters=["learning_rate"],
            trials=int(trials), device="cpu",
        )  # fmt: skip
    print(made)


if __name__ == "__main__":
    main()
