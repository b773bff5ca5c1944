"""The picture service's client: pages, retries, limits, and where the token goes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import stamina
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse

from silhouette.errors import PictureError, ServiceError, SettingError
from silhouette.picture_source.listing import SourcePicture
from silhouette.picture_source.service import PictureService, _again, _BusyError
from silhouette.settings import PictureServiceSettings
from tests.loopback import TOKEN, Scripted, serving


def picture_at(url: str) -> SourcePicture:
    return SourcePicture(picture_id="p", label="a", stamp="1", locator=url)


Client = Callable[[str], PictureService]


@pytest.fixture
def client() -> Iterator[Client]:
    """Open clients that are closed at the end."""
    with ExitStack() as stack:

        def opened(url: str) -> PictureService:
            service = PictureService(PictureServiceSettings(url=url, token=TOKEN))
            stack.callback(service.close)
            return service

        yield opened


def page(*names: str, cursor: str | None = None, **more: Any) -> JSONResponse:
    pictures = [{"picture_id": name, "labels": {"g": "a"}, "etag": f'"{name}"', **more} for name in names]
    return JSONResponse({"pictures": pictures, "next_cursor": cursor})


def test_the_token_is_not_sent_to_another_host_on_a_redirect(client: Client) -> None:
    other = Scripted(lambda path, _: Response(b"from elsewhere"))
    with serving(other.app) as elsewhere:
        service = Scripted(lambda path, _: RedirectResponse(f"{elsewhere}/bytes"))
        with serving(service.app) as url:
            assert client(url).fetch(picture_at(f"{url}/pictures/p/content"), max_bytes=100) == b"from elsewhere"
    assert service.asked == [("/pictures/p/content", f"Bearer {TOKEN}")]
    assert other.asked == [("/bytes", "")]


def test_the_token_does_not_come_back_by_way_of_another_host(client: Client) -> None:
    places: dict[str, str] = {}
    other = Scripted(lambda path, _: RedirectResponse(f"{places['home']}/back"))
    with serving(other.app) as elsewhere:
        home = Scripted(lambda path, _: Response(b"ok") if path == "/back" else RedirectResponse(f"{elsewhere}/x"))
        with serving(home.app) as url:
            places["home"] = url
            client(url).fetch(picture_at(f"{url}/start"), max_bytes=100)
    assert {authorisation for _, authorisation in other.asked} == {""}


def test_the_token_is_not_sent_to_another_host_that_a_listing_names(client: Client) -> None:
    other = Scripted(lambda path, _: Response(b"bytes"))
    with serving(other.app) as elsewhere:
        service = Scripted(lambda path, _: page("p", url=f"{elsewhere}/bytes"))
        with serving(service.app) as url, serving(service.app):
            (listed,) = client(url).pictures("g")
            assert client(url).fetch(listed, max_bytes=100) == b"bytes"
    assert other.asked == [("/bytes", "")]


def test_a_redirect_on_the_same_host_keeps_the_token(client: Client) -> None:
    service = Scripted(lambda path, _: Response(b"ok") if path == "/there" else RedirectResponse("/there"))
    with serving(service.app) as url:
        assert client(url).fetch(picture_at(f"{url}/here"), max_bytes=100) == b"ok"
    assert service.asked == [("/here", f"Bearer {TOKEN}"), ("/there", f"Bearer {TOKEN}")]


def test_redirects_are_capped(client: Client) -> None:
    service = Scripted(lambda path, _: RedirectResponse("/round"))
    with serving(service.app) as url, pytest.raises(ServiceError, match="not redirect more than 5 times"):
        client(url).fetch(picture_at(f"{url}/round"), max_bytes=100)
    assert len(service.asked) == 6


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_service_is_asked_again(status: int, client: Client) -> None:
    stamina.set_testing(True, attempts=5)
    service = Scripted(lambda path, nth: Response(b"ok") if nth == 3 else Response(status_code=status))
    with serving(service.app) as url:
        assert client(url).fetch(picture_at(f"{url}/p"), max_bytes=100) == b"ok"
    assert len(service.asked) == 3


def test_a_service_that_stays_busy_is_named_after_a_bounded_number_of_attempts(client: Client) -> None:
    stamina.set_testing(True, attempts=5)
    service = Scripted(lambda path, _: Response(status_code=503))
    with (
        serving(service.app) as url,
        pytest.raises(ServiceError, match=r"must answer.*answered 503.*what is done stays"),
    ):
        client(url).fetch(picture_at(f"{url}/p"), max_bytes=100)
    assert len(service.asked) == 5


@pytest.mark.parametrize(
    ("header", "wait"), [("7", 7.0), ("0", 0.0), ("99999", 60.0), ("", True), ("Wed, 21 Oct 2026 07:28:00 GMT", True)]
)
def test_retry_after_is_honoured_up_to_a_minute(header: str, wait: float, client: Client) -> None:
    service = Scripted(lambda path, _: Response(status_code=429, headers={"Retry-After": header} if header else {}))
    with serving(service.app) as url, pytest.raises(_BusyError) as caught:
        client(url)._get_once(f"{url}/p", max_bytes=1)
    assert _again(caught.value) == wait
    assert _again(ValueError()) is False


def test_retry_after_is_really_waited_for(monkeypatch: pytest.MonkeyPatch, client: Client) -> None:
    slept: list[float] = []
    stamina.set_testing(False)
    service = Scripted(
        lambda path, nth: Response(b"ok") if nth == 2 else Response(status_code=503, headers={"Retry-After": "9"})
    )
    with serving(service.app) as url:
        monkeypatch.setattr(time, "sleep", slept.append)
        assert client(url).fetch(picture_at(f"{url}/p"), max_bytes=100) == b"ok"
    assert slept == [9.0]


def test_a_connection_that_breaks_off_is_tried_again(client: Client) -> None:
    def short() -> Any:
        yield b"only this"

    stamina.set_testing(True, attempts=3)
    service = Scripted(
        lambda path, nth: (
            Response(b"whole") if nth == 2 else StreamingResponse(short(), headers={"Content-Length": "50"})
        )
    )
    with serving(service.app) as url:
        assert client(url).fetch(picture_at(f"{url}/p"), max_bytes=100) == b"whole"


def test_a_dead_service_is_named_with_the_way_out(unused_port: int, client: Client) -> None:
    with pytest.raises(ServiceError, match=rf"127.0.0.1:{unused_port} must answer.*SILHOUETTE_PICTURE_SERVICE_URL"):
        client(f"http://127.0.0.1:{unused_port}").groups()


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_token_is_named_and_never_shown(status: int, client: Client) -> None:
    with serving(Scripted(lambda path, _: Response(status_code=status)).app) as url:
        with pytest.raises(SettingError, match="SILHOUETTE_PICTURE_SERVICE_TOKEN") as caught:
            client(url).groups()
        assert TOKEN not in str(caught.value)
        assert TOKEN not in repr(PictureServiceSettings(url=url, token=TOKEN))


def test_a_declared_size_over_the_cap_is_refused_before_reading(client: Client) -> None:
    with serving(Scripted(lambda path, _: Response(b"x" * 101)).app) as url:
        with pytest.raises(PictureError, match="at most 100 bytes are read, the server has 101"):
            client(url).fetch(picture_at(f"{url}/p"), max_bytes=100)
        assert len(client(url).fetch(picture_at(f"{url}/p"), max_bytes=101)) == 101


def test_an_endless_stream_is_cut_off(client: Client) -> None:
    sent: list[int] = []

    def endless() -> Any:
        for number in range(10_000):
            sent.append(number)
            yield b"x" * 10_000

    with (
        serving(Scripted(lambda path, _: StreamingResponse(endless())).app) as url,
        pytest.raises(PictureError, match="sends more"),
    ):
        client(url).fetch(picture_at(f"{url}/p"), max_bytes=100_000)
    assert len(sent) < 10_000


@pytest.mark.parametrize(("status", "reason"), [(404, "missing"), (410, "missing"), (403, "forbidden")])
def test_a_picture_that_is_not_to_be_had_is_refused_alone(status: int, reason: str, client: Client) -> None:
    with (
        serving(Scripted(lambda path, _: Response(status_code=status)).app) as url,
        pytest.raises(PictureError) as caught,
    ):
        client(url).fetch(picture_at(f"{url}/p"), max_bytes=100)
    assert caught.value.reason == reason


def test_all_pages_are_read_in_order(client: Client) -> None:
    asked: list[str] = []

    def by_query(path: str, nth: int) -> Response:
        asked.append(path)
        return page("c") if nth == 2 else page("a", "b", cursor="next page/é")

    with serving(Scripted(by_query).app) as url:
        assert [item.picture_id for item in client(url).pictures("g")] == ["a", "b", "c"]


def test_a_cursor_that_goes_in_circles_is_an_error(client: Client) -> None:
    with (
        serving(Scripted(lambda path, _: page("a", cursor="same")).app) as url,
        pytest.raises(ServiceError, match="twice"),
    ):
        list(client(url).pictures("g"))


@pytest.mark.parametrize("name", ["a b", "a/b", "..", ".", "ж'\"$", "%2F", "?x=1#y"])
def test_any_name_is_one_segment_of_the_path(name: str, client: Client) -> None:
    service = Scripted(lambda path, _: page())
    with serving(service.app) as url:
        assert list(client(url).pictures(name)) == []
    (path, _), *_ = service.asked
    assert path.count("/") == 3
    assert path.startswith("/groups/")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"<html>", "Invalid JSON"),
        (b"[]", "object"),
        (json.dumps({"pictures": [{"picture_id": "a"}]}).encode(), "pictures.0.etag Field required"),
        (json.dumps({"pictures": [{"picture_id": "a", "etag": "1", "sha256": "no"}]}).encode(), "sha256"),
        (json.dumps({"pictures": [{"picture_id": "a", "etag": "1", "split": "north"}]}).encode(), "north"),
    ],
)
def test_an_answer_against_the_contract_is_refused_with_its_place(body: bytes, says: str, client: Client) -> None:
    with serving(Scripted(lambda path, _: Response(body)).app) as url, pytest.raises(ServiceError, match=says):
        list(client(url).pictures("g"))


@pytest.mark.parametrize("url", ["", "no scheme", "ftp://x", "http://"])
def test_a_url_that_is_none_is_refused(url: str, client: Client) -> None:
    with pytest.raises(SettingError, match="must be http://host:port"):
        client(url)


def test_unknown_fields_of_a_newer_service_are_passed_over(client: Client) -> None:
    answer: Callable[[str, int], Response] = lambda path, _: page("a", faces=3, split="validation")  # noqa: E731
    with serving(Scripted(answer).app) as url:
        (listed,) = client(url).pictures("g")
    assert (listed.split, listed.label, listed.stamp) == ("val", "a", '"a"')
