"""A run of classify_pictures in a process of its own, so that a test can kill it: SETTINGS_JSON on the command line.

With `slow_s` every batch waits, so that there is time to kill.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from silhouette.classify_pictures import ledger
from silhouette.classify_pictures.classify import Shard, classify_pictures
from silhouette.config import load_config
from silhouette.store import open_store
from silhouette.triton_client import Triton, open_triton


class Slow(Triton):
    """Triton behind a slow line."""

    slow_s = 0.0

    def infer(self, *args: Any, **options: Any) -> Any:
        time.sleep(self.slow_s)
        return super().infer(*args, **options)


def main(settings: dict[str, Any]) -> None:
    triton = open_triton()
    slow = Slow(triton.url)
    slow.slow_s = settings["slow_s"]
    ledger.CHUNK = settings["chunk"]
    import silhouette.classify_pictures.classify as classify

    classify.CHUNK = settings["chunk"]
    classify_pictures(
        model=settings["model"],
        out=Path(settings["out"]),
        store=open_store(),
        triton=slow,
        config=load_config({}).dataset,
        dataset=Path(settings["dataset"]),
        snapshot_digest=settings["snapshot_digest"],
        shard=Shard(number=settings["shard"], count=settings["shards"]),
    )


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
