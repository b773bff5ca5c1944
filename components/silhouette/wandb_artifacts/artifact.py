"""One version of an artifact: what its manifest says, and its files, proved to be that.

The queries are those that the package wandb sends itself (0.31, wandb/sdk/artifacts/_generated/operations.py:
ArtifactMembershipByName, FetchArtifactManifest, ArtifactMembershipFiles), with the fields that are needed.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from silhouette.errors import InputError, ServiceError
from silhouette.file_digest import md5
from silhouette.wandb_artifacts.connection import Connection

SCHEME = "wandb:"
FORM = "wandb:ENTITY/PROJECT/ARTIFACT:ALIAS, with /path of one file behind it where the artifact has several"
_ADDRESS = re.compile(r"([^/:\s]+)/([^/:\s]+)/([^/:\s]+):([^/:\s]+)(?:/(.+))?")
_BY_NAME = """
query ArtifactMembershipByName($entity: String!, $project: String!, $name: String!) {
  project(name: $project, entityName: $entity) {
    artifactCollectionMembership(name: $name) {
      versionIndex
      artifact { id state digest digestAlgorithm }
    }
  }
}
"""
_MANIFEST = """
query FetchArtifactManifest($id: ID!) {
  artifact(id: $id) { currentManifest { file { directUrl } } }
}
"""
_FILES = """
query ArtifactMembershipFiles(
  $entity: String!, $project: String!, $collection: String!, $alias: String!, $fileNames: [String!]
) {
  project(name: $project, entityName: $entity) {
    artifactCollection(name: $collection) {
      artifactMembership(aliasName: $alias) {
        files(names: $fileNames, first: 1) { edges { node { name: displayName directUrl } } }
      }
    }
  }
}
"""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file of an artifact; `reference` is set when it lies elsewhere and W&B has only its address."""

    size_bytes: int
    md5: str
    reference: str = ""


class Artifact:
    """One version of an artifact; `entries` are its files by path.

    Args:
        address: ``ENTITY/PROJECT/ARTIFACT:ALIAS``, with or without `SCHEME`; what is behind it is `path`.
        environ: Has the key.

    Raises:
        InputError: The address has another form, or W&B has no such artifact.
        SettingError: There is no key, or W&B refuses it.
        ServiceError: W&B does not answer, or what it answers contradicts itself.
    """

    def __init__(self, address: str, environ: Mapping[str, str] = os.environ) -> None:
        parts = _ADDRESS.fullmatch(address.removeprefix(SCHEME))
        if not parts:
            raise InputError(f"an artifact at Weights & Biases must be {FORM}, got {address!r}; correct it")
        self._entity, self._project, self.collection, alias, self.path = parts.groups(default="")
        self._connection = Connection(environ)
        found = self._membership(f"{self.collection}:{alias}")
        self._version = f"v{found['versionIndex']}"
        self.name = f"{self._entity}/{self._project}/{self.collection}:{self._version}"
        self.digest = str(found["artifact"]["digest"])
        self.entries = self._read_manifest(found["artifact"])

    def fetch(self, path: str, to: Path) -> None:
        """Fetch one file; `to` appears when it is complete and proved to be what the manifest says.

        Raises:
            InputError: W&B has only its address.
            ServiceError: W&B does not send it, or other bytes.
        """
        entry = self.entries[path]
        if entry.reference:
            raise InputError(
                f"{path!r} of {self.name} must be kept at Weights & Biases, it is a reference to {entry.reference};"
                " fetch it from there and give the FILE"
            )
        answer = self._connection.query(
            _FILES, entity=self._entity, project=self._project, collection=self.collection, alias=self._version,
            fileNames=[path],
        )  # fmt: skip
        try:
            membership = answer["project"]["artifactCollection"]["artifactMembership"]
            nodes = {edge["node"]["name"]: edge["node"]["directUrl"] for edge in membership["files"]["edges"]}
            url = nodes[path]
        except (KeyError, TypeError) as error:
            raise self._contradiction(f"its manifest names {path!r}, and there is no such file") from error
        to.parent.mkdir(parents=True, exist_ok=True)
        partial = to.with_name(f".{to.name}.{secrets.token_hex(4)}.partial")
        try:
            if (found := self._connection.download(url, partial, limit=entry.size_bytes)) != entry.md5:
                raise self._contradiction(f"{path!r} must have the MD5 {entry.md5}, it has {found}")
            partial.replace(to)
        finally:
            with suppress(OSError):
                partial.unlink()

    # ---- inside

    def _membership(self, name: str) -> dict[str, Any]:
        answer = self._connection.query(_BY_NAME, entity=self._entity, project=self._project, name=name)
        found = (answer.get("project") or {}).get("artifactCollectionMembership")
        if not found or not found.get("artifact") or found["artifact"].get("state") != "COMMITTED":
            raise InputError(
                f"Weights & Biases must have the artifact {self._entity}/{self._project}/{name}, there is none that"
                f" this key may see at {self._connection.host}; correct the name"
            )
        return dict(found)

    def _read_manifest(self, artifact: dict[str, Any]) -> dict[str, Entry]:
        kind = artifact.get("digestAlgorithm") or "MANIFEST_MD5"
        if kind != "MANIFEST_MD5":
            raise InputError(
                f"{self.name} must carry MD5 digests, it has {kind}; fetch it with `wandb artifact get` and give the"
                " FILE"
            )
        try:
            url = self._connection.query(_MANIFEST, id=artifact["id"])["artifact"]["currentManifest"]["file"][
                "directUrl"
            ]
            contents = json.loads(self._connection.read(url))["contents"]
            digest = md5(b"wandb-artifact-manifest-v1\n")
            for path, entry in sorted(contents.items()):
                digest.update(f"{path}:{entry['digest']}\n".encode())
            if digest.hexdigest() != self.digest:
                raise self._contradiction(f"its manifest must have the digest {self.digest}, not {digest.hexdigest()}")
            return {path: _entry(entry) for path, entry in contents.items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._contradiction(f"its manifest cannot be read ({type(error).__name__}: {error})") from error

    def _contradiction(self, detail: str) -> ServiceError:
        return ServiceError(
            f"Weights & Biases must send {self.name} as it was logged: {detail}; try again, or log it again"
        )


def _entry(entry: Mapping[str, Any]) -> Entry:
    reference = str(entry.get("ref") or "")
    md5 = "" if reference else binascii.hexlify(base64.b64decode(entry["digest"], validate=True)).decode()
    return Entry(size_bytes=int(entry.get("size") or 0), md5=md5, reference=reference)
