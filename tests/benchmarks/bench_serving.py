"""How much of ONNX Runtime is left behind Triton: batches of crops, pictures' bytes, and a whole `classify_pictures`.

And what a switch of versions costs those who ask meanwhile: the 99th percentile of a steady rate, during and before.

The classifier is the architecture that the first run trains, with random weights; pictures and segmenter are those of
`bench_segment`. Both sides share the machine's cores: Triton and its client here, one process there. The other side of
`infer` reads, decodes and cuts in the same way and asks ONNX Runtime in its own process, without ledger or page.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import count as count_from
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipelines.embedded import down, up
from silhouette import cut_people, served_segmenter
from silhouette.classify_pictures.classify import classify_pictures
from silhouette.config import ServingConfig, load_config
from silhouette.contracts import contours, model_bundle, snapshot
from silhouette.contracts import dataset as datasets
from silhouette.contracts import evaluation as evaluations
from silhouette.contracts.dataset import Dataset, PictureRow
from silhouette.contracts.evaluation import Evaluation, GateRule
from silhouette.contracts.model_bundle import GOLDEN_NAME, ONNX_NAME, ModelCard
from silhouette.contracts.snapshot import NOBODY, SnapshotHead, SnapshotRow
from silhouette.cut_people import CropShape, CutPicture
from silhouette.deploy_model.deploy import deploy_model
from silhouette.detector import cpu_cores, load_detector, model_digest_of
from silhouette.detector_export import publish_segmenter
from silhouette.imaging import open_picture
from silhouette.onnx_model import OnnxModel
from silhouette.picture_answer import PictureSettings, answer_picture
from silhouette.settings import store_settings
from silhouette.store import Store, open_store
from silhouette.triton_client import Triton, open_triton
from tests.benchmarks import Benchmark
from tests.benchmarks.bench_segment import CONFIG, _jpegs
from tests.serving.open_loop import Offer, offering, percentile_s

BATCH, CONCURRENCY = 8, 4
CLASSES = ["dress", "skirt", "trousers", "shorts"]
DATASET = load_config({}).dataset
BACKBONE = "tf_efficientnet_lite0"
TOLD = Path(__file__).parents[2] / "build" / "serving_switch.txt"


@dataclass(frozen=True, kw_only=True)
class Served:
    """A classifier and its picture model on a Triton of their own, and a group of pictures in its store."""

    environ: dict[str, str]
    folder: Path
    model: str
    picture_model: str
    request_path: Path
    header_length: int
    onnx: Path
    segmenter: served_segmenter.SegmenterCard
    crops: npt.NDArray[np.uint8]
    jpegs: Sequence[bytes]
    snapshots: dict[int, str]
    """Digest by number of pictures; the dataset is ``<folder>/<number>``."""

    @property
    def store(self) -> Store:
        return open_store(store_settings(self.environ))

    @property
    def triton(self) -> Triton:
        return open_triton(self.environ["SILHOUETTE_TRITON_URL"])


@contextmanager
def served(*, crops_count: int, jpegs_count: int, groups: Sequence[int]) -> Iterator[Served]:
    with tempfile.TemporaryDirectory(prefix="silhouette-bench-") as name:
        folder = Path(name)
        state = folder / "state"
        try:
            environ = dict(up(state, services=("object_store", "triton")).environment)
            yield _prepare(environ, folder, crops_count=crops_count, jpegs_count=jpegs_count, groups=groups)
        finally:
            down(state)


def _prepare(
    environ: dict[str, str], folder: Path, *, crops_count: int, jpegs_count: int, groups: Sequence[int]
) -> Served:
    store = open_store(store_settings(environ))
    store.ensure_bucket()
    model_path, jpegs = _jpegs(jpegs_count)
    known = {"person_class": CONFIG.person_class, "image_size": CONFIG.image_size, "min_score": CONFIG.min_score}
    digest = model_digest_of(model_path, **known)
    publish_segmenter(model_path, model_digest=digest, store=store, **known)
    segmenter = served_segmenter.find(digest, store=store)
    if segmenter is None:
        raise RuntimeError("the segmenter must have been published")
    bundle, judged = _bundle(folder)
    deployed = deploy_model(
        bundle=bundle, evaluation=judged, store=store, triton=open_triton(environ["SILHOUETTE_TRITON_URL"]),
        out=folder / "deployed", segmenter=digest,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    made = Served(
        environ=environ, folder=folder, model=deployed.model, picture_model=deployed.picture_model,
        request_path=deployed.request_path, header_length=deployed.header_length,
        onnx=bundle / ONNX_NAME, segmenter=segmenter, jpegs=jpegs, snapshots={},
        crops=rng.integers(0, 256, (crops_count, DATASET.crop_size, DATASET.crop_size, 3), dtype=np.uint8),
    )  # fmt: skip
    return replace(made, snapshots={number: _group(made, number) for number in groups})


def _bundle(folder: Path, *, seed: int = 0) -> tuple[Path, Path]:
    """Write a judged bundle with a network that nobody trained; another seed gives another."""
    import timm
    import torch

    from silhouette.export_model import served as exporter

    torch.manual_seed(seed)
    net = timm.create_model(BACKBONE, num_classes=len(CLASSES))
    bundle, judged = folder / "bundle", folder / "evaluation"
    bundle.mkdir(parents=True)
    judged.mkdir()
    exported = exporter.ServedModel(net, mean=[0.5] * 3, std=[0.5] * 3).eval()
    exporter.write_onnx(exported, bundle / ONNX_NAME, crop_size=DATASET.crop_size, metadata={}, opset=18)
    golden = np.random.default_rng(1).integers(0, 256, (4, DATASET.crop_size, DATASET.crop_size, 3), dtype=np.uint8)
    np.savez(bundle / GOLDEN_NAME, crops=golden, probabilities=OnnxModel(bundle / ONNX_NAME).probabilities(golden))
    sha256 = hashlib.sha256((bundle / ONNX_NAME).read_bytes()).hexdigest()
    card = ModelCard(
        group="benchmark", experiment="benchmark", classes=CLASSES, crop_size=DATASET.crop_size,
        crop_margin=DATASET.crop_margin, background=DATASET.background, backbone=BACKBONE, onnx_sha256=sha256,
        opset=18, crops_digest="", code_version="", seed=0, parameters={}, parity_torchscript=0.0,
        parity_onnx=0.0, parity_crops=0,
    )  # fmt: skip
    model_bundle.write(bundle, card)
    of_all = (
        "accuracy", "majority_accuracy", "majority_macro_f1", "balanced_accuracy", "macro_f1", "macro_f1_low",
        "macro_f1_high",
    )  # fmt: skip
    numbers = dict.fromkeys(of_all, 1.0)
    rule = GateRule(rule="macro_f1", value=1.0, limit=0.0, passed=True)
    evaluations.write(
        judged,
        Evaluation(
            group="benchmark", experiment="benchmark", onnx_sha256=sha256, classes=CLASSES, test_crops=0, per_class=[],
            confusion=[], rules=[rule], **numbers,
        ),
    )  # fmt: skip
    return bundle, judged


def _group(made: Served, number: int) -> str:
    """Put so many pictures into the store, the photographs again and again, with the people that are on them."""
    known = {"person_class": CONFIG.person_class, "image_size": CONFIG.image_size, "min_score": CONFIG.min_score}
    model_path, _ = _jpegs(1)
    detector = load_detector(model_path, store=made.store, **known)
    people = []
    for data in made.jpegs[:number]:
        opened = open_picture(data)
        people.append((opened.width, opened.height, detector.detect([opened.pixels])[0]))
    rows, found = [], []
    numbered = zip(count_from(), cycle(made.jpegs), cycle(people))
    for index, data, (width, height, persons) in islice(numbered, number):
        own = data + index.to_bytes(4, "big")  # after its end, so that no two have the same bytes
        sha256 = hashlib.sha256(own).hexdigest()
        key = f"pictures/{sha256[:2]}/{sha256}.jpg"
        made.store.put_bytes(key, own)
        rows.append(
            PictureRow(
                picture_id=f"{index:06d}", object_key=key, sha256=sha256, width=width, height=height, label=CLASSES[0]
            )
        )
        common = {"sha256": sha256, "width": width, "height": height, "status": "unchecked"}
        found += [
            SnapshotRow(
                person_index=place, box_xyxy=person.box_xyxy, score=person.score,
                contours=contours.encode(person.contours), **common,
            )
            for place, person in enumerate(persons)
        ] or [SnapshotRow(person_index=NOBODY, box_xyxy=(0, 0, 0, 0), score=0, contours=b"", **common)]  # fmt: skip
    folder = made.folder / str(number)
    datasets.write(folder, Dataset(group=f"benchmark {number}", classes=tuple(CLASSES), rows=tuple(rows)))
    digest = snapshot.write(folder / "snapshot.arrow", found, head=SnapshotHead(model_digest="benchmark"))
    made.store.put_file(snapshot.store_key(digest), folder / "snapshot.arrow")
    return digest


# ---- batches of crops


def batches_of(stack: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.uint8]]:
    return [stack[start : start + BATCH] for start in range(0, len(stack), BATCH)]


def crops_per_s(made: Served) -> float:
    triton = made.triton
    start = time.perf_counter()
    asked = ((None, batch) for batch in batches_of(made.crops))
    answered = sum(len(rows) for _, rows in triton.infer_many(made.model, asked, in_flight=CONCURRENCY))
    return answered / (time.perf_counter() - start)


def crops_direct_per_s(made: Served) -> float:
    model = OnnxModel(made.onnx)
    model.probabilities(made.crops[:BATCH])
    start = time.perf_counter()
    return len(model.probabilities(made.crops, batch=BATCH)) / (time.perf_counter() - start)


# ---- pictures' bytes


def pictures_per_s(made: Served) -> float:
    triton = made.triton

    def ask(data: bytes) -> None:
        triton.answer_picture(made.picture_model, data)

    with ThreadPoolExecutor(CONCURRENCY) as pool:
        list(pool.map(ask, made.jpegs[:CONCURRENCY]))
        start = time.perf_counter()
        list(pool.map(ask, made.jpegs))
        return len(made.jpegs) / (time.perf_counter() - start)


def pictures_direct_per_s(made: Served) -> float:
    """Decode, find, cut and classify in this process, a picture a core."""
    path = made.folder / "segmenter.onnx"
    served_segmenter.fetch(made.segmenter, path, store=made.store)
    detector = served_segmenter.open_segmenter(made.segmenter, path, cores=cpu_cores())
    classifier = OnnxModel(made.onnx)
    key = f"triton/{made.picture_model}/1/settings.json"
    settings = PictureSettings.from_json(made.store.get_bytes(key))

    def answer(data: bytes) -> None:
        answer_picture(
            data, settings, find=lambda pixels: detector.detect([pixels])[0], classify=classifier.probabilities,
            model="", version="",
        )  # fmt: skip

    with ThreadPoolExecutor(detector.lanes) as pool:
        list(pool.map(answer, made.jpegs[:CONCURRENCY]))
        start = time.perf_counter()
        list(pool.map(answer, made.jpegs))
        return len(made.jpegs) / (time.perf_counter() - start)


# ---- a whole run


def infer_per_s(made: Served) -> float:
    number = max(made.snapshots)
    for key in list(made.store.list_keys("inference/benchmark")):
        made.store.remove(key)
    with tempfile.TemporaryDirectory() as out:
        report = classify_pictures(
            model=made.model, out=Path(out), store=made.store, triton=made.triton, config=DATASET,
            dataset=made.folder / str(number), snapshot_digest=made.snapshots[number],
        )  # fmt: skip
    if (report.pictures, report.new) != (number, number):
        raise RuntimeError(f"{number} pictures must have been classified, got {report}")
    return report.pictures_per_s


def infer_direct_per_s(made: Served) -> float:
    number = max(made.snapshots)
    model = OnnxModel(made.onnx)
    rows = snapshot.read(made.folder / str(number) / "snapshot.arrow")
    pictures = datasets.read(made.folder / str(number)).rows
    shape = CropShape(size=DATASET.crop_size, margin=DATASET.crop_margin, background=DATASET.background)
    start = time.perf_counter()
    cut = cut_people.of_dataset(pictures, rows, store=made.store, shape=shape, everyone=False)
    done = sum(len(model.probabilities(batch)) for batch in _stacked(cut))
    if not done:
        raise RuntimeError("somebody must be on the pictures")
    return number / (time.perf_counter() - start)


def _stacked(cut: Iterable[object]) -> Iterator[npt.NDArray[np.uint8]]:
    people = (person.crop for picture in cut if isinstance(picture, CutPicture) for person in picture.people)
    while part := list(islice(people, BATCH)):
        yield np.stack(part)


def _peak_mb(made: Served, number: int) -> float:
    """Run it in a process of its own, and return the most memory that it ever had."""
    settings = {
        "model": made.model, "environ": made.environ, "dataset": str(made.folder / str(number)),
        "snapshot_digest": made.snapshots[number],
    }  # fmt: skip
    for key in list(made.store.list_keys("inference/benchmark")):
        made.store.remove(key)
    command = [sys.executable, "-m", "tests.benchmarks.bench_serving", json.dumps(settings)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def most_mb(made: Served) -> float:
    return _peak_mb(made, max(made.snapshots))


def least_mb(made: Served) -> float:
    return _peak_mb(made, min(made.snapshots))


def main(text: str) -> None:
    """Be the process whose memory is measured."""
    given = json.loads(text)
    with tempfile.TemporaryDirectory() as out:
        classify_pictures(
            model=given["model"], out=Path(out), store=open_store(store_settings(given["environ"])),
            triton=open_triton(given["environ"]["SILHOUETTE_TRITON_URL"]), config=DATASET,
            dataset=Path(given["dataset"]), snapshot_digest=given["snapshot_digest"],
        )  # fmt: skip
    # not getrusage's: that is what the parent had, when it had more
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    print(next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024)


# ---- a version switch under a steady rate


@dataclass(kw_only=True)
class Switching:
    """A served model that gets another version while requests come in; `before_ms` is what `during_ms` found first."""

    made: Served
    most_per_s: float
    quiet_s: float
    version: int = 0
    before_ms: float = 0.0


@contextmanager
def switching(*, most_per_s: float, quiet_s: float) -> Iterator[Switching]:
    with served(crops_count=64, jpegs_count=3, groups=()) as made:
        yield Switching(made=made, most_per_s=most_per_s, quiet_s=quiet_s)


def during_ms(what: Switching) -> float:
    """Return the 99th percentile of the latencies while a version is deployed, by an open loop; `TOLD` has the rest."""
    made, what.version = what.made, what.version + 1
    bundle, judged = _bundle(made.folder / f"next {what.version}", seed=what.version)
    card = model_bundle.read(bundle)
    per_s = min(what.most_per_s, _single_crops_per_s(made) / 2)
    offer = Offer(
        url=made.triton.url, model=made.model, body_path=str(made.request_path), header_length=made.header_length,
        per_s=per_s,
    )  # fmt: skip
    with offering(offer) as answers:
        time.sleep(what.quiet_s)
        begun = time.monotonic()
        deploy_model(
            bundle=bundle, evaluation=judged, store=made.store, triton=made.triton, out=made.folder / "deployed",
            serving=ServingConfig(max_slowdown=None),
        )  # fmt: skip
        ended = time.monotonic()
        time.sleep(what.quiet_s)
    failed, versions = [item.error for item in answers if item.error], {item.version for item in answers}
    if failed or len(versions) != 2:
        raise RuntimeError(f"no request may fail and two versions must answer, got {failed[:3]} and {versions}")
    before = [item for item in answers if item.planned < begun]
    during = [item for item in answers if begun <= item.planned < ended]
    what.before_ms = percentile_s(before, 0.99) * 1000
    told = (
        f"serving.switch: {len(answers)} requests at {per_s:.1f}/s for {len(answers) / per_s:.0f} s of {card.backbone},"
        f" none failed; the switch took {ended - begun:.1f} s; p50 {percentile_s(before, 0.5) * 1000:.0f} ms before and"
        f" {percentile_s(during, 0.5) * 1000:.0f} ms during it, p99 {what.before_ms:.0f} and"
        f" {percentile_s(during, 0.99) * 1000:.0f} ms"
    )
    TOLD.parent.mkdir(exist_ok=True)  # the frame shows medians only, and the rate is what they are of
    TOLD.write_text(f"{told}\n", encoding="utf-8")
    return percentile_s(during, 0.99) * 1000


def before_ms(what: Switching) -> float:
    return what.before_ms


def _single_crops_per_s(made: Served) -> float:
    """Return how many requests of one crop the machine answers when it does nothing else."""
    triton = made.triton
    asked = [(None, made.crops[number : number + 1]) for number in range(len(made.crops))]
    start = time.perf_counter()
    answered = sum(len(rows) for _, rows in triton.infer_many(made.model, asked, in_flight=CONCURRENCY))
    return answered / (time.perf_counter() - start)


def small_switching() -> AbstractContextManager[Switching]:
    return nullcontext(Switching(made=_small(), most_per_s=10.0, quiet_s=1.0))


@functools.cache
def _small() -> Served:
    """Serve once for all that a test runs, till the end of its process."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(served(crops_count=16, jpegs_count=3, groups=(4, 6)))


