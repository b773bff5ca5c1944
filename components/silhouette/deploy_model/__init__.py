"""Serve the judged model from Triton; what is served is what was judged.

Reads      a model bundle (`contracts.model_bundle`) and its evaluation (`contracts.evaluation`); the segmenter's file
           (`contracts.segmenter`) and what the served model was asked lately (`contracts.traffic`) in the store
Writes     ``triton/<model>/``, ``triton/<model>_picture/`` and ``triton/segmenter--<digest>/`` in the store, the model
           repository; a folder with `deployment.json` and `request.bin`
           (`contracts.deployment`); the request also at ``inference/<model>/request.bin`` in the store; events, golden
           crops and the lock below ``deployments/<model>/``
Talks to   the store, Triton

`champion` tells the judge what is served before, so that a new model is held against it.
"""
