"""Freeze contours, review states and badlist in a file that carries its digest as its name.

Reads:    `dataset` (`silhouette.contracts.dataset`), PostgreSQL.
Writes:   the store, `snapshots/<digest>.arrow` (`silhouette.contracts.snapshot`).
Talks to: PostgreSQL, the store.

    snapshot  the work: `snapshot_contours`
"""
