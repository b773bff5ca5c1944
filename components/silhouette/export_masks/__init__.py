"""Write a group's people as masks that markers correct.

Reads:    PostgreSQL: the group's pictures and the version of each that counts; the pictures in the store.
Writes:   the store, `markup/masks/<group key>/`, and a folder when one is named: ``masks/*.png`` (people as numbers),
          ``overlays/*.jpg``, ``annotations/*.json`` (COCO), ``pictures.csv`` (`silhouette.contracts.markup`).
Talks to: PostgreSQL, the store.

    export     the work: `export_masks`
    render     one picture: mask, overlay, annotations
    coco_file  the COCO files, written while pictures pass by
    places     the store and the folder, in which what is there already stays
"""
