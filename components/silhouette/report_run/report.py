"""Record how a run ended."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from silhouette import __version__
from silhouette.errors import ServiceError
from silhouette.names import safe_key
from silhouette.store import Store

PREFIX = "runs"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """How a run ended.

    Attributes:
        pipeline: Its name.
        run: KFP's id of the run.
        state: KFP's word, ``SUCCEEDED``, ``FAILED``, ``CANCELED`` or another one.
        error: What KFP says of a failure, on one line; the steps' own words are in their logs.
        parameters: What the run was asked for.
        ended_at: ISO 8601, UTC.
        version: Of this package.
        key: Where the store has this record; empty where the store was away.
    """

    pipeline: str
    run: str
    state: str
    error: str
    parameters: Mapping[str, object]
    ended_at: str
    version: str
    key: str


def report_run(
    *, pipeline: str, run: str, state: str, error: str, parameters: Mapping[str, object], store: Store
) -> RunReport:
    """Put a record of the run into the store and say it.

    Args:
        pipeline: Name of the pipeline.
        run: KFP's id of the run.
        state: How it ended, in KFP's words.
        error: What KFP says of a failure.
        parameters: What the run was asked for.
        store: Where the record goes.
    """
    now = datetime.now(UTC)
    report = RunReport(
        pipeline=pipeline,
        run=run,
        state=state,
        error=" ".join(error.split()),
        parameters=dict(parameters),
        ended_at=now.isoformat(timespec="seconds"),
        version=__version__,
        key=f"{PREFIX}/{pipeline}/{now:%Y%m%d-%H%M%S}-{safe_key(run)}.json",
    )
    told = f"{pipeline} {state.lower()}{f': {report.error}' if report.error else ''}"
    try:
        store.put_bytes(report.key, json.dumps(asdict(report), ensure_ascii=False, indent=2).encode())
    except ServiceError as away:
        _LOG.warning("%s; not recorded, %s", told, away)
        return RunReport(**{**asdict(report), "key": ""})
    _LOG.info("%s; recorded as %s", told, report.key)
    return report
