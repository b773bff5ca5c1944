"""Weights & Biases: a run's settings and curves; pictures and the model only when the recipe or an account says so.

Offline unless WANDB_API_KEY is set; WANDB_MODE=disabled turns it off. It never asks, and what fails here is
said once and never ends a training. A run without an account leaves its record in the training's folder, from where
it reaches the store (``models/<group key>/<experiment>/wandb/``); `sync` sends such a record later.
"""

from __future__ import annotations

import logging
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from silhouette.errors import InputError, ServiceError

_LOG = logging.getLogger(__name__)
_PROJECT = "silhouette"
_PATIENCE_S = 20.0  # for the server's answer
_SYNC_PATIENCE_S = 900.0
FOLDER = "wandb"  # of the training's folder, and of the experiment in the store


def new_run_id() -> str:
    """Return an id for a run that starts; one that is taken up keeps its own."""
    return secrets.token_hex(8)


class Tracker:
    """One run at Weights & Biases, or nothing.

    Args:
        folder: Of the training; its files go to `FOLDER` below.
        group: The classification task.
        experiment: The run's name.
        run_id: What a run that is taken up shares with its first part.
        settings: What the run was started with.
        wanted: False makes it nothing.
    """

    def __init__(
        self,
        folder: Path,
        *,
        group: str,
        experiment: str,
        run_id: str,
        settings: Mapping[str, Any],
        wanted: bool = True,
    ) -> None:
        self._run: Any = None
        self.is_online = False
        mode: Any = os.environ.get("WANDB_MODE") or ("online" if os.environ.get("WANDB_API_KEY") else "offline")
        if mode == "disabled" or not wanted:
            return
        (folder / FOLDER).mkdir(parents=True, exist_ok=True)

        def start() -> None:
            import wandb

            quiet = wandb.Settings(
                silent=True, console="off", disable_git=True, save_code=False, x_disable_stats=True,
                init_timeout=_PATIENCE_S, login_timeout=_PATIENCE_S,
            )  # fmt: skip
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT") or _PROJECT, group=group[:120], name=experiment[:120],
                id=run_id, resume="allow" if mode == "online" else None, dir=folder, mode=mode,
                config=dict(settings), settings=quiet,
            )  # fmt: skip
            self.is_online = mode == "online"

        self._try(start, always=True)

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Send one row of numbers."""
        self._try(lambda: self._run.log(dict(metrics), step=step))

    def log_pictures(self, pictures: Mapping[str, Path]) -> None:
        """Send PNG files by name. They show people: the recipe must have said so (`wandb_pictures`)."""

        def send() -> None:
            import wandb

            self._run.log({name: wandb.Image(str(path)) for name, path in pictures.items()})

        self._try(send)

    def finish(
        self,
        *,
        summary: Mapping[str, float] | None = None,
        model: Path | None = None,
        lineage: Mapping[str, str] | None = None,
    ) -> None:
        """Close the run; a second time it does nothing.

        Args:
            summary: Its numbers.
            model: A checkpoint that becomes the run's model artifact, where there is an account.
            lineage: What the model was made of, as metadata of the artifact.
        """

        def close() -> None:
            if summary:
                self._run.summary.update(dict(summary))
            if model is not None and self.is_online:
                import wandb

                artifact = wandb.Artifact(
                    f"{self._run.project}-{self._run.id}", type="model", metadata=dict(lineage or {})
                )
                artifact.add_file(str(model))
                self._run.log_artifact(artifact, aliases=["latest", "best"])
            self._run.finish()
            self._run = None

        self._try(close)

    def _try(self, action: Callable[[], None], *, always: bool = False) -> None:
        if self._run is None and not always:
            return
        try:
            action()
        except Exception as error:  # noqa: BLE001  a tracker out of reach must not cost a training
            self._run = None
            _LOG.warning(
                "Weights & Biases is left out of this run (%s); the training goes on", " ".join(str(error).split())
            )


def offline_files(folder: Path) -> list[Path]:
    """Return what a later `sync` needs of a training's folder: the records and media of its runs without an account."""
    runs = sorted((folder / FOLDER).glob("offline-run-*"))
    return [
        path
        for run in runs
        for path in (*sorted(run.glob("run-*.wandb")), *sorted((run / "files" / "media").rglob("*")))
        if path.is_file()
    ]


def sync(folder: Path) -> list[str]:
    """Send the records of runs without an account to Weights & Biases; return the names of these records.

    Args:
        folder: Holds `FOLDER`, as a training left it.

    Raises:
        InputError: There is no record, or no account.
        ServiceError: Weights & Biases did not take it.
    """
    runs = sorted(path.parent for path in (folder / FOLDER).glob("offline-run-*/run-*.wandb"))
    if not runs:
        raise InputError(
            "an experiment must have a record of a run without an account to be sent, it has none; it was sent while it"
            " trained, or Weights & Biases was off (WANDB_MODE)"
        )
    if not os.environ.get("WANDB_API_KEY"):
        raise InputError(
            "sending to Weights & Biases needs an account, WANDB_API_KEY is not set; take a key from your settings"
            " there"
        )
    command = [sys.executable, "-m", "wandb", "sync", "--include-synced", *map(str, runs)]
    environ = os.environ | {"WANDB_MODE": "online", "WANDB_DIR": str(folder)}
    project = os.environ.get("WANDB_PROJECT") or _PROJECT
    try:
        ended = subprocess.run(
            [*command, "--project", project], env=environ, capture_output=True, text=True, timeout=_SYNC_PATIENCE_S,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise ServiceError(
            f"Weights & Biases must take the record within {_SYNC_PATIENCE_S:.0f} s, it did not; send it again later"
        ) from error
    said = " ".join((ended.stdout + ended.stderr).split())
    if ended.returncode or "rror" in said:
        raise ServiceError(f"Weights & Biases must take the record, it did not ({said[-240:]}); send it again later")
    return [run.name for run in runs]
