"""The reference picture service keeps its contract, docs/picture_service.openapi.yaml."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
import yaml
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate

from pipelines.embedded.picture_service import MAX_DOCUMENT_BYTES, create_app, main
from pipelines.embedded.returned_documents import ReturnedDocuments
from silhouette.contracts import ret_meta
from silhouette.contracts.ret_meta import Made, Model, Picture, Segmentation
from silhouette.errors import SettingError
from tests.loopback import TOKEN, jpeg, serving, write_group

CONTRACT: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parents[3] / "docs" / "picture_service.openapi.yaml").read_text(encoding="utf-8")
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("groups")
    write_group(folder / "one", name="outfit", classes=["dress", "skirt"], each=4)
    write_group(folder / "two", name="a/b 'ж' ..", classes=["x", "y", "z"], each=1, prefix="odd/../id ж")
    (folder / "no group").mkdir()
    (folder / "broken").mkdir()
    (folder / "broken" / "group.json").write_text("{")
    return folder


@pytest.fixture(scope="module")
def service(root: Path) -> Iterator[httpx2.Client]:
    with serving(create_app(root, TOKEN)) as url:
        client = httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False)
        with client:
            yield client


def checked(response: httpx2.Response, template: str, *, method: str = "get") -> Any:
    """Return the body after holding it to the schema that the contract gives for this address and status."""
    documented = CONTRACT["paths"][template][method]["responses"][str(response.status_code)]
    if "$ref" in documented:
        documented = CONTRACT["components"]["responses"][documented["$ref"].rpartition("/")[2]]
    schema = {**documented["content"]["application/json"]["schema"], "components": CONTRACT["components"]}
    body = response.json()
    OAS31Validator(schema).validate(body)
    return body


def test_the_contract_is_a_valid_document() -> None:
    validate(CONTRACT)


def test_health_wants_no_token(service: httpx2.Client) -> None:
    response = httpx2.get(f"{service.base_url}/health", trust_env=False)
    assert checked(response, "/health") == {"status": "ok"}


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}])
@pytest.mark.parametrize("path", ["/groups", "/groups/outfit/pictures", "/pictures/p000/content", "/no/such"])
def test_everything_else_wants_the_token(service: httpx2.Client, path: str, header: dict[str, str]) -> None:
    response = httpx2.get(f"{service.base_url}{path}", headers=header, trust_env=False)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    checked(response, "/groups")


def test_groups_are_listed_with_their_classes_in_order(service: httpx2.Client) -> None:
    body = checked(service.get("/groups"), "/groups")
    assert [group["group"] for group in body["groups"]] == ["outfit", "a/b 'ж' .."]
    assert body["groups"][0] == {"group": "outfit", "classes": ["dress", "skirt"], "pictures": 8}


def test_a_group_with_an_odd_name_is_one_segment(service: httpx2.Client) -> None:
    name = quote("a/b 'ж' ..", safe="")
    body = checked(service.get(f"/groups/{name}"), "/groups/{group}")
    assert body["classes"] == ["x", "y", "z"]
    assert checked(service.get(f"/groups/{name}/pictures"), "/groups/{group}/pictures")["next_cursor"] is None


def test_an_unknown_group_names_the_known_ones(service: httpx2.Client) -> None:
    body = checked(service.get("/groups/nobody"), "/groups/{group}")
    assert (body["error"], body["known"]) == ("unknown_group", ["a/b 'ж' ..", "outfit"])


def test_pages_add_up_to_the_whole_listing(service: httpx2.Client) -> None:
    found, cursor, pages = [], "", 0
    while cursor is not None:
        response = service.get("/groups/outfit/pictures", params={"limit": 3, "cursor": cursor})
        body = checked(response, "/groups/{group}/pictures")
        found += [picture["picture_id"] for picture in body["pictures"]]
        cursor, pages = body["next_cursor"], pages + 1
    assert (found, pages) == ([f"p{number:03d}" for number in range(8)], 3)


@pytest.mark.parametrize("query", ["limit=0", "limit=-1", "limit=many", "limit=1001", "cursor=%FF", "cursor=x"])
def test_a_bad_page_is_refused(service: httpx2.Client, query: str) -> None:
    response = service.get(f"/groups/outfit/pictures?{query}")
    assert response.status_code == 400
    checked(response, "/groups/{group}/pictures")


def test_a_pixset_lists_its_pictures_with_labels(service: httpx2.Client) -> None:
    body = checked(service.get("/pixsets/shoot%203/pictures"), "/pixsets/{pixset}/pictures")
    assert [picture["picture_id"] for picture in body["pictures"]] == ["p006", "p007"]
    assert body["pictures"][0]["labels"] == {"outfit": "dress"}
    for missing in ("none", ""):
        assert service.get(f"/pixsets/{missing}/pictures").status_code == 404


@pytest.mark.parametrize("picture_id", ["p001", "odd/../id ж002"])
def test_bytes_are_what_the_metadata_promises(service: httpx2.Client, picture_id: str) -> None:
    name = quote(picture_id, safe="")
    metadata = checked(service.get(f"/pictures/{name}"), "/pictures/{picture_id}")
    response = service.get(metadata["url"])
    assert (response.status_code, response.headers["Content-Type"]) == (200, "image/jpeg")
    assert hashlib.sha256(response.content).hexdigest() == metadata["sha256"]
    assert (response.headers["ETag"], len(response.content)) == (metadata["etag"], metadata["size_bytes"])
    again = service.get(metadata["url"], headers={"If-None-Match": metadata["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = service.get(metadata["url"], headers={"If-None-Match": '"other"'})
    assert other.status_code == 200


@pytest.mark.parametrize(
    "path", ["/pictures/nobody", "/pictures/nobody/content", "/groups/outfit/more", "/", "/groups/"]
)
def test_what_is_not_there_is_a_404(service: httpx2.Client, path: str) -> None:
    response = service.get(path)
    assert response.status_code == 404
    checked(response, "/pictures/{picture_id}")


def test_a_file_outside_the_group_is_never_served(tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(jpeg(1))
    group = write_group(tmp_path / "group", name="g", classes=["a", "b"], each=1)
    (group / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    with (group / "pictures.jsonl").open("a") as file:
        for number, path in enumerate(["../secret.jpg", str(tmp_path / "secret.jpg"), "link.jpg", "missing.jpg"]):
            file.write(json.dumps({"picture_id": f"bad{number}", "file": path, "label": "a"}) + "\n")
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with (
        serving(create_app(group, TOKEN)) as url,
        httpx2.Client(base_url=url, headers=headers, trust_env=False) as client,
    ):
        assert len(client.get("/groups/g/pictures").json()["pictures"]) == 2
        for number in range(4):
            assert client.get(f"/pictures/bad{number}/content").status_code == 404
        for path in ("/pictures/..%2F..%2Fsecret.jpg/content", "/pictures/%2E%2E/content", "/%2e%2e/secret.jpg"):
            assert client.get(path).status_code == 404


def test_a_changed_byte_changes_the_etag_while_it_runs(tmp_path: Path) -> None:
    group = write_group(tmp_path, name="g", classes=["a", "b"], each=1)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with (
        serving(create_app(group, TOKEN)) as url,
        httpx2.Client(base_url=url, headers=headers, trust_env=False) as client,
    ):
        before = client.get("/pictures/p000").json()
        (group / "pictures" / "0.jpg").write_bytes(jpeg(99))
        after = client.get("/pictures/p000").json()
    assert before["etag"] != after["etag"]


RET_META = "/pictures/{picture_id}/ret_meta"


def document(client: httpx2.Client, picture_id: str = "p001", *, sha256: str = "", score: str = "approved") -> bytes:
    """What may be sent of a picture; other scores make other content."""
    metadata = client.get(f"/pictures/{quote(picture_id, safe='')}").json()
    model = {
        "classes": ["dress", "skirt"], "onnx_sha256": "1" * 64, "experiment": "e", "crops_digest": "c",
        "abstain_below": 0.0, "gate": "passed",
    }  # fmt: skip
    made = {
        "at": "2026-11-22T18:30:00Z", "code_version": "1", "inputs_digest": "0" * 64, "datasets": {},
        "answered_by": {},
    }  # fmt: skip
    return ret_meta.to_bytes(
        ret_meta.make(
            picture=Picture(picture_id=picture_id, sha256=sha256 or metadata["sha256"], width=40, height=30),
            segmentation=Segmentation.model_validate({"model_digest": "3" * 64, "review_status": score}),
            people=[],
            models={"outfit": Model.model_validate(model)},
            made=Made.model_validate(made),
        )
    )


def put(client: httpx2.Client, body: bytes, *, picture_id: str = "p001", key: str = "") -> httpx2.Response:
    key = key or json.loads(body)["content_digest"]
    address = f"/pictures/{quote(picture_id, safe='')}/ret_meta"
    return client.put(address, content=body, headers={"Idempotency-Key": key, "Content-Type": "application/json"})


@pytest.fixture
def taker(root: Path, tmp_path: Path) -> Iterator[httpx2.Client]:
    """A service of this test, without documents."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with (
        serving(create_app(root, TOKEN, documents=tmp_path / "documents" / "them")) as url,
        httpx2.Client(base_url=url, headers=headers, trust_env=False) as client,
    ):
        yield client


