"""Freeze contours, review states and badlist in a file that carries its digest as its name.

Reads:    `dataset` (`silhouette.contracts.dataset`), the rows of a background set, PostgreSQL.
Writes:   the store, `snapshots/<digest>.arrow` (`silhouette.contracts.snapshot`) and `backgrounds/<digest>.json`
          (`silhouette.contracts.backgrounds`).
Talks to: PostgreSQL, the store.

    snapshot    the work for a group: `snapshot_contours`
    background  the work for a background set: `snapshot_background`
"""
