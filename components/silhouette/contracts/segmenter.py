"""A segmenter ready to be served: which ONNX file of the store answers for it, and with which settings.

`segmenters/<model digest>.json` in the store, written by `segment_people` for the model that it used; the digest is the
one under which the database keeps that model's contours.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class SegmenterCard(BaseModel):
    """One segmenter with its settings."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    model_digest: str
    """Over the weights and every setting that changes the answer."""
    onnx_key: str
    """Where the store has the file."""
    onnx_sha256: str
    person_class: str
    image_size: int
    min_score: float


def card_key(model_digest: str) -> str:
    """Return where the store has the card of this digest."""
    return f"segmenters/{model_digest}.json"
