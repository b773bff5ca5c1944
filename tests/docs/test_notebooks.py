"""The notebook about the database runs as it is committed, on real PostgreSQL, and finds what is odd there."""

from __future__ import annotations

import html
import os
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from silhouette.database import badlist, connect, labels
from silhouette.store import Store
from tests.export_masks import worlds
from tests.export_masks.worlds import GROUP, HOLED, OTHER_MODEL, PLAIN

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "notebooks" / "check_database.ipynb"

# jupyter_client and zmq speak of event loops and folders of their own
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]


def read() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


def executed() -> tuple[Any, str]:
    """Run the notebook in a kernel with this environment; return it and the text of all outputs."""
    notebook = read()
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    if kept := os.environ.get("KEEP_NOTEBOOK"):
        nbformat.write(notebook, kept)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    texts = [output.get("text", "") + "".join(output.get("data", {}).get("text/html", "")) for output in outputs]
    return notebook, html.unescape(re.sub(r"<[^>]+>", " ", "\n".join(texts)))


def test_it_is_committed_without_outputs_and_is_valid() -> None:
    notebook = read()
    nbformat.validate(notebook)
    assert all(not cell.outputs and cell.execution_count is None for cell in notebook.cells if cell.cell_type == "code")


@pytest.mark.timeout(600)
def test_it_counts_and_finds_what_is_odd(
    environ: dict[str, str], store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    with connect() as connection:
        world = worlds.filled(store, connection)
        world.decide("empty", "nobody")
        world.segment("plain", [*PLAIN, PLAIN[0]], model=OTHER_MODEL, scores=[0.95, 0.4, 0.3])  # one found twice
        world.segment("empty", [worlds.box_mask(5, 5, 8, 8), HOLED[0]], model=OTHER_MODEL)  # one is tiny
        badlist.add(connection, ["plain", "unknown"], by="anna", reason="no consent")
        rows = [row for row in world.rows.values() if row.picture_id != "overlapping"]
        labels.replace(connection, group=GROUP, dataset_digest="e" * 64, pictures=rows)
    notebook, text = executed()
    assert GROUP in text
    for line in (
        "● 1 segmentations of pictures that are in no group now", "✓ 0 labels of pictures that never came in",
        "● 1 ids of the badlist that are unknown", "✓ 0 segmentations whose number of people",
        "● 1 pairs of people with an IoU", "● 1 people on less than", "● 4 pictures with a side below",
        "● 2 pictures on which two models", "2 ids; 1 different pictures came in under them", "no consent",
    ):  # fmt: skip
        assert re.sub(r"\s+", " ", line) in re.sub(r"\s+", " ", text), line
    charts = [out for cell in notebook.cells for out in cell.get("outputs", ()) if "image/png" in out.get("data", {})]
    assert len(charts) == 3


def test_it_runs_on_an_empty_database(environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    with connect() as connection:
        connection.execute("TRUNCATE segmentations, people, badlist, pictures, labels, datasets, groups")
    assert "✓  0" in executed()[1].replace("<b>", "")
