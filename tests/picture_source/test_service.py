"""The picture service's client: pages, what is refused and how, and where the token goes.

How a single request is made, repeated, limited and guarded is in test_fetcher.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import stamina
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse

from silhouette.contracts.dataset import RefusedPicture
from silhouette.errors import PictureError, ServiceError, SettingError
from silhouette.picture_source import service as service_module
from silhouette.picture_source.fetcher import Fetched
from silhouette.picture_source.listing import SourcePicture
from silhouette.picture_source.service import Entry, PictureService
from silhouette.settings import PictureServiceSettings
from tests.loopback import TOKEN, Scripted, serving


def picture_at(url: str) -> SourcePicture:
    return SourcePicture(picture_id="p", label="a", stamp="1", locator=url)


def host_and_port(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("http://").partition(":")
    return host, int(port)


def only_pictures(entries: Iterator[Entry] | None) -> list[SourcePicture]:
    found = list(entries or ())
    assert all(isinstance(item, SourcePicture) for item in found)
    return [item for item in found if isinstance(item, SourcePicture)]


Client = Callable[..., PictureService]


@pytest.fixture
def client() -> Iterator[Client]:
    """Open clients that are closed at the end."""
    with ExitStack() as stack:

        def opened(url: str, *also: str) -> PictureService:
            allowed = frozenset(map(host_and_port, also))
            service = PictureService(PictureServiceSettings(url=url, token=TOKEN, allowed_addresses=allowed))
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
            picture = picture_at(f"{url}/pictures/p/content")
            assert client(url, elsewhere).fetch(picture, max_bytes=100).data == b"from elsewhere"
    assert service.asked == [("/pictures/p/content", f"Bearer {TOKEN}")]
    assert other.asked == [("/bytes", "")]


def test_the_token_does_not_come_back_by_way_of_another_host(client: Client) -> None:
    places: dict[str, str] = {}
    other = Scripted(lambda path, _: RedirectResponse(f"{places['home']}/back"))
    with serving(other.app) as elsewhere:
        home = Scripted(lambda path, _: Response(b"ok") if path == "/back" else RedirectResponse(f"{elsewhere}/x"))
        with serving(home.app) as url:
            places["home"] = url
            assert client(url, elsewhere).fetch(picture_at(f"{url}/start"), max_bytes=100).data == b"ok"
    assert other.asked == [("/x", "")]
    assert home.asked == [("/start", f"Bearer {TOKEN}"), ("/back", "")]


def test_the_token_is_not_sent_to_another_host_that_a_listing_names(client: Client) -> None:
    other = Scripted(lambda path, _: Response(b"bytes"))
    with serving(other.app) as elsewhere:
        service = Scripted(lambda path, _: page("p", url=f"{elsewhere}/bytes"))
        with serving(service.app) as url, serving(service.app):
            (listed,) = only_pictures(client(url).pictures("g"))
            assert client(url, elsewhere).fetch(listed, max_bytes=100).data == b"bytes"
    assert other.asked == [("/bytes", "")]


def test_a_redirect_on_the_same_host_keeps_the_token(client: Client) -> None:
    service = Scripted(lambda path, _: Response(b"ok") if path == "/there" else RedirectResponse("/there"))
    with serving(service.app) as url:
        assert client(url).fetch(picture_at(f"{url}/here"), max_bytes=100).data == b"ok"
    assert service.asked == [("/here", f"Bearer {TOKEN}"), ("/there", f"Bearer {TOKEN}")]


def test_the_service_may_be_on_loopback_and_what_it_names_there_may_not(client: Client) -> None:
    other = Scripted(lambda path, _: Response(b"secret"))
    with serving(other.app) as elsewhere:
        service = Scripted(
            lambda path, _: page("p", url=f"{elsewhere}/x") if "groups" in path else RedirectResponse(f"{elsewhere}/y")
        )
        with serving(service.app) as url:
            (listed,) = only_pictures(client(url).pictures("g"))
            for picture in (listed, picture_at(f"{url}/p")):
                with pytest.raises(
                    PictureError, match=r"127.0.0.1 is loopback.*SILHOUETTE_ALLOWED_ADDRESSES"
                ) as caught:
                    client(url).fetch(picture, max_bytes=100)
                assert caught.value.reason == "forbidden_address"
    assert other.asked == []


def test_redirects_of_a_picture_are_capped(client: Client) -> None:
    service = Scripted(lambda path, _: RedirectResponse("/round"))
    with serving(service.app) as url, pytest.raises(PictureError, match="redirects more than 5 times") as caught:
        client(url).fetch(picture_at(f"{url}/round"), max_bytes=100)
    assert caught.value.reason == "redirect_loop"
    assert len(service.asked) == 6


@pytest.mark.parametrize("location", ["/round", "http://127.0.0.1:1/", "ftp://host/"])
def test_a_listing_that_is_redirected_astray_is_an_error_of_the_service(location: str, client: Client) -> None:
    service = Scripted(lambda path, _: RedirectResponse(location))
    with serving(service.app) as url, pytest.raises(ServiceError, match=rf"must answer {url}/groups itself: "):
        client(url).groups()


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_service_is_asked_again(status: int, client: Client) -> None:
    stamina.set_testing(True, attempts=5)
    service = Scripted(lambda path, nth: Response(b"ok") if nth == 3 else Response(status_code=status))
    with serving(service.app) as url:
        assert client(url).fetch(picture_at(f"{url}/p"), max_bytes=100).data == b"ok"
    assert len(service.asked) == 3


def test_a_service_that_stays_busy_is_named_after_a_bounded_number_of_attempts(client: Client) -> None:
    stamina.set_testing(True, attempts=5)
    service = Scripted(lambda path, _: Response(status_code=503))
    with serving(service.app) as url:
        with pytest.raises(ServiceError, match=r"must answer.*in 5 attempts \(answered 503\).*what is done stays"):
            client(url).groups()
        assert len(service.asked) == 5
        with pytest.raises(PictureError, match=r"unavailable: .*/p did not answer in 5 attempts \(answered 503\)"):
            client(url).fetch(picture_at(f"{url}/p"), max_bytes=100)
    assert len(service.asked) == 10


def short() -> Any:
    yield b"only this"


def test_a_connection_that_breaks_off_is_tried_again(client: Client) -> None:
    stamina.set_testing(True, attempts=3)
    service = Scripted(
        lambda path, nth: (
            Response(b"whole") if nth == 2 else StreamingResponse(short(), headers={"Content-Length": "50"})
        )
    )
    with serving(service.app) as url:
        assert client(url).fetch(picture_at(f"{url}/p"), max_bytes=100).data == b"whole"


def test_a_body_that_is_always_cut_short_is_a_fault_of_the_picture(client: Client) -> None:
    stamina.set_testing(True, attempts=3)
    service = Scripted(lambda path, _: StreamingResponse(short(), headers={"Content-Length": "50"}))
    with serving(service.app) as url, pytest.raises(PictureError, match="in 3 attempts") as caught:
        client(url).fetch(picture_at(f"{url}/p"), max_bytes=100)
    assert caught.value.reason == "unavailable"


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
        assert client(url).fetch(picture_at(f"{url}/p"), max_bytes=101).data == b"x" * 101


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


@pytest.mark.parametrize(
    ("status", "reason"),
    [(404, "missing"), (410, "withdrawn"), (401, "forbidden"), (403, "forbidden"), (451, "forbidden"),
     (204, "unavailable"), (206, "unavailable"), (304, "unavailable"), (400, "unavailable"), (503, "unavailable")],
)  # fmt: skip
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
    assert len(asked) == 2


def test_a_picture_that_moves_to_the_next_page_in_mid_listing_comes_twice(client: Client) -> None:
    service = Scripted(lambda path, nth: page("a", "b", cursor="2") if nth == 1 else page("b", "c"))
    with serving(service.app) as url:
        assert [item.picture_id for item in client(url).pictures("g")] == ["a", "b", "b", "c"]


def test_a_listing_that_invents_pages_for_ever_ends(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_module, "_MAX_PAGES", 3)
    service = Scripted(lambda path, nth: page(f"p{nth}", cursor=f"{nth}"))
    with serving(service.app) as url, pytest.raises(ServiceError, match="it has more than 3 pages"):
        list(client(url).pictures("g"))


def test_a_listing_that_ends_in_the_middle_is_an_error_and_not_a_short_listing(client: Client) -> None:
    service = Scripted(lambda path, nth: page("a", cursor="2") if nth == 1 else Response(status_code=500))
    with serving(service.app) as url, pytest.raises(ServiceError, match=r"must answer.*cursor=2.*answered 500"):
        list(client(url).pictures("g"))


def test_a_page_without_pictures_does_not_end_the_listing(client: Client) -> None:
    service = Scripted(lambda path, nth: page("a") if nth == 2 else page(cursor="2"))
    with serving(service.app) as url:
        assert [item.picture_id for item in client(url).pictures("g")] == ["a"]


def test_a_page_without_end_is_an_error_of_the_service(client: Client) -> None:
    def endless() -> Any:
        while True:
            yield b" " * 1_000_000

    with serving(Scripted(lambda path, _: StreamingResponse(endless())).app) as url:
        with pytest.raises(ServiceError, match=r"itself: too_many_bytes: at most 16777216 bytes are read"):
            list(client(url).pictures("g"))


def test_an_etag_that_still_holds_saves_the_bytes(client: Client) -> None:
    tags: list[str] = []

    class Tagged(Scripted):
        def _handle(self, request: Any) -> Response:
            tags.append(request.headers.get("if-none-match", ""))
            return Response(status_code=304) if tags[-1] == '"1"' else Response(b"new", headers={"ETag": '"2"'})

    with serving(Tagged(lambda path, _: Response()).app) as url:
        service, picture = client(url), picture_at(f"{url}/p")
        assert service.fetch(picture, max_bytes=100) == Fetched(data=b"new", etag='"2"')
        assert service.fetch(picture, max_bytes=100, etag='"1"') == Fetched(data=None, etag='"1"')
        assert service.fetch(picture, max_bytes=100, etag='"0"') == Fetched(data=b"new", etag='"2"')
        assert service.fetch(picture, max_bytes=100, etag='"é\r\nX: y"').data == b"new"
    assert tags == ["", '"1"', '"0"', ""]


def test_an_unknown_pixset_is_told_from_an_empty_one(client: Client) -> None:
    def answer(path: str, nth: int) -> Response:
        return {"/pixsets/empty/pictures": page(), "/pixsets/some/pictures": page("a")}.get(
            path, Response(status_code=404)
        )

    with serving(Scripted(answer).app) as url:
        service = client(url)
        assert service.pixset_pictures("none") is None
        assert service.pixset_pictures("\0") is None
        assert service.pixset_pictures("\ud800") is None
        assert only_pictures(service.pixset_pictures("empty")) == []
        assert [item.label for item in only_pictures(service.pixset_pictures("some"))] == [""]
        assert [item.label for item in only_pictures(service.pixset_pictures("some", "g"))] == ["a"]


@pytest.mark.parametrize(
    ("entry", "shown"),
    [
        ({"picture_id": "a\0b"}, "a\\u0000b"),
        ({"picture_id": "a\ud800b"}, "a\\ud800b"),
        ({"picture_id": "p", "labels": {"g": "x\udfff"}}, "p"),
        ({"picture_id": "p", "labels": {"g": "\0"}}, "p"),
        ({"picture_id": "p", "pixset_id": "\ud83d"}, "p"),
    ],
)
def test_a_name_that_is_no_text_is_refused_alone(entry: dict[str, Any], shown: str, client: Client) -> None:
    entries = [{"picture_id": "good", "etag": "1"}, {"etag": "1", **entry}, {"picture_id": "ж 😀", "etag": "1"}]
    body = json.dumps({"pictures": entries, "next_cursor": None}).encode()
    with serving(Scripted(lambda path, _: Response(body)).app) as url:
        first, refused, last = client(url).pictures("g")
    assert (first.picture_id, last.picture_id) == ("good", "ж 😀")
    assert isinstance(refused, RefusedPicture)
    assert (refused.picture_id, refused.reason) == (shown, "bad_name")


def test_what_is_no_text_in_fields_that_nobody_reads_does_no_harm(client: Client) -> None:
    entry = {"picture_id": "p", "etag": "1", "caption": "\ud83d", "labels": {"g": "a", "other": "\0", "\ud800": 7}}
    body = json.dumps({"pictures": [entry]}).encode()
    with serving(Scripted(lambda path, _: Response(body)).app) as url:
        (listed,) = only_pictures(client(url).pictures("g"))
    assert (listed.picture_id, listed.label) == ("p", "a")


@pytest.mark.parametrize("where", ["file:///etc/passwd", "http://user:hidden@host/", "http://[x]/", "\ud800", "a\nb"])
def test_a_picture_with_a_bad_url_is_refused_alone(where: str, client: Client) -> None:
    body = json.dumps({"pictures": [{"picture_id": "p", "etag": "1", "url": where}]}).encode()
    with serving(Scripted(lambda path, _: Response(body)).app) as url:
        (refused,) = client(url).pictures("g")
    assert isinstance(refused, RefusedPicture)
    assert (refused.picture_id, refused.reason) == ("p", "bad_url")
    assert "hidden" not in refused.detail


def test_classes_that_are_no_text_are_an_error_of_the_service(client: Client) -> None:
    body = json.dumps({"group": "g", "classes": ["a", "\ud800"]}).encode()
    with (
        serving(Scripted(lambda path, _: Response(body)).app) as url,
        pytest.raises(ServiceError, match="must be text"),
    ):
        client(url).classes("g")


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
        (json.dumps({"pictures": [{"picture_id": 7, "etag": "1"}]}).encode(), "pictures.0.picture_id .*valid string"),
        (json.dumps({"pictures": [{"picture_id": "a", "etag": "1", "labels": {"g": 7}}]}).encode(), "must be a text"),
        (json.dumps({"pictures": [{"picture_id": "\ud800", "etag": 7}]}).encode(), "pictures.0.etag"),
        (json.dumps({"pictures": {}, "next_cursor": None}).encode(), "pictures Input should be a valid array"),
        (json.dumps({"pictures": [], "next_cursor": 7}).encode(), "next_cursor"),
        (b'{"pictures": [{"\\ud800', "Invalid JSON"),
        (b'{"x": "\\ud800", "pictures": ' + b"[" * 100_000, "Invalid JSON"),
        (b'{"pictures": ["\xff\xed\xa0\x80"]}', "Invalid JSON"),
        (b"", "Invalid JSON"),
    ],
)
def test_an_answer_against_the_contract_is_refused_with_its_place(body: bytes, says: str, client: Client) -> None:
    with serving(Scripted(lambda path, _: Response(body)).app) as url:
        with pytest.raises(ServiceError, match=says) as caught:
            list(client(url).pictures("g"))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "url", ["", "no scheme", "ftp://x", "http://", "http://user:hidden@host", "http://host/?key=hidden", "http://h:0"]
)
def test_a_url_that_is_none_is_refused(url: str, client: Client) -> None:
    with pytest.raises(SettingError, match="must be http://host:port") as caught:
        client(url)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("token", ["two\nlines", "ключ", "\x00"])
def test_a_token_that_no_header_can_hold_is_refused_and_never_shown(token: str) -> None:
    with pytest.raises(SettingError, match="TOKEN must be one line of printable ASCII") as caught:
        PictureService(PictureServiceSettings(url="http://host", token=token))
    assert token not in str(caught.value)


def test_an_allowed_address_that_is_no_host_is_refused() -> None:
    settings = PictureServiceSettings(url="http://host", allowed_addresses=frozenset({("a b", 80)}))
    with pytest.raises(SettingError, match="SILHOUETTE_ALLOWED_ADDRESSES must be"):
        PictureService(settings)


def test_unknown_fields_of_a_newer_service_are_passed_over(client: Client) -> None:
    answer: Callable[[str, int], Response] = lambda path, _: page("a", faces=3, split="validation")  # noqa: E731
    with serving(Scripted(answer).app) as url:
        (listed,) = only_pictures(client(url).pictures("g"))
    assert (listed.split, listed.label, listed.stamp) == ("val", "a", '"a"')
