"""What the picture service has of ours: send a document, ask for the one that is there.

Protocol: docs/picture_service.openapi.yaml. One question, one answer: what is tried again, and when, is decided by
whoever sends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import Field, ValidationError

from silhouette.errors import PictureError, ServiceError, SettingError
from silhouette.picture_source.fetcher import LONGEST_WAIT_S, Response, retry_after_s
from silhouette.picture_source.service import Answer, PictureService, read_answer

_MAX_ANSWER_BYTES = 64 << 10
_SHOWN = 300
_BUSY = {408, 425, 429, 503}  # said before the document was looked at
_DOUBTFUL = {500, 502, 504}  # said by one who may have taken it, or stands before the one who did


class Receipt(Answer):
    """What the service says of the document that it has; `document` is left out in the answer to sending."""

    receipt: str = Field(pattern="^[^\\x00]+$", max_length=500)  # PostgreSQL keeps no NUL
    content_digest: str = Field(pattern="^[0-9a-f]{64}$")
    document: dict[str, Any] | None = None


class _Refusal(Answer):
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A document that the service did not take: its status and its own words."""

    status: int
    message: str


class BusyError(Exception):
    """The document was not taken and may be sent again, in `wait_s` seconds when the service says so."""

    def __init__(self, detail: str, wait_s: float | None = None) -> None:
        super().__init__(detail)
        self.wait_s = wait_s


class DoubtError(Exception):
    """Nobody knows whether the document was taken; the service has to be asked."""


class RetMetaService(PictureService):
    """The picture service as the one who takes documents back."""

    @property
    def address(self) -> str:
        """Return where it is, as the ledger names it; no secret is in it."""
        return str(self._base).rstrip("/")

    def received(self, picture_id: str) -> Receipt | None:
        """Return the receipt of the document that the service has of a picture, with the document; None: it has none.

        Raises:
            SettingError: The token is refused.
            ServiceError: It does not answer, or against its contract.
        """
        return self._json(self._url("pictures", picture_id, "ret_meta"), Receipt, missing_ok=True)

    def send(self, picture_id: str, document: bytes, *, content_digest: str) -> Receipt | Refused:
        """Send a document; the same content sent twice changes nothing and has one receipt.

        Raises:
            BusyError: It was not taken; it may be sent again.
            DoubtError: It may have been taken.
            SettingError: The token is refused.
            ServiceError: The service answers against its contract, or may not be reached at all.
        """
        headers = {"Content-Type": "application/json", "Idempotency-Key": content_digest}
        try:
            answer = self._fetcher.put(
                self._url("pictures", picture_id, "ret_meta"), document, max_bytes=_MAX_ANSWER_BYTES, headers=headers
            )
        except PictureError as error:
            if error.reason == "unsent":
                raise BusyError(error.detail) from error
            if error.reason in ("unanswered", "too_many_bytes", "unavailable"):
                raise DoubtError(error.detail) from error
            raise ServiceError(f"{self.where} must take documents itself: {error}; report it") from error
        return self._understood(answer, content_digest)

    def _understood(self, answer: Response, content_digest: str) -> Receipt | Refused:
        status = answer.status
        if status in (401, 403):
            raise SettingError(
                f"{self.where} refused the token (it answered {status}); correct SILHOUETTE_PICTURE_SERVICE_TOKEN"
            )
        if status in _BUSY:
            wait_s = retry_after_s(answer.headers.get("retry-after", ""), answer.headers.get("date", ""))
            raise BusyError(f"it answered {status}", None if wait_s is None else min(wait_s, LONGEST_WAIT_S))
        if status in _DOUBTFUL:
            raise DoubtError(f"it answered {status}")
        if status not in (200, 201):
            return Refused(status=status, message=_words(answer.body))
        try:
            receipt = read_answer(Receipt, answer.body)
        except ValidationError:
            raise DoubtError(f"it answered {status} without a receipt") from None
        if receipt.content_digest != content_digest:
            raise self._against_contract(
                f"a receipt must be of the document that was sent, {content_digest[:12]}, got one of"
                f" {receipt.content_digest[:12]}"
            )
        return receipt


def _words(body: bytes) -> str:
    """Return the service's own words on one line, if it has any."""
    try:
        return " ".join(_Refusal.model_validate_json(body).message.split())[:_SHOWN]
    except ValidationError:
        return ""
