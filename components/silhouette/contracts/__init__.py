"""One module per thing that crosses rooms: its type, its file name, how it is read and written.

dataset      pictures and labels of a group          download_pictures -> all
contours     a person's outline, exact               segment_people -> database -> snapshot
contour_formats  the same as COCO RLE, COCO polygons, YOLO txt, and back; for export and import
snapshot     reviewed contours frozen under a digest snapshot_contours -> build_dataset, classify_pictures
backgrounds  pictures of places under a digest       snapshot_contours -> build_dataset
crops        person crops, masks, labels, splits     build_dataset -> train_classifier, export_model, evaluate_model
training     checkpoints and logs of one experiment  train_classifier -> export_model
model_bundle ONNX, TorchScript, golden crops         export_model -> evaluate_model, deploy_model
segmenter    what serves it: an ONNX file, settings  segment_people -> deploy_model, classify_pictures
evaluation   metrics and the gate's verdict          evaluate_model -> deploy_model
scores       how answers are spread on the test split evaluate_model -> deploy_model -> classify_pictures
markup       masks for markers, by name and number    export_masks -> markers -> import_masks
predictions  one row a person classified             classify_pictures -> people, ret_meta
ret_meta     what goes back, one document a picture  build_ret_meta -> post_ret_meta -> the picture service
"""
