"""Classify people on pictures through Triton over HTTP, the pictures of a group or of a folder.

Reads      a dataset folder (`contracts.dataset`) with its snapshot of contours, or with exported masks
           (`contracts.exported_masks`), or any folder of pictures; pictures,
           the snapshot, the served version's model card and its scores on the test split (`contracts.scores`) in the
           store; the badlist in PostgreSQL where no snapshot has it
Writes     `predictions.csv` and `.parquet` (`contracts.predictions`), `gallery.html` and `report.json` in a folder and
           below ``inference/<group or folder>/`` in the store, with the ledger of the run below ``parts/``; a
           sample of the crops for the model's next version (`contracts.traffic`)
Talks to   the store, Triton, PostgreSQL (the badlist)
"""
