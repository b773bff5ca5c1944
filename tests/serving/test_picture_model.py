from __future__ import annotations

import base64
import http.client
import json
import secrets
import shlex
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np
import psutil
import pytest

from pipelines.embedded import up
from silhouette.config import ServingConfig
from silhouette.deploy_model import picture_files
from silhouette.deploy_model.deploy import deploy_model
from silhouette.errors import InputError, ParityError, PictureError, ServiceError
from silhouette.names import safe_key
from silhouette.store import Store
from silhouette.triton_client import Triton
from tests.deploy_model import bundles
from tests.deploy_model.test_deploy import Dying, Spoiling
from tests.serving import world
from tests.serving.world import Served

MB = 1_000_000
RAW = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": "0"}
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def served(served_store: Store, triton: Triton, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = world.serve(tmp_path_factory.mktemp("served"), "цвета / colours", store=served_store, triton=triton)
    yield made
    world.withdraw(made, store=served_store, triton=triton)


@pytest.fixture
def own(served_store: Store, triton: Triton, tmp_path: Path) -> Iterator[Served]:
    """A group of this one test."""
    made = world.serve(tmp_path / "own", f"own {secrets.token_hex(4)}", store=served_store, triton=triton)
    yield made
    world.withdraw(made, store=served_store, triton=triton)


@pytest.fixture
def ask(triton: Triton, served: Served) -> Callable[[bytes], dict[str, Any]]:
    return lambda data: triton.answer_picture(served.deployed.picture_model, data)


def post(served: Served, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
    address = urlparse(served.deployed.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
    try:
        connection.request("POST", f"/v2/models/{served.deployed.picture_model}/infer", body=body, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("colour", world.COLOURS)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_is_answered_with_its_person_and_label(
    ask: Callable[[bytes], dict[str, Any]], colour: str, kind: str
) -> None:
    answer = ask(world.encoded(world.oval(colour), kind))
    assert (answer["outcome"], answer["label"], answer["main"]) == ("classified", colour, 0)
    (person,) = answer["people"]
    assert np.allclose(person["box_xyxy"], [249, 80, 392, 401], atol=4)
    assert person["probability"] == max(person["probabilities"]) == answer["probability"] > 0.5
    assert sum(person["probabilities"]) == pytest.approx(1, abs=1e-4)


def test_the_answer_names_every_model_that_has_a_part_in_it(
    ask: Callable[[bytes], dict[str, Any]], served: Served
) -> None:
    answer = ask(world.encoded(world.oval("red")))
    assert answer["group"] == "цвета / colours"
    assert answer["models"]["picture"] == {"model": served.deployed.picture_model, "version": "1"}
    assert answer["models"]["classifier"] == {
        "model": served.deployed.model, "version": served.deployed.version,
        "onnx_sha256": served.judged.card.onnx_sha256,
    }  # fmt: skip
    assert answer["models"]["segmenter"]["onnx_sha256"] == served.segmenter.onnx_sha256


def test_a_picture_without_people_has_an_answer_of_its_own(ask: Callable[[bytes], dict[str, Any]]) -> None:
    answer = ask(world.encoded(np.full((300, 200, 3), 90, np.uint8)))
    assert (answer["outcome"], answer["label"], answer["probability"], answer["main"]) == ("nobody", None, None, None)
    assert (answer["people"], answer["width"], answer["height"]) == ([], 200, 300)


def test_base64_in_json_is_answered_like_the_bytes(served: Served, ask: Callable[[bytes], dict[str, Any]]) -> None:
    data = world.encoded(world.oval("blue"))
    tensor = {"name": "picture", "datatype": "BYTES", "shape": [1], "data": [base64.b64encode(data).decode()]}
    status, body = post(served, json.dumps({"inputs": [tensor]}).encode(), JSON)
    assert status == 200
    assert json.loads(json.loads(body)["outputs"][0]["data"][0]) == ask(data)


def test_the_printed_curl_line_answers_a_photo(served: Served, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(world.encoded(world.oval("green")))
    line = shlex.split(served.deployed.picture_curl)
    done = subprocess.run(line, capture_output=True, check=True, timeout=30, cwd=tmp_path)
    assert json.loads(done.stdout[done.stdout.index(b'{"outcome"') :])["label"] == "green"


REFUSED = {
    "empty": b"",
    "garbage": bytes(range(256)) * 40,
    "text": b"a letter, not a picture!",
    "broken base64": b"QUJD" * 50 + b"Q",
    "truncated": world.encoded(world.oval("red"))[:3000],
    "zero size": b"BM" + (54).to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little") + (40).to_bytes(4, "little")
    + bytes(8) + (1).to_bytes(2, "little") + (24).to_bytes(2, "little") + bytes(24),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_picture_is_a_400_with_our_reason_and_the_next_is_answered(
    served: Served, ask: Callable[[bytes], dict[str, Any]], name: str
) -> None:
    status, body = post(served, REFUSED[name], RAW)
    reason = json.loads(body)["error"].partition(":")[0]
    assert status == 400
    assert reason in {"empty", "unsupported", "truncated", "corrupt"}
    assert ask(world.encoded(world.oval("red")))["label"] == "red"


def test_hostile_files_are_refused_as_their_list_says(
    ask: Callable[[bytes], dict[str, Any]], shared_data: Callable[[str], Path]
) -> None:
    folder = shared_data("hostile")
    refused = 0
    for path in sorted(folder.iterdir()):
        if path.name.startswith(
            ("animated", "bomb", "truncated", "zero_byte", "other_format", "wrong_name__made__html")
        ):
            try:
                ask(path.read_bytes())
            except PictureError:
                refused += 1
    assert refused >= 18
    assert ask(world.encoded(world.oval("red")))["label"] == "red"


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        ({"name": "picture", "datatype": "BYTES", "shape": [2], "data": ["a", "b"]}, "shape"),
        ({"name": "picture", "datatype": "FP32", "shape": [1], "data": [1.0]}, "data-type"),
        ({"name": "photo", "datatype": "BYTES", "shape": [1], "data": ["a"]}, "photo"),
        ({"name": "picture", "datatype": "BYTES", "shape": [0], "data": []}, "shape"),
    ],
)
def test_a_wrong_tensor_is_a_400(served: Served, tensor: dict[str, Any], words: str) -> None:
    status, body = post(served, json.dumps({"inputs": [tensor]}).encode(), JSON)
    assert status == 400
    assert words in json.loads(body)["error"]


def memory_of(served: Served, state_dir: Path) -> int:
    """What the server and its Python processes hold for themselves alone, bytes."""
    total = 0
    for process in psutil.process_iter(["cmdline"]):
        if any(str(state_dir) in part for part in process.info["cmdline"] or ()) and (
            "stub" in process.name() or "tritonserver" in process.name()
        ):
            total += process.memory_full_info().uss
    return total


def shared_memory() -> int:
    return sum(path.stat().st_size for path in Path("/dev/shm").glob("silhouette_*"))


@pytest.mark.parametrize("headers", [RAW, JSON])
def test_100_mb_are_refused_and_memory_comes_back(
    served: Served, ask: Callable[[bytes], dict[str, Any]], state_dir: Path, headers: dict[str, str]
) -> None:
    good = world.encoded(world.oval("red"))
    body = bytes(100 * MB)
    if headers is JSON:
        tensor = {"name": "picture", "datatype": "BYTES", "shape": [1], "data": ["A" * 100 * MB]}
        body = json.dumps({"inputs": [tensor]}).encode()
    for _ in range(2):  # each of the two instances has met it then, or one of them twice
        post(served, body, headers)
    before, shared = memory_of(served, state_dir), shared_memory()
    for _ in range(4):
        status, answer = post(served, body, headers)
        assert status == 400
        assert "must have at most 60 MB" in json.loads(answer)["error"]
        assert ask(good)["label"] == "red"
    assert memory_of(served, state_dir) < before + 40 * MB
    assert shared_memory() < shared + 150 * MB  # the largest request so far, once for each instance; it is kept


def test_many_large_pictures_leave_no_memory_behind(
    served: Served, ask: Callable[[bytes], dict[str, Any]], state_dir: Path
) -> None:
    large = world.encoded(world.oval("red", size=(3000, 4000), at=(2000, 1500)))
    for _ in range(4):
        ask(large)
    before = memory_of(served, state_dir)
    for _ in range(8):
        assert ask(large)["label"] == "red"
    assert memory_of(served, state_dir) < before + 60 * MB


def again(served: Served, store: Store, triton: Triton, tmp_path: Path, strength: float = 9.0) -> Any:
    judged = served.judged
    if strength != 9.0:
        judged = bundles.make(tmp_path / f"s{strength}", group=served.judged.card.group, strength=strength)
    return deploy_model(
        bundle=judged.bundle, evaluation=judged.evaluation, store=store, triton=triton, out=tmp_path / "out",
        segmenter=served.segmenter.model_digest, serving=ServingConfig(),
    )  # fmt: skip


def test_1000_connections_and_a_slow_reader_hold_up_nobody(
    served: Served, ask: Callable[[bytes], dict[str, Any]]
) -> None:
    address = urlparse(served.deployed.url)
    good = world.encoded(world.oval("red"))
    head = f"POST /v2/models/{served.deployed.picture_model}/infer HTTP/1.1\r\nHost: x\r\n".encode()
    head += b"".join(f"{name}: {value}\r\n".encode() for name, value in RAW.items())
    with ExitStack() as stack:
        idle = [
            stack.enter_context(socket.create_connection((address.hostname or "", address.port), timeout=30))
            for _ in range(1000)
        ]
        for connection in idle:
            connection.sendall(head)  # and never the rest
        slow = idle[0]
        slow.sendall(b"Content-Length: %d\r\n\r\n" % len(good) + good)
        assert ask(good)["label"] == "red"
        answer = b""
        while b'"models"' not in answer:
            answer += slow.recv(16)
        assert b'"label": "red"' in answer
    assert ask(good)["label"] == "red"


def test_a_form_that_ends_the_embedded_server_is_healed_by_make_up(
    served: Served, ask: Callable[[bytes], dict[str, Any]], state_dir: Path
) -> None:
    """A known bug of 2.51, which docs/serving.md tells; if it is mended there, the document has to change."""
    good = world.encoded(world.oval("red"))
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        post(served, bytes(5 * MB), {"Content-Type": "application/x-www-form-urlencoded"})
    up(state_dir, services=("triton",))
    assert ask(good)["label"] == "red"


def repository(store: Store, served: Served) -> tuple[str, ...]:
    names = (served.deployed.model, served.deployed.picture_model, served.deployed.segmenter)
    return tuple(store.tree_digest(f"triton/{name}/") for name in names)


def test_the_same_deployment_again_changes_nothing(
    own: Served, served_store: Store, triton: Triton, tmp_path: Path
) -> None:
    before = repository(served_store, own)
    deployed = again(own, served_store, triton, tmp_path)
    assert (deployed.already_served, deployed.picture_version) == (True, "1")
    assert repository(served_store, own) == before


def test_a_new_classifier_brings_a_picture_model_that_asks_it(
    own: Served, served_store: Store, triton: Triton, tmp_path: Path
) -> None:
    deployed = again(own, served_store, triton, tmp_path, strength=7.0)
    assert (deployed.version, deployed.picture_version) == ("2", "2")
    answer = triton.answer_picture(deployed.picture_model, world.encoded(world.oval("red")))
    assert answer["models"]["classifier"]["version"] == "2"
    assert triton.versions(deployed.picture_model) == ["2"]


def test_a_picture_model_that_fails_its_proof_puts_both_models_back(
    own: Served, served_store: Store, triton: Triton, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = repository(served_store, own)
    wrong = picture_files.ENTRY + b"\nimport silhouette.picture_answer as a\nold = a.cut_person\n"
    wrong += b"a.cut_person = lambda *p, **k: old(p[0][:, :, ::-1], *p[1:], **k)\n"  # another order of colours
    monkeypatch.setattr("silhouette.deploy_model.picture.ENTRY", wrong)
    with pytest.raises(ParityError, match=r"probabilities differs by .*not changed; version 1 is served as before"):
        again(own, served_store, triton, tmp_path, strength=7.0)
    assert repository(served_store, own)[1:] == before[1:]
    assert triton.versions(own.deployed.model) == ["1"]
    assert triton.answer_picture(own.deployed.picture_model, world.encoded(world.oval("blue")))["label"] == "blue"


@pytest.mark.long
def test_code_that_is_spoiled_in_the_store_is_put_back(
    own: Served, served_store: Store, triton: Triton, tmp_path: Path
) -> None:
    class SpoilingCode(Spoiling):
        def put_bytes(self, key: str, data: bytes, *, content_type: str = "application/octet-stream") -> None:
            if key.endswith("_picture/config.pbtxt"):
                code = key.replace("config.pbtxt", "2/silhouette.zip")
                if self.exists(code):
                    Store.put_bytes(self, code, b"spoiled")
            Store.put_bytes(self, key, data, content_type=content_type)

    spoiling = SpoilingCode.__new__(SpoilingCode)
    spoiling.__dict__.update(served_store.__dict__)
    with pytest.raises(ServiceError, match="version 1 is served as before; version 1 is served as before"):
        again(own, spoiling, triton, tmp_path, strength=7.0)
    assert triton.versions(own.deployed.picture_model) == ["1"]
    assert triton.versions(own.deployed.model) == ["1"]
    assert triton.answer_picture(own.deployed.picture_model, world.encoded(world.oval("blue")))["label"] == "blue"


@pytest.mark.long
@pytest.mark.parametrize("last", ["_picture/2/settings.json", "_picture/2/model.json", "_picture/config.pbtxt"])
def test_killed_deployment_is_finished_by_the_next(
    own: Served, served_store: Store, triton: Triton, tmp_path: Path, last: str
) -> None:
    dying = Dying.__new__(Dying)
    dying.__dict__.update(served_store.__dict__, last=last)
    with pytest.raises(KeyboardInterrupt):
        again(own, dying, triton, tmp_path, strength=7.0)
    assert triton.answer_picture(own.deployed.picture_model, world.encoded(world.oval("blue")))["label"] == "blue"
    (tmp_path / "second").mkdir()
    deployed = again(own, served_store, triton, tmp_path / "second", strength=7.0)
    answer = triton.answer_picture(deployed.picture_model, world.encoded(world.oval("blue")))
    assert answer["models"]["classifier"]["version"] == deployed.version == "2"


def test_a_part_that_is_gone_is_named_and_the_next_deployment_brings_it_back(
    own: Served, served_store: Store, triton: Triton, tmp_path: Path
) -> None:
    triton.unload(own.deployed.segmenter)
    status, body = post(own, world.encoded(world.oval("red")), RAW)
    assert status == 503
    assert f"{own.deployed.segmenter} version 1 must answer" in json.loads(body)["error"]
    again(own, served_store, triton, tmp_path)
    assert post(own, world.encoded(world.oval("red")), RAW)[0] == 200


@pytest.mark.long
def test_a_group_called_like_another_groups_picture_model_is_refused(
    own: Served, served_store: Store, triton: Triton, tmp_path: Path
) -> None:
    plain = f"g{secrets.token_hex(4)}"
    first = world.serve(tmp_path / "first", plain, store=served_store, triton=triton)
    try:
        with pytest.raises(InputError, match=f"{plain}_picture is served as a picture model; rename the group"):
            world.serve(tmp_path / "second", f"{plain}_picture", store=served_store, triton=triton)
    finally:
        for model in (first.deployed.model, first.deployed.picture_model):
            for key in list(served_store.list_keys(f"triton/{model}/")):
                served_store.remove(key)
            triton.unload(model)


def test_an_unknown_segmenter_leaves_the_classifier_alone_and_says_so(
    served_store: Store, triton: Triton, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    judged = bundles.make(tmp_path / "m", group="no segmenter")
    deployed = deploy_model(
        bundle=judged.bundle, evaluation=judged.evaluation, store=served_store, triton=triton, out=tmp_path / "out",
        segmenter="f" * 64,
    )  # fmt: skip
    assert deployed.picture_model == ""
    assert "no picture model is served: the store has no export of the segmenter ffffffffffff" in caplog.text
    for key in list(served_store.list_keys(f"triton/{deployed.model}/")):
        served_store.remove(key)
    triton.unload(deployed.model)


def test_the_code_that_travels_needs_nothing_but_what_tritons_python_has(tmp_path: Path) -> None:
    code = tmp_path / "silhouette.zip"
    code.write_bytes(picture_files.pack_code())
    assert picture_files.pack_code() == code.read_bytes()
    script = (
        "import sys, types; sys.path.insert(0, sys.argv[1]);"
        "sys.modules['triton_python_backend_utils'] = types.ModuleType('pb_utils');"
        "import silhouette.picture_backend as b; assert '.zip' in b.__file__;"
        "assert not {'pydantic', 'minio', 'torch'} & set(sys.modules)"
    )
    python = Path(__file__).parents[2] / ".venv-triton" / "bin" / "python"
    subprocess.run([python, "-c", script, code], check=True, timeout=60, cwd=tmp_path)


@pytest.mark.long
def test_a_killed_python_process_is_healed_by_the_next_deployment(
    own: Served, served_store: Store, triton: Triton, tmp_path: Path, state_dir: Path
) -> None:
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        if "stub" in process.name() and any(safe_key(own.judged.card.group) in part for part in line):
            process.kill()
    time.sleep(0.2)
    deployed = again(own, served_store, triton, tmp_path)
    assert triton.answer_picture(deployed.picture_model, world.encoded(world.oval("red")))["label"] == "red"
