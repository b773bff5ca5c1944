"""Build what goes back to the service: one document a picture, with what every configured model says of its people.

Reads      the groups' datasets and pictures in the store; people, reviews and the badlist in PostgreSQL; the models
           of the configuration: served by Triton with their cards in the store, or ONNX files with theirs beside
Writes     ``ret_meta/<picture key>.json`` (`contracts.ret_meta`) and ``ret_meta/runs/<run>/`` with `manifest.json` and
           `documents.csv` in the store, the same two in a folder; removes documents of pictures that must not be used
Talks to   the store, PostgreSQL, Triton

    models     which models are asked, and how
    pending    which pictures have to be looked at, known before one is decoded
    documents  crops to answers to documents
    manifest   what a run did, row by row
    build      the work: `build_ret_meta`
"""
