"""Pictures and labels of a group into the store; hostile files into quarantine.

Reads    the picture service, or a folder with one sub-folder per class
Writes   store ``pictures/<sha256[:2]>/<sha256>.<ext>`` (bytes as received), ``meta/<picture key>.json``,
         ``datasets/<group key>.csv``; the dataset folder (contracts/dataset.py) with what was refused and why
Talks to the picture service, the store
Work     `silhouette.download_pictures.download.download_pictures`
"""
