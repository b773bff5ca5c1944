"""Ask a registry whether it has the images of a run, by the OCI distribution protocol: HEAD of each manifest.

Reads docker's own login (`~/.docker/config.json`, or the folder DOCKER_CONFIG names); credential helpers are not
started. A password goes to the registry itself, or over HTTPS to where it hands out tokens, and nowhere else.

https://distribution.github.io/distribution/spec/api/, https://distribution.github.io/distribution/spec/auth/token/
"""

from __future__ import annotations

import base64
import ipaddress
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import urllib3

from silhouette.errors import InputError, ServiceError, SettingError

MANIFESTS = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
UNASKED = "set SILHOUETTE_REGISTRY_CHECK=0 for a registry that cannot be asked"
_TIMEOUT = urllib3.Timeout(connect=5, read=20)
_RETRIES = urllib3.Retry(3, redirect=3, backoff_factor=0.3, status_forcelist=[429, 502, 503, 504], allowed_methods=None)
_PART = re.compile(r'(\w+)="([^"]*)"')


def require_images(references: Iterable[str], *, environ: Mapping[str, str] = os.environ) -> None:
    """See that the registry has every image.

    Args:
        references: ``host[:port]/path/name:tag``.
        environ: Where docker's login is said.

    Raises:
        SettingError: No registry is named.
        InputError: An image is not there.
        ServiceError: The registry does not answer, or does not let us ask.
    """
    with urllib3.PoolManager(timeout=_TIMEOUT, retries=_RETRIES) as pool:
        for reference in references:
            host, _, rest = reference.partition("/")
            name, _, tag = rest.rpartition(":")
            if not re.search(r"[.:]|^localhost$", host):
                raise SettingError(
                    "SILHOUETTE_REGISTRY must say where the images are, like registry.example.com/team, it is empty;"
                    f" set it, or {UNASKED}"
                )
            status = _ask(pool, host, name, tag, environ)
            if status == 404:
                raise InputError(
                    f"every image of a run must be in the registry, {reference} is not; `make images` and push it"
                )
            if status in (401, 403):
                raise ServiceError(
                    f"the registry {host} must let you ask for {name}, it says {status}; `docker login {host}`,"
                    f" or {UNASKED}"
                )
            if status != 200:
                raise ServiceError(f"the registry {host} must answer for {name}, it says {status}; {UNASKED}")


def _ask(pool: urllib3.PoolManager, host: str, name: str, tag: str, environ: Mapping[str, str]) -> int:
    url = f"{'http' if _is_loopback(host) else 'https'}://{host}/v2/{name}/manifests/{tag}"
    login = _login(host, environ)
    try:
        answer = pool.request("HEAD", url, headers={"Accept": MANIFESTS})
        if answer.status == 401:
            authorization = _authorization(pool, answer.headers.get("WWW-Authenticate", ""), name, login)
            if authorization:
                answer = pool.request("HEAD", url, headers={"Accept": MANIFESTS, "Authorization": authorization})
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        told = " ".join(str(getattr(error, "reason", error)).split())[:200]
        raise ServiceError(
            f"the registry {host} must be reachable, {told}; correct SILHOUETTE_REGISTRY, or {UNASKED}"
        ) from None
    return int(answer.status)


def _authorization(pool: urllib3.PoolManager, challenge: str, name: str, login: str) -> str:
    """Return what the registry's challenge asks for, or nothing when we have it not."""
    scheme, _, rest = challenge.partition(" ")
    if scheme.lower() == "basic":
        return f"Basic {login}" if login else ""
    parts = dict(_PART.findall(rest))
    realm = urlsplit(parts.get("realm", ""))
    if scheme.lower() != "bearer" or not (realm.scheme == "https" or _is_loopback(realm.netloc)):
        return ""
    wanted = {"scope": parts.get("scope") or f"repository:{name}:pull"}
    if "service" in parts:
        wanted["service"] = parts["service"]
    headers = {"Authorization": f"Basic {login}"} if login else {}
    answer = pool.request("GET", f"{parts['realm']}?{urlencode(wanted)}", headers=headers, redirect=False)
    if answer.status != 200:
        return ""
    content = json.loads(answer.data)
    return f"Bearer {content.get('token') or content.get('access_token', '')}"


def _login(host: str, environ: Mapping[str, str]) -> str:
    """Return docker's login for a registry, ``user:password`` in base64, or nothing."""
    file = Path(environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    try:
        entry = json.loads(file.read_text(encoding="utf-8")).get("auths", {}).get(host, {})
        login = str(entry.get("auth", ""))
        base64.b64decode(login, validate=True)
    except (OSError, ValueError, AttributeError):
        return ""
    return login


def _is_loopback(host: str) -> bool:
    """Tell whether a registry is on this machine, where docker speaks plain HTTP as well."""
    name = host.rpartition(":")[0].strip("[]") if re.search(r":\d+$", host) else host
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
