"""Files of artifacts at Weights & Biases, verified: the only door to what is kept there.

It speaks W&B's protocol without the package wandb: addresses are resolved in the cpu image too, which has none. A
manifest must have the artifact's digest, and every file its size and MD5 in the manifest.

connection  requests with the key
artifact    one version: its manifest and its files
fetch       one file, or all
"""
