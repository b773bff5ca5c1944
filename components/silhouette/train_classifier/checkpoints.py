"""Best and last checkpoint, in the folder and in the store, so that a new process with an empty disk goes on.

Writes `checkpoints/best.ckpt` (weights, kept) and `checkpoints/last.ckpt` (everything a resume needs, there only
while the training is unfinished), and the same below ``models/<group key>/<experiment>/`` of the store.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Checkpoint

from silhouette.contracts import training as training_contract

if TYPE_CHECKING:
    from silhouette.store import Store

_LOG = logging.getLogger(__name__)
LAST_CHECKPOINT = "checkpoints/last.ckpt"
_IDENTITY = "silhouette"  # the checkpoint's entry that says what it was trained from


class Checkpoints(Checkpoint):
    """Save after each epoch; Lightning calls this callback after all others.

    Args:
        out: The training's folder.
        store: Or None: checkpoints stay in the folder.
        prefix: Of the experiment in the store.
        identity: What the training is made from; a checkpoint of another identity is not resumed.
    """

    def __init__(self, out: Path, *, store: Store | None, prefix: str, identity: dict[str, Any]) -> None:
        self._out, self._store, self._prefix, self._identity = out, store, prefix, identity
        self.best_epoch, self.best_score = 0, -1.0

    def state_dict(self) -> dict[str, Any]:
        """Return which epoch was the best."""
        return {"best_epoch": self.best_epoch, "best_score": self.best_score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what was the best before the interruption."""
        self.best_epoch, self.best_score = state_dict["best_epoch"], state_dict["best_score"]

    def on_save_checkpoint(self, _trainer: Trainer, _module: Any, checkpoint: dict[str, Any]) -> None:
        """Say in the checkpoint what it was trained from."""
        checkpoint[_IDENTITY] = self._identity

    def on_train_epoch_end(self, trainer: Trainer, _module: Any) -> None:
        """Save the best first and the last last: a kill in between repeats an epoch and loses nothing."""
        score = float(trainer.callback_metrics["val_macro_f1"])
        if score > self.best_score:
            self.best_score, self.best_epoch = score, trainer.current_epoch + 1
            self._save(trainer, training_contract.BEST_CHECKPOINT, weights_only=True)
        if self._store is not None:
            for folder in ("csv_logs", "train_batches"):
                self._store.put_tree(f"{self._prefix}/{folder}", self._out / folder)
        self._save(trainer, LAST_CHECKPOINT, weights_only=False)

    def _save(self, trainer: Trainer, name: str, *, weights_only: bool) -> None:
        partial = self._out / f"{name}.partial"
        trainer.save_checkpoint(partial, weights_only=weights_only)
        partial.replace(self._out / name)
        if self._store is not None:
            self._store.put_file(f"{self._prefix}/{name}", self._out / name)

    def resume_from(self) -> Path | None:
        """Return the checkpoint to go on from, fetched from the store when there is one, or None to start anew."""
        last = self._out / LAST_CHECKPOINT
        if self._store is not None:
            last.unlink(missing_ok=True)  # the store has the word: a folder may be another pod's leftover
            if not self._store.exists(f"{self._prefix}/{LAST_CHECKPOINT}"):
                return None
            self._store.get_file(f"{self._prefix}/{LAST_CHECKPOINT}", last)
        if not last.is_file():
            return None
        theirs = torch.load(last, map_location="cpu", weights_only=True).get(_IDENTITY)
        if theirs != self._identity:
            _LOG.warning(
                "the unfinished training %s was made from other input or settings: starting anew", self._prefix
            )
            return None
        if self._store is not None:
            self._store.get_file(
                f"{self._prefix}/{training_contract.BEST_CHECKPOINT}", self._out / training_contract.BEST_CHECKPOINT
            )
            self._store.get_tree(f"{self._prefix}/train_batches", self._out / "train_batches")
        return last

    def finish(self) -> None:
        """Remove the last checkpoint: from now on the training is finished, and a new one starts anew."""
        (self._out / LAST_CHECKPOINT).unlink(missing_ok=True)
        if self._store is not None:
            self._store.remove(f"{self._prefix}/{LAST_CHECKPOINT}")
