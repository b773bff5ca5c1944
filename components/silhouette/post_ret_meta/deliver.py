"""Deliver one document: send it, and where nobody knows whether it arrived, ask before it is sent again.

The service takes the same content once, by its `Idempotency-Key`; asking makes sure even of one that would not.
"""

from __future__ import annotations

from dataclasses import dataclass

import stamina

from silhouette.errors import ServiceError
from silhouette.picture_source.returned import BusyError, DoubtError, Receipt, Refused, RetMetaService

ATTEMPTS = 5
_REASONS = {404: "unknown_picture", 409: "conflict", 413: "too_large", 422: "refused"}
_WAYS_OUT = {
    404: "the service has no such picture: was it withdrawn, or does the group come from a folder?",
    409: "the service has other bytes of the picture, or a document that stands against it: download the group again,"
    " build, then post",
    413: "the service takes no document of {size} bytes: ask its owners for a higher limit",
    422: "the service does not accept what the document says: correct that, build, then post",
}


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a document is not known to have arrived.

    Attributes:
        reason: ``unknown_picture``, ``conflict``, ``too_large``, ``refused``: the service said so; ``unexpected``: it
            said something else; ``unavailable``: it never took it; ``in_doubt``: nobody knows; the next run asks.
        detail: In words, with the way out.
    """

    reason: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """A document to send."""

    picture_id: str
    content_digest: str
    data: bytes


def deliver(service: RetMetaService, document: Outgoing, *, doubtful: bool) -> Receipt | Failure:
    """Bring a document to the service, or say why it is not there.

    Args:
        service: Gets it.
        document: What is sent.
        doubtful: It may have been sent before: the service is asked first.

    Raises:
        SettingError: The token is refused.
    """
    try:
        for attempt in stamina.retry_context(on=_again, attempts=ATTEMPTS, timeout=None, wait_initial=0.2, wait_max=10):
            with attempt:
                if doubtful and (found := _arrived(service, document)):
                    return found
                try:
                    answer = service.send(document.picture_id, document.data, content_digest=document.content_digest)
                except DoubtError:
                    doubtful = True
                    raise
                return _judged(service, document, answer)
    except BusyError as error:
        if not doubtful:
            return Failure(reason="unavailable", detail=f"{service.where} did not take it: {error}; run again later")
        return _last_question(service, document, str(error))
    except DoubtError as error:
        return _last_question(service, document, str(error))
    except ServiceError as error:
        return Failure(reason="in_doubt", detail=str(error))
    raise AssertionError("stamina neither returned nor raised")


def _again(error: Exception) -> bool | float:
    """Tell stamina whether to try again, and when."""
    if isinstance(error, BusyError):
        return True if error.wait_s is None else error.wait_s
    return isinstance(error, DoubtError)


def _arrived(service: RetMetaService, document: Outgoing) -> Receipt | None:
    found = service.received(document.picture_id)
    return found if found and found.content_digest == document.content_digest else None


def _last_question(service: RetMetaService, document: Outgoing, why: str) -> Receipt | Failure:
    """Ask once more: the answer to the last attempt may be what was lost."""
    try:
        if found := _arrived(service, document):
            return found
    except ServiceError as error:
        why = f"{why}; {error}"
    detail = f"{service.where} did not say whether it took it: {why}; run again, the service is asked first"
    return Failure(reason="in_doubt", detail=detail)


def _judged(service: RetMetaService, document: Outgoing, answer: Receipt | Refused) -> Receipt | Failure:
    if isinstance(answer, Receipt):
        return answer
    if answer.status == 409 and (found := _arrived(service, document)):
        return found  # it was there all the time
    way_out = _WAYS_OUT.get(answer.status, "it is no answer of docs/picture_service.openapi.yaml: report it")
    said = f"{service.where} answered {answer.status}" + (f": {answer.message}" if answer.message else "")
    return Failure(
        reason=_REASONS.get(answer.status, "unexpected"),
        detail=f"{said}; {way_out.format(size=len(document.data))}",
    )
