"""The committed segmenter: the file that was measured, small enough, and good enough on the sample group."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from samples.make import make_samples
from samples.measure_segmenter import MODEL_FILE, MODEL_FOLDER, measure
from samples.model_card import CARD_FILE
from samples.train_segmenter import MAX_BYTES, SUMS_FILE


def test_model_is_the_file_whose_digest_is_committed() -> None:
    digest, name = (MODEL_FOLDER / SUMS_FILE).read_text().split()
    assert name == MODEL_FILE
    assert hashlib.sha256((MODEL_FOLDER / MODEL_FILE).read_bytes()).hexdigest() == digest


def test_model_is_small_enough_for_the_repository() -> None:
    assert (MODEL_FOLDER / MODEL_FILE).stat().st_size <= MAX_BYTES


def test_model_card_names_licence_data_and_limits() -> None:
    card = (MODEL_FOLDER / CARD_FILE).read_text(encoding="utf-8")
    assert all(words in card for words in ("AGPL-3.0", "samples.make", "no downloaded", "Limits", "mean IoU"))


@pytest.mark.long
def test_segmenter_finds_the_main_person_on_sample_pictures(tmp_path: Path) -> None:
    make_samples(tmp_path, count=40)
    figures = measure(MODEL_FOLDER / MODEL_FILE, tmp_path)
    assert figures.found >= 0.95
    assert figures.mean_iou >= 0.80
    assert figures.largest_is_main >= 0.90
