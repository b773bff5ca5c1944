"""Train a classifier on a folder of crops and leave a folder that `export_model` can read.

Reads crops and, when there is one, the store's last checkpoint of an unfinished run of the same experiment.
Writes what `silhouette.contracts.training` names, here and below ``models/<group key>/<experiment>/``.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import silhouette
from silhouette.contracts import crops as crops_contract
from silhouette.contracts import training as training_contract
from silhouette.errors import SilhouetteError
from silhouette.names import safe_key

if TYPE_CHECKING:
    from silhouette.config import TrainingConfig
    from silhouette.store import Store

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TrainReport:
    """How the training went; `resumed_after` is the number of epochs that an earlier process had done."""

    experiment: str
    backbone: str
    epochs: int
    best_epoch: int
    best_val_macro_f1: float
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
) -> TrainReport:
    """Train, and keep the epoch that is best on the val split by macro-F1.

    Args:
        crops: Folder of crops with train and val splits.
        out: Folder to write into.
        experiment: The run's name; an unfinished run of this name, input and recipe is taken up.
        config: The recipe.
        backbone: ``auto``, a timm name, or ``random:`` and a timm name; empty: what the recipe says.
        device: ``auto``, ``cpu`` or ``gpu``.
        store: Where checkpoints survive this machine; None keeps everything in `out`.

    Raises:
        InputError: An unknown backbone or device, weights that cannot be had, crops that cannot be learnt from.
        SilhouetteError: The loss is no longer a number.
    """
    # Threads that wait must sleep: spinning, they take the cores from the workers that decode, and from whatever
    # else runs here, and halve the speed. It must be said before torch is imported; who knows better says it first.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with quiet_lightning():
        return _train(crops, out, experiment, config, backbone or config.backbone, device, store)


def _train(
    crops: Path, out: Path, experiment: str, config: TrainingConfig, backbone: str, device: str, store: Store | None
) -> TrainReport:
    import lightning
    import torch

    from silhouette.train_classifier import backbones, checkpoints, classifier, crop_data, records, tracking

    device = backbones.choose_device(device)
    name = backbones.resolve_name(backbone, device=device)
    torch.set_num_threads(crop_data.cpu_cores())
    lightning.seed_everything(config.seed % 2**32, workers=True, verbose=False)
    head = crops_contract.read_head(crops)
    built = backbones.build_backbone(name, classes=len(head.classes), crop_size=head.crop_size)
    scale = 1.0 if built.fixed_size else config.train_scale
    data = crop_data.CropData(crops, config=config, train_size=max(32, round(head.crop_size * scale / 16) * 16))
    module = classifier.CropClassifier(
        built, config, class_counts=data.class_counts, picture_ids=data.train.picture_ids
    )
    for folder in ("checkpoints", "csv_logs", "train_batches"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    parameters = config.model_dump() | {"backbone": name, "backgrounds_replaced": data.backgrounds}
    identity = {"crops_digest": head.digest, "parameters": parameters, "code_version": silhouette.__version__}
    prefix = f"models/{safe_key(head.group)}/{safe_key(experiment)}"
    keeper = checkpoints.Checkpoints(out, store=store, prefix=prefix, identity=identity)
    tracker = tracking.Tracker(
        out / "wandb", group=head.group, experiment=experiment, settings={**parameters, "device": device}
    )
    record = records.EpochRecord(out / "csv_logs", tracker)
    callbacks = [record, records.BatchPictures(out / "train_batches", head.classes), keeper]
    trainer = _trainer(out, config, device, callbacks)
    last = keeper.resume_from()
    _LOG.info(
        "training %s on %s: %d crops, %d to validate, %d classes, %d epochs",
        name, device, len(data.train), len(data.val), len(head.classes), config.epochs,
    )  # fmt: skip
    done = _epochs_done(last)
    if done:
        _LOG.info("taking up the training after epoch %d of %d", done, config.epochs)
    try:
        trainer.fit(module, datamodule=data, ckpt_path=last, weights_only=True)
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise SilhouetteError(
            "the processes that decode crops must live as long as the training, one was ended"
            f" ({' '.join(str(error).split())[:160]}); give it more memory (in a pod also /dev/shm) or lower"
            f" training.batch_size ({config.batch_size}), then run again: it goes on from its last epoch"
        ) from error
    finally:
        tracker.finish()
    training_contract.write(
        out,
        training_contract.TrainingRecord(
            group=head.group, experiment=experiment, classes=head.classes, backbone=name,
            crop_size=head.crop_size, mean=list(built.mean), std=list(built.std), seed=config.seed,
            best_epoch=keeper.best_epoch, best_val_macro_f1=keeper.best_score, **identity,
        ),
    )  # fmt: skip
    if store is not None:
        store.put_file(f"{prefix}/{training_contract.FILE_NAME}", out / training_contract.FILE_NAME)
    keeper.finish()
    return TrainReport(
        experiment=experiment, backbone=name, epochs=len(record.rows), best_epoch=keeper.best_epoch,
        best_val_macro_f1=keeper.best_score, resumed_after=done,
    )  # fmt: skip


def _epochs_done(last: Path | None) -> int:
    import torch

    return 0 if last is None else int(torch.load(last, map_location="cpu", weights_only=True)["epoch"]) + 1


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
