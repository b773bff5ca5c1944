"""Build the documents of the groups' pictures: made where something changed, removed where there must be none.

Killed at any moment, a run leaves whole documents; the next one finds them current and goes on.
"""

from __future__ import annotations

import functools
import logging
import secrets
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from silhouette.build_ret_meta import manifest, models
from silhouette.build_ret_meta.documents import Done, make_documents
from silhouette.build_ret_meta.manifest import DocumentRow
from silhouette.build_ret_meta.pending import made_now, pending
from silhouette.build_ret_meta.tally import BuildRetMetaReport, Tally
from silhouette.config import Config
from silhouette.contracts import ret_meta
from silhouette.contracts.dataset import BADLISTED
from silhouette.database import badlist, segmentations
from silhouette.errors import InputError
from silhouette.group_pictures import GroupPictures
from silhouette.progress import track
from silhouette.store import Store, in_parallel
from silhouette.triton_client import Triton

if TYPE_CHECKING:
    import psycopg

_LOG = logging.getLogger(__name__)
_WRITERS = 4


def build_ret_meta(
    *,
    groups: Sequence[str],
    out: Path,
    store: Store,
    connection: psycopg.Connection,
    triton: Triton | None,
    config: Config,
    segmenter: str = "",
) -> BuildRetMetaReport:
    """Write the documents of the groups' pictures into the store.

    Args:
        groups: Whose pictures; they may share some.
        out: Folder that gets the manifest.
        store: Has datasets, pictures and model cards, gets the documents.
        connection: Has people, reviews and the badlist.
        triton: The server; None where every configured model is a file.
        config: By `models`, and the classes of its groups.
        segmenter: The first digits of the digest of the segmenter whose people count; empty: who saw the most of the
            groups' pictures, then the next.

    Raises:
        InputError: A group is unknown or empty, nobody segmented it, a model is missing or is not what it should be,
            or a document that is there was written by a newer Silhouette.
        ServiceError: The store, PostgreSQL or Triton failed; what was written stays.
    """
    started, begun = time.monotonic(), datetime.now(UTC)
    run = f"{begun:%Y-%m-%dT%H-%M-%SZ}-{secrets.token_hex(3)}"
    out.mkdir(parents=True, exist_ok=True)
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="silhouette-ret-meta-") as scratch:
        folder = Path(scratch)
        pictures = GroupPictures(groups, folder=folder, store=store, connection=connection)
        asked = models.open_models(config, groups=pictures.groups, store=store, triton=triton, folder=folder)
        segmenters = _segmenters(connection, pictures.groups, segmenter)
        made = functools.partial(made_now, at=f"{begun:%Y-%m-%dT%H:%M:%SZ}", digests=pictures.digests, models=asked)
        items = pending(pictures, models=asked, segmenters=segmenters, store=store, connection=connection)
        shown = track(items, total=pictures.total, description="building ret_meta")
        done = make_documents(iter(shown), models=asked, store=store, made=made)
        withdrawn = _withdraw_badlisted(store, connection)
        manifest.write(
            out, tally.counted(withdrawn, in_parallel(lambda one: _keep(one, store), done, workers=_WRITERS))
        )
    duration_s = time.monotonic() - started
    report = tally.report(
        run=run, groups=list(pictures.groups), models={model.group: model.where for model in asked},
        duration_s=duration_s,
    )  # fmt: skip
    head = {
        "schema_version": ret_meta.SCHEMA_VERSION,
        **{name: value for name, value in asdict(report).items() if name not in ("duration_s", "pictures_per_s")},
        "at": f"{begun:%Y-%m-%dT%H:%M:%SZ}",
        "segmenters": segmenters,
        "datasets": pictures.digests,
        "told": {model.group: model.told.model_dump() for model in asked},
    }
    manifest.publish(out, head, run=run, store=store)
    _LOG.info(
        "ret_meta: %d new, %d changed, %d confirmed, %d unchanged, %d withdrawn; %d pictures, %.1f/s",
        report.new, report.changed, report.confirmed, report.unchanged, report.withdrawn, report.pictures,
        report.pictures_per_s,
    )  # fmt: skip
    return report


def _segmenters(connection: psycopg.Connection, groups: Sequence[str], wanted: str) -> list[str]:
    known = segmentations.segmenters(connection, groups=groups)
    chosen = [digest for digest in known if digest.startswith(wanted)]
    names = ", ".join(map(repr, groups))
    if not known:
        raise InputError(f"the pictures of {names} must have been segmented, none was; run `silhouette segment` first")
    if not chosen or (wanted and len(chosen) > 1):
        raise InputError(
            f"the segmenter must be one that saw pictures of {names}, {wanted!r} begins {len(chosen)} of their digests;"
            f" say one of {', '.join(digest[:12] for digest in known)}"
        )
    return chosen


def _withdraw_badlisted(store: Store, connection: psycopg.Connection) -> dict[str, DocumentRow]:
    """Remove the documents of all pictures on the badlist, in whatever group they were; return those that there were.

    The same bytes under another id in one of the run's groups are found with the group's pictures.
    """

    def remove(picture_id: str) -> DocumentRow | None:
        key = ret_meta.store_key(picture_id)
        if not store.exists(key):
            return None
        store.remove(key)
        _LOG.warning("%s: its document was withdrawn, the picture is %s", picture_id, BADLISTED)
        return DocumentRow(picture_id=picture_id, outcome="withdrawn", reason=BADLISTED)

    listed = (entry.picture_id for entry in badlist.entries(connection))
    return {row.picture_id: row for row in in_parallel(remove, listed, workers=_WRITERS) if row is not None}


def _keep(done: Done, store: Store) -> tuple[DocumentRow, int]:
    """Write or remove a picture's document; return what became of it, and how many people it has."""
    item, document = done.item, done.document
    picture_id, key = item.row.picture_id, ret_meta.store_key(item.row.picture_id)
    if document is not None:
        store.put_bytes(key, ret_meta.to_bytes(document), content_type="application/json")
        same = item.there is not None and item.there.content_digest == document.content_digest
        row = DocumentRow(
            picture_id=picture_id,
            outcome="confirmed" if same else "changed" if item.is_stored else "new",
            content_digest=document.content_digest,
        )
        return row, len(document.people)
    if item.there is not None and item.is_current:
        unchanged = DocumentRow(picture_id=picture_id, outcome="unchanged", content_digest=item.there.content_digest)
        return unchanged, 0
    if item.is_stored:
        store.remove(key)
        _LOG.warning("%s: its document was withdrawn, the picture is %s", picture_id, done.refused or item.reason)
    if done.refused:
        return DocumentRow(picture_id=picture_id, outcome="refused", reason=done.refused), 0
    outcome: manifest.Outcome = "withdrawn" if item.is_stored else "left out"
    return DocumentRow(picture_id=picture_id, outcome=outcome, reason=item.reason), 0
