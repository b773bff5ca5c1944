"""What `silhouette pull` lays out, by name: cheap to import for the command line."""

from enum import StrEnum


class Kind(StrEnum):
    """What can be laid out."""

    PICTURES = "pictures"
    DATASETS = "datasets"
    MODELS = "models"
    MASKS = "masks"
    INFERENCE = "inference"
