"""A stand-in for a cluster's API server on loopback: the answers that a real one gives to what we ask of it.

It speaks HTTP with JSON as Kubernetes' API reference says: objects by path, `Status` for what is not there, merge
patches for Secrets, access reviews. What it holds is a dictionary of paths, which tests fill and look at.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

TOKEN = "token-of-the-test"


class Api:
    """What the server holds, and what it was asked."""

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}
        self.refused: set[tuple[str, str]] = set()  # (verb, resource) that an access review refuses
        self.token = TOKEN
        self.forbidden: set[str] = set()  # paths
        self.asked: list[str] = []

    def answer(self, method: str, path: str, body: Any, token: str) -> tuple[int, Any]:
        self.asked.append(f"{method} {path}")
        if token != self.token:
            return 401, _status(401, "Unauthorized")
        if path in self.forbidden:
            return 403, _status(403, f'User "test" cannot {method.lower()} {path}')
        if path.endswith("/selfsubjectaccessreviews"):
            wanted = body["spec"]["resourceAttributes"]
            return 201, {**body, "status": {"allowed": (wanted["verb"], wanted["resource"]) not in self.refused}}
        if method == "POST":
            place = path.removesuffix("/secrets")
            if place not in self.objects:
                return 404, _status(404, f'namespaces "{place.rpartition("/")[2]}" not found')
            self.objects[f"{path}/{body['metadata']['name']}"] = body
            return 201, body
        plain = path.partition("?")[0]
        if plain not in self.objects:
            return 404, _status(404, f'"{plain}" not found')
        if method == "PATCH":
            self.objects[plain]["data"].update(body["data"])
        return 200, self.objects[plain]


def _status(code: int, message: str) -> dict[str, Any]:
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code}


@contextmanager
def serving(folder: Path) -> Iterator[tuple[Api, Path]]:
    """Yield the server and a kubeconfig that names it."""
    api = Api()

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            code, content = api.answer(self.command, self.path, body, token)
            data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
            self.send_response(code)
            self.send_header("Content-Type", "text/plain" if isinstance(content, str) else "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PATCH = _do

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield api, write_kubeconfig(folder, f"http://127.0.0.1:{server.server_address[1]}")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def write_kubeconfig(folder: Path, address: str, *, token: str = TOKEN) -> Path:
    path = folder / "kubeconfig"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [{"name": "test", "cluster": {"server": address}}],
        "users": [{"name": "test", "user": {"token": token}}],
    }
    path.write_text(yaml.safe_dump(config))
    return path
