"""Show one picture's whole way; no step of a pipeline, but a command (`silhouette explain`).

Reads:    PostgreSQL: pictures, labels, badlist, segmentations, reviews, posts; the store: the quarantine tables, the
          heads and ids of crops, predictions, the ret_meta document. Of large tables only the parts that matter.
Writes:   nothing.
Talks to: PostgreSQL, the store.

    explain  the work: `explain`
    found    what the store knows
    lookup   rows by picture id out of Arrow and Parquet files, by ranges of bytes
    story    the same for people
"""
