"""What one process of a training does: the whole of it, or its device's share (`ranks`).

Reads crops and an unfinished training that is in the folder already. Writes what `silhouette.contracts.training` names,
in the folder and in the store; where there are several processes, the first one does.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning
import torch
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy

import silhouette
from silhouette.contracts import crops as crops_contract
from silhouette.contracts import training as training_contract
from silhouette.errors import SilhouetteError
from silhouette.names import safe_key
from silhouette.train_classifier import average, backbones, checkpoints, classifier, crop_data, records, tracking

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
        devices: On which it was trained.
        epochs: Trained in all.
        best_epoch: The best one on val.
        best_val_macro_f1: Of that epoch.
        average_val_macro_f1: Of the mean of the best epochs' weights; None: there is none.
        val_macro_f1: Of what was kept, the higher of the two.
        resumed_after: The number of epochs that an earlier process had done.
    """

    experiment: str
    backbone: str
    devices: int
    epochs: int
    best_epoch: int
    best_val_macro_f1: float
    average_val_macro_f1: float | None
    val_macro_f1: float
    resumed_after: int


@dataclass(frozen=True, kw_only=True)
class Job:
    """A training that is decided on.

    Attributes:
        crops: Folder of crops with train and val splits.
        out: Folder to write into.
        experiment: The run's name.
        config: The recipe; `devices` is a number.
        backbone: A timm name, or ``random:`` and a timm name.
        weights: A file to start from, or None.
        device: ``cpu`` or ``cuda``.
        tracked: Whether Weights & Biases may have a record.
        rank: Which of the processes this is, from 0.
    """

    crops: Path
    out: Path
    experiment: str
    config: TrainingConfig
    backbone: str
    weights: Path | None
    device: str
    tracked: bool
    rank: int = 0

    @property
    def prefix(self) -> str:
        """Of the experiment in the store."""
        return f"models/{safe_key(crops_contract.read_head(self.crops).group)}/{safe_key(self.experiment)}"


