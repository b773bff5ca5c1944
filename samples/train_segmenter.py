"""Train the sample group's segmenter from nothing: `python -m samples.train_segmenter` (`make sample-model`).

Reads pictures that `samples.make` draws with seeds of their own (never the sample group's). Writes
model/people-seg.pt (half precision), model/SHA256SUMS and model/MODEL_CARD.md with what was measured on held-out
pictures. The weights start at random: nobody else's are read, and nothing is downloaded.

The network is ultralytics' YOLOv8-seg at three quarters of the width of its smallest size, and its first layer takes
steps of 4 pixels instead of 2: drawn people are large and clear, so 640 pixels cost no more than 320 would. It learns
in two stages: small pictures first, then at the 640 pixels that `segment_people` shows it.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from samples.make import make_samples
from samples.measure_segmenter import MODEL_FILE, MODEL_FOLDER, measure
from samples.model_card import write_card
from samples.segmenter_data import prepare_dataset

SUMS_FILE = "SHA256SUMS"
TRAIN_SEED, HELD_OUT_SEED = 9001, 9002
WIDTH = 0.1875  # of YOLOv8; its smallest size has 0.25
MAX_BYTES = 8_000_000


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One part of the training: picture size, batch, learning rate, what is left of it at the end, share of time."""

    image_size: int
    batch: int
    learning_rate: float
    last_rate: float
    share: float


STAGES = (
    Stage(image_size=384, batch=16, learning_rate=0.003, last_rate=0.3, share=0.4),
    Stage(image_size=640, batch=8, learning_rate=0.0012, last_rate=0.02, share=0.6),
)


def import_ultralytics(config_folder: Path) -> None:
    """Import ultralytics so that it installs and downloads nothing."""
    config_folder.mkdir(parents=True, exist_ok=True)
    os.environ.update(
        YOLO_AUTOINSTALL="false",
        ULTRALYTICS_SAFE_LOAD="1",  # reads checkpoints without running code from them, as the detector insists
        YOLO_OFFLINE="1",
        YOLO_CONFIG_DIR=str(config_folder),
        WANDB_MODE="disabled",
        OMP_WAIT_POLICY="PASSIVE",  # threads that wait do not spin: the cores may be shared
    )
    import matplotlib
    from ultralytics.utils import USER_CONFIG_DIR

    fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    shutil.copyfile(fonts / "DejaVuSans.ttf", Path(USER_CONFIG_DIR) / "Arial.ttf")  # else it tries to download one


def write_architecture(folder: Path) -> Path:
    """Write the network's description: ultralytics' YOLOv8-seg, narrower, with a coarser start and one class."""
    import ultralytics

    source = Path(ultralytics.__file__).parent / "cfg" / "models" / "v8" / "yolov8-seg.yaml"
    network = yaml.safe_load(source.read_text(encoding="utf-8"))
    network["backbone"][0] = [-1, 1, "Conv", [64, 7, 4]]
    network.update(nc=1, scales={"n": [0.33, WIDTH, 1024]})
    path = folder / "yolov8n-people-seg.yaml"
    path.write_text(yaml.safe_dump(network))
    return path


def train_stage(start: Path, stage: Stage, *, data: Path, folder: Path, minutes: float, out: Path) -> Path:
    """Train from a description (random weights) or a checkpoint; return the last checkpoint.

    Every other epoch the model so far replaces the one in `out`, so that a stopped training leaves a usable file.
    """
    from ultralytics import YOLO

    def publish(trainer: Any) -> None:
        if trainer.epoch % 2 == 1 and trainer.last.is_file():
            save_model(trainer.last, out)

    def judge_nothing(trainer: Any) -> None:  # `measure` judges on pictures of its own; this would cost minutes
        trainer.validate = lambda: (trainer.metrics, 0.0)
        trainer.final_eval = lambda: None

    model = YOLO(str(start), task="segment")
    model.add_callback("on_model_save", publish)
    model.add_callback("on_train_start", judge_nothing)
    pace = {
        "epochs": 300,
        "time": minutes / 60,
        "batch": stage.batch,
        "nbs": stage.batch,
        "warmup_epochs": 1.0,
        "warmup_bias_lr": 0.0,
    }
    rate = {
        "optimizer": "AdamW",
        "lr0": stage.learning_rate,
        "lrf": stage.last_rate,
        "cos_lr": True,
        "weight_decay": 0.01,
    }
    variety = {"mosaic": 0.0, "scale": 0.35, "translate": 0.1, "hsv_h": 0.03, "hsv_s": 0.5, "hsv_v": 0.35}
    machine = {"device": "cpu", "workers": 0, "cache": "ram", "amp": False, "val": False, "plots": False, "seed": 17}
    name = f"stage-{stage.image_size}"
    model.train(
        data=str(data),
        imgsz=stage.image_size,
        mask_ratio=8,  # masks at the resolution of the prototypes
        project=str(folder),
        name=name,
        exist_ok=True,
        verbose=False,
        **pace,
        **rate,
        **variety,
        **machine,
    )
    return folder / name / "weights" / "last.pt"


