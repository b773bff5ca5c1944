"""Where pictures and labels come from: the picture service over HTTP, or a folder with one sub-folder per class.

listing.py   what a source says it has: classes, pictures, labels, splits, content stamps; checked as a whole
folder.py    a folder of the user's own
service.py   the picture service (docs/picture_service.openapi.yaml); its only client, owner of the bearer token
source.py    `open_source`: which of the two, and the order of the classes
"""
