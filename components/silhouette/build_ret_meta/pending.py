"""Which pictures of the groups have to be looked at: known from digests, before one of them is decoded.

Reads people, reviews and the badlist in PostgreSQL and the documents that are there in the store; writes nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from silhouette import __version__
from silhouette.contracts import ret_meta
from silhouette.contracts.dataset import BADLISTED, PictureRow
from silhouette.contracts.ret_meta import Correction, Made, NewerSchemaError, RetMeta, Segmentation
from silhouette.cut_people import NOT_SEGMENTED, REJECTED
from silhouette.database import badlist
from silhouette.database.people import FoundPerson, PersonRow, read_people
from silhouette.errors import InputError
from silhouette.group_pictures import GroupPicture, GroupPictures
from silhouette.picture_source.listing import in_batches
from silhouette.store import MissingObjectError, Store, in_parallel

if TYPE_CHECKING:
    import psycopg

    from silhouette.build_ret_meta.models import AskedModel

AMBIGUOUS = "ambiguous"
_AT_ONCE, _READERS = 256, 8


@dataclass(frozen=True, kw_only=True)
class Pending:
    """A picture and what is known of it.

    Attributes:
        row: The picture.
        reason: Why there must be no document of it: ``badlisted``, ``rejected``, ``not_segmented``, ``ambiguous``
            (the groups have different pictures under its id); empty when there must be one.
        segmentation: Who found the people, or drew them, and what a reviewer said; None: nobody did.
        people: Found on it.
        inputs_digest: Of all that its document is made from.
        groups: Which have it.
        is_stored: There is a document of it, readable or not.
        there: That document.
    """

    row: PictureRow
    reason: str = ""
    segmentation: Segmentation | Correction | None = None
    people: tuple[PersonRow, ...] = ()
    inputs_digest: str = ""
    groups: tuple[str, ...] = ()
    is_stored: bool = False
    there: RetMeta | None = None

    @property
    def is_current(self) -> bool:
        """Tell whether that document was made from the same inputs."""
        return self.there is not None and not self.reason and self.there.made.inputs_digest == self.inputs_digest


@dataclass(frozen=True, kw_only=True)
class _Seen:
    model_digest: str
    author: str
    status: str
    people: tuple[PersonRow, ...]


def pending(
    pictures: GroupPictures,
    *,
    models: Sequence[AskedModel],
    segmenters: Sequence[str],
    store: Store,
    connection: psycopg.Connection,
) -> Iterator[Pending]:
    """Yield every picture of the groups, sorted by id, a few hundred read at a time.

    Args:
        pictures: Of the groups.
        models: That will be asked.
        segmenters: Whose people count, the first who saw a picture.
        store: Has the documents.
        connection: Has the people.

    Raises:
        NewerSchemaError: A document that is there was written by a newer Silhouette.
        ServiceError: The store or PostgreSQL failed.
    """
    identities = [model.identity for model in models]
    bad_contents = badlist.contents(connection)
    for part in in_batches(pictures, _AT_ONCE):
        bad = badlist.among(connection, [item.row.picture_id for item in part])
        seen = _people(connection, {item.row.sha256 for item in part}, segmenters)

        def look(item: GroupPicture, bad: set[str] = bad, seen: dict[str, _Seen] = seen) -> Pending:
            row = item.row
            found = seen.get(row.sha256)
            reason = (
                BADLISTED if row.picture_id in bad or row.sha256 in bad_contents
                else AMBIGUOUS if not item.same
                else NOT_SEGMENTED if found is None
                else REJECTED if found.status == "rejected"
                else ""
            )  # fmt: skip
            is_stored, there = _there(store, row.picture_id)
            if reason or found is None:
                return Pending(row=row, reason=reason, groups=item.groups, is_stored=is_stored, there=there)
            digest = _inputs_digest(row, found, identities)
            return Pending(
                row=row, segmentation=_provenance(found), people=found.people, inputs_digest=digest,
                groups=item.groups, is_stored=is_stored, there=there,
            )  # fmt: skip

        yield from in_parallel(look, part, workers=_READERS)


def _people(connection: psycopg.Connection, sha256s: set[str], segmenters: Sequence[str]) -> dict[str, _Seen]:
    seen: dict[str, _Seen] = {}
    for segmenter in segmenters:
        found: dict[str, list[FoundPerson]] = {}
        for item in read_people(connection, model_digest=segmenter, sha256s=sha256s - seen.keys()):
            found.setdefault(item.picture_sha256, []).append(item)
        for sha256, items in found.items():
            people = tuple(item.person for item in items if item.person is not None)
            first = items[0]
            seen[sha256] = _Seen(
                model_digest=first.model_digest, author=first.author, status=first.status, people=people
            )
    return seen


def _provenance(seen: _Seen) -> Segmentation | Correction:
    if seen.author:
        found = {"author": seen.author, "correction_digest": seen.model_digest, "review_status": seen.status}
        return Correction.model_validate(found)
    return Segmentation.model_validate({"model_digest": seen.model_digest, "review_status": seen.status})


def _there(store: Store, picture_id: str) -> tuple[bool, RetMeta | None]:
    """Tell whether there is a document and read it; a damaged one is there and will be made again."""
    key = ret_meta.store_key(picture_id)
    try:
        data = store.get_bytes(key)
    except MissingObjectError:
        return False, None
    try:
        return True, ret_meta.read(data, where=f"{store.bucket}/{key}")
    except NewerSchemaError:
        raise
    except InputError:
        return True, None


def _inputs_digest(row: PictureRow, seen: _Seen, models: list[list[object]]) -> str:
    people = [[*person.box_xyxy, person.score, hashlib.sha256(person.contours).hexdigest()] for person in seen.people]
    inputs = [
        ret_meta.SCHEMA_VERSION, __version__, row.picture_id, row.sha256, row.working_key, row.width, row.height,
        seen.model_digest, seen.author, seen.status, people, models,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()


def made_now(item: Pending, *, at: str, digests: dict[str, str], models: Sequence[AskedModel]) -> Made:
    """Say when and by what a document is made.

    Args:
        item: The picture.
        at: UTC, ``2026-11-22T18:00:00Z``.
        digests: Of the groups' datasets.
        models: That were asked.
    """
    return Made(
        at=at,
        code_version=__version__,
        inputs_digest=item.inputs_digest,
        datasets={group: digests[group] for group in item.groups},
        answered_by={model.group: model.where for model in models},
    )
