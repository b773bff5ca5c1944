"""Draw the sample group `outfit`: `python -m samples.make --to FOLDER [--count N] [--seed S]`.

Reads the photographs inside the installed scikit-image. Writes FOLDER/pictures/<id>.jpg, masks/<id>.png (8 bit,
upright: 0 background, 1..N the people, 1 the main one), pictures.jsonl (one `PictureRecord` a line), group.json, and
last of all samples.json, the mark that all is there: a killed run is done again, a second one does nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from samples.outfit import CLASSES
from samples.shoots import Drawn, Shoot, draw_shoot, plan_shoots
from silhouette.errors import InputError

GROUP, TITLE = "outfit", "What the drawn person wears: dress, skirt, trousers or shorts"
PICTURES_FILE, GROUP_FILE, COMPLETE_FILE, STARTED_FILE = (
    "pictures.jsonl",
    "group.json",
    "samples.json",
    "samples.started",
)
DEFAULT_COUNT, DEFAULT_SEED = 480, 7
_STORED_TURNS = (6, 3, 8, 2, 5)  # EXIF orientations of a few pictures
_TO_STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    8: Image.Transpose.ROTATE_270,
}
_NOT_DRAWING = {"hostile", "train_segmenter", "segmenter_data", "measure_segmenter", "model_card"}
_FIRST_DAY = datetime(2024, 5, 1, 9, 0, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class PictureRecord:
    """One line of pictures.jsonl; `width`, `height`, boxes and masks are those of the upright picture, in pixels."""

    picture_id: str
    file: str
    mask: str
    label: str
    pixset_id: str
    width: int
    height: int
    sha256: str
    people: list[dict[str, list[int]]]  # {"box_xyxy": [x0, y0, x1, y1]}, the mask's person 1 first
    taken_at: str


@dataclass(frozen=True, kw_only=True)
class SampleReport:
    """What lies in the folder now; `reused` when it was there already."""

    folder: Path
    pictures: int
    people: int
    pixsets: int
    classes: dict[str, int]
    reused: bool
    duration_s: float


def make_samples(
    folder: Path,
    *,
    count: int = DEFAULT_COUNT,
    seed: int = DEFAULT_SEED,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SampleReport:
    """Draw the sample group into `folder`; the same seed and count give the same files.

    Args:
        folder: Where it goes; made if missing. Samples of other parameters in it are replaced.
        count: Pictures.
        seed: Of everything that is drawn.
        workers: Processes; None: as many as there are cores.
        progress: Called with (pictures done, pictures in all).

    Raises:
        InputError: `count` is below 1, or the folder holds something that is not ours.
    """
    if count < 1:
        raise InputError(f"count must be at least 1, got {count}; pass --count {DEFAULT_COUNT}")
    if seed < 0:
        raise InputError(f"seed must not be negative, got {seed}; pass --seed {DEFAULT_SEED}")
    started = time.monotonic()
    wanted = {"count": count, "seed": seed, "code": _code_digest()}
    if (reused := _finished(folder, wanted)) is not None:
        return _report(folder, reused, reused_now=True, started=started)
    _clear(folder)
    shoots = plan_shoots(count=count, seed=seed)
    every = max(1, count // len(_STORED_TURNS))
    turns = {every * k + every // 2: turn for k, turn in enumerate(_STORED_TURNS) if every * k + every // 2 < count}
    work = partial(_save_shoot, folder=folder, turns=turns)
    workers = min(workers or os.cpu_count() or 1, len(shoots))
    records: list[PictureRecord] = []
    with _Pool(workers) as pool:
        for part in pool(work, shoots):
            records += part
            if progress is not None:
                progress(len(records), count)
    lines = "".join(json.dumps(asdict(record), ensure_ascii=False) + "\n" for record in records)
    _write(folder / PICTURES_FILE, lines)
    _write(folder / GROUP_FILE, _json({"name": GROUP, "classes": list(CLASSES), "title": TITLE}))
    _write(folder / COMPLETE_FILE, _json({**wanted, "pictures_sha256": hashlib.sha256(lines.encode()).hexdigest()}))
    (folder / STARTED_FILE).unlink()
    return _report(folder, records, reused_now=False, started=started)


class _Pool:
    """Maps over shoots in this process or in several; spawned, since forking a process with threads is not safe."""

    def __init__(self, workers: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(workers, mp_context=context) if workers > 1 else None

    def __enter__(self) -> Callable[..., Any]:
        return self._pool.map if self._pool is not None else map

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def read_records(folder: Path) -> list[PictureRecord]:
    """Return the lines of pictures.jsonl."""
    lines = (folder / PICTURES_FILE).read_text(encoding="utf-8").splitlines()
    return [PictureRecord(**json.loads(line)) for line in lines]


def _finished(folder: Path, wanted: dict[str, Any]) -> list[PictureRecord] | None:
    try:
        mark = json.loads((folder / COMPLETE_FILE).read_text(encoding="utf-8"))
        lines = (folder / PICTURES_FILE).read_bytes()
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    if mark != {**wanted, "pictures_sha256": hashlib.sha256(lines).hexdigest()}:
        return None
    records = read_records(folder)
    there = all((folder / record.file).is_file() and (folder / record.mask).is_file() for record in records)
    return records if there else None


def _clear(folder: Path) -> None:
    """Take away older samples of ours and mark the folder as being drawn."""
    ours = {"pictures", "masks", PICTURES_FILE, GROUP_FILE, COMPLETE_FILE, STARTED_FILE}
    there = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    marked = COMPLETE_FILE in there or STARTED_FILE in there
    if there and not marked:
        raise InputError(
            f"samples go into an empty folder or one of theirs, {folder} holds {min(there)!r}; pass another --to"
        )
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    _write(folder / STARTED_FILE, "")
    (folder / COMPLETE_FILE).unlink(missing_ok=True)
    for name in sorted(there & ours - {COMPLETE_FILE, STARTED_FILE}):
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name in ("pictures", "masks"):
        (folder / name).mkdir(exist_ok=True)


def _save_shoot(shoot: Shoot, *, folder: Path, turns: dict[int, int]) -> list[PictureRecord]:
    rng = np.random.default_rng([shoot.seed, 14, shoot.number])
    records = []
    for k, (drawn, label) in enumerate(zip(draw_shoot(shoot), shoot.labels, strict=True)):
        number = shoot.first_picture + k
        picture_id = f"{GROUP}-{shoot.seed}-{number:04d}"
        path = folder / "pictures" / f"{picture_id}.jpg"
        _save_jpeg(path, drawn, quality=int(rng.integers(84, 94)), turn=turns.get(number, 1))
        Image.fromarray(drawn.mask).save(folder / "masks" / f"{picture_id}.png", optimize=False, compress_level=6)
        records.append(
            PictureRecord(
                picture_id=picture_id,
                file=f"pictures/{path.name}",
                mask=f"masks/{picture_id}.png",
                label=label,
                pixset_id=f"shoot-{shoot.seed}-{shoot.number:03d}",
                width=drawn.rgb.shape[1],
                height=drawn.rgb.shape[0],
                sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
                people=[{"box_xyxy": list(box)} for box in drawn.boxes_xyxy],
                taken_at=(_FIRST_DAY + timedelta(days=shoot.number, minutes=3 * k)).isoformat(),
            )
        )
    return records


def _save_jpeg(path: Path, drawn: Drawn, *, quality: int, turn: int) -> None:
    picture = Image.fromarray(drawn.rgb)
    exif = Image.Exif()
    if turn != 1:
        picture, exif[0x0112] = picture.transpose(_TO_STORED[turn]), turn
    picture.save(path, "JPEG", quality=quality, exif=exif.tobytes() if turn != 1 else b"")


def _report(folder: Path, records: list[PictureRecord], *, reused_now: bool, started: float) -> SampleReport:
    counts = Counter(record.label for record in records)
    return SampleReport(
        folder=folder,
        pictures=len(records),
        people=sum(len(record.people) for record in records),
        pixsets=len({record.pixset_id for record in records}),
        classes={name: counts[name] for name in CLASSES},
        reused=reused_now,
        duration_s=time.monotonic() - started,
    )


def _code_digest() -> str:
    """Return a digest of the drawing code: pictures of older code are drawn again."""
    files = sorted(path for path in Path(__file__).parent.glob("*.py") if path.stem not in _NOT_DRAWING)
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]


def _json(data: dict[str, Any]) -> str:
    return json.dumps(data, indent=2) + "\n"


def _write(path: Path, text: str) -> None:
    beside = path.with_name(path.name + ".part")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def main() -> None:
    """Draw the samples as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m samples.make", description="Draw the sample group.")
    parser.add_argument("--to", type=Path, required=True, help="folder to draw into")
    parser.add_argument("--count", type=int, default=DEFAULT_COUNT, help="pictures (default %(default)s)")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED, help="of everything drawn (default %(default)s)")
    options = parser.parse_args()
    try:
        report = make_samples(options.to, count=options.count, seed=options.seed)
    except InputError as error:
        raise SystemExit(str(error)) from None
    classes = ", ".join(f"{name} {number}" for name, number in report.classes.items())
    done = "were there already" if report.reused else f"drawn in {report.duration_s:.0f} s"
    print(f"{report.pictures} pictures of {report.people} people in {report.pixsets} shoots {done}: {classes}")
    print(report.folder)


if __name__ == "__main__":
    main()
