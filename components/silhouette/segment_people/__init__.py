"""Find the people on every picture of a group, as contours in PostgreSQL.

Reads:    `dataset` (`silhouette.contracts.dataset`), the pictures in the store, a YOLO segmenter.
Writes:   PostgreSQL: a segmentation for every picture, marked ``unchecked``, and its people; the store: the model
          as ONNX, once.
Talks to: the store, PostgreSQL.

    segment  the work: `segment_people`; what this model has seen is skipped
    claims   batches, shared with other workers through the database
    flow     read ahead, gather by shape, find people, pack them
    records  what is done again, what is marked approved; a batch in one transaction
"""
