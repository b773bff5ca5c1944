from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
import stamina

from silhouette.contracts.deployment import Deployment
from silhouette.deploy_model.deploy import deploy_model
from silhouette.errors import InputError, ServiceError, SettingError
from silhouette.store import Store
from silhouette.triton_client import Triton, open_triton, request_file
from tests.deploy_model import bundles

CROPS = np.full((5, 32, 32, 3), 40, np.uint8)
CROPS[:, :, :, 1] = 200  # green


@pytest.fixture(scope="module")
def model(served_store: Store, triton: Triton, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("model")
    judged = bundles.make(folder, group="client")
    deployed: Deployment = deploy_model(
        bundle=judged.bundle, evaluation=judged.evaluation, store=served_store, triton=triton, out=folder / "out"
    )
    yield deployed.model
    for key in list(served_store.list_keys(f"triton/{deployed.model}/")):
        served_store.remove(key)
    triton.unload(deployed.model)


def test_answers_are_the_models_probabilities(triton: Triton, model: str) -> None:
    expected = bundles.answers(CROPS, np.eye(3, dtype=np.float32) * 9)
    np.testing.assert_allclose(triton.infer(model, CROPS), expected, atol=1e-6)
    np.testing.assert_allclose(triton.infer(model, CROPS, version="1"), expected, atol=1e-6)
    assert triton.class_name(model, CROPS[0]) == "green"


def test_a_server_says_what_it_has(triton: Triton, model: str) -> None:
    assert triton.is_ready()
    assert triton.versions(model) == ["1"]
    assert triton.versions("another") == []
    config = triton.config(model)
    assert (config.crop_size, config.classes, config.max_batch_size) == (32, 3, 32)
    assert [(item.version, item.state, item.reason) for item in triton.index(model)] == [("1", "READY", "")]
    triton.wait_ready(model)


def test_many_batches_come_back_in_order_and_leave_no_open_file(triton: Triton, model: str) -> None:
    def batches() -> Iterator[tuple[int, np.ndarray]]:
        for number in range(40):
            yield number, np.full((number % 4, 32, 32, 3), 5 * number, np.uint8)

    list(triton.infer_many(model, batches()))
    files = len(list(Path("/proc/self/fd").iterdir()))
    answers = list(triton.infer_many(model, batches(), in_flight=4))
    assert [(number, len(found)) for number, found in answers] == [(number, number % 4) for number in range(40)]
    assert len(list(Path("/proc/self/fd").iterdir())) <= files


def test_batches_are_read_only_a_little_ahead(triton: Triton, model: str) -> None:
    read = 0

    def batches() -> Iterator[tuple[None, np.ndarray]]:
        nonlocal read
        for _ in range(100):
            read += 1
            yield None, CROPS

    answers = triton.infer_many(model, batches(), in_flight=2)
    next(answers)
    assert read == 4
    answers.close()  # type: ignore[attr-defined]


def test_first_failure_ends_the_work(triton: Triton, model: str) -> None:
    batches = ((number, CROPS if number != 7 else CROPS[:, :31]) for number in range(50))
    with pytest.raises(ServiceError, match="unexpected shape"):
        list(triton.infer_many(model, batches))


def test_request_file_works_with_curl_and_gives_class_names(triton: Triton, model: str, tmp_path: Path) -> None:
    request = request_file(CROPS[:2])
    (tmp_path / "request.bin").write_bytes(request.body)
    command = ["curl", "-s", f"{triton.url}/v2/models/{model}/infer", "-H", "Content-Type: application/octet-stream"]
    command += ["-H", f"Inference-Header-Content-Length: {request.header_length}"]
    command += ["--data-binary", f"@{tmp_path / 'request.bin'}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert [text.split(":")[2] for text in json.loads(done.stdout)["outputs"][0]["data"]] == ["green", "green"]


def test_unknown_model_is_refused_with_those_that_are_served(triton: Triton, model: str) -> None:
    with pytest.raises(InputError, match=rf"does not have 'nobody' .*it serves: .*{model}.*deploy it first"):
        triton.infer("nobody", CROPS)
    with pytest.raises(InputError, match="version 99 is not found"):
        triton.infer(model, CROPS, version="99")


def test_load_says_why_not(triton: Triton) -> None:
    with pytest.raises(ServiceError, match=r"refused to load nothing-there: .*failed to poll from model repository"):
        triton.load("nothing-there")


@pytest.mark.parametrize("crops", [CROPS.astype(np.float32), CROPS[0], CROPS[:, :, :, :1]])
def test_crops_of_another_kind_are_refused_here(triton: Triton, model: str, crops: np.ndarray) -> None:
    with pytest.raises(InputError, match="crops must be uint8"):
        triton.infer(model, crops)


def test_server_that_is_gone_is_one_line_with_the_way_out(unused_port: int) -> None:
    triton = open_triton(f"http://127.0.0.1:{unused_port}")
    assert not triton.is_ready()
    with pytest.raises(ServiceError) as caught:
        triton.infer("model", CROPS)
    line = f"Triton at http://127.0.0.1:{unused_port} must answer, it did not when asked to classify crops"
    assert str(caught.value).startswith(f"{line} (Connection refused); start it (on a laptop: `make up`)")


def test_server_that_hangs_ends_in_time() -> None:
    with _server(silent=True) as address, pytest.raises(ServiceError, match="must answer, it did not"):
        Triton(address, timeout_s=0.3).infer("model", CROPS)


def test_answer_that_is_no_triton_is_one_line() -> None:
    with _server(silent=False) as address, pytest.raises(ServiceError, match="refused to classify crops"):
        Triton(address).infer("model", CROPS)


def test_broken_connection_is_tried_again_a_bounded_number_of_times(unused_port: int) -> None:
    stamina.set_testing(True, attempts=3)
    with pytest.raises(ServiceError, match="Connection refused"):
        open_triton(f"http://127.0.0.1:{unused_port}").index()


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://x:1", "http://"])
def test_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(SettingError, match="SILHOUETTE_TRITON_URL must be http://host:port"):
        open_triton(url)


class _server:
    """An HTTP server that is no Triton: it answers every request with a page of its own, or never."""

    def __init__(self, *, silent: bool) -> None:
        released = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                if silent:
                    released.wait(10)
                    return
                self.send_response(502)
                self.end_headers()
                self.wfile.write(b"<html>bad gateway")

            def log_message(self, *args: object) -> None:
                pass

        self._released, self._server = released, HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://127.0.0.1:{self._server.server_port}"

    def __exit__(self, *error: object) -> None:
        self._released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
