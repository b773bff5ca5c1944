"""One module per thing that crosses rooms: its type, its file name, how it is read and written.

dataset      pictures and labels of a group          download_pictures -> all
contours     a person's outline, exact               segment_people -> database -> snapshot
contour_formats  the same as COCO RLE, COCO polygons, YOLO txt, and back; for export and import
snapshot     reviewed contours frozen under a digest snapshot_contours -> build_dataset, classify_pictures
crops        person crops, masks, labels, splits     build_dataset -> train_classifier, export_model, evaluate_model
training     checkpoints and logs of one experiment  train_classifier -> export_model
model_bundle ONNX, TorchScript, golden crops         export_model -> evaluate_model, deploy_model
evaluation   metrics and the gate's verdict          evaluate_model -> deploy_model
predictions  one row a person classified             classify_pictures -> people
ret_meta     what goes back, one document a picture  build_ret_meta -> post_ret_meta -> the picture service
"""
