"""The committed pipeline, run whole as `make run` runs it, on about 60 pictures and one epoch.

The runs share one state folder and build on each other, as a user's do: first run, nothing changed, a gate that
refuses, something changed below.
"""

import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psycopg
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipelines import embedded
from pipelines.embedded.picture_service import create_app
from samples.make import make_samples
from samples.scenes import draw_scene
from silhouette.contracts import crops, predictions
from silhouette.names import safe_key
from silhouette.settings import store_settings
from silhouette.store import open_store
from tests.loopback import TOKEN, serving

CHECKOUT = Path(__file__).resolve().parents[2]
GROUP = "summer “test” $1/Лето"
ONE_EPOCH = "epochs=1 min_macro_f1=0.0 batch_size=16"
UNCACHED = {
    "What is there",
    "Segment people",
    "Freeze contours",
    "What is served",
    "Deploy to Triton",
    "Classify pictures",
}
UNCACHED |= {"Report the run"}
CACHED = {"Download pictures", "Build dataset", "Train classifier", "Export model", "Evaluate model"}

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("run") / "state"
    yield folder
    embedded.down(folder)


def sorted_by_class(made: Path, folder: Path) -> Path:
    """Copy drawn pictures into one sub-folder per class."""
    for line in (made / "pictures.jsonl").read_text().splitlines():
        picture = json.loads(line)
        target = folder / picture["label"] / Path(picture["file"]).name
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(made / picture["file"], target)
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one sub-folder per class, about 60 drawn pictures."""
    made = tmp_path_factory.mktemp("drawn")
    make_samples(made, count=64, seed=5)
    return sorted_by_class(made, tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def command(source: Path) -> list[str]:
    program = [sys.executable, "-m", "pipelines.local"]
    return [*program, "--group", GROUP, "--source", str(source), "--args", ONE_EPOCH]


@pytest.fixture(scope="module")
def environ(state: Path) -> dict[str, str]:
    return {**os.environ, "SILHOUETTE_STATE_DIR": str(state), "COLUMNS": "200"}


@pytest.fixture(scope="module")
def run(command: list[str], environ: dict[str, str]) -> Run:
    def start(args: str = ONE_EPOCH, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command[:-1], args],
            cwd=CHECKOUT,
            env={**environ, **more},
            capture_output=True,
            text=True,
            timeout=540,
            check=False,
        )

    return start


def _steps(output: str) -> dict[str, str]:
    """Return what became of each step: done, reused or failed."""
    return dict(re.findall(r"^▸ (.+)\n(?:.*\n)*?    (done|reused|failed)", output, flags=re.MULTILINE))


@pytest.fixture(scope="module")
def first(run: Run) -> subprocess.CompletedProcess[str]:
    done = run()
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    return done


def test_first_run_does_every_step_and_ends_in_a_table(first: subprocess.CompletedProcess[str]) -> None:
    assert _steps(first.stdout) == dict.fromkeys(UNCACHED | CACHED, "done")
    rows = "pictures people splits macro-F1 majority parity calibration background gate report Triton"
    for row in rows.split():
        assert re.search(rf"^{row} ", first.stdout, flags=re.MULTILINE), row


def test_printed_curl_line_answers_with_a_class_name(first: subprocess.CompletedProcess[str], source: Path) -> None:
    line = next(line for line in first.stdout.splitlines() if line.lstrip().startswith("curl "))
    assert shutil.which("curl"), "curl must be installed to prove the printed line"
    answer = subprocess.run(shlex.split(line), capture_output=True, text=True, timeout=60, check=True).stdout
    classes = "|".join(sorted(folder.name for folder in source.iterdir()))
    assert re.search(rf":({classes})\"", answer), answer


def test_no_secret_reaches_output_or_artifacts(first: subprocess.CompletedProcess[str], state: Path) -> None:
    environment = embedded.environment(state)
    secrets = [
        environment["SILHOUETTE_S3_SECRET_KEY"],
        environment["SILHOUETTE_POSTGRES_DSN"].split(":")[2].split("@")[0],
    ]
    kept = [
        path for path in (state / "runs").rglob("*") if path.is_file() and path.suffix in (".json", ".html", ".csv", "")
    ]
    assert kept
    for secret in secrets:
        assert secret not in first.stdout + first.stderr
        assert not [path for path in kept if secret.encode() in path.read_bytes()]


def test_run_is_recorded_in_the_store(first: subprocess.CompletedProcess[str], state: Path) -> None:
    store = open_store(store_settings(embedded.environment(state)))
    (key,) = store.list_keys("runs/training/")
    record = json.loads(store.get_bytes(key))
    assert (record["state"], record["parameters"]) == ("SUCCEEDED", {"group": GROUP})
    assert f"training succeeded; recorded as {key}" in first.stdout


def test_inference_asks_the_model_that_training_deployed_by_shards_and_puts_them_together(
    first: subprocess.CompletedProcess[str], command: list[str], environ: dict[str, str], state: Path
) -> None:
    store = open_store(store_settings(embedded.environment(state)))
    for key in list(store.list_keys(f"inference/{safe_key(GROUP)}/")):
        store.remove(key)  # what the training run classified
    done = subprocess.run(
        [*command[:-1], "extra_workers='[1]'", "--pipeline", "inference"],
        cwd=CHECKOUT, env=environ, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    steps = _steps(done.stdout)
    assert steps["Download pictures"] == "reused"  # the same version of the same pictures
    assert steps["Classify pictures"] == "done"
    assert "Train classifier" not in steps
    told = re.findall(r"(\d+) people on (\d+) pictures classified by .* version 1, (\d+) pictures new", done.stdout)
    assert len(re.findall("^▸ Classify a shard$", done.stdout, re.MULTILINE)) == 2
    assert len(re.findall("^▸ Segment people$", done.stdout, re.MULTILINE)) == 2
    assert (len(told), sum(int(new) for _, _, new in told)) == (3, 64)  # both shards and who merged; nothing twice
    assert told[-1][1:] == ("64", "0")
    table = pq.read_table(io.BytesIO(store.get_bytes(f"inference/{safe_key(GROUP)}/{predictions.PARQUET_NAME}")))
    main = [row["picture_id"] for row in table.to_pylist() if row["is_main"]]
    assert (len(main), len(set(main))) == (64, 64)


def test_second_run_repeats_no_download_no_segmentation_no_training(
    first: subprocess.CompletedProcess[str], run: Run
) -> None:
    again = run()
    assert again.returncode == 0, again.stdout[-4000:] + again.stderr
    steps = _steps(again.stdout)
    assert {name for name, what in steps.items() if what == "reused"} == CACHED
    assert "0 new" in again.stdout  # the segmentation skips by its own records


def test_printed_photo_line_answers_a_picture_of_the_group(
    first: subprocess.CompletedProcess[str], source: Path
) -> None:
    (line,) = (line for line in first.stdout.splitlines() if "_picture/infer" in line)
    picture = next(source.rglob("*.jpg"))
    arguments = [f"@{picture}" if part == "@photo.jpg" else part for part in shlex.split(line)]
    body = subprocess.run(arguments, capture_output=True, check=True, timeout=60).stdout
    answer = json.loads(body[body.index(b'{"outcome"') :])
    assert answer["group"] == GROUP
    assert answer["outcome"] in ("classified", "nobody")
    assert {person["label"] for person in answer["people"]} <= {path.name for path in source.iterdir()}


def test_refused_gate_deploys_nothing_and_the_old_version_goes_on(
    first: subprocess.CompletedProcess[str], run: Run, state: Path
) -> None:
    refused = run("epochs=1 min_macro_f1=1.0 batch_size=16")
    assert refused.returncode == 1
    assert re.search(
        r"^error: Refuse model: .*macro_f1 must be at least 1\.000, got 0\.\d+, 0\.\d+ too little",
        refused.stderr,
        re.MULTILINE,
    )
    assert "Deploy to Triton" not in _steps(refused.stdout)
    assert _steps(refused.stdout)["Refuse model"] == "failed"
    line = next(line for line in first.stdout.splitlines() if line.lstrip().startswith("curl "))
    assert subprocess.run(shlex.split(line), capture_output=True, timeout=60, check=True).stdout


def test_rejected_picture_rebuilds_the_dataset_downloads_nothing_and_meets_the_served_model(
    first: subprocess.CompletedProcess[str], run: Run, state: Path
) -> None:
    with psycopg.connect(embedded.environment(state)["SILHOUETTE_POSTGRES_DSN"]) as connection:
        connection.execute(
            """
            UPDATE segmentations
            SET status = 'rejected', revision = revision + 1, reviewer = 'a test', reason = 'blurred'
            WHERE id = (SELECT min(id) FROM segmentations)
            """
        )
    changed = run()
    assert changed.returncode == 0, changed.stdout[-4000:] + changed.stderr
    steps = _steps(changed.stdout)
    assert steps["Download pictures"] == "reused"
    assert steps["Build dataset"] == "done"
    assert steps["Train classifier"] == "done"
    assert re.search(r"^served now +version 1; the new one against it: macro-F1 [+-]\d", changed.stdout, re.MULTILINE)


def test_changed_byte_under_the_same_path_is_noticed(
    first: subprocess.CompletedProcess[str], run: Run, source: Path
) -> None:
    picture = min(source.rglob("*.jpg"))
    data, times = picture.read_bytes(), picture.stat()
    picture.write_bytes(data[:-2] + b"\x00\xff\xd9")
    os.utime(picture, ns=(times.st_atime_ns, times.st_mtime_ns))
    changed = run()
    assert changed.returncode == 0, changed.stdout[-4000:] + changed.stderr
    assert _steps(changed.stdout)["Download pictures"] == "done"


@pytest.mark.parametrize(
    ("service", "when"),
    [("postgres", "▸ Download pictures"), ("object_store", "▸ Segment people"), ("triton", "▸ Evaluate model")],
)
def test_service_stopped_in_the_middle_is_one_clear_line(
    service: str,
    when: str,
    first: subprocess.CompletedProcess[str],
    command: list[str],
    environ: dict[str, str],
    state: Path,
) -> None:
    with subprocess.Popen(
        command, cwd=CHECKOUT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            if line.startswith(when):
                embedded.down(state, services=[service])
                break
        output, errors = process.stdout.read(), process.stderr.read()
    assert process.returncode == 1, output + errors
    assert "Traceback" not in output + errors
    told = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert len(told) == 1, errors
    assert re.search(r"make up|run again|run it again", told[0]), told


def test_run_after_the_stops_brings_the_services_back_and_finishes(
    first: subprocess.CompletedProcess[str], run: Run
) -> None:
    done = run()
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr


def test_store_of_the_users_own_that_is_gone_is_one_clear_line(
    first: subprocess.CompletedProcess[str], run: Run, unused_port: int
) -> None:
    gone = run(
        SILHOUETTE_S3_ENDPOINT=f"127.0.0.1:{unused_port}",
        SILHOUETTE_S3_ACCESS_KEY="someone",
        SILHOUETTE_S3_SECRET_KEY="somewhere",
    )
    assert gone.returncode == 1
    assert "Traceback" not in gone.stdout + gone.stderr
    assert f"127.0.0.1:{unused_port}" in gone.stderr


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory, source: Path) -> Path:
    """A list of pixsets, and beside it the group that a picture service has: drawn places, and two with people."""
    folder = tmp_path_factory.mktemp("places")
    group = folder / "served"
    (group / "pictures").mkdir(parents=True)
    (group / "group.json").write_text(json.dumps({"name": "places", "classes": ["a", "b"]}))
    lines = []
    for number in range(8):
        name = f"pictures/{number}.jpg"
        scene = draw_scene(np.random.default_rng([21, number]), width=320, height=320)
        Image.fromarray(scene.rgb).save(group / name, quality=90)
        lines.append({"picture_id": f"place {number}", "file": name, "label": "a", "pixset_id": f"set {number // 2}"})
    for number, picture in enumerate(sorted(source.rglob("*.jpg"))[:2]):
        shutil.copyfile(picture, group / f"pictures/crowd {number}.jpg")
        line = {"file": f"pictures/crowd {number}.jpg", "label": "b", "pixset_id": "set 0"}
        lines.append({"picture_id": f"crowd {number}", **line})
    (group / "pictures.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    pixsets = folder / "my places.json"
    pixsets.write_text(json.dumps([f"set {number}" for number in range(4)]))
    return pixsets


# last: it serves a model that saw other crops, beside which no later one could be judged
def test_background_set_reaches_the_training_without_its_people(
    first: subprocess.CompletedProcess[str], run: Run, state: Path, places: Path, tmp_path: Path
) -> None:
    (tmp_path / "keep.yaml").write_text("dataset: {background: keep}\n")
    args = f"{ONE_EPOCH} {shlex.quote(f'background_pixsets={places}')}"
    with serving(create_app(places.parent / "served", TOKEN)) as url:
        service = {
            "SILHOUETTE_PICTURE_SERVICE_URL": url,
            "SILHOUETTE_PICTURE_SERVICE_TOKEN": TOKEN,
            "SILHOUETTE_CONFIG": str(tmp_path / "keep.yaml"),
        }
        done = run(args, **service)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr
        again = run(args, **service)
    steps = _steps(done.stdout)
    assert steps["Download pictures"] == "reused"
    assert {steps[name] for name in ("Download background", "Segment background", "Build dataset")} == {"done"}
    folder = max((state / "runs").glob("*/build-dataset/crops"), key=lambda found: found.stat().st_mtime)
    head = crops.read_head(folder)
    assert min(head.background_counts.values()) >= 8
    assert set(head.background_left_out["person"]) >= {"crowd 0", "crowd 1"}
    shown = {row.picture_id for split in crops.BACKGROUND_SPLITS for row in crops.CropTable(folder, split)}
    assert shown
    assert not shown & set(head.background_left_out["person"])
    assert re.search(
        r"^segmented +0 new, \d+ known$", done.stdout, flags=re.MULTILINE
    )  # of the group; the set's own are told by their step
    assert re.search(r"^places +\d+ background_train, \d+ background_test$", done.stdout, flags=re.MULTILINE)
    assert "views of the background set" in done.stdout
    assert again.returncode == 0, again.stdout[-4000:] + again.stderr
    assert {name for name, what in _steps(again.stdout).items() if what == "reused"} == CACHED | {"Download background"}
