"""The only door to S3: MinIO on the cluster, the embedded server on a laptop.

Reads the endpoint, keys and bucket from the environment (`silhouette.settings`); reads and writes objects of
that one bucket. A put is atomic by S3, a get to a file by a rename: half an object is never seen. Failures of
the connection and answers 5xx are tried again by the client, a bounded number of times.
"""

from __future__ import annotations

import hashlib
import io
import os
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import TypeVar

import certifi
import urllib3
from minio import Minio
from minio.error import MinioException, S3Error

from silhouette.errors import InputError, ServiceError, SettingError
from silhouette.settings import StoreSettings, store_settings

INSTALLATION_KEY = "installation-id"
OCTETS = "application/octet-stream"
DEFAULT_WORKERS = 8  # 16 gain nothing on two cores
_CONNECT_S, _READ_S, _RETRIES = 5.0, 60.0, 4
_MISSING = {"NoSuchKey", "NoSuchObject"}
_REFUSED = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"}

A = TypeVar("A")
B = TypeVar("B")


class _PreconditionFailedError(Exception):
    """The object is already there."""


class Store:
    """One bucket of an S3 server; safe to share between threads.

    Every method raises ServiceError when the server cannot be reached or refuses; it names the endpoint, what was
    tried and the way out. Keys are full object keys without a leading slash.
    """

    def __init__(self, settings: StoreSettings) -> None:
        self.settings = settings
        self.bucket = settings.bucket
        self.endpoint = settings.endpoint
        pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=_CONNECT_S, read=_READ_S),
            maxsize=2 * DEFAULT_WORKERS,
            cert_reqs="CERT_REQUIRED",
            ca_certs=os.environ.get("SSL_CERT_FILE") or certifi.where(),
            retries=urllib3.Retry(total=_RETRIES, backoff_factor=0.2, status_forcelist=[500, 502, 503, 504]),
        )
        try:
            self._client = Minio(
                settings.endpoint,
                access_key=settings.access_key,
                secret_key=settings.secret_key,
                secure=settings.secure,
                region="us-east-1",  # asked for otherwise, one more request a bucket; MinIO and SeaweedFS ignore it
                http_client=pool,
            )
        except ValueError as error:
            raise SettingError(
                f"SILHOUETTE_S3_ENDPOINT must be host:port, got {settings.endpoint!r} ({error}); correct it"
            ) from None

    # ---- the bucket

    def ensure_bucket(self) -> None:
        """Make the bucket when it is missing, and its installation id when that is missing."""
        with self._speaking("make the bucket"):
            try:
                if not self._client.bucket_exists(self.bucket):
                    self._client.make_bucket(self.bucket)
            except S3Error as error:
                if error.code not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):  # somebody was faster
                    raise
        self.put_if_absent(INSTALLATION_KEY, secrets.token_hex(16).encode())

    def installation_id(self) -> str:
        """Return the random id that this bucket got at its creation; a wiped bucket gets another one."""
        self.ensure_bucket()
        return self.get_bytes(INSTALLATION_KEY).decode()

    # ---- one object

    def put_bytes(self, key: str, data: bytes, *, content_type: str = OCTETS) -> None:
        """Write an object, over the old one if there is one."""
        with self._speaking("write", key):
            self._client.put_object(self.bucket, key, io.BytesIO(data), len(data), content_type=content_type)

    def put_if_absent(self, key: str, data: bytes, *, content_type: str = OCTETS) -> bool:
        """Write an object unless it exists; return whether it was written. The server decides, so that one wins."""
        headers = {"If-None-Match": "*", "Content-Type": content_type}
        try:
            with self._speaking("write", key):
                # the SDK's public put_object turns this header into user metadata (minio is pinned for it)
                self._client._put_object(self.bucket, key, data, headers)
        except _PreconditionFailedError:
            return False
        return True

    def put_file(self, key: str, path: Path, *, content_type: str = OCTETS) -> None:
        """Write a file of any size as an object, over the old one if there is one."""
        if not path.is_file():
            raise InputError(f"only an existing file can be put into the store, got {path}; correct the path")
        with self._speaking("write", key, path):
            self._client.fput_object(self.bucket, key, str(path), content_type=content_type)

    def get_bytes(self, key: str) -> bytes:
        """Read an object.

        Raises:
            InputError: There is no such object.
        """
        with self._speaking("read", key):
            response = self._client.get_object(self.bucket, key)
            try:
                return bytes(response.read())
            finally:
                response.close()
                response.release_conn()

    def get_file(self, key: str, path: Path) -> None:
        """Read an object into a file; `path` appears when it is complete, with its folders.

        Raises:
            InputError: There is no such object.
        """
        partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
        try:
            with self._speaking("read", key, path):
                path.parent.mkdir(parents=True, exist_ok=True)
                response = self._client.get_object(self.bucket, key)
                try:
                    with partial.open("wb") as file:
                        for chunk in response.stream(1 << 20):
                            file.write(chunk)
                finally:
                    response.close()
                    response.release_conn()
                partial.replace(path)
        finally:
            with suppress(OSError):  # what went wrong has been said above
                partial.unlink()

    def exists(self, key: str) -> bool:
        """Tell whether there is such an object."""
        return self.size(key) is not None

    def size(self, key: str) -> int | None:
        """Return the object's size in bytes, or None when there is none."""
        try:
            with self._speaking("look at", key):
                return int(self._client.stat_object(self.bucket, key).size or 0)
        except InputError:
            return None

    def remove(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        with self._speaking("remove", key):
            self._client.remove_object(self.bucket, key)

    # ---- many objects

    def list_keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys that start with `prefix`, sorted."""
        return (key for key, _ in self._list(prefix))

    def tree_digest(self, prefix: str) -> str:
        """Return the SHA-256 over names, sizes and ETags of all objects below `prefix`: equal means unchanged."""
        lines = (f"{key.removeprefix(prefix)}\0{stamp}\n" for key, stamp in self._list(prefix))
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def put_many(self, items: Iterable[tuple[str, bytes | Path]], *, workers: int = DEFAULT_WORKERS) -> int:
        """Write many objects in parallel, reading `items` only a little ahead; return how many."""
        return sum(1 for _ in in_parallel(self._put_one, items, workers=workers))

    def get_many(self, keys: Iterable[str], *, workers: int = DEFAULT_WORKERS) -> Iterator[tuple[str, bytes]]:
        """Yield (key, bytes) in the order asked for, read in parallel and only a little ahead.

        Raises:
            InputError: There is no such object.
        """
        return in_parallel(lambda key: (key, self.get_bytes(key)), keys, workers=workers)

    def put_tree(self, prefix: str, folder: Path) -> int:
        """Write all files of `folder` and below as ``<prefix>/<relative path>``; return how many."""
        if not folder.is_dir():
            raise InputError(f"only an existing folder can be put into the store, got {folder}; correct the path")
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        base = prefix.rstrip("/")
        return self.put_many((f"{base}/{path.relative_to(folder).as_posix()}", path) for path in files)

    def get_tree(self, prefix: str, folder: Path) -> int:
        """Read all objects below ``<prefix>/`` into `folder`; return how many. None is no error."""
        base = prefix.rstrip("/") + "/"

        def fetch(key: str) -> None:
            relative = PurePosixPath(key.removeprefix(base))
            if relative.is_absolute() or ".." in relative.parts:
                raise InputError(f"an object's name must stay inside its folder, got {key!r}; remove that object")
            self.get_file(key, folder / relative)

        return sum(1 for _ in in_parallel(fetch, self.list_keys(base), workers=DEFAULT_WORKERS))

    # ---- inside

    def _put_one(self, item: tuple[str, bytes | Path]) -> None:
        key, content = item
        if isinstance(content, Path):
            self.put_file(key, content)
        else:
            self.put_bytes(key, content)

    def _list(self, prefix: str) -> Iterator[tuple[str, str]]:
        with self._speaking("list", prefix):
            for item in self._client.list_objects(self.bucket, prefix=prefix, recursive=True):
                if not item.is_dir:
                    yield str(item.object_name), f"{item.size} {item.etag}"

    @contextmanager
    def _speaking(self, verb: str, key: str = "", path: Path | None = None) -> Iterator[None]:
        """Turn whatever the client raises into one line that names the endpoint, the deed and the way out."""
        what = f"{verb} {self.bucket}/{key}" if key else f"{verb} {self.bucket}"
        try:
            yield
        except S3Error as error:
            raise self._translate(error, what) from error
        except (MinioException, urllib3.exceptions.HTTPError) as error:
            raise ServiceError(
                f"the store at {self.endpoint} must answer, it did not when asked to {what}"
                f" ({_cause(error)}); start it (on a laptop: `make up`) or correct SILHOUETTE_S3_ENDPOINT,"
                " then run again"
            ) from error
        except OSError as error:  # the local disk: what the network raises is urllib3's
            raise ServiceError(
                f"{path or 'the disk'} must be readable and writable to {what}: {error.strerror or error};"
                " free space or correct the rights, then run again"
            ) from error
        except ValueError as error:  # the SDK's own check of bucket and key
            raise InputError(f"bucket and key must be names that S3 allows: cannot {what}; {error}") from None

    def _translate(self, error: S3Error, what: str) -> Exception:
        code = error.code or "no code"
        if code in _MISSING:
            return InputError(
                f"the store must hold the object, asked to {what} it found none; run the step that makes it"
            )
        if code == "PreconditionFailed":
            return _PreconditionFailedError()
        if code in _REFUSED:
            way_out = "correct SILHOUETTE_S3_ACCESS_KEY and SILHOUETTE_S3_SECRET_KEY"
        elif code == "NoSuchBucket":
            way_out = "run from the start (`make run`): its first step makes the bucket"
        else:
            way_out = "see the log of the server (is its disk full?), then run again"
        return ServiceError(f"the store at {self.endpoint} refused to {what}: {code}, {error.message}; {way_out}")


def _cause(error: BaseException) -> str:
    reason = getattr(error, "reason", None) or error
    return type(reason).__name__


def in_parallel(function: Callable[[A], B], items: Iterable[A], *, workers: int) -> Iterator[B]:
    """Yield ``function(item)`` in order, computed by `workers` threads that run at most 2 x `workers` items ahead.

    The first exception ends the work: what has not begun is cancelled, what runs is waited for.
    """
    pending: deque[Future[B]] = deque()
    pool = ThreadPoolExecutor(max_workers=workers)
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) >= 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def open_store(settings: StoreSettings | None = None) -> Store:
    """Open the store; nothing is asked of the server yet.

    Args:
        settings: Where it is; None: what the environment says.

    Raises:
        SettingError: The environment does not say where it is.
    """
    return Store(settings or store_settings())
