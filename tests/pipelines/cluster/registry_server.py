"""A registry's HEAD of a manifest, with the token protocol in front when asked for."""

from __future__ import annotations

import re
from typing import Any

from tests.pipelines.cluster.stand_in import Asked, Refuse, StandIn


class RegistryServer(StandIn):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.images: set[str] = set()
        self.basic = ""  # what the token's door asks for; empty: no token is asked for

    def answer(self, asked: Asked) -> Any:
        if asked.path == "/token":
            if asked.headers.get("authorization") != f"Basic {self.basic}":
                raise Refuse(401, {"errors": [{"code": "UNAUTHORIZED"}]})
            return {"token": f"pull {asked.query['scope']}"}
        name, tag = re.fullmatch(r"/v2/(.+)/manifests/([^/]+)", asked.path).groups()
        if self.basic and asked.headers.get("authorization") != f"Bearer pull repository:{name}:pull":
            challenge = f'Bearer realm="{self.url}/token",service="r",scope="repository:{name}:pull"'
            raise Refuse(401, {}, WWW_Authenticate=challenge)
        if "application/vnd.oci.image.index.v1+json" not in asked.headers.get("accept", ""):
            raise Refuse(404, {"errors": [{"code": "MANIFEST_UNKNOWN"}]})  # as Docker Hub for indexes
        if f"{name}:{tag}" not in self.images:
            raise Refuse(404, {"errors": [{"code": "MANIFEST_UNKNOWN"}]})
        return {}
