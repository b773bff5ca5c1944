"""Find the people on every picture of a group, as contours in PostgreSQL.

Reads:    `dataset` (`silhouette.contracts.dataset`), the pictures in the store, a YOLO segmentation checkpoint.
Writes:   PostgreSQL: a segmentation for every picture, marked ``unchecked``, and its people.
Talks to: the store, PostgreSQL.

    segment  the work: `segment_people`; what this model has seen is skipped
"""
