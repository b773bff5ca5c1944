"""What README.md and docs/serving.md tell is run as it stands; only the server's address and the group's key differ."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest

from silhouette.store import Store
from silhouette.triton_client import Triton
from tests.serving import world
from tests.serving.world import Served

CHECKOUT = Path(__file__).resolve().parents[2]
README, DOCS = (CHECKOUT / name for name in ("README.md", "docs/serving.md"))


@pytest.fixture(scope="module")
def served(served_store: Store, triton: Triton, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = world.serve(tmp_path_factory.mktemp("served"), "documented", store=served_store, triton=triton)
    yield made
    world.withdraw(made, store=served_store, triton=triton)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    path.write_bytes(world.encoded(world.oval("green")))
    return path


def here(text: str, served: Served) -> str:
    """Put our server and group in the place of the documented ones."""
    text, times = re.subn(r"http://127\.0\.0\.1:\d+", served.deployed.url, text)
    assert times == 1
    return text.replace("outfit_picture", served.deployed.picture_model)


@pytest.mark.parametrize("file", [README, DOCS], ids=lambda path: path.name)
def test_the_curl_line_answers_a_photo(file: Path, served: Served, photo: Path) -> None:
    (line,) = (line for line in file.read_text().splitlines() if line.startswith("curl ") and "@photo.jpg" in line)
    done = subprocess.run(
        ["sh", "-c", here(line, served)], cwd=photo.parent, capture_output=True, check=True, timeout=60
    )
    assert json.loads(done.stdout)["label"] == "green"


def test_the_python_client_prints_the_label(served: Served, photo: Path) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert len([line for line in program.splitlines() if line]) <= 10
    done = subprocess.run(
        [sys.executable, "-c", here(program, served)], cwd=photo.parent, capture_output=True, check=True, timeout=60
    )
    assert done.stdout.decode() == "green\n"


def keys(content: Any) -> Any:
    """The shape of an answer: names all the way down."""
    if isinstance(content, dict):
        return {name: keys(value) for name, value in content.items()}
    if isinstance(content, list) and content and isinstance(content[0], dict):
        return [keys(content[0])]
    return None


def test_the_documented_answer_has_the_shape_of_a_real_one(served: Served, photo: Path, triton: Triton) -> None:
    documented = next(
        json.loads(text)
        for text in re.findall(r"```json\n(.*?)```", DOCS.read_text(), re.DOTALL)
        if '"outcome"' in text
    )
    assert keys(documented) == keys(triton.answer_picture(served.deployed.picture_model, photo.read_bytes()))


def test_an_unknown_model_has_the_documented_status(served: Served) -> None:
    address = urlparse(served.deployed.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": "0"}
    connection.request("POST", "/v2/models/nobody_picture/infer", body=b"x", headers=headers)
    status = connection.getresponse().status
    connection.close()
    (row,) = (line for line in DOCS.read_text().splitlines() if "there is no such model" in line)
    assert row.startswith(f"| {status} |")
