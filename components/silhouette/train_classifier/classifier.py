"""The LightningModule: what is learnt, how fast, and how it is judged after each epoch.

The head learns alone for `frozen_epochs`; then the backbone joins at a lower rate, the lower the nearer to the
input (`layer_decay`). All rates warm up and fall along a cosine. A batch is what `crop_data.CropDataset` gives: uint8
crops, scaled here, on the device. Every random choice here is drawn from (seed, epoch, batch), so that a training
taken up in the middle of an epoch makes the choices of an unbroken one.
"""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

import lightning
import torch
from sklearn.metrics import f1_score
from torch import nn
from torch.nn import functional as F

from silhouette.errors import SilhouetteError
from silhouette.train_classifier.crop_data import mix_seed
from silhouette.train_classifier.ranks import gathered

if TYPE_CHECKING:
    from silhouette.config import TrainingConfig
    from silhouette.train_classifier.backbones import Backbone

_WARM_UP_SHARE = 0.1  # of the steps in which a parameter learns
_ADAM_BETAS = (0.9, 0.999)
_LOSS = "silhouette_loss"  # the checkpoint's entry for the loss of an unfinished epoch


class CropClassifier(lightning.LightningModule):
    """A timm network on person crops.

    Args:
        backbone: The network and the scaling of its input.
        config: The recipe.
        class_counts: float32 [classes], crops of each class in the train split.
        picture_ids: Of the train split, to name the pictures of a batch that broke the loss.
    """

    def __init__(
        self, backbone: Backbone, config: TrainingConfig, *, class_counts: torch.Tensor, picture_ids: list[str]
    ) -> None:
        super().__init__()
        self.model, self.keep_statistics = backbone.net, backbone.pretrained
        self.config, self.picture_ids, self.class_counts = config, picture_ids, class_counts
        # With an average, `model` is what is judged and kept, and `learner` is what the gradients move.
        self.learner = copy.deepcopy(self.model) if config.ema_decay else None
        self.model.requires_grad_(self.learner is None)
        for name, values in (("mean", backbone.mean), ("std", backbone.std)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)
        self.configure_losses()
        self.loss_sum, self.loss_count = torch.zeros((), dtype=torch.float64), 0  # over the epoch so far
        self._val: list[tuple[torch.Tensor, ...]] = []

    @property
    def trained(self) -> nn.Module:
        """The network that the gradients move."""
        return self.model if self.learner is None else self.learner

    def configure_losses(self) -> None:
        """Cross-entropy with label smoothing; rare classes count more where the recipe says so.

        Logit adjustment adds the log of each class's share to the logits while learning (Menon et al. 2021,
        "Long-tail learning via logit adjustment", eq. 10). Where nothing balances the classes, the head starts from
        these shares (Lin et al. 2017, "Focal loss", section 4.1), so that it need not learn them first.
        """
        balance, shares = self.config.class_balance, self.class_counts / self.class_counts.sum()
        weights = self.class_counts.mean() / self.class_counts if balance == "weights" else None
        self.loss = nn.CrossEntropyLoss(weight=weights, label_smoothing=self.config.label_smoothing)
        adjustment = shares.log() if balance == "logit_adjustment" else torch.zeros_like(shares)
        self.register_buffer("adjustment", adjustment, persistent=False)
        if balance == "none":
            for net in filter(None, (self.model, self.learner)):
                nn.init.zeros_(bias := net.get_classifier().bias)
                bias.data += shares.log()

    def scale(self, crops: torch.Tensor) -> torch.Tensor:
        """Scale uint8 [n, 3, size, size] to what the network takes."""
        scaled = (crops.float() / 255 - self.mean) / self.std
        return scaled.contiguous(memory_format=torch.channels_last)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the loss of the epoch so far, of each device."""
        checkpoint[_LOSS] = gathered([float(self.loss_sum), self.loss_count])

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the loss of an epoch that was interrupted."""
        total, self.loss_count = checkpoint[_LOSS][self.global_rank]
        self.loss_sum = torch.tensor(total, dtype=torch.float64)

    def on_train_start(self) -> None:
        """Hold what is held in this epoch: one taken up in the middle has no start of its own."""
        self._free()

    def on_train_epoch_start(self) -> None:
        """Free the backbone when its time has come, and count the loss anew."""
        self._free()
        self.loss_sum, self.loss_count = torch.zeros((), dtype=torch.float64, device=self.device), 0

    def on_train_batch_start(self, _batch: Any, index: int) -> None:
        """Seed this batch (dropout, mixup), on each device otherwise."""
        number = index * self.trainer.world_size + self.global_rank
        torch.manual_seed(mix_seed(self.config.seed, self.current_epoch, number))

    def _free(self) -> None:
        share = 1.0 if self.current_epoch < self.config.frozen_epochs else self.config.frozen_share
        freeze(self.trained, share=share, keep_statistics=self.keep_statistics)

    def training_step(self, batch: dict[str, Any], _index: int) -> torch.Tensor:
        """Return the loss of a batch.

        Raises:
            SilhouetteError: The loss is not finite; the message names the batch's pictures.
        """
        inputs, labels = self.scale(batch["crop"]), batch["label"]
        if self.config.mixup:
            share = torch.distributions.Beta(self.config.mixup, self.config.mixup).sample().item()
            order = torch.randperm(len(labels))
            logits = self.trained(share * inputs + (1 - share) * inputs[order])
            logits = logits + self.adjustment
            loss = share * self.loss(logits, labels) + (1 - share) * self.loss(logits, labels[order])
        else:
            loss = self.loss(self.trained(inputs) + self.adjustment, labels)
        if not torch.isfinite(loss):
            ids = ", ".join(repr(self.picture_ids[row]) for row in batch["row"].tolist())
            raise SilhouetteError(
                f"the training loss must be finite, got {loss.item()} in epoch {self.current_epoch + 1} on pictures"
                f" {ids}; look at them, or lower training.learning_rate ({self.config.learning_rate})"
            )
        self.loss_sum = self.loss_sum.to(loss.device) + loss.detach().double() * len(labels)
        self.loss_count += len(labels)
        return loss

    def optimizer_step(self, *args: Any, **options: Any) -> None:
        """Step, then move the average towards the learner: fast at first, then by `ema_decay`."""
        super().optimizer_step(*args, **options)
        if self.learner is None:
            return
        decay = min(self.config.ema_decay, (1 + self.global_step) / (10 + self.global_step))
        learnt = self.learner.state_dict()
        for name, kept in self.model.state_dict().items():
            if kept.dtype.is_floating_point:
                kept.lerp_(learnt[name].to(kept.dtype), 1 - decay)
            else:
                kept.copy_(learnt[name])

    def on_validation_epoch_start(self) -> None:
        """Forget what was seen before; judge by the first device's statistics, the ones that are kept."""
        self._val = []
        if torch.distributed.is_initialized():
            for buffer in self.model.buffers():
                torch.distributed.broadcast(buffer, 0)

    def validation_step(self, batch: dict[str, Any], _index: int) -> None:
        """Judge a batch with the network that will be kept."""
        logits = self.model(self.scale(batch["crop"])).float()
        losses = F.cross_entropy(logits, batch["label"], reduction="none")
        self._val.append((batch["row"].cpu(), logits.argmax(1).cpu(), batch["label"].cpu(), losses.cpu()))

    def on_validation_epoch_end(self) -> None:
        """Log loss, accuracy, balanced accuracy and macro-F1 over the whole val split."""
        seen = gathered(tuple(torch.cat(column) for column in zip(*self._val, strict=True)))
        rows, predicted, labels, losses = (torch.cat(column) for column in zip(*seen, strict=True))
        if len(seen) > 1:  # each crop once, in the order in which a single device would have seen them
            order = rows.argsort(stable=True)
            order = order[torch.cat([torch.tensor([True]), rows[order].diff() > 0])]
            predicted, labels, losses = predicted[order], labels[order], losses[order]
        classes, hit = range(len(self.class_counts)), predicted == labels
        recalls = [hit[labels == number].float().mean() for number in classes if (labels == number).any()]
        macro_f1 = f1_score(labels.numpy(), predicted.numpy(), labels=classes, average="macro", zero_division=0)
        self.log_dict(
            {
                "val_loss": losses.mean(),
                "val_accuracy": hit.float().mean(),
                "val_balanced_accuracy": torch.stack(recalls).mean(),
                "val_macro_f1": torch.tensor(float(macro_f1)),
            }
        )

    def configure_optimizers(self) -> Any:
        """AdamW with a rate for each depth; a warm-up and a cosine for each group, step by step."""
        steps = int(self.trainer.estimated_stepping_batches)
        frozen = min(steps * self.config.frozen_epochs // self.config.epochs, steps - 1)
        groups = parameter_groups(self.trained, self.config)
        starts = [0 if group["is_head"] else frozen for group in groups]
        optimizer = torch.optim.AdamW(groups, betas=_ADAM_BETAS)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, [lambda step, start=start: rate_at(step, start=start, steps=steps) for start in starts]
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def layer_depths(net: nn.Module) -> dict[str, float]:
    """Return each parameter's depth by timm's own order of layers: 0 at the input, 1 at the last; the head: 2."""
    from timm.models import group_parameters

    head = {id(parameter) for parameter in net.get_classifier().parameters()}
    layers: dict[str, int] = group_parameters(net, net.group_matcher(coarse=False), reverse=True)
    last = max([1, *(layers[name] for name, item in net.named_parameters() if id(item) not in head)])
    return {name: 2.0 if id(item) in head else layers[name] / last for name, item in net.named_parameters()}


def freeze(net: nn.Module, *, share: float, keep_statistics: bool) -> None:
    """Let the layers above `share` of the depth learn and hold the rest; share 1 leaves only the head learning.

    Args:
        net: A timm network.
        share: 0 lets everything learn.
        keep_statistics: Leave all batch-norm statistics as they came: batches here are few and small, and
            augmented crops differ from the ones that are judged.
    """
    depths = layer_depths(net)
    net.train()
    for name, parameter in net.named_parameters():
        parameter.requires_grad = depths[name] > share or share == 0
    for module in net.modules():
        held = [not parameter.requires_grad for parameter in module.parameters()]
        if (held and all(held)) or (keep_statistics and isinstance(module, nn.modules.batchnorm._BatchNorm)):
            module.eval()


def rate_at(step: int, *, start: int, steps: int) -> float:
    """Return the share of the full learning rate at `step`: nothing before `start`, warm-up, cosine to 0 at `steps`."""
    if step < start:
        return 0.0
    warm_up = max(1, round((steps - start) * _WARM_UP_SHARE))
    if step < start + warm_up:
        return (step - start + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - start - warm_up) / max(1, steps - start - warm_up)))


def parameter_groups(net: nn.Module, config: TrainingConfig) -> list[dict[str, Any]]:
    """Group parameters by rate: the head at the full one, the backbone lower; no decay on norms and biases.

    With `layer_decay` each layer learns at that share of the rate of the one above it, counted from the last layer
    of the backbone (Clark et al. 2020, "ELECTRA", table 9; the layers are timm's).
    """
    depths = layer_depths(net)
    below = {depth: number for number, depth in enumerate(sorted({d for d in depths.values() if d <= 1}, reverse=True))}
    groups: dict[tuple[float, bool], dict[str, Any]] = {}
    for name, parameter in net.named_parameters():
        is_head, is_matrix = depths[name] > 1, parameter.ndim > 1
        share = 1.0 if is_head else config.backbone_lr_scale * config.layer_decay ** below[depths[name]]
        decay = config.weight_decay if is_matrix else 0.0
        group = {"params": [], "lr": config.learning_rate * share, "weight_decay": decay, "is_head": is_head}
        groups.setdefault((depths[name] if is_head or config.layer_decay < 1 else 0.0, is_matrix), group)[
            "params"
        ].append(parameter)
    return list(groups.values())
