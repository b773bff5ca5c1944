"""Report: how many pictures and people there are, by group, model, status and age.

A model sees bytes, so statuses are counted by content: the same bytes under two ids of a group are one. Pictures on
the badlist are counted by themselves, and like others until the next download leaves them out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import psycopg

from silhouette.database.connection import guarded
from silhouette.errors import InputError

NOT_SEGMENTED = "not_segmented"
CORRECTIONS = "corrections"  # in place of a model's digest: what people drew and counts
AGES = ("day", "week", "month", "older")
_MANY = 10_000  # pictures from which on looking each up costs more than reading all segmentations


@dataclass(frozen=True, kw_only=True)
class StatusCount:
    """Pictures of a group, by content, that have one status with one model.

    Attributes:
        model_digest: The segmenter's, with its settings; `CORRECTIONS` for those that count; empty where no model has
            seen a picture of the group.
        status: One of `silhouette.database.reviews.STATUSES`, or ``not_segmented``.
        pictures: How many have it.
        people: That the model found on them.
        by_age: Pictures by how long they have had this status: under a ``day``, a ``week``, a ``month`` of 30 days,
            ``older``; empty of those not segmented.
    """

    model_digest: str
    status: str
    pictures: int
    people: int
    by_age: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class GroupCount:
    """What there is of a group.

    Attributes:
        group: Raw.
        pictures: By id.
        contents: By content.
        labels: Pictures by label, by id.
        badlisted: Pictures that the group has, or had, and that are on the badlist, by id.
        statuses: By model and status.
    """

    group: str
    pictures: int
    contents: int
    labels: dict[str, int]
    badlisted: int
    statuses: tuple[StatusCount, ...]


def count_groups(connection: psycopg.Connection, *, group: str | None = None) -> tuple[GroupCount, ...]:
    """Count what there is of one group, or of every group, by name.

    All counts are of one moment.

    Raises:
        InputError: There is no such group.
        ServiceError: PostgreSQL went away.
    """
    with guarded(connection):
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        # a million SHA-256 are hashed in memory, in one go; compiling the plan would cost more than it saves
        connection.execute("SET LOCAL work_mem = '256MB'")
        connection.execute("SET LOCAL jit = off")
        groups = connection.execute(
            'SELECT id, name FROM groups WHERE %(name)s::text IS NULL OR name = %(name)s ORDER BY name COLLATE "C"',
            {"name": group},
        ).fetchall()
        if group is not None and not groups:
            raise InputError(
                f"group {group!r} must have been downloaded to be counted, the database has no label of it;"
                " run `silhouette download` first, or leave --group out to see which there are"
            )
        return tuple(_count(connection, group_id, name) for group_id, name in groups)


def _count(connection: psycopg.Connection, group_id: int, name: str) -> GroupCount:
    labels = connection.execute(
        """
        SELECT label, count(*) FROM labels WHERE group_id = %s AND withdrawn_at IS NULL
        GROUP BY label ORDER BY label COLLATE "C"
        """,
        (group_id,),
    ).fetchall()
    badlisted = connection.execute(
        "SELECT count(DISTINCT picture_id) FROM badlist JOIN labels USING (picture_id) WHERE group_id = %s",
        (group_id,),
    ).fetchone()
    counted = connection.execute(
        "SELECT pictures, contents FROM datasets WHERE group_id = %s ORDER BY seen_at DESC LIMIT 1", (group_id,)
    ).fetchone()
    assert badlisted is not None, "count has one row"
    assert counted is not None, "a group comes with its first dataset"
    return GroupCount(
        group=name,
        pictures=counted[0],
        contents=counted[1],
        labels=dict(labels),
        badlisted=badlisted[0],
        statuses=tuple(_statuses(connection, group_id, counted[1])),
    )


def _statuses(connection: psycopg.Connection, group_id: int, contents: int) -> Sequence[StatusCount]:
    # of a group that came since the last ANALYZE the planner thinks it is tiny; we know
    connection.execute("SELECT set_config('enable_nestloop', %s, true)", ("off" if contents > _MANY else "on",))
    rows = connection.execute(
        """
        SELECT model, status, count(*), coalesce(sum(people_count), 0),
            count(*) FILTER (WHERE age < interval '1 day'),
            count(*) FILTER (WHERE age >= interval '1 day' AND age < interval '7 days'),
            count(*) FILTER (WHERE age >= interval '7 days' AND age < interval '30 days'),
            count(*) FILTER (WHERE age >= interval '30 days')
        FROM (
            SELECT CASE author WHEN '' THEN model_digest ELSE %(corrections)s END AS model, status, people_count,
                now() - status_at AS age
            FROM segmentations s
            WHERE (author = '' OR status IN ('approved', 'nobody')) AND EXISTS (
                SELECT FROM labels l
                WHERE l.group_id = %(group)s AND l.withdrawn_at IS NULL AND l.picture_sha256 = s.picture_sha256
            )
        ) AS seen
        GROUP BY model, status
        ORDER BY model COLLATE "C", array_position(ARRAY['unchecked', 'approved', 'rejected', 'nobody'], status)
        """,
        {"group": group_id, "corrections": CORRECTIONS},
    ).fetchall()
    found: list[StatusCount] = []
    models = dict.fromkeys(row[0] for row in rows)
    for model_digest in models if models.keys() - {CORRECTIONS} else ["", *models]:
        of_model = [
            StatusCount(
                model_digest=model_digest,
                status=row[1],
                pictures=row[2],
                people=row[3],
                by_age=dict(zip(AGES, row[4:], strict=True)),
            )
            for row in rows
            if row[0] == model_digest
        ]
        found += of_model
        missing = contents - sum(item.pictures for item in of_model)
        if missing and model_digest != CORRECTIONS:
            found.append(StatusCount(model_digest=model_digest, status=NOT_SEGMENTED, pictures=missing, people=0))
    return found
