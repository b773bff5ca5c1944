"""The short table at the end of a laptop run: what came in, what was made of it, where it is served."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipelines.observe import StepRecord
from silhouette.contracts import crops, dataset, deployment, evaluation, model_bundle
from silhouette.contracts.training import TUNED_NAME
from silhouette.settings import triton_url


def _deployment(steps: dict[str, StepRecord]) -> deployment.Deployment:
    return deployment.read(_path(steps, "deploy-model", "deployment"), url=triton_url())


def _path(steps: dict[str, StepRecord], step: str, artifact: str) -> Path:
    return Path(steps[step].outputs[artifact].path)


def summary_rows(records: Sequence[StepRecord]) -> list[tuple[str, str]]:
    """Return the rows of the table, as far as the run came.

    Args:
        records: The steps of the run; those that failed give no row.
    """
    steps = {record.name: record for record in records if record.succeeded}
    rows: list[tuple[str, str]] = []
    if "download-pictures" in steps:
        rows += _pictures(_path(steps, "download-pictures", "dataset"))
    segmented = [record for record in records if record.succeeded and record.title.startswith("Segment people")]
    if segmented:
        seen = [record.outputs for record in segmented]
        new = sum(int(outputs["new_pictures"]) for outputs in seen)  # several workers may have shared them
        known = min(int(outputs["already_done"]) for outputs in seen)
        rows.append(("segmented", f"{new} new, {known} known"))
    if "snapshot-contours" in steps:
        frozen = steps["snapshot-contours"].outputs
        rows.append(("people", f"{frozen['people']:.0f} on {frozen['pictures']:.0f} pictures"))
    if "build-dataset" in steps:
        rows += _crops(_path(steps, "build-dataset", "crops"))
    if "export-model" in steps:
        card = model_bundle.read(_path(steps, "export-model", "model"))
        worst = f"TorchScript {card.parity_torchscript:.1e}, ONNX {card.parity_onnx:.1e}"
        rows.append(("parity", f"{worst} from Torch at most, on {card.parity_crops} pictures"))
        if card.average is not None:
            rows.append(("average", card.average.told()))
    if "evaluate-model" in steps:
        folder = _path(steps, "evaluate-model", "evaluation")
        rows += _evaluation(evaluation.read(folder), folder / evaluation.REPORT_NAME)
    if "report-search" in steps:
        scores = steps["report-search"].outputs["metrics"].metadata
        told = f"val macro-F1 {scores['best_val_macro_f1']:.3f} at best"
        rows.append(("trials", f"{scores['trials']:.0f}, {scores['given_up_early']:.0f} given up early; {told}"))
        rows.append(("recipe", str(_path(steps, "report-search", "tuned") / TUNED_NAME)))
    if "classify-pictures" in steps:
        rows.append(("gallery", str(_path(steps, "classify-pictures", "predictions") / "gallery.html")))
    if "deploy-model" in steps:
        served = _deployment(steps)
        what = "served already" if served.already_served else "new"
        rows += [("served as", f"{served.model}, version {served.version} ({what})"), ("Triton", served.url)]
    return rows


def _pictures(folder: Path) -> list[tuple[str, str]]:
    found = dataset.read(folder)
    counts = ", ".join(f"{count} {name}" for name, count in found.counts().items())
    rows = [("pictures", f"{len(found.rows)}: {counts}")]
    if found.refused:
        rows.append(("refused", f"{len(found.refused)}, with their reasons in {folder / dataset.QUARANTINE_NAME}"))
    return [*rows, ("quality", str(folder / dataset.QUALITY_NAME))]


def _crops(folder: Path) -> list[tuple[str, str]]:
    head = crops.read_head(folder)
    sizes = {split: sum(by_class.values()) for split, by_class in head.counts.items()}
    rows = [("splits", ", ".join(f"{size} {split}" for split, size in sizes.items()))]
    if skipped := {reason: len(ids) for reason, ids in head.skipped.items() if ids}:
        rows.append(("skipped", ", ".join(f"{count} {reason}" for reason, count in skipped.items())))
    if head.background_digest:
        rows.append(("places", ", ".join(f"{count} {split}" for split, count in head.background_counts.items())))
    if left_out := {reason: len(ids) for reason, ids in head.background_left_out.items() if ids}:
        rows.append(("left out", ", ".join(f"{count} {reason}" for reason, count in left_out.items())))
    return rows


def _evaluation(judged: evaluation.Evaluation, report: Path) -> list[tuple[str, str]]:
    majority = f"accuracy {judged.majority_accuracy:.3f}, macro-F1 {judged.majority_macro_f1:.3f}"
    rows = []
    if (found := judged.calibration) is not None:
        told = f"ECE {found.after.ece:.3f}, up to {found.ece_by_chance:.3f} of it by chance"
        rows.append(("calibration", f"{told}; temperature {found.temperature:.2f}"))
    if (reliance := judged.background) is not None:
        alone = f"{reliance.background_only_accuracy:.3f} right from the background alone"
        rows.append(("background", f"BG-Gap {reliance.bg_gap.value:.3f}, {alone}"))
    if (augmented := judged.augmented) is not None:
        gain = augmented.macro_f1_difference
        told = f"macro-F1 {augmented.macro_f1.value:.3f} by the mean of {len(augmented.views)} views, {gain.value:+.3f}"
        rows.append(("augmented", f"{told} (95 %: {gain.low:+.3f} to {gain.high:+.3f}); nothing is served so"))
    if (champion := judged.champion) is not None:
        gain = champion.macro_f1_difference
        told = f"macro-F1 {gain.value:+.3f} (95 %: {gain.low:+.3f} to {gain.high:+.3f})"
        rows.append(("served now", f"version {champion.version}; the new one against it: {told}"))
    return [
        ("macro-F1", f"{judged.macro_f1:.3f} (95 %: {judged.macro_f1_low:.3f} to {judged.macro_f1_high:.3f})"),
        ("accuracy", f"{judged.accuracy:.3f}, balanced {judged.balanced_accuracy:.3f}"),
        ("majority", f"{majority} by always answering the commonest class"),
        *rows,
        ("gate", "passed" if judged.passed else f"refused: {judged.refusal()}"),
        ("report", str(report)),
    ]


def print_summary(records: Sequence[StepRecord]) -> None:
    """Print the table, and the curl line when a model was deployed; nothing is wrapped, so paths can be copied."""
    rows = summary_rows(records)
    if rows:
        print()
    for name, value in rows:
        print(f"{name:11}  {value}")
    steps = {record.name: record for record in records if record.succeeded}
    if "deploy-model" in steps:
        served = _deployment(steps)
        print(f"\nAsk it for the class of a real test crop:\n\n  {served.curl}\n")
        if served.picture_model:
            print(f"Ask it about a photo of yours:\n\n  {served.picture_curl}\n")
