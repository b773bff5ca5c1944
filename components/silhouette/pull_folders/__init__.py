"""Lay out the folders that people open by hand; no step of a pipeline, but a command (`silhouette pull`).

Reads:    the store: `datasets/`, `pictures/`, `models/`, `markup/masks/`, `inference/`; badlist and labels in
          PostgreSQL.
Writes:   `DATA/`, `MODELS/`, `MARKUP/masks/` and `TEST/inference/` below a folder of the user's.
Talks to: the store, PostgreSQL.

    pull      the work: `pull`
    pictures  a group's pictures and tables
    objects   models, masks and inference: what lies below a prefix of the store
    place     the folder: files that appear whole, and stay when they are the same
"""
