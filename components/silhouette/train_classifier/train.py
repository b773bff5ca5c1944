"""Train a classifier on a folder of crops and leave a folder that `export_model` can read.

Reads crops and, when there is one, the store's last checkpoint of an unfinished run of the same experiment.
Writes what `silhouette.contracts.training` names, here and below ``models/<group key>/<experiment>/``.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import silhouette
from silhouette.contracts import crops as crops_contract
from silhouette.contracts import training as training_contract
from silhouette.errors import InputError, SilhouetteError
from silhouette.input_file import resolve_file
from silhouette.names import safe_key

if TYPE_CHECKING:
    from silhouette.config import TrainingConfig
    from silhouette.store import Store

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TrainReport:
    """How the training went.

    Attributes:
        experiment: Its name.
        backbone: The network's.
        epochs: Trained in all.
        best_epoch: The best one on val.
        best_val_macro_f1: Of that epoch.
        average_val_macro_f1: Of the mean of the best epochs' weights; None: there is none.
        val_macro_f1: Of what was kept, the higher of the two.
        resumed_after: The number of epochs that an earlier process had done.
    """

    experiment: str
    backbone: str
    epochs: int
    best_epoch: int
    best_val_macro_f1: float
    average_val_macro_f1: float | None
    val_macro_f1: float
    resumed_after: int


def train_classifier(
    *,
    crops: Path,
    out: Path,
    experiment: str,
    config: TrainingConfig,
    backbone: str = "",
    device: str = "auto",
    store: Store | None = None,
    inputs: Store | None = None,
    on_epoch: Callable[[int, float], None] | None = None,
    tracked: bool = True,
) -> TrainReport:
    """Train, and keep the epoch that is best on the val split by macro-F1.

    Args:
        crops: Folder of crops with train and val splits.
        out: Folder to write into.
        experiment: The run's name; an unfinished run of this name, input and recipe is taken up.
        config: The recipe.
        backbone: ``auto``, a timm name, or ``random:`` and a timm name; empty: what the recipe says.
        device: ``auto``, ``cpu`` or ``gpu``.
        store: Where crops and checkpoints survive this machine; None keeps everything in `out`.
        inputs: Where `training.weights` is looked up; None: in `store`.
        on_epoch: Is told (epochs done, val macro-F1) after each epoch; what it raises ends the training.
        tracked: Whether Weights & Biases may have a record.

    Raises:
        InputError: An unknown backbone or device, weights that cannot be had, crops that cannot be learnt from.
        SilhouetteError: The loss is no longer a number, or memory or disk do not suffice.
    """
    # Threads that wait must sleep: spinning, they take the cores from the workers that decode, and from whatever
    # else runs here, and halve the speed. It must be said before torch is imported; who knows better says it first.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with quiet_lightning():
        import lightning
        import torch

        from silhouette.train_classifier import (
            average,
            backbones,
            checkpoints,
            classifier,
            crop_data,
            records,
            tracking,
        )

        device = backbones.choose_device(device)
        name = backbones.resolve_name(backbone or config.backbone, device=device)
        torch.set_num_threads(crop_data.cpu_cores())
        lightning.seed_everything(config.seed % 2**32, workers=True, verbose=False)
        head = crops_contract.read_head(crops)
        with tempfile.TemporaryDirectory() as scratch:
            weights = _weights(config, Path(scratch), inputs or store)
            built = backbones.build_backbone(name, classes=len(head.classes), crop_size=head.crop_size, weights=weights)
        for folder in ("checkpoints", "csv_logs", "train_batches"):
            (out / folder).mkdir(parents=True, exist_ok=True)
        parameters = config.model_dump() | {"backbone": name}
        identity = {"crops_digest": head.digest, "parameters": parameters, "code_version": silhouette.__version__}
        prefix = f"models/{safe_key(head.group)}/{safe_key(experiment)}"
        keeper = checkpoints.Checkpoints(
            out, store=store, prefix=prefix, identity=identity, minutes=config.checkpoint_minutes,
            top=config.average_top,
        )  # fmt: skip
        unfinished = keeper.resume_from()
        start = (unfinished.epochs, unfinished.batches) if unfinished else (0, 0)
        scale = 1.0 if built.fixed_size else config.train_scale
        train_size = max(32, round(head.crop_size * scale / 16) * 16)
        data = crop_data.CropData(crops, config=config, train_size=train_size, start=start)
        module = classifier.CropClassifier(
            built, config, class_counts=data.class_counts, picture_ids=data.train.picture_ids
        )
        if store is not None:
            crops_contract.keep(crops, head, store)
        tracker = tracking.Tracker(
            out, group=head.group, experiment=experiment, run_id=keeper.run_id,
            settings={**parameters, "device": device, "crops_digest": head.digest}, wanted=tracked,
        )  # fmt: skip
        record = records.EpochRecord(out / "csv_logs", tracker, on_epoch=on_epoch)
        callbacks = [record, records.BatchPictures(out / "train_batches", head.classes), keeper]
        trainer = _trainer(out, config, device, callbacks)
        _LOG.info(
            "training %s on %s: %d crops, %d to validate, %d classes, %d epochs",
            name, device, len(data.train), len(data.val), len(head.classes), config.epochs,
        )  # fmt: skip
        if unfinished:
            _LOG.info("taking up the training after %d of %d epochs and %d batches", start[0], config.epochs, start[1])
        try:
            trainer.fit(module, datamodule=data, ckpt_path=unfinished and unfinished.path, weights_only=True)
            averaged = average.average_best(trainer, module, data, keeper, out=out) if config.average_top > 1 else None
            val_macro_f1 = averaged.val_macro_f1 if averaged and averaged.kept else keeper.best_score
            if config.wandb_pictures:
                tracker.log_pictures({path.stem: path for path in sorted((out / "train_batches").glob("*.png"))})
            tracker.finish(
                summary={
                    "best_epoch": keeper.best_epoch,
                    "best_val_macro_f1": keeper.best_score,
                    **({"average_val_macro_f1": averaged.val_macro_f1} if averaged else {}),
                },
                model=out / training_contract.BEST_CHECKPOINT,
                lineage={"experiment": experiment, "group": head.group, "crops_digest": head.digest},
            )
        except (RuntimeError, MemoryError) as error:
            raise _out_of_memory(error, config) or error from error
        finally:
            tracker.finish()
            keeper.keep_tracking()
        training_contract.write(
            out,
            training_contract.TrainingRecord(
                group=head.group, experiment=experiment, classes=head.classes, backbone=name,
                crop_size=head.crop_size, mean=list(built.mean), std=list(built.std), seed=config.seed,
                best_epoch=keeper.best_epoch, best_val_macro_f1=keeper.best_score, backgrounds=data.backgrounds,
                average=averaged, **identity,
            ),
        )  # fmt: skip
        if store is not None:
            store.put_file(f"{prefix}/{training_contract.FILE_NAME}", out / training_contract.FILE_NAME)
        keeper.finish()
    return TrainReport(
        experiment=experiment, backbone=name, epochs=len(record.rows), best_epoch=keeper.best_epoch,
        best_val_macro_f1=keeper.best_score, average_val_macro_f1=averaged.val_macro_f1 if averaged else None,
        val_macro_f1=val_macro_f1, resumed_after=start[0],
    )  # fmt: skip


def _weights(config: TrainingConfig, scratch: Path, store: Store | None) -> Path | None:
    if not config.weights:
        return None
    if store is not None:
        return resolve_file(config.weights, what="the file of training.weights", folder=scratch, store=store)
    if not (path := Path(config.weights)).is_file():
        raise InputError(f"training.weights must be a file where there is no store, got {path}; correct the path")
    return path


def _out_of_memory(error: Exception, config: TrainingConfig) -> SilhouetteError | None:
    """Return what to say when memory did not suffice, of the device or of a worker; None for any other error."""
    said = " ".join(str(error).split())
    way_out = (
        f"lower training.batch_size ({config.batch_size}) and raise training.accumulate ({config.accumulate}) by as"
        " much, then run again: it goes on from its last checkpoint"
    )
    if "DataLoader worker" in said:
        return SilhouetteError(
            f"the processes that decode crops must live as long as the training, one was ended ({said[:160]}); give it"
            f" more memory (in a pod also /dev/shm), or {way_out}"
        )
    if isinstance(error, MemoryError) or "out of memory" in said or "allocate memory" in said:
        return SilhouetteError(f"a batch and its gradients must fit into memory, they do not ({said[:160]}); {way_out}")
    return None


def _trainer(out: Path, config: TrainingConfig, device: str, callbacks: list[Any]) -> Any:
    import lightning
    import torch
    from lightning.pytorch.callbacks import EarlyStopping

    if config.patience:
        callbacks = [*callbacks, EarlyStopping("val_macro_f1", mode="max", patience=config.patience)]
    precision = "32-true"
    if device == "cuda":
        precision = "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    return lightning.Trainer(
        accelerator="gpu" if device == "cuda" else "cpu",
        devices=1,
        precision=precision,
        max_epochs=config.epochs,
        gradient_clip_val=1.0,
        accumulate_grad_batches=config.accumulate,
        deterministic=device == "cpu",
        callbacks=callbacks,
        logger=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_model_summary=False,
        enable_progress_bar=sys.stderr.isatty(),
        default_root_dir=out,
    )


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keep Lightning's tips and hints to itself; errors and our own log lines come through."""
    import lightning  # noqa: F401  sets the levels of its loggers, which are changed below

    speakers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [speaker.level for speaker in speakers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\..*")
        warnings.filterwarnings("ignore", message=r".*multi-threaded, use of fork.*", category=DeprecationWarning)
        for speaker in speakers:
            speaker.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for speaker, level in zip(speakers, levels, strict=True):
                speaker.setLevel(level)
