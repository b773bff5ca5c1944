"""Take masks back that markers corrected; no step of a pipeline, but a command.

Reads:    a COCO JSON, or PNG masks (`silhouette.contracts.markup`); PostgreSQL: what they were made of.
Writes:   PostgreSQL: a new version of every corrected picture, approved, with its marker as author.
Talks to: PostgreSQL.

    take       the work: `import_masks`; picture by picture, one bad one never stops the others
    coco_door  a COCO file from elsewhere, checked before anything is made of it
    png_door   PNG masks from elsewhere, against what was exported
    returned   what both doors hand on: a picture's people, or why there are none
"""
