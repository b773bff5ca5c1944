"""Take a snapshot of the contours of a dataset's pictures, as one model found them and markers left them.

Reads the dataset folder and PostgreSQL; writes `snapshots/<digest>.arrow` into the store unless it is there.
"""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from silhouette.contracts import dataset as datasets
from silhouette.contracts import snapshot
from silhouette.contracts.dataset import Dataset
from silhouette.contracts.snapshot import NOBODY, SnapshotHead, SnapshotRow
from silhouette.database import badlist, installation_id
from silhouette.database.people import FoundPerson, read_people
from silhouette.errors import InputError
from silhouette.store import Store

if TYPE_CHECKING:
    import psycopg

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SnapshotReport:
    """What the snapshot holds; counts are of pictures (by content), but for `people` and `badlisted` (ids)."""

    digest: str
    key: str
    pictures: int
    people: int
    without_people: int
    rejected: int
    badlisted: int
    not_segmented: int


def snapshot_contours(
    *, dataset: Path, model_digest: str, store: Store, connection: psycopg.Connection
) -> SnapshotReport:
    """Freeze what `model_digest` found on the pictures of `dataset`.

    Rejected segmentations have no rows. Neither have badlisted pictures, nor pictures of the dataset whose bytes
    ever came in under an id of the badlist: they are the same picture. Both are listed in the head. A picture that was
    verified to have nobody on it is one without people, whatever the model found there.

    Raises:
        InputError: None of the pictures was segmented by this model.
        ServiceError: PostgreSQL or the store went away.
    """
    content = datasets.read(dataset)
    bad = badlist.among(connection, [row.picture_id for row in content.rows])
    bad_contents = badlist.contents(connection)
    bad_sha256s = {row.sha256 for row in content.rows if row.picture_id in bad or row.sha256 in bad_contents}
    wanted = {row.sha256 for row in content.rows} - bad_sha256s
    found = list(read_people(connection, model_digest=model_digest, sha256s=wanted))
    if wanted and not found:
        raise InputError(
            f"the pictures of group {content.group!r} must have been segmented by model {model_digest[:12]},"
            " none of them was; run segment_people on this dataset first"
        )
    head = _head(content, model_digest, bad_sha256s, found, (store.installation_id(), installation_id(connection)))
    rows = [_row(item) for item in found if item.status != "rejected"]
    with tempfile.TemporaryDirectory(prefix="silhouette-snapshot-") as folder:
        path = Path(folder) / "snapshot.arrow"
        digest = snapshot.write(path, rows, head=head)
        key = snapshot.store_key(digest)
        if not store.exists(key):
            store.put_file(key, path)
    report = SnapshotReport(
        digest=digest,
        key=key,
        pictures=len({row.sha256 for row in rows}),
        people=sum(row.person_index != NOBODY for row in rows),
        without_people=sum(row.person_index == NOBODY for row in rows),
        rejected=len(head.rejected),
        badlisted=len(head.badlisted),
        not_segmented=len(wanted - {item.picture_sha256 for item in found}),
    )
    _LOG.info(
        "snapshot %s: %d people on %d pictures; %d without people, %d rejected, %d on the badlist, %d not segmented",
        digest[:12], report.people, report.pictures,
        report.without_people, report.rejected, report.badlisted, report.not_segmented,
    )  # fmt: skip
    return report


def _head(
    content: Dataset, model_digest: str, bad_sha256s: set[str], found: list[FoundPerson], ids: tuple[str, str]
) -> SnapshotHead:
    return SnapshotHead(
        model_digest=model_digest,
        installations=ids,
        badlisted=tuple(sorted(row.picture_id for row in content.rows if row.sha256 in bad_sha256s)),
        rejected=tuple(sorted({item.picture_sha256 for item in found if item.status == "rejected"})),
    )


def _row(item: FoundPerson) -> SnapshotRow:
    person = item.person
    return SnapshotRow(
        sha256=item.picture_sha256,
        width=item.width,
        height=item.height,
        person_index=NOBODY if item.person_index is None else item.person_index,
        box_xyxy=person.box_xyxy if person else (0.0, 0.0, 0.0, 0.0),
        score=person.score if person else 0.0,
        status=item.status,
        contours=person.contours if person else b"",
    )
