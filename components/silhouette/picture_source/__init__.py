"""Where pictures and labels come from: the picture service over HTTP, a folder, an S3 prefix, a list of pixsets.

source.py     `open_source`, `open_pixsets`: which of them, and the order of the classes
listing.py    what a source says it has: classes, pictures, labels, splits, content stamps; on disk, checked as a whole
service.py    the picture service (docs/picture_service.openapi.yaml); its only client
fetcher.py    the only HTTP: capped, timed, tried again; owner of the bearer token
addresses.py  the guard: which addresses may be contacted at all
folder.py     a folder of the user's own
prefix.py     a prefix of an S3 bucket
tree.py       the layout that folder and prefix share: classes, splits, manifest
returned.py   documents that go back to the service, and what it has of them
pixsets.py    the JSON file that lists pixsets
"""
