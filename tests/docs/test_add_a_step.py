"""The step of docs/add_a_step.md is one: its work counts, KFP takes its component, and its wiring compiles."""

import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kfp import compiler, dsl

import silhouette
from pipelines.resources import on_cpu
from silhouette.contracts import dataset
from silhouette.contracts.dataset import Dataset, PictureRow
from silhouette.errors import InputError

PAGE = Path(__file__).resolve().parents[2] / "docs" / "add_a_step.md"


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The room as the page says, beside the real ones; give the page's wiring."""
    work, component, wiring = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    folder = tmp_path / "count_labels"
    folder.mkdir()
    for name, code in (("__init__", ""), ("count", work), ("component", component)):
        (folder / f"{name}.py").write_text(code, encoding="utf-8")
    monkeypatch.setattr(silhouette, "__path__", [*silhouette.__path__, str(tmp_path)])
    yield wiring
    for name in [name for name in sys.modules if name.startswith("silhouette.count_labels")]:
        del sys.modules[name]


def test_its_work_counts_the_labels_of_a_dataset(room: str, tmp_path: Path) -> None:
    rows = tuple(
        PictureRow(picture_id=str(n), object_key=f"k{n}", sha256=f"{n:064x}", width=9, height=9, label="лето")
        for n in range(3)
    )
    dataset.write(tmp_path / "dataset", Dataset(group="g", classes=("лето", "зима"), rows=rows))
    work = importlib.import_module("silhouette.count_labels.count")
    report = work.count_labels(dataset=tmp_path / "dataset", out=tmp_path / "out")
    assert report.counts == json.loads((tmp_path / "out" / "labels.json").read_text()) == {"лето": 3, "зима": 0}
    with pytest.raises(InputError):
        work.count_labels(dataset=tmp_path / "nothing", out=tmp_path / "out")


def test_kfp_takes_its_component_where_the_page_wires_it(room: str, tmp_path: Path) -> None:
    component = importlib.import_module("silhouette.count_labels.component").count_labels

    @dsl.pipeline(name="counted")
    def counted() -> None:
        pictures = dsl.importer(artifact_uri="s3://bucket/dataset", artifact_class=dsl.Dataset)
        # the page takes the download's output; here an importer has it
        code = room.replace('pictures.outputs["dataset"]', "pictures.output")
        exec(code, {"count_labels": component, "on_cpu": on_cpu, "pictures": pictures})

    compiler.Compiler().compile(counted, str(tmp_path / "counted.yaml"))
    text = (tmp_path / "counted.yaml").read_text()
    assert "Count labels" in text
    assert "silhouette/cpu:" in text
