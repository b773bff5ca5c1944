from __future__ import annotations

import io
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import tritonclient.http as triton_http
from minio import Minio
from onnx import TensorProto, helper
from tritonclient.utils import InferenceServerException

from pipelines.embedded import down, environment, status, triton_files, up
from silhouette.errors import ServiceError
from tests.pipelines.embedded.conftest import forget_servers_of_the_user, processes_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the embedded Triton is a Linux program")

CONFIG = """
name: "{name}" {kind} max_batch_size: 8
input [{{ name: "x" data_type: {data_type} dims: [ {width} ] }}]
output [{{ name: "y" data_type: TYPE_FP32 dims: [ 3 ] }}]
instance_group [{{ kind: KIND_CPU count: 2 }}]
dynamic_batching {{ }}
"""


def onnx_bytes(factor: float) -> bytes:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])
    constant = helper.make_tensor("factor", TensorProto.FLOAT, [1], [factor])
    graph = helper.make_graph([helper.make_node("Mul", ["x", "factor"], ["y"])], "times", [x], [y], [constant])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    content: bytes = model.SerializeToString()
    return content


def put_model(
    state_dir: Path,
    name: str,
    *,
    content: bytes | None = None,
    kind: str = 'backend: "onnxruntime"',
    data_type: str = "TYPE_FP32",
    width: int = 3,
) -> None:
    variables = environment(state_dir)
    keys = variables["SILHOUETTE_S3_ACCESS_KEY"], variables["SILHOUETTE_S3_SECRET_KEY"]
    store = Minio(variables["SILHOUETTE_S3_ENDPOINT"], *keys, secure=False)
    config = CONFIG.format(name=name, kind=kind, data_type=data_type, width=width).encode()
    for key, value in (
        (f"triton/{name}/1/model.onnx", onnx_bytes(2) if content is None else content),
        (f"triton/{name}/config.pbtxt", config),
    ):
        store.put_object("silhouette", key, io.BytesIO(value), len(value))


def client_of(state_dir: Path) -> triton_http.InferenceServerClient:
    return triton_http.InferenceServerClient(environment(state_dir)["SILHOUETTE_TRITON_URL"].removeprefix("http://"))


def answer_of(state_dir: Path, name: str = "tiny") -> list[float]:
    client = client_of(state_dir)
    try:
        x = triton_http.InferInput("x", [1, 3], "FP32")
        x.set_data_from_numpy(np.array([[1, 2, 3]], np.float32))
        answer: list[float] = client.infer(name, [x]).as_numpy("y")[0].tolist()
        return answer
    finally:
        client.close()


def load_model(state_dir: Path, name: str) -> None:
    client = client_of(state_dir)
    try:
        client.load_model(name)
    finally:
        client.close()


def stubs(state_dir: Path) -> list[psutil.Process]:
    return [process for process in processes_of(state_dir) if "stub" in process.name()]


@pytest.fixture(scope="module")
def spaced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A running Triton whose state folder has a space in its path."""
    folder = tmp_path_factory.mktemp("my pictures") / "state"
    with pytest.MonkeyPatch.context() as monkeypatch:
        forget_servers_of_the_user(monkeypatch)
        up(folder, services=["triton"])
        yield folder
        down(folder)
    assert processes_of(folder) == []


def test_deployed_model_is_served_again_after_a_restart_and_a_kill(state_dir: Path) -> None:
    assert up(state_dir, services=["triton"]).statuses[-1].detail == "serves no model yet"
    put_model(state_dir, "tiny", kind='platform: "onnxruntime_onnx"')
    put_model(state_dir, "broken", content=b"not an ONNX file")
    load_model(state_dir, "tiny")
    assert answer_of(state_dir) == [2, 4, 6]
    before = status(state_dir, services=["triton"])[0]
    assert before.detail == "serves tiny"
    assert up(state_dir, services=["triton"]).statuses[-1].pid == before.pid

    down(state_dir, services=["triton"])
    assert processes_of(state_dir)  # the object store runs on
    detail = up(state_dir, services=["triton"]).statuses[-1].detail
    assert "serves tiny; cannot serve broken: " in detail
    assert answer_of(state_dir) == [2, 4, 6]

    for row in status(state_dir, services=["triton", "object_store"]):
        os.kill(row.pid or 0, signal.SIGKILL)
    up(state_dir, services=["triton"])
    assert answer_of(state_dir) == [2, 4, 6]
    assert len(list((state_dir / "triton/work/models").iterdir())) <= 2  # what the killed one had is gone
    listening = {c.laddr.ip for p in processes_of(state_dir) for c in p.net_connections("inet") if c.status == "LISTEN"}
    assert listening <= {"127.0.0.1", "::ffff:127.0.0.1"}


def test_killed_python_process_of_a_model_is_noticed_and_healed(spaced: Path) -> None:
    put_model(spaced, "tiny")
    load_model(spaced, "tiny")
    assert len(stubs(spaced)) == 2
    for stub in stubs(spaced):
        stub.kill()
    time.sleep(0.2)
    server = status(spaced, services=["triton"])[0]
    assert "tiny lost a process" in server.detail
    assert up(spaced, services=["triton"]).statuses[-1].detail == "serves tiny"
    assert status(spaced, services=["triton"])[0].pid == server.pid
    assert answer_of(spaced) == [2, 4, 6]


def test_model_that_disagrees_with_its_config_is_refused_with_the_reason(spaced: Path) -> None:
    put_model(spaced, "typed", data_type="TYPE_UINT8")
    put_model(spaced, "shaped", width=4)
    with pytest.raises(InferenceServerException, match=r"tensor\(float\) in the ONNX file, TYPE_UINT8 in config"):
        load_model(spaced, "typed")
    with pytest.raises(InferenceServerException, match=r"shape \[-1, 3\] in the ONNX file, \[-1, 4\] in config"):
        load_model(spaced, "shaped")


def test_missing_venv_is_said(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match=r"needs its own venv, .* is missing; `make up` makes it"):
        triton_files.venv(tmp_path / "nothing")


def test_other_systems_are_told_where_triton_can_come_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.libc_ver", lambda: ("glibc", "2.31"))
    with pytest.raises(ServiceError, match=r"glibc 2.35 or newer, this is .*2\.31; start a Triton elsewhere"):
        triton_files.venv(Path("/anywhere"))
