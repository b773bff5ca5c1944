"""Search for a better recipe: train with values that optuna proposes, and give up early on those that fall behind.

Reads crops; writes a study (`study.db`), the log of every trial and, of the best one, `tuned.yaml`, which is laid over
the configuration by SILHOUETTE_CONFIG. A search that was stopped goes on where it was.
"""

from __future__ import annotations

import difflib
import logging
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from silhouette.contracts import crops as crops_contract
from silhouette.contracts.training import TUNED_NAME
from silhouette.errors import InputError
from silhouette.train_classifier.train import train_classifier

if TYPE_CHECKING:
    import optuna

    from silhouette.config import TrainingConfig

_LOG = logging.getLogger(__name__)
BALANCES = ["none", "weights", "sampling", "logit_adjustment"]
SPACE: dict[str, Callable[[optuna.Trial], Any]] = {
    "learning_rate": lambda trial: trial.suggest_float("learning_rate", 3e-4, 1e-2, log=True),
    "backbone_lr_scale": lambda trial: trial.suggest_float("backbone_lr_scale", 0.02, 1.0, log=True),
    "layer_decay": lambda trial: trial.suggest_float("layer_decay", 0.6, 1.0),
    "frozen_share": lambda trial: trial.suggest_float("frozen_share", 0.0, 0.8),
    "weight_decay": lambda trial: trial.suggest_float("weight_decay", 1e-3, 0.2, log=True),
    "label_smoothing": lambda trial: trial.suggest_float("label_smoothing", 0.0, 0.2),
    "mixup": lambda trial: trial.suggest_float("mixup", 0.0, 0.4),
    "min_zoom": lambda trial: trial.suggest_float("min_zoom", 0.4, 1.0),
    "random_erasing": lambda trial: trial.suggest_float("random_erasing", 0.0, 0.3),
    "class_balance": lambda trial: trial.suggest_categorical("class_balance", BALANCES),
}
DEFAULT = ("learning_rate", "backbone_lr_scale", "weight_decay", "label_smoothing")


@dataclass(frozen=True, kw_only=True)
class TuneReport:
    """What a search found; the best of many on one val split flatters itself, the test split will tell.

    Attributes:
        trials: Made so far, earlier ones of the same search included.
        pruned: Of them, given up early.
        base_val_macro_f1: Of the recipe as it was, the first trial.
        best_val_macro_f1: Of the best trial.
        best: Its values.
        config: The file to lay over the configuration.
    """

    trials: int
    pruned: int
    base_val_macro_f1: float
    best_val_macro_f1: float
    best: dict[str, Any]
    config: Path


def tune(
    *,
    crops: Path,
    out: Path,
    config: TrainingConfig,
    trials: int,
    parameters: Sequence[str] = DEFAULT,
    device: str = "auto",
) -> TuneReport:
    """Try recipes until there are `trials` of them; the first is the recipe as it is.

    Args:
        crops: Folder of crops.
        out: Folder of the search.
        config: The recipe; what is not searched stays.
        trials: How many in all.
        parameters: Keys of `SPACE`.
        device: As in `train_classifier`.

    Raises:
        InputError: A parameter that is not in `SPACE`, or another search is in `out`.
        SilhouetteError: As `train_classifier`.
    """
    import optuna

    check_parameters(parameters)
    out.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        study_name="recipe",
        storage=f"sqlite:///{out / 'study.db'}",
        direction="maximize",
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(seed=config.seed % 2**32),
        pruner=pruner(),
    )
    asked = question(crops=crops, config=config, parameters=parameters)
    if study.user_attrs.get("asked", asked) != asked:
        raise InputError(
            f"{out} holds a search, which must be over the same crops, recipe and parameters, and it is not; remove"
            " that folder, or say --work"
        )
    study.set_user_attr("asked", asked)
    if not study.trials:
        study.enqueue_trial({name: getattr(config, name) for name in parameters})
    attempt = make_attempt(crops=crops, out=out, config=config, parameters=parameters, device=device)
    study.optimize(attempt, n_trials=max(0, trials - len(study.get_trials(states=finished()))))
    made, best = study.get_trials(states=finished()), study.best_trial
    return TuneReport(
        trials=len(made),
        pruned=sum(trial.state == optuna.trial.TrialState.PRUNED for trial in made),
        base_val_macro_f1=made[0].value if made[0].value is not None else math.nan,
        best_val_macro_f1=float(best.value or 0.0),
        best=dict(best.params),
        config=write_tuned(out, best.params),
    )


def pruner() -> optuna.pruners.BasePruner:
    """Return what gives up early on a recipe that is worse than most were after as many epochs."""
    import optuna

    return optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1)


def question(*, crops: Path, config: TrainingConfig, parameters: Sequence[str]) -> dict[str, Any]:
    """Return what a search is over: trials that answer another question do not count."""
    digest = crops_contract.read_head(crops).digest
    return {"parameters": sorted(parameters), "recipe": config.model_dump(mode="json"), "crops": digest}


def finished() -> tuple[optuna.trial.TrialState, ...]:
    """Return the states of a trial that counts."""
    import optuna

    return optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED


def write_tuned(out: Path, values: Mapping[str, Any]) -> Path:
    """Write values of the recipe as a file to lay over the configuration."""
    path = out / TUNED_NAME
    path.write_text(yaml.safe_dump({"training": dict(values)}, allow_unicode=True), encoding="utf-8")
    return path


def make_attempt(
    *, crops: Path, out: Path, config: TrainingConfig, parameters: Sequence[str], device: str
) -> Callable[[optuna.Trial], float]:
    """Return what trains with a trial's values, in a folder of `out`, and answers with its val macro-F1."""
    import optuna

    def attempt(trial: optuna.Trial) -> float:
        drawn = {name: SPACE[name](trial) for name in parameters}
        recipe = config.model_copy(update={**drawn, "devices": 1})  # it is followed, and given up, in this process
        folder = out / f"trial-{trial.number:03d}"

        def watch(epoch: int, score: float) -> None:
            trial.report(score, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned

        try:
            report = train_classifier(
                crops=crops, out=folder, experiment=folder.name, config=recipe, device=device, on_epoch=watch,
                tracked=False,
            )  # fmt: skip
        finally:
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        _LOG.info("trial %d: val macro-F1 %.3f with %s", trial.number, report.val_macro_f1, trial.params)
        return report.val_macro_f1

    return attempt


def parameter_names(text: str) -> list[str]:
    """Read names with commas between; none at all are the usual ones."""
    return [name.strip() for name in text.split(",") if name.strip()] or list(DEFAULT)


def check_parameters(names: Sequence[str]) -> None:
    """Check that names can be searched.

    Raises:
        InputError: One cannot; the message names the nearest that can.
    """
    for name in names:
        if name not in SPACE:
            near = difflib.get_close_matches(name, SPACE, n=1)
            raise InputError(
                f"a parameter to search must be one of {', '.join(SPACE)}, got {name!r}"
                f"; {f'do you mean {near[0]}?' if near else 'correct it'}"
            )
