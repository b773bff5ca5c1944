"""Classify people on pictures through Triton over HTTP, the pictures of a group or of a folder.

Reads      a dataset folder (`contracts.dataset`) with its snapshot of contours, or any folder of pictures; pictures,
           the snapshot and the served version's model card in the store
Writes     `predictions.csv` (`contracts.predictions`), `gallery.html` and `report.json` in a folder and below
           ``inference/<group or folder>/`` in the store
Talks to   the store, Triton
"""