def fit(job: Job, *, store: Store | None, on_epoch: Callable[[int, float], None] | None = None) -> TrainReport:
    """Train.

    Args:
        job: What to train.
        store: Where crops and checkpoints survive this machine; None for all processes but the first.
        on_epoch: As in `train.train_classifier`.

    Raises:
        InputError: Weights that cannot be had, crops that cannot be learnt from.
        SilhouetteError: The loss is no longer a number, or memory or disk do not suffice.
    """
    config, out, name = job.config, job.out, job.backbone
    torch.set_num_threads(max(1, crop_data.cpu_cores() // int(config.devices)))
    lightning.seed_everything(config.seed % 2**32, workers=True, verbose=False)
    head = crops_contract.read_head(job.crops)
    built = backbones.build_backbone(name, classes=len(head.classes), crop_size=head.crop_size, weights=job.weights)
    for folder in ("checkpoints", "csv_logs", "train_batches"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    parameters = config.model_dump() | {"backbone": name}
    identity = {"crops_digest": head.digest, "parameters": parameters, "code_version": silhouette.__version__}
    keeper = checkpoints.Checkpoints(
        out, store=store, prefix=job.prefix, identity=identity, minutes=config.checkpoint_minutes,
        top=config.average_top,
    )  # fmt: skip
    unfinished = keeper.resume_from()
    start = (unfinished.epochs, unfinished.batches) if unfinished else (0, 0)
    scale = 1.0 if built.fixed_size else config.train_scale
    train_size = max(32, round(head.crop_size * scale / 16) * 16)
    data = crop_data.CropData(
        job.crops, config=config, train_size=train_size, start=start, share=(job.rank, int(config.devices))
    )
    module = classifier.CropClassifier(
        built, config, class_counts=data.class_counts, picture_ids=data.train.picture_ids
    )
    if store is not None:
        crops_contract.keep(job.crops, head, store)
    tracker = tracking.Tracker(
        out, group=head.group, experiment=job.experiment, run_id=keeper.run_id,
        settings={**parameters, "device": job.device, "crops_digest": head.digest},
        wanted=job.tracked and job.rank == 0,
    )  # fmt: skip
    record = records.EpochRecord(out / "csv_logs", tracker, on_epoch=on_epoch)
    trainer = _trainer(job, [record, records.BatchPictures(out / "train_batches", head.classes), keeper])
    _LOG.info(
        "training %s on %d %s: %d crops, %d to validate, %d classes, %d epochs",
        name, config.devices, job.device, len(data.train), len(data.val), len(head.classes), config.epochs,
    )  # fmt: skip
    if unfinished:
        _LOG.info("taking up the training after %d of %d epochs and %d batches", start[0], config.epochs, start[1])
    try:
        trainer.fit(module, datamodule=data, ckpt_path=unfinished and unfinished.path, weights_only=True)
        averaged = average.average_best(trainer, module, data, keeper, out=out) if config.average_top > 1 else None
        if config.wandb_pictures:
            tracker.log_pictures({path.stem: path for path in sorted((out / "train_batches").glob("*.png"))})
        tracker.finish(
            summary={
                "best_epoch": keeper.best_epoch,
                "best_val_macro_f1": keeper.best_score,
                **({"average_val_macro_f1": averaged.val_macro_f1} if averaged else {}),
            },
            model=out / training_contract.BEST_CHECKPOINT,
            lineage={"experiment": job.experiment, "group": head.group, "crops_digest": head.digest},
        )
    except (RuntimeError, MemoryError) as error:
        raise _out_of_memory(error, config) or error from error
    finally:
        tracker.finish()
        keeper.keep_tracking()
    if job.rank == 0:
        training_contract.write(
            out,
            training_contract.TrainingRecord(
                group=head.group, experiment=job.experiment, classes=head.classes, backbone=name,
                crop_size=head.crop_size, mean=list(built.mean), std=list(built.std), seed=config.seed,
                best_epoch=keeper.best_epoch, best_val_macro_f1=keeper.best_score, backgrounds=data.backgrounds,
                average=averaged, **identity,
            ),
        )  # fmt: skip
        if store is not None:
            store.put_file(f"{job.prefix}/{training_contract.FILE_NAME}", out / training_contract.FILE_NAME)
        keeper.finish()
    return TrainReport(
        experiment=job.experiment, backbone=name, devices=int(config.devices), epochs=len(record.rows),
        best_epoch=keeper.best_epoch, best_val_macro_f1=keeper.best_score,
        average_val_macro_f1=averaged.val_macro_f1 if averaged else None,
        val_macro_f1=averaged.val_macro_f1 if averaged and averaged.kept else keeper.best_score,
        resumed_after=start[0],
    )  # fmt: skip


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


def _trainer(job: Job, callbacks: list[Any]) -> lightning.Trainer:
    config = job.config
    if config.patience:
        callbacks = [*callbacks, EarlyStopping("val_macro_f1", mode="max", patience=config.patience)]
    precision = "32-true"
    if job.device == "cuda":
        precision = "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    several: dict[str, Any] = {}
    if config.devices != 1:
        # a parameter that is held in this epoch gives no gradient, and may give one in the next
        holds = bool(config.frozen_epochs or config.frozen_share)
        several = {"strategy": DDPStrategy(find_unused_parameters=holds), "plugins": [LightningEnvironment()]}
    return lightning.Trainer(
        accelerator="gpu" if job.device == "cuda" else "cpu",
        devices=config.devices,
        **several,
        precision=precision,
        max_epochs=config.epochs,
        gradient_clip_val=1.0,
        accumulate_grad_batches=config.accumulate,
        deterministic=job.device == "cpu",
        callbacks=callbacks,
        logger=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_model_summary=False,
        enable_progress_bar=sys.stderr.isatty(),
        default_root_dir=job.out,
    )
