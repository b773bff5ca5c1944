"""Resolve where a model is to a file on this disk; W&B artifacts will be resolved here too."""

from __future__ import annotations

from pathlib import Path

from silhouette.errors import InputError
from silhouette.input_file import WAYS, resolve_file
from silhouette.store import Store


def resolve_model(source: str, *, folder: Path, store: Store) -> Path:
    """Return a local file with the model's bytes, as `silhouette.input_file.resolve_file` does.

    Raises:
        InputError: There is no such model, its bytes are not those that its name promises, or it is W&B's.
        ServiceError: The store cannot be reached.
    """
    if source.startswith("wandb:"):
        raise InputError(f"a model cannot be taken from W&B yet, got {source}; download it and {WAYS}")
    return resolve_file(source, what="the model", folder=folder, store=store)