@pytest.mark.parametrize("picture_id", ["p001", "odd/../id ж002"])
def test_a_document_is_taken_once_and_told_with_its_receipt(taker: httpx2.Client, picture_id: str) -> None:
    address = f"/pictures/{quote(picture_id, safe='')}/ret_meta"
    assert checked(taker.get(address), RET_META)["error"] == "no_ret_meta"
    body = document(taker, picture_id)
    first = put(taker, body, picture_id=picture_id)
    again = put(taker, body, picture_id=picture_id)
    assert (first.status_code, again.status_code) == (201, 200)
    told = checked(first, RET_META, method="put")
    assert checked(again, RET_META, method="put") == told
    assert checked(taker.get(address), RET_META) == {**told, "document": json.loads(body)}


def test_another_document_takes_the_place_of_the_first_and_the_first_may_come_back(
    taker: httpx2.Client, tmp_path: Path
) -> None:
    first, second = document(taker), document(taker, score="unchecked")
    receipts = [put(taker, body).json()["receipt"] for body in (first, second, first)]
    assert len(set(receipts)) == 3
    assert taker.get("/pictures/p001/ret_meta").json()["document"] == json.loads(first)
    assert ReturnedDocuments(tmp_path / "documents" / "them").counts() == {"p001": 3}


def test_documents_outlive_the_service(root: Path, tmp_path: Path) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    receipts = []
    for _ in range(2):
        with (
            serving(create_app(root, TOKEN, documents=tmp_path / "them")) as url,
            httpx2.Client(base_url=url, headers=headers, trust_env=False) as client,
        ):
            receipts.append(put(client, document(client)).json()["receipt"])
    assert receipts[0] == receipts[1]


