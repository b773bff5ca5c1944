"""How runs, experiments and versions are called on the cluster, and what a run is sent as."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Mapping
from typing import Any

from pipelines.cluster.settings import ClusterSettings
from silhouette.errors import InputError
from silhouette.names import safe_key

OLDEST_KFP = (2, 16)  # the first backend that knows `literals`; a Secret that may be missing came with 2.15
_LONGEST_NAME = 100  # KFP cuts none and refuses what does not fit its columns
_CRON_FIELDS = 5
_RELEASE = re.compile(r"v?(\d+)\.(\d+)")


def version_name(pipeline: str, document: str) -> str:
    """Return the name of a pipeline's version, which says its content: the same YAML is uploaded once."""
    return f"{pipeline}-{hashlib.sha256(document.encode()).hexdigest()[:12]}"


def experiment_name(group: str, pipeline: str) -> str:
    """Return the experiment of a group, under its own name where that can be shown; of a pipeline without one."""
    if not group:
        return pipeline
    return group if group.isprintable() and len(group) <= _LONGEST_NAME else safe_key(group)


def run_name(experiment: str, pipeline: str) -> str:
    """Return a name that no other run has, so that a run whose start was not answered is found again."""
    return f"{experiment} {pipeline} {time.strftime('%Y-%m-%d %H:%M:%S')} {secrets.token_hex(3)}"


def run_body(
    *,
    name: str,
    description: str,
    experiment_id: str,
    pipeline_id: str,
    version_id: str,
    arguments: Mapping[str, Any],
    settings: ClusterSettings,
) -> dict[str, Any]:
    """Return a run as KFP takes it, without what is empty."""
    body = {
        "display_name": name,
        "description": description,
        "experiment_id": experiment_id,
        "pipeline_version_reference": {"pipeline_id": pipeline_id, "pipeline_version_id": version_id},
        "runtime_config": {"parameters": dict(arguments)},
    }
    if settings.service_account:
        body["service_account"] = settings.service_account
    return body


def cron_of_kfp(cron: str) -> str:
    """Return a schedule of cron's five fields with the seconds that KFP wants before them.

    KFP reads five fields as well, but the first as seconds: ``0 3 * * *`` would run every hour.

    Raises:
        InputError: It has another number of fields.
    """
    fields = cron.split()
    if len(fields) == 1 and re.fullmatch(r"@(hourly|daily|weekly|monthly|yearly)", cron.strip()):
        return cron.strip()
    if len(fields) != _CRON_FIELDS or not all(re.fullmatch(r"[\dA-Za-z*/,?-]+", field) for field in fields):
        raise InputError(
            f"CRON must be minute, hour, day, month and weekday, got {cron!r}; write CRON='0 3 * * 1' for Mondays at 3"
        )
    return " ".join(["0", *fields])


def require_release(health: Mapping[str, Any], *, pipeline: str) -> str:
    """Return KFP's release, or "unknown" where it was built without one.

    Raises:
        InputError: It is too old for the compiled pipelines.
    """
    release = str(health.get("tag_name") or "unknown")
    found = _RELEASE.match(release)
    if found and (int(found[1]), int(found[2])) < OLDEST_KFP:
        oldest = ".".join(map(str, OLDEST_KFP))
        raise InputError(
            f"KFP must be {oldest} or newer to read the pipeline {pipeline}, the cluster has {release}; upgrade it"
        )
    return release
