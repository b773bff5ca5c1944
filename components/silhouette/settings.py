"""Where things are: endpoints and secrets, read from the environment and from nowhere else.

The cluster fills the variables from a ConfigMap and a Secret, the laptop from the embedded services; their
names are the same in both places. What a run does is not here but in its parameters and `silhouette.config`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address

from silhouette.errors import SettingError

WAY_OUT = "start the embedded services with `make up`, or set it as docs/configuration.md says"
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_HOST_AND_PORT = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<host>[\w-]+(?:\.[\w-]+)*\.?)):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    """An S3 endpoint: ``host:port`` without a scheme, keys, bucket."""

    endpoint: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    bucket: str = "silhouette"
    secure: bool = False


@dataclass(frozen=True, kw_only=True)
class PictureServiceSettings:
    """The company's picture service: base URL and bearer token.

    `allowed_addresses` are exact hosts and ports, beside the service's own, that may be at addresses which are not
    public; every other picture from such an address is refused.
    """

    url: str
    token: str = field(repr=False, default="")
    allowed_addresses: frozenset[tuple[str, int]] = frozenset()


SECRETS = frozenset(
    {
        "SILHOUETTE_S3_ACCESS_KEY",
        "SILHOUETTE_S3_SECRET_KEY",
        "SILHOUETTE_PICTURE_SERVICE_TOKEN",
        "WANDB_API_KEY",
        "SILHOUETTE_KFP_TOKEN",
    }
)
VARIABLES = (
    "SILHOUETTE_POSTGRES_DSN", "SILHOUETTE_S3_ENDPOINT", "SILHOUETTE_S3_SECURE", "SILHOUETTE_S3_BUCKET",
    "SILHOUETTE_S3_ACCESS_KEY", "SILHOUETTE_S3_SECRET_KEY", "SILHOUETTE_TRITON_URL", "SILHOUETTE_TRITON_SERVICE",
    "SILHOUETTE_PICTURE_SERVICE_URL",
    "SILHOUETTE_PICTURE_SERVICE_TOKEN", "SILHOUETTE_ALLOWED_ADDRESSES", "WANDB_API_KEY",
    "SILHOUETTE_STATE_DIR", "SILHOUETTE_CONFIG", "SILHOUETTE_DEBUG",
    # of `make submit` (pipelines/cluster/settings.py)
    "SILHOUETTE_KFP_URL", "SILHOUETTE_KFP_TOKEN", "SILHOUETTE_KFP_TOKEN_FILE", "SILHOUETTE_KFP_CA_FILE",
    "SILHOUETTE_KFP_NAMESPACE", "SILHOUETTE_KFP_UI", "SILHOUETTE_KUBE_CONTEXT", "SILHOUETTE_RUN_NAMESPACE",
    "SILHOUETTE_RUN_SERVICE_ACCOUNT", "SILHOUETTE_REGISTRY", "SILHOUETTE_REGISTRY_CHECK", "SILHOUETTE_GPU_CHECK",
)  # fmt: skip
OURS = ("SILHOUETTE_CONFIG__", "SILHOUETTE_EMBEDDED", "SILHOUETTE_SHARED_DATA")  # values, daemons, tests: no settings


def shown(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return every variable with its value, fit to be shown: secrets are ``***``, and so are passwords in addresses."""
    return {
        name: "***" if name in SECRETS and environ.get(name) else _without_password(environ.get(name, ""))
        for name in VARIABLES
    }


def _need(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "").strip()
    if not value:
        raise SettingError(f"{name} must be set, it is empty; {WAY_OUT}")
    return value


def _need_url(environ: Mapping[str, str], name: str) -> str:
    value = _need(environ, name)
    if not value.startswith(("http://", "https://")):
        raise SettingError(
            f"{name} must be http://host:port or https://host:port, got {_without_password(value)!r}; {WAY_OUT}"
        )
    return value.rstrip("/")


def _without_password(value: str) -> str:
    return re.sub("(//|^)[^/]*@", r"\1***@", value)


