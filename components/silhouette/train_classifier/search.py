"""A search that several workers share: a study in PostgreSQL, of which each takes trials until there are enough.

Reads crops; writes the study (`silhouette.database.searches`) and, of the best trial, `tuned.yaml` and a table of all.
Who works on a trial holds a lock of the server's, so one that was killed is missed at once, and its recipe is tried by
another. A study belongs to crops, recipe and the parameters that are searched: a run that asks the same goes on where
the one before it ended.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from silhouette.database import connect, searches
from silhouette.errors import InputError, ServiceError
from silhouette.train_classifier.tune import (
    TuneReport,
    check_parameters,
    finished,
    make_attempt,
    pruner,
    question,
    write_tuned,
)

if TYPE_CHECKING:
    import optuna
    import psycopg

    from silhouette.config import TrainingConfig

TABLE_NAME = "trials.md"
PAUSE_S = 3.0


@dataclass(frozen=True, kw_only=True)
class SearchReport(TuneReport):
    """What the workers found together.

    Attributes:
        table: All trials as Markdown, the best first.
    """

    table: Path


def begin(*, crops: Path, config: TrainingConfig, parameters: Sequence[str], dsn: str | None = None) -> str:
    """Make the study unless it is there; its first trial is the recipe as it is.

    Args:
        crops: Folder of crops.
        config: The recipe; what is not searched stays.
        parameters: Keys of `silhouette.train_classifier.tune.SPACE`.
        dsn: Of PostgreSQL; None: from the environment.

    Returns:
        Its name.

    Raises:
        InputError: A parameter that cannot be searched.
        ServiceError: PostgreSQL does not answer, or the login has no rights on the schema.
    """
    import optuna

    check_parameters(parameters)
    asked = question(crops=crops, config=config, parameters=parameters)
    name = f"recipe-{hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]}"
    with _storage(dsn) as (storage, connection), searches.prepared(connection):
        study = optuna.create_study(study_name=name, storage=storage, direction="maximize", load_if_exists=True)
        if not study.trials:
            study.enqueue_trial({key: getattr(config, key) for key in parameters}, user_attrs={"base": True})
    return name


def take_part(
    name: str,
    *,
    crops: Path,
    out: Path,
    config: TrainingConfig,
    parameters: Sequence[str],
    trials: int,
    device: str = "auto",
    dsn: str | None = None,
) -> int:
    """Try recipes beside other workers; return, when `trials` are done by whomever, how many were tried here.

    Args:
        name: Of the study.
        crops: Folder of crops.
        out: Folder for the logs of the trials.
        config: The recipe.
        parameters: As at the beginning.
        trials: How many in all.
        device: As in `train_classifier`.
        dsn: Of PostgreSQL; None: from the environment.

    Raises:
        ServiceError: PostgreSQL went away.
        SilhouetteError: As `train_classifier`; the others go on.
    """
    import optuna

    made = 0
    attempt = make_attempt(crops=crops, out=out, config=config, parameters=parameters, device=device)
    with _storage(dsn) as (storage, connection):
        # other workers' trials are not known yet: a guess that they are bad keeps these from being tried twice
        study = optuna.load_study(
            study_name=name, storage=storage, pruner=pruner(), sampler=optuna.samplers.TPESampler(constant_liar=True)
        )
        while len(study.get_trials(deepcopy=False, states=finished())) < trials:
            with searches.prepared(connection):
                trial = _claim(study, connection, trials)
            if trial is None:  # others are at the last ones; if one of them is killed, it is done here
                time.sleep(PAUSE_S)
                continue
            try:
                study.tell(trial, attempt(trial))
            except optuna.TrialPruned:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            except Exception:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
                raise
            finally:
                searches.let_go(connection, name, trial.number)
            made += 1
    return made


def _claim(study: optuna.Study, connection: psycopg.Connection, trials: int) -> optuna.Trial | None:
    """Begin a trial, or return None when others are at all that are left; nobody else claims meanwhile.

    Of a worker that was killed the server has let go: its trial is given up here, and its recipe tried once more.
    """
    from optuna.trial import TrialState

    running = [trial.number for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))]
    let_go = [number for number in running if searches.take(connection, study.study_name, number)]
    # read only now: a worker that ended by itself has told its answer before it let go
    known = {trial.number: trial for trial in study.get_trials(deepcopy=False)}
    for number in let_go:
        if known[number].state == TrialState.RUNNING:
            _give_up(study, known[number])
        searches.let_go(connection, study.study_name, number)
    busy = [number for number in running if number not in let_go and known[number].state == TrialState.RUNNING]
    open_ = trials - sum(trial.state in finished() for trial in known.values()) - len(busy)
    if open_ <= 0:
        return None
    trial = study.ask()
    if not searches.take(connection, study.study_name, trial.number):
        raise AssertionError("the number of a new trial is known to nobody else")
    return trial


def _give_up(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
    """End the trial of a worker that was killed, and have its recipe tried once more."""
    from optuna.trial import TrialState

    study.tell(trial.number, state=TrialState.FAIL)
    values = trial.params or trial.system_attrs.get("fixed_params", {})
    if values and not trial.user_attrs.get("again"):
        study.enqueue_trial(values, user_attrs=trial.user_attrs | {"again": True})


def conclude(name: str, *, out: Path, dsn: str | None = None) -> SearchReport:
    """Write the best trial's values and a table of all.

    Args:
        name: Of the study.
        out: Gets the files.
        dsn: Of PostgreSQL; None: from the environment.

    Raises:
        InputError: No trial was finished.
        ServiceError: PostgreSQL went away.
    """
    import optuna

    out.mkdir(parents=True, exist_ok=True)
    with _storage(dsn) as (storage, _):
        study = optuna.load_study(study_name=name, storage=storage)
        made = study.get_trials(deepcopy=False, states=finished())
        done = [trial for trial in made if trial.state == optuna.trial.TrialState.COMPLETE]
        if not done:
            raise InputError(f"a search must have a finished trial, {name} has none; run it again")
        best = max(done, key=lambda trial: trial.value or 0.0)
    base = [trial.value for trial in done if trial.user_attrs.get("base")]
    ranked = sorted(made, key=lambda trial: (trial.value is None, -(trial.value or 0.0)))
    table = out / TABLE_NAME
    table.write_text(_table(ranked, list(best.params)), encoding="utf-8")
    return SearchReport(
        trials=len(made),
        pruned=len(made) - len(done),
        base_val_macro_f1=float(base[0] or 0.0) if base else math.nan,
        best_val_macro_f1=float(best.value or 0.0),
        best=dict(best.params),
        config=write_tuned(out, best.params),
        table=table,
    )


def _table(trials: Sequence[optuna.trial.FrozenTrial], names: Sequence[str]) -> str:
    lines = [["trial", "val macro-F1", *names], ["---"] * (len(names) + 2)]
    for trial in trials:
        values = [trial.params.get(name, "") for name in names]
        score = "given up early" if trial.state.name == "PRUNED" else f"{trial.value or 0.0:.3f}"
        which = f"{trial.number} (the recipe as it was)" if trial.user_attrs.get("base") else str(trial.number)
        shown = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in values]
        lines.append([which, score, *shown])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


@contextmanager
def _storage(dsn: str | None) -> Iterator[tuple[optuna.storages.RDBStorage, psycopg.Connection]]:
    """Open optuna's storage, and a connection that holds the locks."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with connect(dsn) as connection:
        try:
            with searches.prepared(connection):
                storage = optuna.storages.RDBStorage(
                    searches.URL, engine_kwargs={"creator": searches.opener(dsn), "pool_pre_ping": True}
                )
            try:
                yield storage, connection
            finally:
                storage.engine.dispose()
        except optuna.exceptions.StorageInternalError as error:
            detail = " ".join(str(error.__cause__ or error).split())
            raise ServiceError(
                f"PostgreSQL must keep the search, got: {detail}; finished trials are kept, run the step again"
            ) from error
