"""What the steps of a run printed, by KFP's own endpoint, which reads the pods, or the archive when they are gone."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from pipelines.cluster.follow import executors_of
from pipelines.cluster.kfp_api import Kfp
from pipelines.cluster.kfp_calls import RefusedError
from silhouette.errors import InputError

PATH = "/apis/v1alpha1/runs/{run}/nodes/{pod}/log"


def step_logs(kfp: Kfp, run_id: str, *, step: str) -> Iterator[tuple[str, str]]:
    """Yield task name and text of every pod of a run that ran a step, a step's attempts in order.

    Args:
        kfp: The API.
        run_id: The run.
        step: Task name (``train-classifier``, ``train_classifier`` as well); empty: all.

    Raises:
        InputError: The run has no such step, or it has not begun.
        ServiceError: KFP does not answer.
    """
    run = kfp.run(run_id)
    details = list((run.run_details and run.run_details.task_details) or [])
    pods: list[tuple[str, Any]] = [
        (item.display_name, executor)
        for item in details
        for executor in executors_of(item, details)
        if not _is_executor(item) and executor.state != "SKIPPED" and not any(executors_of(executor, details))
    ]
    wanted = step.replace("_", "-")
    names = sorted({name for name, _ in pods})
    if wanted and wanted not in names:
        near = difflib.get_close_matches(wanted, names, n=3) or names
        raise InputError(
            f"STEP must be one of the run's that printed something, got {step!r}; there is {', '.join(near) or 'none'}"
        )
    for name, executor in pods:
        if wanted in ("", name):
            path = PATH.format(run=quote(run_id, safe=""), pod=quote(executor.pod_name, safe=""))
            try:
                text = kfp.text(path, what=f"read the log of {name}")
            except RefusedError as error:
                text = f"(its log is gone: {error})\n"
            yield name, text


def _is_executor(item: Any) -> bool:
    return str(item.display_name or "").startswith("executor")
