"""Train a classifier on a folder of crops and leave a folder that `export_model` can read.

Reads crops and, when there is one, the store's last checkpoint of an unfinished run of the same experiment.
Writes what `silhouette.contracts.training` names, here and below ``models/<group key>/<experiment>/``.
"""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from silhouette.errors import InputError
from silhouette.input_file import resolve_file

if TYPE_CHECKING:
    from silhouette.config import TrainingConfig
    from silhouette.store import Store
    from silhouette.train_classifier.fitting import TrainReport


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
        on_epoch: Is told (epochs done, val macro-F1) after each epoch; what it raises ends the training. Only where
            the training is on one device, so that it is in this process.
        tracked: Whether Weights & Biases may have a record.

    Raises:
        InputError: An unknown backbone or device, more devices than there are, weights that cannot be had, crops that
            cannot be learnt from.
        SilhouetteError: The loss is no longer a number, or memory or disk do not suffice.
    """
    # Threads that wait must sleep: spinning, they take the cores from the workers that decode, and from whatever
    # else runs here, and halve the speed. It must be said before torch is imported; who knows better says it first.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with quiet_lightning():
        from silhouette.train_classifier import backbones, checkpoints, fitting, ranks

        device = backbones.choose_device(device)
        name = backbones.resolve_name(backbone or config.backbone, device=device)
        devices = backbones.count_devices(config.devices, device=device)
        with tempfile.TemporaryDirectory() as scratch:
            job = fitting.Job(
                crops=crops, out=out, experiment=experiment, backbone=name, device=device, tracked=tracked,
                config=config.model_copy(update={"devices": devices}),
                weights=_weights(config, Path(scratch), inputs or store),
            )  # fmt: skip
            if store is not None:
                checkpoints.fetch(out, store, job.prefix)
            if devices > 1:
                return ranks.fit_on(devices, job, store=store)
            return fitting.fit(job, store=store, on_epoch=on_epoch)


def _weights(config: TrainingConfig, scratch: Path, store: Store | None) -> Path | None:
    if not config.weights:
        return None
    if store is not None:
        return resolve_file(config.weights, what="the file of training.weights", folder=scratch, store=store)
    if not (path := Path(config.weights)).is_file():
        raise InputError(f"training.weights must be a file where there is no store, got {path}; correct the path")
    return path


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keep Lightning's tips and hints to itself; errors and our own log lines come through."""
    import lightning  # noqa: F401  sets the levels of its loggers, which are changed below

    speakers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [speaker.level for speaker in speakers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\..*")
        warnings.filterwarnings("ignore", message=r"Grad strides do not match")  # of DDP, in channels_last
        warnings.filterwarnings("ignore", message=r".*multi-threaded, use of fork.*", category=DeprecationWarning)
        for speaker in speakers:
            speaker.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for speaker, level in zip(speakers, levels, strict=True):
                speaker.setLevel(level)