def _use_bfloat16() -> None:
    """Train in bfloat16 where the processor multiplies it in hardware: three times as fast there.

    ultralytics offers that on GPUs only, so its trainer gets torch's own context in place of its wrapper.
    """
    import torch
    from ultralytics.engine import trainer

    if torch.cpu._is_amx_tile_supported():
        trainer.autocast = lambda *_, **__: torch.autocast("cpu", torch.bfloat16)


def save_model(checkpoint: Path, out: Path) -> None:
    """Strip a checkpoint to half-precision weights without training records; replace model and digest.

    Raises:
        SystemExit: The file would be larger than the repository carries.
    """
    import torch
    from ultralytics.utils.torch_utils import strip_optimizer

    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as temporary:
        beside = Path(temporary) / MODEL_FILE
        shutil.copyfile(checkpoint, beside)
        strip_optimizer(str(beside))
        content = torch.load(beside, map_location="cpu", weights_only=False)  # we wrote it ourselves a moment ago
        for name in ("train_results", "train_metrics", "git", "date", "docs", "scaler"):
            content.pop(name, None)
        content["train_args"] = {name: content["train_args"][name] for name in ("imgsz", "task")}
        content["license"] = "AGPL-3.0"
        torch.save(content, beside)
        if (size := beside.stat().st_size) > MAX_BYTES:
            raise SystemExit(f"the model must stay under {MAX_BYTES} bytes, it has {size}; lower WIDTH in {__file__}")
        digest = hashlib.sha256(beside.read_bytes()).hexdigest()
        beside.replace(out / MODEL_FILE)
    (out / SUMS_FILE).write_text(f"{digest}  {MODEL_FILE}\n")


def main() -> None:
    """Draw, train, measure, write."""
    parser = argparse.ArgumentParser(
        prog="python -m samples.train_segmenter", description="Train the sample segmenter."
    )
    parser.add_argument("--minutes", type=float, default=30.0, help="training time in all (default %(default)s)")
    parser.add_argument("--pictures", type=int, default=1100, help="drawn for training (default %(default)s)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of torch (default: all cores)")
    parser.add_argument(
        "--work", type=Path, default=Path(".silhouette/segmenter"), help="scratch (default %(default)s)"
    )
    parser.add_argument("--out", type=Path, default=MODEL_FOLDER, help="where the model goes (default %(default)s)")
    parser.add_argument("--refine", action="store_true", help="only the last stage, from the model in --out")
    options = parser.parse_args()
    work = options.work.resolve()
    import_ultralytics(work / "ultralytics")
    import torch

    torch.set_num_threads(options.threads)
    _use_bfloat16()
    started = time.monotonic()
    data = prepare_dataset(work / "train", pictures=options.pictures, seed=TRAIN_SEED)
    checkpoint = options.out / MODEL_FILE if options.refine else write_architecture(work)
    for stage in STAGES[-1:] if options.refine else STAGES:
        minutes = options.minutes * (1.0 if options.refine else stage.share)
        checkpoint = train_stage(checkpoint, stage, data=data, folder=work, minutes=minutes, out=options.out)
        save_model(checkpoint, options.out)
    make_samples(work / "held-out", count=96, seed=HELD_OUT_SEED)
    figures = measure(options.out / MODEL_FILE, work / "held-out")
    write_card(options.out, figures, training_pictures=options.pictures, minutes=(time.monotonic() - started) / 60)
    print(figures)


if __name__ == "__main__":
    main()
