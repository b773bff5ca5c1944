"""The only door to PostgreSQL: which picture was segmented by which model, its people, their review, the badlist.

connection     connect, and what the user is told when PostgreSQL is not there
migrations     the schema, brought up to date under a lock
segmentations  one row for every picture and model
people         contours, written in bulk, read for a snapshot
badlist        picture ids that must not be used
versions/      the migrations themselves, in SQL
"""

from silhouette.database.connection import connect, installation_id

__all__ = ["connect", "installation_id"]
