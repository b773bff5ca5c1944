"""Silhouette: from pictures of people to a classifier served by Triton.

The flow, one room (sub-package) a step:

    source_version     what is there to work on, as one digest
    download_pictures  pictures and labels into the store, hostile files into quarantine
    segment_people     people on every picture, as contours in PostgreSQL
    snapshot_contours  contours and review states frozen under their digest
    build_dataset      person-centred crops with masks and splits, in few big shards
    train_classifier   timm + Lightning
    export_model       TorchScript and ONNX, calibrated, parity checked
    evaluate_model     metrics, report, the gate's verdict on the ONNX file, beside the served one
    deploy_model       model repository, load, golden check over HTTP
    classify_pictures  pictures through Triton, rows and a gallery
"""

__version__ = "0.1.0"
