"""The model card of the sample segmenter: writes MODEL_CARD.md beside the weights, with the figures measured."""

from __future__ import annotations

from pathlib import Path

from samples.measure_segmenter import MODEL_FILE, SegmenterFigures

CARD_FILE = "MODEL_CARD.md"

_CARD = """\
# people-seg: finds drawn people

One class, `person`; boxes and masks. It exists so that the first run of Silhouette needs no weights from anywhere.

| | |
|---|---|
| network | YOLOv8-seg (ultralytics), 0.1875 wide, first convolution 7 x 7 with steps of 4; 2.0 million parameters |
| file | `{file}`, {size_mb:.1f} MB, half precision; its digest is in `SHA256SUMS` |
| input | 640 pixels on the longest side, letterboxed to multiples of 64 |
| weights before training | random; no downloaded or shared weights |
| data | {training_pictures} pictures drawn by `samples.make` with seed 9001; the sample group has seed 7 |
| recipe | `python -m samples.train_segmenter`: AdamW, first at 384 and then at 640 pixels; no mosaic |
| training time | {minutes:.0f} minutes on two shared CPU cores |
{note}
## Measured

{pictures} pictures drawn with seed 9002 (never trained on), score 0.25, the same detector as `segment_people`
(`python -m samples.measure_segmenter --on FOLDER`):

| | |
|---|---|
| main person found (IoU at least 0.5) | {found:.1%} |
| mean IoU of the main person's mask | {mean_iou:.3f} (median {median_iou:.3f}) |
| the largest detection is the main person | {largest_is_main:.1%} |
| detections beyond the people there are | {extra_a_picture:.2f} a picture |
| other people found (IoU at least 0.5; many are small, far or half hidden) | {companions_found:.1%} |

## Limits

For the drawn figures of this repository only. On photographs it does answer, but how rightly was never measured: bring
a segmenter trained on photographs for those (`MODEL=...`). Held-out pictures come from the same drawing code as the
training pictures, so the figures say nothing about other drawings.

## Licence

The weights were trained with ultralytics and are under AGPL-3.0, like everything trained with it; the rest of the
repository is Apache-2.0. The training pictures are drawn by this repository's code, in part in front of photographs in
the public domain or under CC0 that scikit-image carries (`samples/README.md`).
"""


def write_card(
    folder: Path, figures: SegmenterFigures, *, training_pictures: int, minutes: float, note: str = ""
) -> None:
    """Write the card of the model in `folder`; `note` says what was special about this training."""
    text = _CARD.format(
        file=MODEL_FILE,
        size_mb=(folder / MODEL_FILE).stat().st_size / 1e6,
        training_pictures=training_pictures,
        minutes=minutes,
        pictures=figures.pictures,
        found=figures.found,
        mean_iou=figures.mean_iou,
        median_iou=figures.median_iou,
        largest_is_main=figures.largest_is_main,
        extra_a_picture=figures.extra_a_picture,
        companions_found=figures.companions_found,
        note=f"\n{note}\n" if note else "",
    )
    (folder / CARD_FILE).write_text(text, encoding="utf-8")
