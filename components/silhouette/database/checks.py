"""Checks: what looks odd in the database, for people who look after it (docs/notebooks/check_database.ipynb).

Nothing here is wrong by itself; the tables hold off what is (`versions/`). Every function reads only. Rows are limited
where their number may be large, and the count beside them is of all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from silhouette.database.connection import guarded

Row = dict[str, Any]
MOST_ROWS = 50


@dataclass(frozen=True, kw_only=True)
class Check:
    """What a check found: how many in all, and the first rows, with their columns by name."""

    count: int
    rows: list[Row]


_AREA = "(({0}.box_xyxy[3] - {0}.box_xyxy[1]) * ({0}.box_xyxy[4] - {0}.box_xyxy[2]))"


def sizes(connection: psycopg.Connection) -> list[Row]:
    """Return the rows of every table and what it takes on disk, in bytes."""
    tables = _rows(
        connection,
        "SELECT relname AS table, pg_total_relation_size(oid) AS size_bytes FROM pg_class"
        " WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace ORDER BY relname",
    )
    for table in tables:
        name = sql.Identifier(table["table"])
        with guarded(connection):
            counted = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(name)).fetchone()
        assert counted is not None, "count has one row"
        table["rows"] = counted[0]
    return tables


def orphans(connection: psycopg.Connection) -> dict[str, Check]:
    """Return segmentations of no group's pictures, labels whose bytes are unknown, and ids that nobody ever sent."""
    return {
        "segmentations of pictures that are in no group now": _check(
            connection,
            """
            SELECT picture_sha256, model_digest, status, created_at FROM segmentations s
            WHERE NOT EXISTS (SELECT FROM labels l WHERE l.picture_sha256 = s.picture_sha256 AND l.withdrawn_at IS NULL)
            """,
        ),
        "labels of pictures that never came in": _check(
            connection,
            """
            SELECT g.name AS group, picture_id, label, picture_sha256 FROM labels l JOIN groups g ON g.id = group_id
            WHERE withdrawn_at IS NULL
                AND NOT EXISTS (SELECT FROM pictures p WHERE p.sha256 = l.picture_sha256 AND p.reason = '')
            """,
        ),
        "ids of the badlist that are unknown": _check(
            connection,
            """
            SELECT picture_id, added_by, reason, added_at FROM badlist b
            WHERE NOT EXISTS (SELECT FROM pictures p WHERE p.picture_id = b.picture_id)
                AND NOT EXISTS (SELECT FROM labels l WHERE l.picture_id = b.picture_id)
            """,
        ),
    }


def without_people(connection: psycopg.Connection) -> list[Row]:
    """Return by model how many of its pictures have nobody on them, by who says so."""
    return _rows(
        connection,
        """
        SELECT model_digest, count(*) AS pictures,
            count(*) FILTER (WHERE people_count = 0 AND status = 'unchecked') AS unchecked,
            count(*) FILTER (WHERE people_count = 0 AND status IN ('approved', 'nobody')) AS verified,
            count(*) FILTER (WHERE people_count > 0 AND status = 'nobody') AS model_saw_somebody
        FROM segmentations WHERE author = '' GROUP BY model_digest ORDER BY model_digest
        """,
    )


def miscounted(connection: psycopg.Connection) -> Check:
    """Return segmentations whose number of people is not that of their rows; of old versions of Silhouette."""
    return _check(
        connection,
        """
        SELECT s.id, picture_sha256, people_count, count(p.segmentation_id) AS rows
        FROM segmentations s LEFT JOIN people p ON p.segmentation_id = s.id
        GROUP BY s.id HAVING people_count <> count(p.segmentation_id)
        """,
    )


def duplicate_people(connection: psycopg.Connection, *, least_iou: float = 0.85) -> Check:
    """Return pairs of people on one picture, by one model, whose boxes nearly coincide: one person found twice."""
    return _check(
        connection,
        f"""
        SELECT picture_sha256, model_digest, first, second, round(iou::numeric, 3)::float AS box_iou FROM (
            SELECT s.picture_sha256, s.model_digest, a.person_index AS first, b.person_index AS second,
                shared / nullif({_AREA.format("a")} + {_AREA.format("b")} - shared, 0) AS iou
            FROM people a
                JOIN people b ON b.segmentation_id = a.segmentation_id AND b.person_index > a.person_index
                JOIN segmentations s ON s.id = a.segmentation_id
                CROSS JOIN LATERAL (
                    SELECT greatest(0, least(a.box_xyxy[3], b.box_xyxy[3]) - greatest(a.box_xyxy[1], b.box_xyxy[1]))
                        * greatest(0, least(a.box_xyxy[4], b.box_xyxy[4]) - greatest(a.box_xyxy[2], b.box_xyxy[2]))
                        AS shared
                ) AS common
        ) AS pairs
        WHERE iou >= %(least)s ORDER BY iou DESC
        """,  # noqa: S608  our names
        least=least_iou,
    )


