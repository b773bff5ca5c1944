"""The model that a new one has to be as good as: what is served, as the repository in the store says.

Reads ``triton/<model>/`` in the store; writes nothing.
"""

from __future__ import annotations

from silhouette.contracts.deployment import ServedVersion
from silhouette.deploy_model import model_config
from silhouette.deploy_model.repository import ModelRepository
from silhouette.names import safe_key
from silhouette.store import Store


def find_champion(*, group: str, onnx_sha256: str, store: Store) -> str:
    """Return the served version as `ServedVersion.text`; empty when there is none to compare with.

    When the model itself is what is served, it is the one before it: a run that is repeated is then judged against the
    same champion as the first time, and reuses that judgement.

    Args:
        group: The group, raw.
        onnx_sha256: Of the new model's file.
        store: Holds the model repository.
    """
    repository = ModelRepository(store, safe_key(group))
    config = repository.config()
    if config is None:
        return ""
    served = max(model_config.versions_of(config), default=0)
    for version in reversed([version for version in repository.versions() if version <= served]):
        card = repository.card(version)
        if card is not None and card.onnx_sha256 != onnx_sha256:
            return ServedVersion(version=str(version), onnx_sha256=card.onnx_sha256).text()
    return ""
