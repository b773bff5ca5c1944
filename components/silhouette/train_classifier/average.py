"""The mean of the best epochs' weights, judged on val beside the best epoch alone; the better of the two is kept.

Izmailov et al. 2018, "Averaging weights leads to wider optima and better generalization"; here the epochs are the best
ones by macro-F1 rather than the last. Reads `checkpoints/epoch-*.ckpt`; writes `checkpoints/best.ckpt`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from silhouette.contracts.training import AveragedCheckpoints
from silhouette.train_classifier.checkpoints import epoch_checkpoint
from silhouette.train_classifier.classifier import freeze

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from silhouette.train_classifier.checkpoints import Checkpoints
    from silhouette.train_classifier.classifier import CropClassifier
    from silhouette.train_classifier.crop_data import CropData

_LOG = logging.getLogger(__name__)
_KEPT = "model."  # what is kept of a checkpoint: with `ema_decay` it is the running average, not the learner


def average_best(
    trainer: Trainer, module: CropClassifier, data: CropData, keeper: Checkpoints, *, out: Path
) -> AveragedCheckpoints | None:
    """Average the weights of the epochs that `keeper` kept, judge the mean, and save it as the best where it is better.

    Args:
        trainer: Has trained `module`.
        module: Holds the mean afterwards, whether it was kept or not.
        data: Val judges; train gives batch-norm statistics.
        keeper: Knows the best epochs, and saves.
        out: The training's folder.

    Returns:
        Both numbers; None where there was one epoch only.
    """
    if len(keeper.top) < 2:
        _LOG.info("no average: it needs two epochs, there was one")
        return None
    trainer.strategy.barrier()  # until the first process has put the last of them in its place
    epochs = [epoch for _, epoch in keeper.top]
    files = [out / epoch_checkpoint(epoch) for epoch in epochs]
    states = [torch.load(file, map_location="cpu", weights_only=True)["state_dict"] for file in files]
    mean = mean_state(states)
    module.load_state_dict({name: value for name, value in mean.items() if name.startswith(_KEPT)}, strict=False)
    module.to(trainer.strategy.root_device)
    freeze(module.model, share=module.config.frozen_share, keep_statistics=module.keep_statistics)

    def batches() -> Iterator[torch.Tensor]:  # starts no worker before it is asked
        for batch in data.sample_dataloader():
            yield module.scale(batch["crop"].to(module.device))

    renew_statistics(module.model, batches())
    judged = trainer.validate(module, dataloaders=data.val_dataloader(), verbose=False)[0]
    found = AveragedCheckpoints(
        epochs=epochs, val_macro_f1=judged["val_macro_f1"], best_val_macro_f1=keeper.best_score,
        kept=judged["val_macro_f1"] > keeper.best_score,
    )  # fmt: skip
    if found.kept:
        keeper.keep_best(trainer)
    _LOG.info(found.told())
    return found


def mean_state(states: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Return the mean of each tensor of numbers, summed in double precision; counters are those of the first state."""
    first = states[0]
    return {
        name: torch.stack([state[name].double() for state in states]).mean(0).to(value.dtype)
        if value.is_floating_point()
        else value
        for name, value in first.items()
    }


def renew_statistics(net: nn.Module, batches: Iterable[torch.Tensor]) -> None:
    """Measure again the batch-norm statistics that the network has learnt: those of a mean are not the mean of theirs.

    Args:
        net: Its batch norms in training mode are measured, all at once over all batches; those that hold the statistics
            they came with hold the same in every epoch, so their mean is right. It is in evaluation mode afterwards.
        batches: float32 [n, 3, size, size], as in training; not looked at where there is nothing to measure.
    """
    learning = [
        module for module in net.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training
    ]
    net.eval()
    if not learning:
        return
    momenta = [module.momentum for module in learning]
    for module in learning:
        module.reset_running_stats()
        module.momentum = None  # a plain mean over the batches
        module.train()
    with torch.no_grad():
        for batch in batches:
            net(batch)
    for module, momentum in zip(learning, momenta, strict=True):
        module.momentum = momentum
    net.eval()
