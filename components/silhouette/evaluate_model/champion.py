"""The model that is served now, on the same test crops: is the new one better, worse, or only different?

Reads a version of the model repository in the store, by its number and digest; writes nothing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from silhouette.contracts import deployment, model_bundle
from silhouette.contracts.deployment import ServedVersion
from silhouette.contracts.evaluation import Comparison
from silhouette.errors import ServiceError
from silhouette.evaluate_model.resampling import drawn_confusions, interval
from silhouette.evaluate_model.scores import Answers, accuracy_of, f1_of
from silhouette.names import safe_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from silhouette.contracts.crops import CropsHead
    from silhouette.contracts.model_bundle import ModelCard
    from silhouette.onnx_model import OnnxModel
    from silhouette.store import Store

NOTHING_SERVED = "no model is served for this group yet"


@dataclass(frozen=True, kw_only=True)
class Champion:
    """The served model: its version, its card and its ONNX file."""

    version: str
    card: ModelCard
    onnx: Path


def fetch_champion(served: str, *, group: str, store: Store, folder: Path) -> Champion | None:
    """Bring the served model here.

    Args:
        served: `ServedVersion.text` of it; empty: nothing is served.
        group: The group, raw.
        store: Holds the model repository.
        folder: Where the file goes.

    Raises:
        InputError: The version is no longer in the store.
        ServiceError: The store gives back another file than was deployed.
    """
    if not served:
        return None
    wanted, model = ServedVersion.from_text(served), safe_key(group)
    card = model_bundle.ModelCard.model_validate_json(store.get_bytes(deployment.card_key(model, wanted.version)))
    key, path = deployment.repository_key(model, wanted.version, model_bundle.ONNX_NAME), folder / "champion.onnx"
    store.get_file(key, path)
    if (found := hashlib.sha256(path.read_bytes()).hexdigest()) != wanted.onnx_sha256:
        raise ServiceError(
            f"the served model must be the file that was deployed, {wanted.onnx_sha256[:12]}, {key} in the store is"
            f" {found[:12]}; deploy that version again"
        )
    return Champion(version=wanted.version, card=card, onnx=path)


def compare(
    champion: Champion | None,
    test: Answers,
    *,
    head: CropsHead,
    ask: Callable[[OnnxModel, list[str]], Answers],
    seed: int,
) -> tuple[Comparison | None, str]:
    """Ask the served model about the test split and set its answers beside the new one's.

    Args:
        champion: The served model; None: there is none.
        test: The new model's answers.
        head: Of the crops.
        ask: Gives a model's answers to the test split, in the order of classes that it is told.
        seed: Of the interval.

    Returns:
        The comparison, or None; and why there is none, or what to bear in mind.
    """
    from silhouette.onnx_model import OnnxModel

    if champion is None:
        return None, NOTHING_SERVED
    card = champion.card
    ours = (sorted(head.classes), head.crop_size, head.background)
    if (sorted(card.classes), card.crop_size, card.background) != ours:
        return None, f"version {champion.version} that is served has other classes or crops, nothing to compare"
    answers = ask(OnnxModel(champion.onnx), card.classes)
    order = [card.classes.index(name) for name in head.classes]
    theirs = Answers(labels=test.labels, probabilities=answers.probabilities[:, order], groups=test.groups)
    drawn, drawn_theirs = drawn_confusions(test, seed=seed), drawn_confusions(theirs, seed=seed)
    macro_f1, accuracy = float(f1_of(theirs.confusion).mean()), float(accuracy_of(theirs.confusion))
    right, right_theirs = test.predicted == test.labels, theirs.predicted == theirs.labels
    same = card.crops_digest == head.digest
    return Comparison(
        version=champion.version, experiment=card.experiment, onnx_sha256=card.onnx_sha256,
        accuracy=accuracy, macro_f1=macro_f1,
        macro_f1_difference=interval(
            float(f1_of(test.confusion).mean()) - macro_f1, (f1_of(drawn) - f1_of(drawn_theirs)).mean(axis=-1)
        ),
        accuracy_difference=interval(
            float(accuracy_of(test.confusion)) - accuracy, accuracy_of(drawn) - accuracy_of(drawn_theirs)
        ),
        agreement=float(np.mean(test.predicted == theirs.predicted)),
        fixed=int((right & ~right_theirs).sum()), broken=int((~right & right_theirs).sum()), same_crops=same,
    ), "" if same else "it was trained on another dataset, and may have learnt some of these test pictures"  # fmt: skip
