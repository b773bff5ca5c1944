"""What goes back to the service for a picture: its people, what every configured model says of them, and provenance.

One JSON document a picture, store key ``ret_meta/<picture key>.json``; its JSON Schema is docs/ret_meta.schema.json
(`silhouette ret-meta schema` prints it), in words docs/ret_meta.md. `content_digest` names the content: it leaves out
`made` (when, by which code, from which datasets), so that the same findings made again are the same document. People
carry their contours as `silhouette.contracts.contours` packs them, in base64: exact, and some hundred bytes.

A document names the oldest schema that has all it says: 2 where a person drew the contours, else 1. So nothing is sent
again for a schema's sake, and who reads schema 1 can go on with what a model found.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

from silhouette.contracts import contours as contour_bytes
from silhouette.contracts.contours import Contours
from silhouette.errors import InputError
from silhouette.names import safe_key

SCHEMA_VERSION = 2
SCHEMA_ID = f"https://silhouette.invalid/ret_meta/{SCHEMA_VERSION}"
PREFIX = "ret_meta"
PROBABILITY_DIGITS = 4

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Share = Annotated[float, Field(ge=0, le=1)]
Gate = Literal["passed", "refused", "unjudged"]
_NOT_CONTENT = ("content_digest", "made")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True)


class Picture(_Part):
    """Which picture it is; sizes are of the upright picture, in pixels."""

    picture_id: str = Field(min_length=1)
    sha256: Sha256
    width: int = Field(ge=1)
    height: int = Field(ge=1)


class Segmentation(_Part):
    """Which model found the people, and what a reviewer said; `nobody`: verified that no person is on the picture."""

    model_digest: Sha256 = Field(description="Of the segmenter's file.")
    review_status: Literal["unchecked", "approved", "nobody"]

    @property
    def who(self) -> str:
        """Return who made the contours, in words."""
        return f"segmenter {self.model_digest[:12]}"


class Correction(_Part):
    """Who drew the people, where a correction counts; `nobody`: who drew says that no person is on the picture."""

    author: str = Field(min_length=1)
    correction_digest: Sha256 = Field(description="Of what was drawn, as the database names it.")
    review_status: Literal["approved", "nobody"]

    @property
    def who(self) -> str:
        """Return who made the contours, in words."""
        return f"drawn by {self.author!r}"


def _made_by(found: object) -> str:
    by_author = "author" in found if isinstance(found, dict) else isinstance(found, Correction)
    return "author" if by_author else "model"


FoundBy = Annotated[
    Annotated[Segmentation, Tag("model")] | Annotated[Correction, Tag("author")], Discriminator(_made_by)
]


class Prediction(_Part):
    """What a group's model says of a person; `class` is null where it abstains."""

    label: str | None = Field(alias="class", description="The most probable class; null: the model abstains.")
    probability: Share = Field(description="Of the most probable class, calibrated, whether the model abstains or not.")
    probabilities: list[Share] = Field(min_length=2, description="Of every class, in the order of the model's.")


class Person(_Part):
    """A person on the picture."""

    person_index: int = Field(ge=0)
    main: bool = Field(description="The largest person, who carries the picture's label.")
    box_xyxy: tuple[float, float, float, float] = Field(description="In pixels of the upright original.")
    score: Share = Field(description="The segmenter's; 1 where a person drew.")
    contours: str = Field(pattern="^[A-Za-z0-9+/]+={0,2}$", description="Base64; see docs/ret_meta.md.")
    predictions: dict[str, Prediction] = Field(description="By group.")

    def outline(self) -> Contours:
        """Unpack the contours.

        Raises:
            InputError: They are damaged.
        """
        return contour_bytes.decode(base64.b64decode(self.contours))


class Model(_Part):
    """The model that answered for a group."""

    classes: list[str] = Field(min_length=2)
    onnx_sha256: Sha256
    experiment: str
    crops_digest: str = Field(description="Of the crops that it was trained and judged on.")
    abstain_below: Share = Field(description="The model abstains where its best class is less probable.")
    gate: Gate = Field(description="What the evaluation of this very file says.")


class Made(_Part):
    """When and by what the document was made; no part of its content."""

    at: str = Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
    code_version: str
    inputs_digest: Sha256 = Field(description="Of all that it was made from; equal: it need not be made again.")
    datasets: dict[str, str] = Field(description="Digests of the datasets that had the picture, by group.")
    answered_by: dict[str, str] = Field(description="Where each group's model was asked, in words.")