def small() -> AbstractContextManager[Served]:
    return nullcontext(_small())


RATE = {"unit": "crops/s", "better": "higher", "small": small}

BENCHMARK = (
    Benchmark(
        name="serving.crops", ours=crops_per_s, other=crops_direct_per_s, target=0.85,
        setup=partial(served, crops_count=256, jpegs_count=3, groups=()), **RATE,
    ),
    Benchmark(
        name="serving.pictures", ours=pictures_per_s, other=pictures_direct_per_s, target=0.8,
        setup=partial(served, crops_count=8, jpegs_count=40, groups=()), **{**RATE, "unit": "pictures/s"},
    ),
    Benchmark(
        name="serving.infer", ours=infer_per_s, other=infer_direct_per_s, target=0.85, repetitions=1, warmups=0,
        setup=partial(served, crops_count=8, jpegs_count=116, groups=(2000,)), **{**RATE, "unit": "pictures/s"},
    ),
    Benchmark(
        name="serving.memory", ours=most_mb, other=least_mb, target=1.15, unit="MB", repetitions=1, warmups=0,
        setup=partial(served, crops_count=8, jpegs_count=60, groups=(300, 2000)), small=small,
    ),
    Benchmark(  # last: it deploys another version of what the others ask
        name="serving.switch", ours=during_ms, other=before_ms, target=2.0, unit="ms", repetitions=1, warmups=0,
        setup=partial(switching, most_per_s=50.0, quiet_s=25.0), small=small_switching,
    ),
)  # fmt: skip

if __name__ == "__main__":
    main(sys.argv[1])