def store_settings(environ: Mapping[str, str] = os.environ) -> StoreSettings:
    """Read the store's settings.

    Raises:
        SettingError: A variable is missing or malformed.
    """
    endpoint, secure = _need(environ, "SILHOUETTE_S3_ENDPOINT"), environ.get("SILHOUETTE_S3_SECURE") or "0"
    if "/" in endpoint:
        raise SettingError(f"SILHOUETTE_S3_ENDPOINT must be host:port without a scheme, got {endpoint!r}; {WAY_OUT}")
    if secure not in ("0", "1"):
        raise SettingError(f"SILHOUETTE_S3_SECURE must be 0 or 1, got {secure!r}; {WAY_OUT}")
    return StoreSettings(
        endpoint=endpoint,
        access_key=_need(environ, "SILHOUETTE_S3_ACCESS_KEY"),
        secret_key=_need(environ, "SILHOUETTE_S3_SECRET_KEY"),
        bucket=environ.get("SILHOUETTE_S3_BUCKET") or "silhouette",
        secure=secure == "1",
    )


def postgres_dsn(environ: Mapping[str, str] = os.environ) -> str:
    """Read the PostgreSQL connection string, ``postgresql://user:password@host:port/db``; it holds a secret.

    Raises:
        SettingError: The variable is missing.
    """
    return _need(environ, "SILHOUETTE_POSTGRES_DSN")


def triton_url(environ: Mapping[str, str] = os.environ) -> str:
    """Read the base URL of Triton's HTTP endpoint, ``http://host:port``.

    Raises:
        SettingError: The variable is missing or no URL.
    """
    return _need_url(environ, "SILHOUETTE_TRITON_URL")


def triton_service(environ: Mapping[str, str] = os.environ) -> tuple[str, str] | None:
    """Read which Kubernetes service has the replicas of Triton, as (namespace, service); None: there is one server.

    Raises:
        SettingError: The variable is malformed.
    """
    value = environ.get("SILHOUETTE_TRITON_SERVICE", "").strip()
    if not value:
        return None
    namespace, _, service = value.partition("/")
    if not (_LABEL.fullmatch(namespace) and _LABEL.fullmatch(service)):
        raise SettingError(f"SILHOUETTE_TRITON_SERVICE must be namespace/service, got {value!r}; correct it")
    return namespace, service


def picture_service_settings(environ: Mapping[str, str] = os.environ) -> PictureServiceSettings:
    """Read where the picture service is.

    Raises:
        SettingError: The URL is missing or none, or an allowed address is malformed.
    """
    return PictureServiceSettings(
        url=_need_url(environ, "SILHOUETTE_PICTURE_SERVICE_URL"),
        token=environ.get("SILHOUETTE_PICTURE_SERVICE_TOKEN", "").strip(),  # a file's last line end is none of it
        allowed_addresses=_addresses(environ, "SILHOUETTE_ALLOWED_ADDRESSES"),
    )


def _addresses(environ: Mapping[str, str], name: str) -> frozenset[tuple[str, int]]:
    """Read ``host:port,host:port``; IPv6 in brackets."""
    found = set()
    for entry in filter(None, map(str.strip, environ.get(name, "").split(","))):
        matched = _HOST_AND_PORT.fullmatch(entry)
        port = int(matched["port"]) if matched else 0
        if matched is None or not 1 <= port <= 65535:
            raise SettingError(
                f"{name} must be host:port,host:port with exact hosts (IPv6 in brackets) and ports of 1 to 65535,"
                f" got {_without_password(entry)!r}; correct it as docs/configuration.md says"
            )
        try:
            host = str(IPv6Address(matched["ipv6"])) if matched["ipv6"] else matched["host"].lower().removesuffix(".")
        except ValueError:
            raise SettingError(f"{name} must have IPv6 addresses in brackets, got {entry!r}; correct it") from None
        found.add((host, port))
    return frozenset(found)
