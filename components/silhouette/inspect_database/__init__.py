"""Show what the database knows, to look at; no step of a pipeline, but a command (`silhouette db report --gallery`).

Reads:    PostgreSQL: counts, and the most doubtful pictures of every status; the pictures in the store.
Writes:   one HTML page without any file beside it.
Talks to: PostgreSQL, the store.

    gallery  the work: `write_gallery`
"""
