"""Freeze a background set: which of its pictures nobody is on, by what one model found and markers decided.

Reads the folder of a dataset without labels and PostgreSQL; writes `backgrounds/<digest>.json` into the store unless it
is there.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from silhouette.contracts import backgrounds
from silhouette.contracts import dataset as datasets
from silhouette.contracts.backgrounds import BackgroundSet
from silhouette.contracts.dataset import BADLISTED, PictureRow
from silhouette.database import badlist, installation_id
from silhouette.database.people import FoundPerson, read_people
from silhouette.errors import InputError
from silhouette.store import Store

if TYPE_CHECKING:
    import psycopg

_LOG = logging.getLogger(__name__)
PERSON, REJECTED, NOT_SEGMENTED = "person", "rejected", "not_segmented"


@dataclass(frozen=True, kw_only=True)
class BackgroundReport:
    """What was frozen: the digest, how many pictures nobody is on, and how many are left out by reason."""

    digest: str
    key: str
    pictures: int
    left_out: Mapping[str, int]


def snapshot_background(
    *, dataset: Path, model_digest: str, store: Store, connection: psycopg.Connection
) -> BackgroundReport:
    """Freeze the pictures on which nobody is.

    A picture is left out when `model_digest` found a person on it, unless a marker verified that nobody is there; when
    a marker rejected what was found, for then nobody knows; when it was not segmented; when it, or its bytes under
    another id, is on the badlist.

    Args:
        dataset: The folder of the set.
        model_digest: The segmenter's, as `segment_people` reports it.
        store: Gets the frozen set.
        connection: To a migrated database.

    Raises:
        InputError: No picture is left.
        ServiceError: PostgreSQL or the store went away.
    """
    content = datasets.read(dataset)
    rows, name = content.rows, content.group
    bad = badlist.among(connection, [row.picture_id for row in rows])
    bad_contents = badlist.contents(connection)
    found = read_people(connection, model_digest=model_digest, sha256s={row.sha256 for row in rows})
    verdicts = {item.picture_sha256: _verdict(item) for item in found}
    named: list[PictureRow] = []  # what is on the badlist is named by its id alone
    left_out: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row.picture_id in bad or row.sha256 in bad_contents:
            left_out[BADLISTED].append(row.picture_id)
            continue
        named.append(row)
        if reason := verdicts.get(row.sha256, NOT_SEGMENTED):
            left_out[reason].append(row.picture_id)
    counts = {reason: len(ids) for reason, ids in sorted(left_out.items())}
    used = len(rows) - sum(counts.values())
    said = ", ".join(f"{count} {reason}" for reason, count in counts.items()) or "none"
    if not used:
        raise InputError(
            f"a background set must have pictures without people, {name!r} has none: of {len(rows)} left out {said};"
            " name pixsets of places, or verify as `nobody` those on which nobody is"
        )
    frozen = BackgroundSet(
        name=name,
        model_digest=model_digest,
        installations=(store.installation_id(), installation_id(connection)),
        pictures=tuple(named),
        left_out=dict(sorted(left_out.items())),
    )
    digest = backgrounds.write(store, frozen)
    _LOG.info("background set %r %s: %d pictures; left out: %s", name, digest[:12], used, said)
    return BackgroundReport(digest=digest, key=backgrounds.store_key(digest), pictures=used, left_out=counts)


def _verdict(item: FoundPerson) -> str:
    """Return why a segmented picture is left out; empty: nobody is on it."""
    if item.status == "rejected":
        return REJECTED
    return "" if item.person_index is None else PERSON
