"""What is there to work on, as one digest: the cheap, uncached step in front of all cached ones.

Reads    the source's listing (picture service, or a folder whose files it hashes), the installation id of the store,
         the badlist in PostgreSQL
Writes   nothing but its digest; it makes the store's bucket when there is none yet
Talks to the picture service, the store, PostgreSQL
Work     `silhouette.source_version.version.source_version`
"""
