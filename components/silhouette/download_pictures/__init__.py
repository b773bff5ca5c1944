"""Pictures and labels of a group, or of pixsets, into the store; hostile files into quarantine.

Reads    the picture service, a folder, or an S3 prefix; what earlier runs recorded; the badlist
Writes   store ``pictures/``, ``working/``, ``datasets/``, ``quarantine/``, ``meta/`` (docs/ingest.md); the table
         ``pictures`` of PostgreSQL; the dataset folder (contracts/dataset.py) with its quality report
Talks to the picture service, the store, PostgreSQL

    download    the work: `download_pictures`, `download_pixsets`
    bring       one picture, unless all of it is here; what threads do side by side
    door        one picture's bytes: judged, stored, a working copy made
    scratch     what became of every picture of the run, on disk
    archive     what a run leaves in the store for the next one
    duplicates  the same bytes, the same looks, and labels that contradict one another
    quality     the report
"""
