"""Best and last checkpoint, in the folder and in the store, so that a new process with an empty disk goes on.

Writes `checkpoints/best.ckpt` (weights, kept), `checkpoints/epoch-*.ckpt` (of the best few epochs, kept, where their
average is asked for) and `checkpoints/last.ckpt` (everything a resume needs, there only
while the training is unfinished), and the same below ``models/<group key>/<experiment>/`` of the store.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Checkpoint

from silhouette.contracts import training as training_contract
from silhouette.errors import SilhouetteError
from silhouette.train_classifier import tracking

if TYPE_CHECKING:
    from silhouette.store import Store

_LOG = logging.getLogger(__name__)
LAST_CHECKPOINT = "checkpoints/last.ckpt"
_OF_EPOCHS = "checkpoints/epoch-"
_IDENTITY = "silhouette"  # the checkpoint's entry that says what it was trained from
_POSITION, _RUN_ID = "silhouette_position", "silhouette_run_id"  # how far it is, and under which id it is tracked


@dataclass(frozen=True, kw_only=True)
class Unfinished:
    """An unfinished training: its checkpoint, the epochs and the batches of the next one that it has behind it."""

    path: Path
    epochs: int
    batches: int


class Checkpoints(Checkpoint):
    """Save after each epoch, and in long ones every few minutes; Lightning calls this callback after all others.

    Args:
        out: The training's folder.
        store: Or None: checkpoints stay in the folder. Of several processes only the first has it.
        prefix: Of the experiment in the store.
        identity: What the training is made from; a checkpoint of another identity is not resumed.
        minutes: After how long one is saved within an epoch.
        top: So many of the best epochs keep a checkpoint of their own; 0 and 1: none.

    Attributes:
        top: Those that have one: (macro-F1, epoch), the best first.
    """

    def __init__(
        self,
        out: Path,
        *,
        store: Store | None,
        prefix: str,
        identity: dict[str, Any],
        minutes: float = 10.0,
        top: int = 0,
    ) -> None:
        self._out, self._store, self._prefix, self._identity = out, store, prefix, identity
        self._patience_s, self._saved_at, self._position = minutes * 60, time.monotonic(), [0, 0]
        self.run_id = tracking.new_run_id()
        self.best_epoch, self.best_score = 0, -1.0
        self._most, self.top = top if top > 1 else 0, list[tuple[float, int]]()

    def state_dict(self) -> dict[str, Any]:
        """Return which epochs were the best."""
        return {"best_epoch": self.best_epoch, "best_score": self.best_score, "top": self.top}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what was the best before the interruption."""
        self.best_epoch, self.best_score = state_dict["best_epoch"], state_dict["best_score"]
        self.top = [(score, epoch) for score, epoch in state_dict["top"]]

    def on_save_checkpoint(self, _trainer: Trainer, _module: Any, checkpoint: dict[str, Any]) -> None:
        """Say in the checkpoint what it was trained from, and how far it is."""
        checkpoint[_IDENTITY], checkpoint[_POSITION] = self._identity, self._position
        checkpoint[_RUN_ID] = self.run_id

    def on_train_batch_end(self, trainer: Trainer, _module: Any, _outputs: Any, _batch: Any, index: int) -> None:
        """Save within an epoch, between two steps of the optimizer, when the last time is long ago."""
        is_step = (index + 1) % trainer.accumulate_grad_batches == 0
        if is_step and trainer.strategy.broadcast(time.monotonic() - self._saved_at >= self._patience_s):
            self._position = [trainer.current_epoch, index + 1]
            self._save(trainer, LAST_CHECKPOINT, weights_only=False)

    def on_train_epoch_end(self, trainer: Trainer, _module: Any) -> None:
        """Save the best first and the last last: a kill in between repeats an epoch and loses nothing."""
        score, self._position = float(trainer.callback_metrics["val_macro_f1"]), [trainer.current_epoch + 1, 0]
        if score > self.best_score:
            self.best_score, self.best_epoch = score, trainer.current_epoch + 1
            self.keep_best(trainer)
        left_out = self._keep_among_the_best(trainer, score)
        if self._store is not None:
            for folder in ("csv_logs", "train_batches"):
                self._store.put_tree(f"{self._prefix}/{folder}", self._out / folder)
            self.keep_tracking()
        self._save(trainer, LAST_CHECKPOINT, weights_only=False)
        for name in left_out:  # not before: until now a resume would have asked for them
            self._remove(name)

    def _keep_among_the_best(self, trainer: Trainer, score: float) -> list[str]:
        """Give this epoch a checkpoint of its own if it is among the best; return the names of those that are not."""
        everyone = sorted([*self.top, (score, trainer.current_epoch + 1)], key=lambda one: (-one[0], one[1]))
        self.top, others = everyone[: self._most], everyone[self._most :]
        if trainer.current_epoch + 1 in (epoch for _, epoch in self.top):
            self._save(trainer, epoch_checkpoint(trainer.current_epoch + 1), weights_only=True)
        return [epoch_checkpoint(epoch) for _, epoch in others if epoch != trainer.current_epoch + 1]

    def keep_best(self, trainer: Trainer) -> None:
        """Save the network as it is now as the best."""
        self._save(trainer, training_contract.BEST_CHECKPOINT, weights_only=True)

    def keep_tracking(self) -> None:
        """Keep the record of a run without an account, or it would be lost with the pod."""
        if self._store is not None:
            files = tracking.offline_files(self._out)
            self._store.put_many((f"{self._prefix}/{path.relative_to(self._out).as_posix()}", path) for path in files)

    def _save(self, trainer: Trainer, name: str, *, weights_only: bool) -> None:
        partial = self._out / f"{name}.partial"
        try:
            trainer.save_checkpoint(partial, weights_only=weights_only)
            if trainer.is_global_zero:  # the others have nothing but their part in it
                partial.replace(self._out / name)
        except (OSError, RuntimeError) as error:  # torch's own writer gives no errno
            partial.unlink(missing_ok=True)
            raise SilhouetteError(
                f"a checkpoint must be written into {self._out}, it could not be"
                f" ({' '.join(str(error).split())[:160]}); make room there, then run again: it goes on from the last"
                " good one"
            ) from error
        self._saved_at = time.monotonic()
        if self._store is not None:
            self._store.put_file(f"{self._prefix}/{name}", self._out / name)

    def resume_from(self) -> Unfinished | None:
        """Return what the folder has to go on from, or None to start anew."""
        if (found := self._unfinished()) is None:
            self._forget_epochs()
        return found

    def _forget_epochs(self) -> None:
        """Remove the epochs' own checkpoints that an earlier training left under this name."""
        names = {path.relative_to(self._out).as_posix() for path in self._out.glob(f"{_OF_EPOCHS}*")}
        if self._store is not None:
            keys = self._store.list_keys(f"{self._prefix}/{_OF_EPOCHS}")
            names |= {key.removeprefix(f"{self._prefix}/") for key in keys}
        for name in names:
            self._remove(name)

    def _unfinished(self) -> Unfinished | None:
        last = self._out / LAST_CHECKPOINT
        if not last.is_file():
            return None
        content = torch.load(last, map_location="cpu", weights_only=True)
        if content.get(_IDENTITY) != self._identity or _POSITION not in content:
            _LOG.warning(
                "the unfinished training %s was made from other input or settings: starting anew", self._prefix
            )
            return None
        self.run_id = content[_RUN_ID]
        epochs, batches = content[_POSITION]
        return Unfinished(path=last, epochs=epochs, batches=batches)

    def finish(self) -> None:
        """Remove the last checkpoint: from now on the training is finished, and a new one starts anew."""
        self._remove(LAST_CHECKPOINT)

    def _remove(self, name: str) -> None:
        (self._out / name).unlink(missing_ok=True)
        if self._store is not None:
            self._store.remove(f"{self._prefix}/{name}")


def fetch(out: Path, store: Store, prefix: str) -> None:
    """Bring an unfinished training from the store into its folder; the store has the word.

    Args:
        out: The training's folder, which may be another pod's leftover.
        store: Where its checkpoints are.
        prefix: Of the experiment in the store.
    """
    (out / LAST_CHECKPOINT).unlink(missing_ok=True)
    if not store.exists(f"{prefix}/{LAST_CHECKPOINT}"):
        return
    for folder in ("checkpoints", "csv_logs", "train_batches"):  # within the first epoch there is no best one yet
        store.get_tree(f"{prefix}/{folder}", out / folder)


def epoch_checkpoint(epoch: int) -> str:
    """Return the name of an epoch's own checkpoint."""
    return f"{_OF_EPOCHS}{epoch:03d}.ckpt"
