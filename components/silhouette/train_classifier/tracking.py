"""The only door to Weights & Biases: curves and settings of a run, never pictures, names of pictures or weights.

Offline unless WANDB_API_KEY is set; WANDB_MODE=disabled turns it off. It never asks, and what fails here is
said once and never ends a training.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_LOG = logging.getLogger(__name__)
_PROJECT = "silhouette"
_PATIENCE_S = 20.0  # for the server's answer


class Tracker:
    """One run at Weights & Biases, or nothing.

    Args:
        folder: Where its files go.
        group: The classification task.
        experiment: The run's name.
        settings: What the run was started with.
    """

    def __init__(self, folder: Path, *, group: str, experiment: str, settings: Mapping[str, Any]) -> None:
        self._run: Any = None
        mode: Any = os.environ.get("WANDB_MODE") or ("online" if os.environ.get("WANDB_API_KEY") else "offline")
        if mode == "disabled":
            return
        folder.mkdir(parents=True, exist_ok=True)
        try:
            import wandb

            quiet = wandb.Settings(
                silent=True, console="off", disable_git=True, save_code=False, x_disable_stats=True,
                init_timeout=_PATIENCE_S, login_timeout=_PATIENCE_S,
            )  # fmt: skip
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT") or _PROJECT, group=group[:120], name=experiment[:120],
                dir=folder, mode=mode, config=dict(settings), settings=quiet,
            )  # fmt: skip
        except Exception as error:  # noqa: BLE001  a tracker out of reach must not cost a training
            self._give_up(error)

    def log(self, metrics: Mapping[str, float]) -> None:
        """Send one row of numbers."""
        if self._run is not None:
            try:
                self._run.log(dict(metrics))
            except Exception as error:  # noqa: BLE001  as above
                self._give_up(error)

    def finish(self) -> None:
        """Close the run."""
        if self._run is not None:
            try:
                self._run.finish()
            except Exception as error:  # noqa: BLE001  as above
                self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self._run = None
        _LOG.warning(
            "Weights & Biases is left out of this run (%s); the training goes on", " ".join(str(error).split())
        )
