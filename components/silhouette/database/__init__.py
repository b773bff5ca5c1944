"""The only door to PostgreSQL: pictures and their labels, what models found on them, reviews, the badlist.

connection     connect, and what the user is told when PostgreSQL is not there
migrations     the schema, brought up to date under a lock
pictures       one row for every picture that was fetched
labels         which picture has which label in which group, and had before
segmentations  one row for every picture and model
people         contours, written in bulk, read for a snapshot
reviews        verdicts of markers, and every verdict before
doubts         how doubtful each segmentation is, filled in before a review
review_queue   what a reviewer of a group sees, the most doubtful first
corrections    contours that a person drew, taken instead of a model's
badlist        picture ids that must not be used
group_versions the version of each of a group's pictures that counts
posts          what was sent back to the picture service, and its receipts
searches       where workers that search for a recipe meet
logins         who may do what on a shared server
report         counts by group, model, status and age
checks         what looks odd, for people who look after it
versions/      the migrations themselves, in SQL
"""

from silhouette.database.connection import connect, installation_id

__all__ = ["connect", "installation_id"]
