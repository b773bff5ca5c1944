"""What a request may say: filters, a place in the queue, verdicts. Anything else is refused in one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator

from silhouette.database.review_queue import Filters, Order, Place
from silhouette.database.reviews import STATUSES, Status
from silhouette.errors import InputError

MOST_AT_ONCE = 500  # verdicts in one request
MOST_ON_A_PAGE = 200
Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Asked = TypeVar("Asked", bound=BaseModel)


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelAsked(_Asked):
    """Which model's segmentations are meant; empty: the latest."""

    model: str = ""


class FittingAsked(ModelAsked):
    """Pictures that fit, from a query string, and where to go on."""

    statuses: tuple[Status, ...] = STATUSES
    label: str | None = None
    min_score: Share | None = None
    max_score: Share | None = None
    min_size: Share | None = None
    max_size: Share | None = None
    min_people: int | None = Field(default=None, ge=0, le=10_000)
    max_people: int | None = Field(default=None, ge=0, le=10_000)
    max_agreement: Share | None = None
    after: Place | None = None

    @field_validator("statuses", mode="before")
    @classmethod
    def _are_separated(cls, given: Any) -> Any:
        return tuple(filter(None, given.split(","))) if isinstance(given, str) else given

    @field_validator("label")
    @classmethod
    def _is_text(cls, label: str | None) -> str | None:
        if label and "\0" in label:
            raise ValueError("a label has no NUL")
        return label

    @field_validator("after", mode="before")
    @classmethod
    def _is_a_place(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        doubt, _, number = given.partition(":")
        if not (number.isascii() and number.isdigit() and len(number) < 19):
            raise ValueError("a place is that of an earlier page")
        return {"doubt": doubt, "segmentation_id": number}

    def filters(self) -> Filters:
        """Return which pictures are wanted."""
        return Filters(**{name: getattr(self, name) for name in Filters.__dataclass_fields__})


class PageAsked(FittingAsked):
    """A page of the queue, from a query string."""

    order: Order = "doubtful"
    limit: int = Field(default=60, ge=1, le=MOST_ON_A_PAGE)


class SeenPicture(_Asked):
    """A picture, and the revision of its review that the reviewer saw."""

    sha256: Sha256
    revision: int = Field(ge=0, lt=2**31)


class UndonePicture(SeenPicture):
    """A picture, and which revision is to be taken back: that of the reviewer's verdict; None: the last one."""

    verdict: int | None = Field(default=None, ge=1, lt=2**31)


class DecideAsked(ModelAsked):
    """One verdict on some pictures."""

    status: Status
    reason: str = ""
    pictures: list[SeenPicture] = Field(min_length=1, max_length=MOST_AT_ONCE)


class UndoAsked(ModelAsked):
    """Pictures of which a verdict is to be taken back."""

    pictures: list[UndonePicture] = Field(min_length=1, max_length=MOST_AT_ONCE)


def from_query(kind: type[Asked], query: Mapping[str, str]) -> Asked:
    """Read a query string; an empty value is as good as none.

    Raises:
        InputError: It says what it may not.
    """
    try:
        return kind.model_validate({name: value for name, value in query.items() if value})
    except ValidationError as error:
        raise _one_line(error) from None


def from_body(kind: type[Asked], body: bytes) -> Asked:
    """Read a JSON body.

    Raises:
        InputError: It is no JSON, or says what it may not.
    """
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise _one_line(error) from None


def _one_line(error: ValidationError) -> InputError:
    first = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "the request"
    given = repr(first["input"])
    return InputError(f"{where}: {first['msg']}, got {given[:80]}; reload the page")
