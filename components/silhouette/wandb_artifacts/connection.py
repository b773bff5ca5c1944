"""Requests to Weights & Biases with the key: within a time, tried again when that may help.

Reads WANDB_API_KEY and WANDB_BASE_URL, and the environment's proxies; writes what it downloads into a file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import certifi
import stamina
import urllib3

from silhouette.errors import ServiceError, SettingError
from silhouette.file_digest import md5

T = TypeVar("T")
_CLOUD = "https://api.wandb.ai"
_TIMEOUT = urllib3.Timeout(connect=10, read=60)
_ATTEMPTS = 4
# what is tried again is decided here; urllib3 leaves the key out where a redirect leads to another host
_REDIRECTS = urllib3.Retry(total=None, connect=0, read=0, status=0, other=0, redirect=5)
_TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}
_MAX_ANSWER_BYTES = 64 << 20  # of a query or a manifest
_CHUNK_BYTES = 1 << 20


class _PassingError(Exception):
    """What may be better in a moment."""


class Connection:
    """Requests with the key, each within a time and tried again when that may help."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._base = (environ.get("WANDB_BASE_URL") or _CLOUD).rstrip("/")
        self.host = urlsplit(self._base).netloc
        if not self.host or urlsplit(self._base).scheme not in ("http", "https"):
            raise SettingError(f"WANDB_BASE_URL must be http(s)://host, got {self._base!r}; correct it")
        if not (key := environ.get("WANDB_API_KEY", "")):
            raise SettingError(
                "models at Weights & Biases need an account, WANDB_API_KEY is not set; take a key from your settings"
                " there, or give a FILE or s3://bucket/key"
            )
        self._login = urllib3.make_headers(basic_auth=f"api:{key}")
        proxy = getproxies().get(urlsplit(self._base).scheme)
        options: dict[str, Any] = {
            "timeout": _TIMEOUT,
            "retries": _REDIRECTS,
            "ca_certs": certifi.where(),
        }
        if proxy and not proxy_bypass(self.host):
            self._pool: urllib3.PoolManager = urllib3.ProxyManager(proxy, **options)
        else:
            self._pool = urllib3.PoolManager(**options)

    def query(self, text: str, **variables: Any) -> dict[str, Any]:
        """Return the data that a GraphQL query gives."""
        body = json.dumps({"query": text, "variables": variables}).encode()
        answered = self._answer("POST", f"{self._base}/graphql", body=body)
        try:
            answer = json.loads(answered)
            errors, data = answer.get("errors"), answer.get("data")
        except (ValueError, AttributeError):
            errors, data = [{"message": "no JSON"}], None
        if errors or not isinstance(data, dict):
            said = str(errors[0].get("message") if errors and isinstance(errors[0], dict) else "no data")
            raise ServiceError(
                f"Weights & Biases at {self.host} must answer a query, it said: {said[:200]}; try again later"
            )
        return data

    def read(self, url: str) -> bytes:
        """Return what is at an address that W&B gave."""
        return self._answer("GET", url)

    def download(self, url: str, path: Path, *, limit: int) -> str:
        """Write what is at an address that W&B gave into a file of at most `limit` bytes; return its MD5."""

        def take(response: urllib3.BaseHTTPResponse) -> str:
            digest, size = md5(), 0
            with path.open("wb") as file:
                for part in response.stream(_CHUNK_BYTES):
                    size += len(part)
                    if size > limit:
                        raise ServiceError(f"Weights & Biases must send {limit} bytes, it sends more; try again later")
                    digest.update(part)
                    file.write(part)
            return str(digest.hexdigest())

        return self._with_answer("GET", url, None, take)

    def _answer(self, method: str, url: str, body: bytes | None = None) -> bytes:
        def take(response: urllib3.BaseHTTPResponse) -> bytes:
            content = response.read(_MAX_ANSWER_BYTES + 1)
            if len(content) > _MAX_ANSWER_BYTES:
                raise ServiceError(f"Weights & Biases at {self.host} must answer with less than 64 MiB; report it")
            return bytes(content)

        return self._with_answer(method, url, body, take)

    def _with_answer(
        self, method: str, url: str, body: bytes | None, take: Callable[[urllib3.BaseHTTPResponse], T]
    ) -> T:
        url = urljoin(f"{self._base}/", url)
        headers = {"User-Agent": "silhouette", "Content-Type": "application/json"}
        if urlsplit(url)[:2] == urlsplit(self._base)[:2]:  # a signed address elsewhere must not get the key
            headers |= self._login
        try:
            for attempt in stamina.retry_context(on=_PassingError, attempts=_ATTEMPTS, timeout=None, wait_initial=0.5):
                with attempt:
                    return self._once(method, url, body, headers, take)
        except _PassingError as error:
            raise ServiceError(
                f"Weights & Biases at {urlsplit(url).netloc} must answer, {error}; try again later"
            ) from error
        raise AssertionError("a retry ends with an answer or an error")

    def _once(
        self,
        method: str,
        url: str,
        body: bytes | None,
        headers: Mapping[str, str],
        take: Callable[[urllib3.BaseHTTPResponse], T],
    ) -> T:
        try:
            response = self._pool.request(method, url, body=body, headers=dict(headers), preload_content=False)
            try:
                if response.status in _TRY_AGAIN:
                    raise _PassingError(f"it answered {response.status}")
                if response.status in (401, 403):
                    raise SettingError(
                        f"WANDB_API_KEY must be a key that {self.host} takes, it answered {response.status}; correct it"
                    )
                if response.status != 200:
                    raise ServiceError(
                        f"Weights & Biases at {urlsplit(url).netloc} must answer 200, got {response.status};"
                        " try again later"
                    )
                return take(response)
            finally:
                response.close()
        except urllib3.exceptions.HTTPError as error:
            reason = getattr(error, "reason", None) or error
            raise _PassingError(f"it did not ({type(reason).__name__})") from error
