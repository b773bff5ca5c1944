"""The documents that may have to be sent: of pictures that may be used, whole, current, and of models that may speak.

Reads the badlist and the ledger in PostgreSQL and the documents in the store; writes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from silhouette.contracts import ret_meta
from silhouette.contracts.ret_meta import RetMeta
from silhouette.database import badlist, posts
from silhouette.database.posts import Post
from silhouette.errors import GateRefusedError
from silhouette.group_pictures import GroupPicture, GroupPictures
from silhouette.picture_source.listing import in_batches
from silhouette.post_ret_meta.outcomes import BADLISTED, STALE, WITHOUT, Outcome
from silhouette.store import MissingObjectError, Store

if TYPE_CHECKING:
    import psycopg

_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A picture whose document may have to be sent; `before` is the ledger's last row of it."""

    item: GroupPicture
    is_bad: bool
    before: Post | None


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A document that may be sent, with its bytes as they are stored."""

    document: RetMeta
    data: bytes
    before: Post | None

    @property
    def is_known(self) -> bool:
        """Tell whether the ledger has the service's receipt of this content."""
        return self._same is not None and bool(self._same.receipt)

    @property
    def in_doubt(self) -> bool:
        """Tell whether this content was on its way and nobody knows what became of it."""
        return self._same is not None and self._same.in_doubt

    @property
    def _same(self) -> Post | None:
        same = self.before and self.before.content_digest == self.document.content_digest
        return self.before if same else None


def candidates(pictures: GroupPictures, address: str, connection: psycopg.Connection) -> Iterator[Candidate]:
    """Yield every picture of the groups, sorted by id, a few hundred read at a time.

    Args:
        pictures: Of the groups.
        address: The service's, as the ledger names it.
        connection: Has the ledger and the badlist.

    Raises:
        ServiceError: PostgreSQL went away.
    """
    bad_contents = badlist.contents(connection)
    for part in in_batches(pictures, _AT_ONCE):
        names = [item.row.picture_id for item in part]
        bad = badlist.among(connection, names)
        before = posts.latest(connection, service=address, picture_ids=names)
        for item in part:
            name = item.row.picture_id
            is_bad = name in bad or item.row.sha256 in bad_contents
            yield Candidate(item=item, is_bad=is_bad, before=before.get(name))


def read_document(candidate: Candidate, *, store: Store, accepted: Collection[str]) -> Ready | Outcome:
    """Read a picture's document, or say why none is sent.

    Args:
        candidate: The picture.
        store: Has the document.
        accepted: Groups whose model need not have passed its gate.

    Raises:
        GateRefusedError: It has answers of a model that did not pass its gate.
        InputError: It is of a newer Silhouette, or none.
        ServiceError: The store failed.
    """
    row = candidate.item.row
    if candidate.is_bad:
        return Outcome(picture_id=row.picture_id, what=BADLISTED, lines=_left_there(candidate.before))
    key = ret_meta.store_key(row.picture_id)
    try:
        data = store.get_bytes(key)
    except MissingObjectError:
        return Outcome(picture_id=row.picture_id, what=WITHOUT)
    document = ret_meta.read(data, where=f"{store.bucket}/{key}")
    if (document.picture.picture_id, document.picture.sha256) != (row.picture_id, row.sha256):
        detail = "its document is of another picture than the dataset has; run `silhouette ret-meta build`, then post"
        return Outcome(picture_id=row.picture_id, what=STALE, lines=[detail])
    for group, model in document.models.items():
        if model.gate != "passed" and group not in accepted:
            raise GateRefusedError(
                f"only answers of models that passed their gate must be posted, that of group {group!r} was"
                f" {'refused by it' if model.gate == 'refused' else 'never judged'} (model {model.onnx_sha256[:12]}, in"
                f" the document of {row.picture_id!r}); build with a model that passed, or say --accept-refused"
                f" {group!r}"
            )
    return Ready(document=document, data=data, before=candidate.before)


def left_out(groups: Sequence[str], address: str, connection: psycopg.Connection) -> Iterator[Outcome]:
    """Tell of every picture that the groups' last downloads left out for the badlist.

    Raises:
        ServiceError: PostgreSQL went away.
    """
    for names in in_batches(badlist.left_out(connection, groups=groups), _AT_ONCE):
        before = posts.latest(connection, service=address, picture_ids=names)
        for name in names:
            yield Outcome(picture_id=name, what=BADLISTED, lines=_left_there(before.get(name)))


def _left_there(before: Post | None) -> list[str]:
    if before is None or not before.has_arrived:
        return []
    return ["it is on the badlist, and the service has a document of it from before; ask its owners to remove that"]
