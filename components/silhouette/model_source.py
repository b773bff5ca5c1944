"""Resolve where a model is to a file on this disk."""

from __future__ import annotations

from pathlib import Path

from silhouette.input_file import resolve_file
from silhouette.store import Store


def resolve_model(source: str, *, folder: Path, store: Store) -> Path:
    """Return a local file with the model's bytes, as `silhouette.input_file.resolve_file` does.

    Raises:
        SilhouetteError: As that function.
    """
    return resolve_file(source, what="the model", folder=folder, store=store)
