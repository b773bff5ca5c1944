"""What is served, and how to ask it: what `deploy_model` writes; and where the model repository lies in the store.

A folder: `deployment.json` (this module's `Deployment` without any address: those belong to the place that reads
it) and `request.bin`, the body of a request made of a real crop. The model repository is ``triton/<model>/`` in
the store: `config.pbtxt` and ``<version>/`` with `model.onnx`, `labels.txt` and, written last, `model.json`.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from silhouette.contracts import model_bundle
from silhouette.errors import InputError

FILE_NAME = "deployment.json"
REQUEST_NAME = "request.bin"
REPOSITORY = "triton"  # the model repository's prefix in the store
CONFIG_NAME = "config.pbtxt"
LABELS_NAME = "labels.txt"


class Deployment(BaseModel):
    """A served model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    group: str
    experiment: str
    model: str
    """Triton's name of it, the group's safe key."""
    version: str
    onnx_sha256: str
    already_served: bool
    """Nothing was uploaded and nothing was loaded."""
    max_difference: float
    """Largest absolute difference of a probability over HTTP from the golden ones."""
    header_length: int
    """Length of the JSON at the beginning of the request file."""
    class_name: str
    """What Triton answers to the request file."""
    picture_model: str = ""
    """Triton's name of the group's picture model, a picture in and a label out; empty: none was deployed."""
    picture_version: str = ""
    segmenter: str = ""
    """Triton's name of the segmenter that finds people for it."""
    request_path: Path = Field(exclude=True)
    url: str = Field(exclude=True)
    """Of Triton, ``http://host:port``."""

    @property
    def curl(self) -> str:
        """Return the command that posts the request file; its answer holds a class name."""
        return (
            f"curl -s {self.url}/v2/models/{self.model}/infer -H 'Content-Type: application/octet-stream'"
            f" -H 'Inference-Header-Content-Length: {self.header_length}'"
            f" --data-binary {shlex.quote(f'@{self.request_path}')}"
        )

    @property
    def picture_curl(self) -> str:
        """Return the command that posts a picture file; its answer ends with the people and the picture's label."""
        return (
            f"curl -s {self.url}/v2/models/{self.picture_model}/infer -H 'Content-Type: application/octet-stream'"
            " -H 'Inference-Header-Content-Length: 0' --data-binary @photo.jpg"
        )

    def metadata(self) -> dict[str, str]:
        """Return what an artifact of KFP says of it: names and digests, never an address."""
        return {
            "group": self.group,
            "experiment": self.experiment,
            "model": self.model,
            "version": self.version,
            "onnx_sha256": self.onnx_sha256,
        }


class ServedVersion(BaseModel):
    """A version in the model repository, as a parameter between steps."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: str = Field(pattern=r"^[0-9]+$")
    onnx_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")

    def text(self) -> str:
        """Return ``<version>:<sha256>``."""
        return f"{self.version}:{self.onnx_sha256}"

    @classmethod
    def from_text(cls, text: str) -> ServedVersion:
        """Read what `text` wrote.

        Raises:
            InputError: It is something else.
        """
        version, _, sha256 = text.partition(":")
        try:
            return cls(version=version, onnx_sha256=sha256)
        except ValidationError:
            raise InputError(
                f"a served version must be <version>:<sha256>, got {text!r}; take it from find_champion"
            ) from None


def repository_key(model: str, *parts: str) -> str:
    """Return the store's key of a file of a model in the model repository."""
    return "/".join([REPOSITORY, model, *parts])


def card_key(model: str, version: str) -> str:
    """Return the store's key of the model card (`contracts.model_bundle`) of a deployed version."""
    return repository_key(model, version, model_bundle.JSON_NAME)


def write(folder: Path, deployment: Deployment) -> None:
    """Write `deployment.json` into `folder`."""
    (folder / FILE_NAME).write_text(deployment.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read(folder: Path, *, url: str) -> Deployment:
    """Read `deployment.json` of `folder`.

    Args:
        folder: What `write` wrote.
        url: Where Triton is for the one who reads.
    """
    record = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
    return Deployment.model_validate({**record, "url": url, "request_path": folder / REQUEST_NAME})
