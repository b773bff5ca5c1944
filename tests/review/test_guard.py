"""Who may ask: nobody without the token or the proxy's word, nobody under another name, no other site."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Any

import pytest
from starlette.testclient import TestClient

from silhouette.review.app import Room, create_app
from silhouette.review.guard import MAX_REVIEWER, Access
from tests.review.conftest import HOST, TOKEN, World, client_of

SHA = "0" * 64
ADDRESSES = (
    "/",
    "/review.js",
    "/api/group",
    "/api/pictures",
    f"/thumbnails/{SHA}",
    f"/pictures/{SHA}",
    "/health",
    "/no",
)
OURS = {"X-Silhouette-Review": "1", "Content-Type": "application/json"}


def verdict(world: World, number: int = 0) -> dict[str, Any]:
    return {"status": "approved", "pictures": [{"sha256": world.sha(number), "revision": 0}]}


@pytest.fixture
def stranger(room: Room) -> TestClient:
    """A browser without the token."""
    client = client_of(room)
    client.cookies.clear()
    return client


@pytest.mark.parametrize("address", ADDRESSES)
def test_nothing_is_answered_without_the_token(stranger: TestClient, address: str) -> None:
    answer = stranger.get(address)
    assert answer.status_code == 401
    assert len(answer.text.splitlines()) == 1
    assert "open the address that `silhouette review` printed" in answer.text


@pytest.mark.parametrize("address", ["/api/verdicts", "/api/undo"])
def test_nothing_is_changed_without_the_token(stranger: TestClient, group: World, address: str) -> None:
    assert stranger.post(address, json=verdict(group), headers=OURS).status_code == 401
    assert group.status(0) == ("unchecked", 0, "", "")


def test_the_token_becomes_a_cookie_of_this_site_and_leaves_the_address(stranger: TestClient) -> None:
    entered = stranger.get("/", params={"token": TOKEN})
    assert (entered.status_code, entered.headers["location"]) == (303, "/")
    cookie = entered.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert stranger.get("/").status_code == 200


@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], TOKEN + "x", "ключ", "%00"])
def test_a_wrong_token_opens_nothing(stranger: TestClient, token: str) -> None:
    answer = stranger.get("/", params={"token": token})
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    stranger.cookies.set("review", "wrong")
    assert stranger.get("/").status_code == 401


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1:2", "127.0.0.1", "", f"{HOST}.evil.example", "localhost:1"]
)
def test_a_name_that_is_not_ours_is_refused(client: TestClient, host: str) -> None:
    """Another site's name may be turned to 127.0.0.1; its page still sends that name."""
    for address in ADDRESSES:
        answer = client.get(address, headers={"Host": host})
        assert answer.status_code == 403
        assert "--allow-host" in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Silhouette-Review": ""},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:2"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_change_that_our_page_did_not_send_is_refused(
    client: TestClient, group: World, headers: dict[str, str]
) -> None:
    for address in ("/api/verdicts", "/api/undo"):
        answer = client.post(address, json=verdict(group), headers={**OURS, **headers})
        assert answer.status_code == 403
        assert len(answer.text.splitlines()) == 1
    assert group.status(0) == ("unchecked", 0, "", "")
    done = client.post("/api/verdicts", json=verdict(group), headers={**OURS, "Origin": f"http://{HOST}"})
    assert done.json()["outcomes"][0]["outcome"] == "done"


def test_no_other_site_may_embed_pictures_or_ask_whether_it_may_send(client: TestClient, group: World) -> None:
    for address in ("/api/group", f"/thumbnails/{group.sha(0)}"):
        assert client.get(address, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
        assert client.get(address, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200
    asked = client.options(
        "/api/verdicts",
        headers={"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"},
    )
    assert asked.status_code == 403
    assert not [name for name in asked.headers if name.startswith("access-control")]


@pytest.mark.parametrize("address", [*ADDRESSES, "/?token=wrong"])
def test_every_answer_forbids_what_the_page_does_not_need(
    client: TestClient, stranger: TestClient, address: str
) -> None:
    for browser in (client, stranger):
        headers = browser.get(address).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert not [name for name in headers if name.startswith("access-control")]


def test_the_page_is_whole_by_itself(client: TestClient) -> None:
    for file in (files("silhouette.review") / "page").iterdir():
        text = file.read_text(encoding="utf-8")
        assert not re.findall(r"(?:https?:)?//(?!www\.w3\.org/2000/svg|\s)[\w.-]+\.\w+", text), file.name
        assert not re.findall(r" (?:style|on\w+)=", text), f"{file.name}: the policy forbids it"
    page = client.get("/").text
    for needed in re.findall(r'(?:src|href)="([^"#]+)"', page):
        assert client.get(f"/{needed}").status_code == 200


def proxied(room: Room, base_path: str = "") -> TestClient:
    access = Access(hosts=frozenset({"review.example.org"}), user_header="x-forwarded-user", base_path=base_path)
    return TestClient(create_app(room, access), base_url="http://review.example.org", follow_redirects=False)


def test_behind_a_proxy_its_user_is_the_reviewer(room: Room, group: World) -> None:
    client = proxied(room)
    for name in ("борис", "o'neil@example.org"):
        said = client.get("/api/group", headers={"X-Forwarded-User": name.encode()})  # type: ignore[dict-item]
        assert said.json()["reviewer"] == name
    headers = {**OURS, "X-Forwarded-User": "boris"}
    assert client.post("/api/verdicts", json=verdict(group), headers=headers).status_code == 200
    assert group.status(0) == ("approved", 1, "boris", "")


@pytest.mark.parametrize("name", ["", "   ", "x" * (MAX_REVIEWER + 1), "a\tb"])
def test_behind_a_proxy_nobody_asks_without_a_name(room: Room, name: str) -> None:
    for address in ADDRESSES:
        if address != "/health":
            answer = proxied(room).get(address, headers={"X-Forwarded-User": name})
            assert answer.status_code == 401
            assert "x-forwarded-user" in answer.text
    assert proxied(room).get("/", params={"token": ""}).status_code == 401


def test_behind_a_proxy_other_sites_are_as_far_away_as_without(room: Room, group: World) -> None:
    client = proxied(room)
    user = {"X-Forwarded-User": "boris"}
    assert client.get("/", headers={**user, "Host": "evil.example"}).status_code == 403
    for headers in ({}, {**OURS, "Origin": "https://evil.example"}):
        assert client.post("/api/verdicts", json=verdict(group), headers={**user, **headers}).status_code == 403
    sent = client.post(
        "/api/verdicts", json=verdict(group), headers={**user, **OURS, "Origin": "https://review.example.org"}
    )
    assert sent.status_code == 200


@pytest.mark.parametrize("stripped", [True, False])
def test_the_page_may_be_below_a_path_whether_the_proxy_takes_it_off_or_not(room: Room, stripped: bool) -> None:
    client, user = proxied(room, "/tools/review"), {"X-Forwarded-User": "boris"}
    base = "" if stripped else "/tools/review"
    for address in ("/", "/review.css", "/api/group"):
        assert client.get(f"{base}{address}", headers=user).status_code == 200
    assert client.get("/tools/review", headers=user).headers["location"] == "/tools/review/"
    assert client.get("/tools/reviewers", headers=user).status_code == 404


def test_health_is_asked_by_who_has_no_name_and_tells_nothing(room: Room) -> None:
    client = proxied(room)
    assert client.get("/health", headers={"Host": "10.1.2.3:8080"}).json() == {"status": "ok"}
    assert client.get("/ready", headers={"Host": "10.1.2.3:8080"}).json() == {"status": "ready"}
