"""Documents go to the service itself, once, within the limits of every other request."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from silhouette.errors import PictureError, ServiceError, SettingError
from silhouette.picture_source.fetcher import Fetcher
from silhouette.picture_source.returned import BusyError, DoubtError, Receipt, RetMetaService
from silhouette.settings import PictureServiceSettings
from tests.loopback import TOKEN, Scripted, serving

DIGEST = "d" * 64


class Taking(Scripted):
    """Remembers the method, the body and the headers of what came."""

    def _handle(self, request: Request) -> Response:  # type: ignore[override]
        self.requests = [*getattr(self, "requests", []), request]
        return super()._handle(request)


@contextmanager
def client(app: Scripted) -> Iterator[RetMetaService]:
    with serving(app.app) as url:
        service = RetMetaService(PictureServiceSettings(url=url, token=TOKEN))
        yield service
        service.close()


def send(service: RetMetaService, picture_id: str = "a/b лето") -> object:
    return service.send(picture_id, b'{"a": 1}', content_digest=DIGEST)


def test_a_document_is_put_with_its_key_and_the_token() -> None:
    app = Taking(lambda path, _: JSONResponse({"receipt": "r", "content_digest": DIGEST}, 201))
    with client(app) as service:
        assert send(service) == Receipt(receipt="r", content_digest=DIGEST)
    (request,) = app.requests
    assert (request.method, app.asked) == (
        "PUT", [("/pictures/a%2Fb%20%D0%BB%D0%B5%D1%82%D0%BE/ret_meta", f"Bearer {TOKEN}")]
    )  # fmt: skip
    assert request.headers["idempotency-key"] == DIGEST
    assert request.headers["content-length"] == "8"
    assert request.headers["content-type"] == "application/json"


def test_a_redirect_is_not_followed() -> None:
    app = Scripted(lambda path, _: RedirectResponse("/elsewhere", 307))
    with client(app) as service:
        refused = send(service)
    assert getattr(refused, "status", 0) == 307
    assert len(app.asked) == 1


def test_nothing_is_sent_to_an_address_that_is_not_the_services() -> None:
    app = Scripted(lambda path, _: Response())
    with serving(app.app) as url:
        fetcher = Fetcher(token=TOKEN, token_origin=("http", "example.org", 80))
        with pytest.raises(PictureError, match="a document goes to the service itself and nowhere else"):
            fetcher.put(f"{url}/x", b"", max_bytes=10, headers={})
        fetcher.close()
    assert app.asked == []


def test_the_guard_holds_for_sending_as_well() -> None:
    fetcher = Fetcher(token_origin=("http", "service.example", 80), resolve=lambda host, port: ["169.254.169.254"])
    with pytest.raises(PictureError) as caught:
        fetcher.put("http://service.example/x", b"", max_bytes=10, headers={})
    fetcher.close()
    assert caught.value.reason == "forbidden_address"


def test_a_service_that_cannot_be_reached_got_nothing(unused_port: int) -> None:
    service = RetMetaService(PictureServiceSettings(url=f"http://127.0.0.1:{unused_port}", token=TOKEN))
    with pytest.raises(BusyError, match="did not answer"):
        send(service)
    service.close()


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b'{"receipt": ""}', b'{"receipt": "r", "content_digest": "x"}',
        b'{"receipt": "\\u0000", "content_digest": "%s"}' % DIGEST.encode(),
        b'{"receipt": "\\ud800", "content_digest": "%s"}' % DIGEST.encode(),
    ],
)  # fmt: skip
def test_a_200_without_a_whole_receipt_leaves_a_doubt(body: bytes) -> None:
    with client(Scripted(lambda path, _: Response(body))) as service, pytest.raises(DoubtError):
        send(service)


def test_an_answer_that_does_not_end_leaves_a_doubt() -> None:
    with client(Scripted(lambda path, _: Response(b"x" * (1 << 20)))) as service, pytest.raises(DoubtError):
        send(service)


@pytest.mark.parametrize(("header", "wait_s"), [("7", 7.0), ("100000", 60.0), ("soon", None)])
def test_a_busy_service_says_when_to_come_again(header: str, wait_s: float | None) -> None:
    app = Scripted(lambda path, _: Response(status_code=429, headers={"Retry-After": header}))
    with client(app) as service, pytest.raises(BusyError) as caught:
        send(service)
    assert caught.value.wait_s == wait_s


@pytest.mark.parametrize("code", [401, 403])
def test_a_refused_token_is_a_setting(code: int) -> None:
    with client(Scripted(lambda path, _: Response(status_code=code))) as service:
        with pytest.raises(SettingError, match="SILHOUETTE_PICTURE_SERVICE_TOKEN"):
            send(service)
        with pytest.raises(SettingError, match="SILHOUETTE_PICTURE_SERVICE_TOKEN"):
            service.received("p")


def test_a_receipt_of_another_document_is_against_the_contract() -> None:
    app = Scripted(lambda path, _: JSONResponse({"receipt": "r", "content_digest": "e" * 64}))
    with client(app) as service, pytest.raises(ServiceError, match="a receipt must be of the document that was sent"):
        send(service)


def test_the_words_of_a_refusal_are_one_line() -> None:
    answer = {"error": "bad", "message": "no\nsuch\tclass " + "x" * 1000}
    with client(Scripted(lambda path, _: JSONResponse(answer, 422))) as service:
        refused = send(service)
    message = getattr(refused, "message", "")
    assert message.startswith("no such class x")
    assert len(message) == 300


def test_the_status_counts_however_much_is_said_beside_it() -> None:
    with client(Scripted(lambda path, _: Response(b"x" * (1 << 20), 422))) as service:
        refused = send(service)
    assert (getattr(refused, "status", 0), getattr(refused, "message", None)) == (422, "")


def test_the_address_in_the_ledger_holds_no_secret() -> None:
    service = RetMetaService(PictureServiceSettings(url="https://Example.org:443/v1/", token=TOKEN))
    assert service.address == "https://example.org/v1"
    service.close()
