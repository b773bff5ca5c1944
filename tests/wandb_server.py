"""Weights & Biases on loopback, as far as fetching an artifact goes; `wandb` itself takes it for the real one."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

KEY = "0123456789abcdef0123456789abcdef01234567"
ENTITY, PROJECT, NAME = "team", "outfits", "model"


@dataclass
class WandbServer:
    """One artifact of two versions; `latest` is an alias of the second.

    Attributes:
        versions: Files by path, of every version.
        sent: Files that are not sent as they were logged.
        references: Addresses of files that are not kept here.
        algorithm: Of the digests.
        manifest_digest: What it says the artifact's digest is; empty: the true one.
        failures: How many requests are answered with 503 before one is served.
        base: Where it is reached.
        files_url: Where it says that files are.
        moved_to: Where files are that it says are below ``/moved``.
        asked: Path and whether the key came with it, of every request.
    """

    versions: list[dict[str, bytes]]
    sent: dict[str, bytes] = field(default_factory=dict)
    references: dict[str, str] = field(default_factory=dict)
    algorithm: str = "MANIFEST_MD5"
    manifest_digest: str = ""
    failures: int = 0
    asked: list[tuple[str, bool]] = field(default_factory=list)
    base: str = ""
    files_url: str = ""
    moved_to: str = ""

    @property
    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/graphql", self._graphql, methods=["POST"]),
                Route("/manifest/{version:int}", self._manifest),
                Route("/files/{version:int}/{path:path}", self._file),
                Route("/moved/{rest:path}", self._moved),
            ]
        )

    def manifest(self, version: int) -> dict[str, Any]:
        entries: dict[str, Any] = {
            path: {
                "digest": base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode(),
                "size": len(data),
                "birthArtifactID": "QXJ0",
            }
            for path, data in self.versions[version].items()
        }
        entries |= {path: {"digest": "an-etag", "ref": url} for path, url in self.references.items()}
        return {
            "version": 1, "storagePolicy": "wandb-storage-policy-v1", "storagePolicyConfig": {"storageLayout": "V2"},
            "contents": entries,
        }  # fmt: skip

    def digest(self, version: int) -> str:
        lines = [f"{path}:{entry['digest']}\n" for path, entry in sorted(self.manifest(version)["contents"].items())]
        text = "wandb-artifact-manifest-v1\n" + "".join(lines)
        return self.manifest_digest or hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

    def _refusal(self, request: Request, *, keyed: bool) -> Response | None:
        given = request.headers.get("authorization", "")
        login = "Basic " + base64.b64encode(f"api:{KEY}".encode()).decode()
        self.asked.append((request.url.path, bool(given)))
        if self.failures:
            self.failures -= 1
            return Response(status_code=503)
        return Response(status_code=401) if keyed and given != login else None

    async def _graphql(self, request: Request) -> Response:
        if refusal := self._refusal(request, keyed=True):
            return refusal
        asked = await request.json()
        variables = asked.get("variables") or {}
        name = asked["query"].split("query", 1)[1].split("(")[0].split("{")[0].strip()
        viewer = {"id": "VXNl", "entity": ENTITY, "username": ENTITY, "teams": {"edges": []}}
        answers = {
            "ArtifactMembershipByName": self._by_name,
            "FetchArtifactManifest": self._manifest_of,
            "ArtifactMembershipFiles": self._files,
            "GetArtifactMembershipFileUrls": self._files,
            "Viewer": lambda _: {"viewer": viewer},
            "GetDefaultEntity": lambda _: {"viewer": viewer},
            "ServerFeaturesQuery": lambda _: {"serverInfo": {"features": []}},
        }
        if name not in answers:
            return JSONResponse({"errors": [{"message": f"no such query: {name}"}], "data": None})
        return JSONResponse({"data": answers[name](variables)})

    def _version(self, alias: str) -> int | None:
        wanted = len(self.versions) - 1 if alias == "latest" else int(alias.removeprefix("v") or -1)
        return wanted if 0 <= wanted < len(self.versions) else None

    def _by_name(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        name, _, alias = variables["name"].partition(":")
        version = self._version(alias)
        if (variables["entity"], variables["project"], name) != (ENTITY, PROJECT, NAME) or version is None:
            return {"project": None}
        project = {"id": "UHJv", "internalId": "1", "name": PROJECT, "entity": {"name": ENTITY}}
        collection = {"__typename": "ArtifactSequence", "name": NAME, "project": project}
        artifact = {
            "__typename": "Artifact", "id": f"QXJ0{version}", "artifactSequence": collection,
            "versionIndex": version, "artifactType": {"name": "model"}, "description": None, "metadata": "{}",
            "ttlDurationSeconds": -1, "ttlIsInherited": False, "tags": [], "historyStep": None, "state": "COMMITTED",
            "size": sum(map(len, self.versions[version].values())), "digest": self.digest(version),
            "digestAlgorithm": self.algorithm, "commitHash": "c0ffee", "fileCount": len(self.versions[version]),
            "createdAt": "2026-01-01T00:00:00Z", "updatedAt": None, "aliases": [],
        }  # fmt: skip
        membership = {
            "__typename": "ArtifactCollectionMembership", "id": "TWVt", "versionIndex": version,
            "createdAt": "2026-01-01T00:00:00Z", "aliases": [], "artifactCollection": collection, "artifact": artifact,
        }  # fmt: skip
        return {"project": {"artifactCollectionMembership": membership}}

    def _manifest_of(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        version = variables["id"].removeprefix("QXJ0")
        return {"artifact": {"currentManifest": {"file": {"directUrl": f"{self.base}/manifest/{version}"}}}}

    def _files(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        version = self._version(variables["alias"])
        assert version is not None
        names = variables.get("fileNames") or list(self.versions[version])
        edges = [
            {
                "node": {
                    "__typename": "File", "id": "RmlsZQ", "name": path,
                    "directUrl": f"{self.files_url}/{version}/{path}",
                }
            }
            for path in names
        ]  # fmt: skip
        files = {"edges": edges, "pageInfo": {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}}
        collection = {"__typename": "ArtifactSequence", "artifactMembership": {"files": files}}
        return {"project": {"artifactCollection": collection}}

    async def _manifest(self, request: Request) -> Response:
        refusal = self._refusal(request, keyed=False)
        return refusal or JSONResponse(self.manifest(request.path_params["version"]))

    async def _moved(self, request: Request) -> Response:
        refusal = self._refusal(request, keyed=True)
        return refusal or RedirectResponse(f"{self.moved_to}/{request.path_params['rest']}")

    async def _file(self, request: Request) -> Response:
        if refusal := self._refusal(request, keyed=False):
            return refusal
        path = request.path_params["path"]
        return Response(self.sent.get(path, self.versions[request.path_params["version"]][path]))
