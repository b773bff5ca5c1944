"""What was done to a group's served model, one object an event, kept for ever: how `rollback` knows where to go back.

Reads and writes ``deployments/<model>/<time>-<id>.json`` in the store, and beside them the golden crops of each version
(``deployments/<model>/<version>/golden.npz``), by which a version proves itself again whenever it comes back.
"""

from __future__ import annotations

import logging
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from silhouette.contracts.model_bundle import GOLDEN_NAME
from silhouette.errors import SilhouetteError
from silhouette.store import Store

_LOG = logging.getLogger(__name__)
PREFIX = "deployments"


class Event(BaseModel):
    """One change of what a model serves, or an attempt at one.

    Attributes:
        at: When, UTC.
        kind: ``deployed``, ``rolled_back``, or ``failed``: nothing changed.
        model: Triton's name of the classifier.
        version: That was, or was to be, served; empty when it had none yet.
        previous: That was served before, or empty.
        experiment: That trained it.
        onnx_sha256: Of its file.
        by: Who did it.
        detail: What was measured, or why it failed.
        configs: What each model's `config.pbtxt` was from then on, by Triton's name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    kind: Literal["deployed", "rolled_back", "failed"]
    model: str
    version: str
    previous: str
    experiment: str
    onnx_sha256: str
    by: str
    detail: str
    configs: dict[str, str] = Field(default_factory=dict)


def record(store: Store, event: Event) -> None:
    """Keep an event; one that cannot be kept is said and changes nothing: what is served is served."""
    key = f"{PREFIX}/{event.model}/{event.at:%Y%m%dT%H%M%S.%fZ}-{secrets.token_hex(3)}.json"
    try:
        store.put_bytes(key, event.model_dump_json(indent=2).encode())
    except SilhouetteError as error:
        _LOG.warning("the event %s of %s could not be kept: %s", event.kind, event.model, error)


def history(store: Store, model: str) -> list[Event]:
    """Return a model's events, the oldest first."""
    keys = [key for key in store.list_keys(f"{PREFIX}/{model}/") if key.endswith(".json")]
    return [Event.model_validate_json(data) for _, data in store.get_many(keys)]


def golden_key(model: str, version: str) -> str:
    """Return where the golden crops of a version are."""
    return f"{PREFIX}/{model}/{version}/{GOLDEN_NAME}"


def keep_golden(store: Store, model: str, version: str, bundle: Path) -> None:
    """Keep the golden crops of a version."""
    key = golden_key(model, version)
    if not store.exists(key):
        store.put_file(key, bundle / GOLDEN_NAME)
