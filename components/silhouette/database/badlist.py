"""Badlist: ids of pictures that must not be used, whatever the group."""

from __future__ import annotations

from collections.abc import Collection

import psycopg

from silhouette.database.connection import guarded


def add(connection: psycopg.Connection, picture_ids: Collection[str]) -> int:
    """Put pictures on the badlist; return how many were not on it before."""
    with guarded(connection):
        done = connection.execute(
            "INSERT INTO badlist (picture_id) SELECT DISTINCT unnest(%s::text[]) ON CONFLICT DO NOTHING",
            (list(picture_ids),),
        )
    return done.rowcount


def among(connection: psycopg.Connection, picture_ids: Collection[str]) -> set[str]:
    """Return those of the pictures that are on the badlist."""
    with guarded(connection):
        rows = connection.execute(
            "SELECT picture_id FROM badlist WHERE picture_id = ANY(%s)", (list(picture_ids),)
        ).fetchall()
    return {row[0] for row in rows}
