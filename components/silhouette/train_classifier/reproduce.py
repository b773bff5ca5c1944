"""Train an experiment again from its recorded inputs, and hold the two logs against each other.

Reads the experiment's record and log in the store and the crops that it names; writes into a folder of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import silhouette
from silhouette.config import TrainingConfig
from silhouette.contracts import crops as crops_contract
from silhouette.contracts import training as training_contract
from silhouette.errors import InputError
from silhouette.names import safe_key
from silhouette.train_classifier.train import train_classifier

if TYPE_CHECKING:
    from silhouette.store import Store

_LOG_NAME = "csv_logs/metrics.csv"


@dataclass(frozen=True, kw_only=True)
class ReproduceReport:
    """How like the first training the second one was.

    Attributes:
        experiment: Of both.
        identical: The csv logs are the same bytes; on a CPU with the same code and packages they are.
        first_difference: The first line of the log that differs, as recorded and as made now, or empty.
        epochs: Of the second.
        recorded_by: The code version that trained the first.
        code_version: This one.
        folder: Where the second training is.
    """

    experiment: str
    identical: bool
    first_difference: str
    epochs: int
    recorded_by: str
    code_version: str
    folder: Path


def find_experiment(experiment: str, *, group: str, store: Store) -> str:
    """Return the store's prefix of an experiment; without a group all are looked through.

    Raises:
        InputError: There is none of this name, or several groups have one.
    """
    groups = [safe_key(group)] if group else list(store.list_folders("models/"))
    prefixes = [f"models/{key}/{safe_key(experiment)}" for key in groups]
    found = [prefix for prefix in prefixes if store.exists(f"{prefix}/{training_contract.FILE_NAME}")]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"the experiment {experiment!r} must be of one group, {len(found)} have one; say --group NAME")
    known = sorted(name for key in groups for name in store.list_folders(f"models/{key}/"))
    raise InputError(
        f"the experiment must be one that the store has{f' of {group!r}' if group else ''}, got {experiment!r};"
        f" there are: {', '.join(known[-8:]) or 'none'}"
    )


def reproduce(*, experiment: str, group: str, store: Store, out: Path, device: str = "auto") -> ReproduceReport:
    """Train again what an experiment's record says, and compare.

    Args:
        experiment: Its name.
        group: Its group; empty when only one has an experiment of that name.
        store: Has the record, the log and the crops; it is not written.
        out: Folder for the crops and the second training.
        device: As in `train_classifier`.

    Raises:
        InputError: There is no such experiment, or its crops are gone.
        SilhouetteError: As `train_classifier`.
    """
    prefix = find_experiment(experiment, group=group, store=store)
    record = training_contract.TrainingRecord.model_validate_json(
        store.get_bytes(f"{prefix}/{training_contract.FILE_NAME}")
    )
    crops_contract.fetch(record.crops_digest, out / "crops", store)
    report = train_classifier(
        crops=out / "crops",
        out=out / "training",
        experiment=record.experiment,
        config=TrainingConfig.model_validate(record.parameters),
        device=device,
        inputs=store,
        tracked=False,
    )
    theirs = store.get_bytes(f"{prefix}/{_LOG_NAME}").decode().splitlines()
    ours = (out / "training" / _LOG_NAME).read_text(encoding="utf-8").splitlines()
    pairs = zip_longest(theirs, ours, fillvalue="")
    different = [f"recorded {one!r}, now {other!r}" for one, other in pairs if one != other]
    return ReproduceReport(
        experiment=record.experiment,
        identical=not different,
        first_difference=different[0] if different else "",
        epochs=report.epochs,
        recorded_by=record.code_version,
        code_version=silhouette.__version__,
        folder=out,
    )
