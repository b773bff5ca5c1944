"""The embedded Triton Inference Server: the server inside the wheel ``nvidia-pytriton``, without GPU or container.

It serves the model repository in the store, ``s3://http://HOST:PORT/BUCKET/triton``, in explicit mode; at a start
it loads all that is there, so what was deployed is served again. A broken model is reported, it stops nothing.
This release is older than the HTTP security fixes of 2025: it listens on loopback and nowhere else.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil

from pipelines.embedded import processes, triton_files
from pipelines.embedded.addresses import variables_of
from pipelines.embedded.installation import Installation
from pipelines.embedded.object_store import ObjectStore
from pipelines.embedded.processes import Launch
from pipelines.embedded.service import Service
from silhouette.contracts.deployment import REPOSITORY
from silhouette.errors import ServiceError
from silhouette.settings import store_settings
from silhouette.store import open_store

STUB = "triton_python_backend_stub"
STUB_INSTANCE = 8  # the word of a stub's command line that names its instance, "<instance group>_<number>"
PYTHON_BACKENDS = ("onnxruntime", "python")  # served by Python processes here


class Triton(Service):
    """Triton over the model repository in the store."""

    name = "triton"
    port_names = ("http", "grpc", "metrics")
    variable_names = ("SILHOUETTE_TRITON_URL",)
    needs = ("object_store",)
    grace_s = 12.0
    start_timeout_s = 180.0  # it loads every deployed model before it answers

    def launch(self, installation: Installation) -> Launch:
        """Run the server on three loopback ports."""
        found = triton_files.venv()
        work = triton_files.work_folder(installation)
        store = variables_of(ObjectStore(), installation)
        scheme = "https" if store["SILHOUETTE_S3_SECURE"] == "1" else "http"
        repository = f"s3://{scheme}://{store['SILHOUETTE_S3_ENDPOINT']}/{store['SILHOUETTE_S3_BUCKET']}/{REPOSITORY}"
        flags = [
            f"--model-repository={repository}", f"--backend-directory={work / 'backends'}",
            "--model-control-mode=explicit", "--load-model=*", "--exit-on-error=false", "--strict-readiness=false",
            "--allow-gpu-metrics=false", "--exit-timeout-secs=3", "--pinned-memory-pool-byte-size=0",
            f"--backend-config=python,shm-region-prefix-name={_shared_memory_prefix(installation)}",
        ]  # fmt: skip
        for door in self.port_names:
            flags += [f"--{door}-address=127.0.0.1", f"--{door}-port={self.port(installation, door)}"]
        environment = {
            "AWS_ACCESS_KEY_ID": store["SILHOUETTE_S3_ACCESS_KEY"],
            "AWS_SECRET_ACCESS_KEY": store["SILHOUETTE_S3_SECRET_KEY"],
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",  # else it looks for a cloud around it
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "TRITON_AWS_MOUNT_DIRECTORY": str(work / "models"),  # else in /tmp, where a killed server leaves them
            "LD_LIBRARY_PATH": found.library_path,
            "PATH": f"{found.bin}:{os.environ.get('PATH', os.defpath)}",  # the stub finds its venv by PATH
            "PYTHONDONTWRITEBYTECODE": "1",
            "LC_ALL": "C.UTF-8",
        }
        return Launch(command=[str(found.server), *flags], environment=environment, folder=work)

    def prepare(self, installation: Installation) -> None:
        """Lay out the backends; see that the repository exists in the store."""
        triton_files.lay_out(installation, triton_files.venv())
        store = open_store(store_settings(variables_of(ObjectStore(), installation)))
        store.put_bytes(f"{REPOSITORY}/.keep", b"")

    def tidy(self, installation: Installation) -> None:
        """Remove the shared memory of its Python processes, and a work folder that is not in the state folder."""
        for path in Path("/dev/shm").glob(f"{_shared_memory_prefix(installation)}*"):  # noqa: S108  Triton's, not a temp file
            path.unlink(missing_ok=True)
        work = triton_files.work_folder(installation)
        if installation.state_dir not in work.parents:
            shutil.rmtree(work, ignore_errors=True)

    def problem(self, installation: Installation) -> str | None:
        """Ask for readiness and for the list of models, which it reads from the store."""
        try:
            self._ask(installation, "GET", "/v2/health/ready")
            self._index(installation)
        except ServiceError as error:
            return str(error)
        return None

    def heal(self, installation: Installation) -> None:
        """Load again the models that lost a Python process: Triton neither restarts those nor says so."""
        for model in self._crippled(installation):
            self._ask(installation, "POST", f"/v2/repository/models/{quote(model)}/unload")
            self._ask(installation, "POST", f"/v2/repository/models/{quote(model)}/load", timeout_s=120)

    def detail(self, installation: Installation) -> str:
        """Name the models that are served and those that are not."""
        served = sorted({row["name"] for row in self._index(installation) if row.get("state") == "READY"})
        broken = {
            row["name"]: row.get("reason", "") for row in self._index(installation) if row.get("state") == "UNAVAILABLE"
        }
        words = [f"serves {', '.join(served) or 'no model yet'}"]
        words += [
            f"cannot serve {name}: {' '.join(reason.split())[:160]}"
            for name, reason in broken.items()
            if reason != "unloaded"
        ]
        words += [f"{name} lost a process, `make up` heals it" for name in self._crippled(installation)]
        return "; ".join(words)

    def variables(self, installation: Installation) -> dict[str, str]:
        """Return the URL of its HTTP door."""
        return {"SILHOUETTE_TRITON_URL": f"http://{self.address(installation)}"}

    def sources(self) -> Sequence[Path]:
        """Restart when our backend changed."""
        return (triton_files.BACKEND,)

    def _index(self, installation: Installation) -> list[dict[str, str]]:
        rows: list[dict[str, str]] = self._ask(installation, "POST", "/v2/repository/index")
        return rows

    def _crippled(self, installation: Installation) -> list[str]:
        """Return the ready models that have fewer Python processes than their instances need."""
        alive: Counter[str] = Counter()
        server = processes.find(installation.record(self.name).process)
        for child in server.children() if server else ():
            with suppress(psutil.Error):
                command = child.cmdline()
                if child.status() != psutil.STATUS_ZOMBIE and Path(command[0]).name == STUB:
                    alive[command[STUB_INSTANCE].rpartition("_")[0]] += 1
        versions = Counter(row["name"] for row in self._index(installation) if row.get("state") == "READY")
        crippled = []
        for model, count in versions.items():
            config = self._ask(installation, "GET", f"/v2/models/{quote(model)}/config")
            if config.get("backend") in PYTHON_BACKENDS:
                groups = config.get("instance_group", [])
                if any(alive[group["name"]] < group.get("count", 1) * count for group in groups):
                    crippled.append(model)
        return crippled

    def _ask(self, installation: Installation, method: str, path: str, timeout_s: float = 10) -> Any:
        """Send one request to the HTTP door and read its JSON.

        Raises:
            ServiceError: No answer, or another status than 200.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.port(installation, "http"), timeout=timeout_s)
        try:
            body = "{}" if method == "POST" else None
            connection.request(method, path, body=body, headers={"Content-Type": "application/json"})
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise ServiceError(
                f"the embedded triton must answer {path}: {error or type(error).__name__}; run `make up`"
            ) from error
        finally:
            connection.close()
        if response.status != 200:
            raise ServiceError(
                f"the embedded triton answered {path} with {response.status}: {content.decode(errors='replace')[:200]}"
            )
        return json.loads(content) if content else {}


def _shared_memory_prefix(installation: Installation) -> str:
    return f"silhouette_{installation.state.installation}_"
