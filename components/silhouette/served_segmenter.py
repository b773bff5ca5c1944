"""The segmenter without torch: publish what serves it once, open it wherever only ONNX Runtime is.

Reads and writes ``segmenters/`` in the store (`silhouette.contracts.segmenter`). `segment_people` publishes, in the
image that has ultralytics; `deploy_model` and `classify_pictures` open, in the image that has not.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from silhouette.contracts.segmenter import SegmenterCard, card_key
from silhouette.detector_onnx import OnnxDetector
from silhouette.errors import InputError
from silhouette.file_digest import sha256_of

if TYPE_CHECKING:
    from silhouette.store import Store


def find(model_digest: str, *, store: Store) -> SegmenterCard | None:
    """Return the card of a segmenter, or None when it was not published."""
    key = card_key(model_digest)
    if not store.exists(key):
        return None
    return SegmenterCard.model_validate_json(store.get_bytes(key))


def publish(onnx: Path, card: SegmenterCard, *, store: Store) -> None:
    """Put a segmenter's file and card into the store, the card last."""
    if store.size(card.onnx_key) != onnx.stat().st_size:
        store.put_file(card.onnx_key, onnx)
    store.put_bytes(card_key(card.model_digest), card.model_dump_json(indent=2).encode())


def fetch(card: SegmenterCard, path: Path, *, store: Store) -> None:
    """Bring a segmenter's file.

    Raises:
        InputError: It is gone, or not the file that the card names.
    """
    store.get_file(card.onnx_key, path)
    found = sha256_of(path)
    if found != card.onnx_sha256:
        raise InputError(
            f"{card.onnx_key} must have the SHA-256 {card.onnx_sha256}, it has {found}; remove it and"
            f" {card_key(card.model_digest)} from the store, then run segment_people again"
        )


def open_segmenter(card: SegmenterCard, path: Path, *, cores: int) -> OnnxDetector:
    """Open a segmenter's file on the CPU.

    Args:
        card: Its card.
        path: Where `fetch` put it.
        cores: Of the CPU that may be used.
    """
    return OnnxDetector(
        path, model_digest=card.model_digest, person_class=card.person_class, image_size=card.image_size,
        min_score=card.min_score, cores=cores,
    )  # fmt: skip
