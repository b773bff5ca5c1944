"""Turn the best checkpoint into a bundle that can be served: ONNX first, TorchScript beside it.

Reads:    the training's folder (`silhouette.contracts.training`) and crops, to calibrate and to compare answers on.
Writes:   `model.onnx`, `model.torchscript`, `golden.npz`, `model.json` (`silhouette.contracts.model_bundle`), and
          `model.fp16.onnx`, `model.int8.onnx` when asked for.
Talks to: the store, which gets a copy of the files.

    export        the work: `export_model`
    served        the network with its pre-processing, temperature and softmax inside
    temperature   fitted on the val split
    checked       what an ONNX file must be to be released
    parity        the files must answer alike, on real crops and on odd_pictures
    variants      half precision and 8-bit integers
"""
