"""The picture service's reference server as a daemon: it serves the sample pictures of ``<state_dir>/samples``.

The server itself is `pipelines.embedded.picture_service`; this starts it.
"""

from __future__ import annotations

import http.client
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from pipelines.embedded.installation import Installation
from pipelines.embedded.processes import Launch
from pipelines.embedded.returned_documents import DOCUMENTS_NAME
from pipelines.embedded.service import Service

CHECKOUT = Path(__file__).resolve().parents[2]


class PictureDaemon(Service):
    """The reference picture service over a folder of samples."""

    name = "picture_service"
    port_names = ("http",)
    variable_names = ("SILHOUETTE_PICTURE_SERVICE_URL", "SILHOUETTE_PICTURE_SERVICE_TOKEN")
    variable_defaults: ClassVar = {"SILHOUETTE_PICTURE_SERVICE_TOKEN": ""}

    def launch(self, installation: Installation) -> Launch:
        """Run the server with this Python, from this checkout."""
        port, root = self.port(installation, "http"), installation.state_dir / "samples"
        module = "pipelines.embedded.picture_service"
        documents = installation.folder(self.name) / DOCUMENTS_NAME  # samples may be deleted and drawn again
        places = ["--root", str(root), "--documents", str(documents)]
        return Launch(
            command=[sys.executable, "-m", module, "--port", str(port), *places],
            environment={
                "SILHOUETTE_PICTURE_SERVICE_TOKEN": installation.secret(self.name, "token"),
                "PYTHONPATH": os.pathsep.join((str(CHECKOUT), str(CHECKOUT / "components"))),
                "PYTHONUNBUFFERED": "1",
                "PATH": os.environ.get("PATH", os.defpath),
                "LC_ALL": "C.UTF-8",
            },
            folder=installation.folder(self.name),
        )

    def prepare(self, installation: Installation) -> None:
        """Make the folder of samples, which may be filled later."""
        (installation.state_dir / "samples").mkdir(exist_ok=True)

    def problem(self, installation: Installation) -> str | None:
        """Ask ``GET /health``."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port(installation, "http"), timeout=5)
        try:
            connection.request("GET", "/health")
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            return str(error) or type(error).__name__
        finally:
            connection.close()
        return None if status == 200 else f"GET /health answered {status}"

    def variables(self, installation: Installation) -> dict[str, str]:
        """Return its URL and token."""
        return {
            "SILHOUETTE_PICTURE_SERVICE_URL": f"http://{self.address(installation)}",
            "SILHOUETTE_PICTURE_SERVICE_TOKEN": installation.secret(self.name, "token"),
        }

    def sources(self) -> Sequence[Path]:
        """Restart when the server's code changed."""
        names = ("picture_service.py", "returned_documents.py")
        return [path for path in map(Path(__file__).with_name, names) if path.exists()]
