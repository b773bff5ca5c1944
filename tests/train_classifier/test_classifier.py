"""Loss, rates, and what learns when."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch

from silhouette.errors import SilhouetteError
from silhouette.train_classifier.backbones import build_backbone
from silhouette.train_classifier.classifier import CropClassifier, freeze, layer_depths, parameter_groups, rate_at
from silhouette.train_classifier.train import quiet_lightning
from tests.shapes import BACKBONE, recipe


def module(**changes: Any) -> CropClassifier:
    built = build_backbone(BACKBONE, classes=3, crop_size=64)
    return CropClassifier(
        built, recipe(**changes), class_counts=torch.tensor([4.0, 2.0, 2.0]), picture_ids=[f"p{n}" for n in range(8)]
    )


def batch(count: int = 4) -> dict[str, torch.Tensor]:
    crops = torch.randint(0, 256, (count, 3, 64, 64), dtype=torch.uint8)
    return {"crop": crops, "label": torch.arange(count) % 3, "row": torch.arange(count)}


def test_the_rate_waits_warms_up_and_falls_to_nothing() -> None:
    rates = [rate_at(step, start=20, steps=120) for step in range(121)]
    assert rates[:20] == [0.0] * 20
    assert rates[20] == pytest.approx(0.1)
    assert max(rates) == rates[30] == 1.0
    assert all(later <= sooner for sooner, later in pairwise(rates[30:]))
    assert rates[120] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_rate_is_defined_for_the_shortest_training(steps: int) -> None:
    assert all(0 < rate_at(step, start=0, steps=steps) <= 1 for step in range(steps))


def test_norms_and_biases_do_not_decay_and_the_head_learns_fastest() -> None:
    config = recipe(learning_rate=0.01, backbone_lr_scale=0.1, weight_decay=0.05)
    net = build_backbone(BACKBONE, classes=3, crop_size=64).net
    groups = parameter_groups(net, config)
    assert sum(len(group["params"]) for group in groups) == len(list(net.parameters()))
    for group in groups:
        assert {parameter.ndim > 1 for parameter in group["params"]} == {group["weight_decay"] > 0}
        assert group["lr"] == pytest.approx(0.01 if group["is_head"] else 0.001)
    assert sum(len(group["params"]) for group in groups if group["is_head"]) == 2


def test_each_layer_learns_slower_than_the_one_above_it() -> None:
    net = build_backbone(BACKBONE, classes=3, crop_size=64).net
    depths, names = layer_depths(net), {id(item): name for name, item in net.named_parameters()}
    rates: dict[float, set[float]] = {}
    for group in parameter_groups(net, recipe(learning_rate=0.01, backbone_lr_scale=0.5, layer_decay=0.7)):
        for parameter in group["params"]:
            rates.setdefault(depths[names[id(parameter)]], set()).add(group["lr"])
    by_depth = [rates[depth] for depth in sorted(rates, reverse=True)]
    assert all(len(found) == 1 for found in by_depth)
    head, *layers = [found.pop() for found in by_depth]
    assert head == 0.01
    assert layers == pytest.approx([0.005 * 0.7**number for number in range(len(layers))])
    assert len(layers) > 3


def test_without_balancing_the_head_starts_from_the_shares_of_the_classes() -> None:
    shares = torch.tensor([0.5, 0.25, 0.25])
    for changes, expected in (
        ({"class_balance": "none"}, shares.log()),
        ({"class_balance": "sampling"}, torch.zeros(3)),
    ):
        for decay in (0.0, 0.9):
            learner = module(ema_decay=decay, **changes)
            assert torch.allclose(learner.model.classifier.bias, expected)
            assert torch.allclose(learner.trained.classifier.bias, expected)


def test_logit_adjustment_is_in_the_loss_and_not_in_the_answer() -> None:
    learner, seen = module(class_balance="logit_adjustment", label_smoothing=0.0), batch()
    logits = learner.eval().model(learner.scale(seen["crop"]))
    expected = torch.nn.functional.cross_entropy(logits + torch.tensor([0.5, 0.25, 0.25]).log(), seen["label"])
    assert learner.training_step(seen, 0).item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_frozen_backbone_leaves_only_the_head_learning() -> None:
    net = build_backbone(BACKBONE, classes=3, crop_size=64).net
    freeze(net, share=1.0, keep_statistics=False)
    assert [name for name, item in net.named_parameters() if item.requires_grad] == [
        "classifier.weight",
        "classifier.bias",
    ]
    statistics = net.bn1.running_mean.clone()
    net(torch.rand(2, 3, 64, 64))
    assert torch.equal(net.bn1.running_mean, statistics)


def test_the_lowest_layers_can_be_held_to_the_end() -> None:
    net = build_backbone(BACKBONE, classes=3, crop_size=64).net
    freeze(net, share=0.4, keep_statistics=False)
    depths = layer_depths(net)
    assert {name for name, item in net.named_parameters() if not item.requires_grad} == {
        name for name, depth in depths.items() if depth <= 0.4
    }
    assert not net.bn1.training
    assert net.blocks[-1].training
    freeze(net, share=0.0, keep_statistics=True)
    assert all(item.requires_grad for item in net.parameters())
    assert not any(m.training for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d))


def test_a_loss_that_is_no_number_names_the_pictures_of_its_batch() -> None:
    broken = module()
    torch.nn.init.constant_(broken.model.classifier.bias, float("nan"))
    with (
        quiet_lightning(),
        pytest.raises(SilhouetteError, match=r"got nan in epoch 1 on pictures 'p0', 'p1'.*learning_rate"),
    ):
        broken.training_step(batch(2), 0)


@pytest.mark.parametrize(
    "changes", [{"mixup": 0.2}, {"class_balance": "weights"}, {"class_balance": "logit_adjustment"}, {"ema_decay": 0.9}]
)
def test_every_variant_of_the_recipe_gives_a_loss_that_can_be_learnt_from(changes: dict[str, Any]) -> None:
    learner = module(**changes)
    learner.log = lambda *_args, **_options: None  # type: ignore[method-assign]  # it needs a Trainer
    learner.training_step(batch(), 0).backward()
    assert learner.trained.classifier.weight.grad.abs().sum() > 0
