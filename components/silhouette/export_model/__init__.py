"""Turn the best checkpoint into a bundle that can be served: ONNX first, TorchScript beside it.

Reads:    the training's folder (`silhouette.contracts.training`) and crops, to compare answers on.
Writes:   `model.onnx`, `model.torchscript`, `golden.npz`, `model.json` (`silhouette.contracts.model_bundle`).
Talks to: the store, which gets a copy of the two model files.

    export     the work: `export_model`
    served     the network with its pre-processing and softmax inside
    parity     the three must answer alike
"""