def odd_people(connection: psycopg.Connection, *, least_share: float = 0.002, most_share: float = 0.98) -> Check:
    """Return people whose box is a tiny or nearly whole part of the picture, leaves it, or has no area."""
    return _check(
        connection,
        f"""
        SELECT picture_sha256, model_digest, person_index, round(share::numeric, 5)::float AS share_of_picture,
            round(score::numeric, 3)::float AS score, outside
        FROM (
            SELECT s.picture_sha256, s.model_digest, p.person_index, p.score,
                {_AREA.format("p")} / (s.width::float * s.height) AS share,
                p.box_xyxy[1] < -1 OR p.box_xyxy[2] < -1 OR p.box_xyxy[3] > s.width + 1 OR p.box_xyxy[4] > s.height + 1
                    AS outside
            FROM people p JOIN segmentations s ON s.id = p.segmentation_id
        ) AS measured
        WHERE share < %(least)s OR share > %(most)s OR outside ORDER BY share
        """,  # noqa: S608  our names
        least=least_share,
        most=most_share,
    )


def odd_pictures(connection: psycopg.Connection, *, most_sides: float = 4.0, least_side: int = 200) -> Check:
    """Return pictures that are very long or small, with their size in pixels."""
    return _check(
        connection,
        """
        SELECT picture_id, sha256, width, height FROM pictures
        WHERE reason = '' AND (greatest(width, height) > %(most)s * least(width, height)
            OR least(width, height) < %(least)s)
        ORDER BY picture_id COLLATE "C"
        """,
        most=most_sides,
        least=least_side,
    )


def scores(connection: psycopg.Connection, *, bins: int = 20) -> dict[str, list[Row]]:
    """Return by model how many people have a score in each of `bins` equal parts of 0 to 1."""
    return _by_model(connection, "p.score", width=1 / bins, bins=bins)


def shares(connection: psycopg.Connection, *, bins: int = 20) -> dict[str, list[Row]]:
    """Return by model how many people's boxes take each of `bins` equal parts of 0 to 1 of their picture."""
    return _by_model(connection, f"{_AREA.format('p')} / (s.width::float * s.height)", width=1 / bins, bins=bins)


def people_a_picture(connection: psycopg.Connection, *, bins: int = 12) -> dict[str, list[Row]]:
    """Return by model how many pictures have 0, 1, 2, ... people; the last bin has all above."""
    found: dict[str, list[Row]] = {}
    for row in _rows(
        connection,
        """
        SELECT model_digest, least(people_count, %(last)s) AS bin, count(*) AS pictures
        FROM segmentations WHERE author = '' GROUP BY 1, 2 ORDER BY 1, 2
        """,
        last=bins - 1,
    ):
        found.setdefault(row.pop("model_digest"), []).append(row)
    return found


def disagreement(connection: psycopg.Connection) -> Check:
    """Return pictures on which two models found different numbers of people, the most different first."""
    return _check(
        connection,
        """
        SELECT a.picture_sha256, a.model_digest AS first_model, a.people_count AS first_people,
            b.model_digest AS second_model, b.people_count AS second_people
        FROM segmentations a JOIN segmentations b USING (picture_sha256)
        WHERE a.author = '' AND b.author = '' AND a.model_digest < b.model_digest AND a.people_count <> b.people_count
        ORDER BY abs(a.people_count - b.people_count) DESC, picture_sha256
        """,
    )


def changes_by_day(connection: psycopg.Connection) -> list[Row]:
    """Return how many verdicts each reviewer gave on each day, and of which kind."""
    return _rows(
        connection,
        """
        SELECT at::date AS day, reviewer, to_status, count(*) AS changes FROM status_changes
        GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
        """,
    )


def _by_model(connection: psycopg.Connection, value: str, *, width: float, bins: int) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in _rows(
        connection,
        f"""
        SELECT s.model_digest, greatest(0, least(floor({value} / %(width)s)::int, %(bins)s - 1)) AS bin,
            count(*) AS people
        FROM people p JOIN segmentations s ON s.id = p.segmentation_id
        WHERE s.author = '' GROUP BY 1, 2 ORDER BY 1, 2
        """,  # noqa: S608  our expressions
        width=width,
        bins=bins,
    ):
        found.setdefault(row.pop("model_digest"), []).append(row)
    return found


def _check(connection: psycopg.Connection, query: str, **values: Any) -> Check:
    rows = _rows(connection, f"SELECT *, count(*) OVER () AS of_all FROM ({query}) AS q LIMIT {MOST_ROWS}", **values)  # noqa: S608
    return Check(
        count=rows[0]["of_all"] if rows else 0,
        rows=[{name: value for name, value in row.items() if name != "of_all"} for row in rows],
    )


def _rows(connection: psycopg.Connection, query: str, **values: Any) -> list[Row]:
    with guarded(connection):
        connection.execute("SET TRANSACTION READ ONLY")
        with connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(query, values).fetchall()