def test_a_document_that_does_not_fit_is_refused_in_its_own_way(taker: httpx2.Client) -> None:
    good = document(taker)
    for response, status, error in (
        (put(taker, document(taker, sha256="9" * 64)), 409, "picture_changed"),
        (put(taker, b" " * (MAX_DOCUMENT_BYTES + 1), key="0" * 64), 413, "too_large"),
        (put(taker, b"{}", key="0" * 64), 422, "bad_document"),
        (put(taker, good, key="0" * 64), 422, "bad_key"),
        (put(taker, good, picture_id="p002"), 422, "bad_document"),
        (put(taker, good, picture_id="nobody"), 404, "unknown_picture"),
        (taker.put("/groups/outfit", content=good), 404, "not_found"),
    ):
        assert (response.status_code, checked(response, RET_META, method="put")["error"]) == (status, error)
    refused = httpx2.put(f"{taker.base_url}/pictures/p001/ret_meta", content=good, trust_env=False)
    assert refused.status_code == 401
    assert taker.get("/pictures/p001/ret_meta").status_code == 404


def test_it_refuses_to_serve_without_a_token_or_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SettingError, match="must be a folder"):
        create_app(tmp_path / "none", TOKEN)
    monkeypatch.delenv("SILHOUETTE_PICTURE_SERVICE_TOKEN", raising=False)
    assert main(["--port", "1", "--root", str(tmp_path)]) == 1
    assert "SILHOUETTE_PICTURE_SERVICE_TOKEN must be set" in capsys.readouterr().err
