"""A model in Triton's model repository: numbered versions that never change, and the configuration that names them.

Reads and writes ``triton/<model>/`` in the store. Only `config.pbtxt` decides what is served, and it is one
object: a version is complete and verified before it is named there, so a kill at any point serves the old one.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydantic import ValidationError

from silhouette.contracts.deployment import CONFIG_NAME, LABELS_NAME, card_key, repository_key
from silhouette.contracts.model_bundle import ONNX_NAME, ModelCard
from silhouette.deploy_model import model_config
from silhouette.deploy_model.model_config import ModelConfig
from silhouette.errors import InputError, ServiceError
from silhouette.store import Store


def label_lines(classes: list[str]) -> list[str]:
    """Return the lines of `labels.txt`: a class name on one line, whatever white space it has."""
    return [" ".join(name.split()) or f"class {number}" for number, name in enumerate(classes)]


class ModelRepository:
    """One model's part of the repository."""

    def __init__(self, store: Store, model: str) -> None:
        self._store = store
        self.model = model

    def config(self) -> ModelConfig | None:
        """Return the configuration, or None when the model was never deployed."""
        key = repository_key(self.model, CONFIG_NAME)
        if not self._store.exists(key):
            return None
        return model_config.from_text(self._store.get_bytes(key), source=f"{self._store.bucket}/{key}")

    def put_config(self, config: ModelConfig) -> None:
        """Write the configuration: from its next load on Triton serves what it names."""
        self._store.put_bytes(repository_key(self.model, CONFIG_NAME), model_config.to_text(config))

    def remove_config(self) -> None:
        """Remove the configuration: the model is no longer one."""
        self._store.remove(repository_key(self.model, CONFIG_NAME))

    def versions(self) -> list[int]:
        """Return every version that has a folder, complete or not."""
        prefix = repository_key(self.model, "")
        names = {key.removeprefix(prefix).partition("/")[0] for key in self._store.list_keys(prefix)}
        return sorted(int(name) for name in names if name.isdecimal())

    def card(self, version: int) -> ModelCard | None:
        """Return a version's model card; None when the version is missing or was not written to its end."""
        try:
            return ModelCard.model_validate_json(self._store.get_bytes(card_key(self.model, str(version))))
        except (InputError, ValidationError):
            return None

    def holds(self, version: int, onnx_sha256: str) -> bool:
        """Tell whether a version is complete and its model file has these very bytes."""
        card = self.card(version)
        if card is None or card.onnx_sha256 != onnx_sha256 or not self._store.exists(self._key(version, LABELS_NAME)):
            return False
        return self._stored_sha256(version) == onnx_sha256

    def fits_beside(self, version: int, card: ModelCard) -> bool:
        """Tell whether an older version is whole and can be served under the configuration that `card` asks for."""
        old = self.card(version)
        if old is None or (old.classes, old.crop_size) != (card.classes, card.crop_size):
            return False
        return self.holds(version, old.onnx_sha256)

    def add_version(self, onnx: Path, card: ModelCard, *, above: int) -> int:
        """Write a new version and return its number, or that of the same version that a killed run had completed.

        Args:
            onnx: The model file.
            card: Its card, written last.
            above: The number is larger than this and than every other in the store.

        Raises:
            ServiceError: The store gives back other bytes than it was given.
        """
        there = self.versions()
        for version in there:
            if version > above and self.holds(version, card.onnx_sha256):
                return version
        version = max([above, *there]) + 1
        labels = "".join(f"{line}\n" for line in label_lines(card.classes)).encode()
        while not self._store.put_if_absent(self._key(version, LABELS_NAME), labels):
            version += 1  # another run took this number in this moment
        self._store.put_file(self._key(version, ONNX_NAME), onnx)
        if self._stored_sha256(version) != card.onnx_sha256:
            raise ServiceError(
                f"the store must give back what it was given, {self._key(version, ONNX_NAME)} differs from {onnx};"
                " nothing was deployed, look after the store's disk, then deploy again"
            )
        self._store.put_bytes(card_key(self.model, str(version)), card.model_dump_json(indent=2).encode())
        return version

    def remove_version(self, version: int) -> None:
        """Remove a version; its card first, so that what a kill leaves is not taken for a version."""
        self._store.remove(card_key(self.model, str(version)))
        for key in list(self._store.list_keys(self._key(version, ""))):
            self._store.remove(key)

    def _key(self, version: int, name: str) -> str:
        return repository_key(self.model, str(version), name)

    def _stored_sha256(self, version: int) -> str:
        try:
            return hashlib.sha256(self._store.get_bytes(self._key(version, ONNX_NAME))).hexdigest()
        except InputError:  # it is not there
            return ""