class RetMeta(_Part):
    """The document of one picture."""

    schema_version: Literal[1, 2] = Field(description="2 where a person drew the contours, else 1.")
    content_digest: Sha256 = Field(description="SHA-256 of the document without itself and `made`.")
    picture: Picture
    segmentation: FoundBy
    people: list[Person]
    models: dict[str, Model] = Field(min_length=1, description="By group.")
    made: Made

    @model_validator(mode="after")
    def _is_consistent(self) -> RetMeta:
        if self.schema_version != _schema_of(self.segmentation):
            raise ValueError(f"schema_version must be {_schema_of(self.segmentation)} by who made the contours")
        if [person.person_index for person in self.people] != list(range(len(self.people))):
            raise ValueError("people must be numbered from 0 in their order")
        if self.people and sum(person.main for person in self.people) != 1:
            raise ValueError("exactly one person must be the main one")
        for person in self.people:
            if person.predictions.keys() != self.models.keys():
                raise ValueError(f"person {person.person_index} must have a prediction of every model and no other")
            for group, model in self.models.items():
                _check(person.predictions[group], model, f"person {person.person_index}, group {group!r}")
        if self.content_digest != digest_of(self.model_dump(by_alias=True)):
            raise ValueError("content_digest must be that of the content")
        return self


def _schema_of(found: Segmentation | Correction) -> Literal[1, 2]:
    return 2 if isinstance(found, Correction) else 1


def _check(prediction: Prediction, model: Model, where: str) -> None:
    if len(prediction.probabilities) != len(model.classes) or prediction.probability != max(prediction.probabilities):
        raise ValueError(f"{where}: probabilities must be one for each class, and probability the largest of them")
    best = model.classes[prediction.probabilities.index(prediction.probability)]
    expected = None if prediction.probability < model.abstain_below else best
    if prediction.label != expected:
        raise ValueError(f"{where}: class must be {expected!r} by its probabilities, got {prediction.label!r}")


def predict(probabilities: list[float], model: Model) -> Prediction:
    """Say what a model's answer means: the most probable class, or that it abstains.

    Args:
        probabilities: Of every class, in the order of the model's.
        model: Which answered.
    """
    rounded = [min(1.0, round(value, PROBABILITY_DIGITS)) for value in probabilities]
    best = max(rounded)
    label = None if best < model.abstain_below else model.classes[rounded.index(best)]
    return Prediction(label=label, probability=best, probabilities=rounded)


def make(
    *,
    picture: Picture,
    segmentation: Segmentation | Correction,
    people: list[Person],
    models: dict[str, Model],
    made: Made,
) -> RetMeta:
    """Put a document together and name its content."""
    content = {"picture": picture, "segmentation": segmentation, "people": people, "models": models, "made": made}
    schema = _schema_of(segmentation)
    unnamed = RetMeta.model_construct(schema_version=schema, content_digest="", **content)  # type: ignore[arg-type]
    return RetMeta(schema_version=schema, content_digest=digest_of(unnamed.model_dump(by_alias=True)), **content)


def digest_of(document: dict[str, Any]) -> str:
    """Return the SHA-256 of a document's content: sorted keys, no spaces, UTF-8, without `content_digest`, `made`."""
    content = {name: value for name, value in document.items() if name not in _NOT_CONTENT}
    return hashlib.sha256(
        json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    ).hexdigest()


def store_key(picture_id: str) -> str:
    """Return where the store has a picture's document."""
    return f"{PREFIX}/{safe_key(picture_id)}.json"


def to_bytes(document: RetMeta) -> bytes:
    """Return the document as it is stored and sent: JSON in UTF-8, in the order of the schema."""
    return (json.dumps(document.model_dump(by_alias=True), ensure_ascii=False) + "\n").encode()


def read(data: bytes, *, where: str) -> RetMeta:
    """Read a document.

    Args:
        data: Its bytes.
        where: What it is, for messages.

    Raises:
        NewerSchemaError: Its schema is newer than ours.
        InputError: It is none, or damaged.
    """
    try:
        head = json.loads(data)
        version = head.get("schema_version") if isinstance(head, dict) else None
    except (ValueError, RecursionError):
        version = None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise NewerSchemaError(
            f"{where} must be a ret_meta document of schema {SCHEMA_VERSION} or older, got schema {version};"
            " install the Silhouette that wrote it, or a newer one"
        )
    try:
        return RetMeta.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the document"
        raise InputError(
            f"{where} must be a ret_meta document (docs/ret_meta.schema.json): {place}: {first['msg']};"
            " build it again with `silhouette ret-meta build`"
        ) from None


class NewerSchemaError(InputError):
    """The document is of a newer Silhouette."""


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a document."""
    schema = RetMeta.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA_ID, **schema}
