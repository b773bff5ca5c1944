"""The only door to S3: MinIO on the cluster, the embedded server on a laptop.

Reads the endpoint, keys and bucket from the environment (`silhouette.settings`); reads and writes objects of
that one bucket. A put is atomic by S3, a get to a file by a rename: half an object is never seen. Failures of
the connection, answers 429 and 5xx and answers that break off are tried again for as long as the store's patience
lasts: a few seconds, or what a long job asks for.
"""

from __future__ import annotations

import hashlib
import io
import os
import random
import secrets
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from queue import SimpleQueue
from typing import IO, Any, TypeVar
from xml.etree.ElementTree import ParseError

import certifi
import urllib3
from minio import Minio
from minio.error import InvalidResponseError, MinioException, S3Error, ServerError
from urllib3.exceptions import HTTPError, ProtocolError, ReadTimeoutError, ResponseError

from silhouette.errors import InputError, ServiceError, SettingError
from silhouette.settings import StoreSettings, store_settings

INSTALLATION_KEY = "installation-id"
OCTETS = "application/octet-stream"
DEFAULT_WORKERS = 8  # 16 gain nothing on two cores
PATIENCE_S = 5.0  # a restart of a proxy or a stale connection; an outage is for who asks for more
_CONNECT_S, _READ_S = 5.0, 60.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.4, 4.0
_BODY_ATTEMPTS = 4  # each with the whole patience
_CONNECTIONS = 32  # kept open; more are opened when more threads ask, never waited for
_ONE_PUT = 5 << 30  # what S3 takes in one request
_MISSING = {"NoSuchKey", "NoSuchObject"}
_KEYS_REFUSED = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"}

A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """An object as the store lists it; `etag` (without quotes) changes when its bytes do."""

    key: str
    size_bytes: int
    etag: str


class MissingObjectError(InputError):
    """There is no such object."""


class TooLargeObjectError(InputError):
    """The object has more bytes than the caller wants to read; `size_bytes` when the server says how many."""

    def __init__(self, message: str, size_bytes: int | None) -> None:
        super().__init__(message)
        self.size_bytes = size_bytes


class StoreRefusedError(ServiceError):
    """The store answered and refused; `code` is S3's own word (``AccessDenied``, ``NoSuchBucket``, ...)."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class _PreconditionFailedError(Exception):
    """The object is already there."""


class _Patience(urllib3.Retry):
    """Try a request again until `patience_s` have passed since its first failure, less and less often.

    urllib3 counts attempts, but how long ten attempts take depends on how they fail: refused at once, or after a
    minute of silence. Every request is tried at least twice, unless the patience is 0.
    """

    def __init__(self, *, patience_s: float, until: float | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.patience_s = patience_s
        self.until = until

    def new(self, **changes: Any) -> _Patience:
        """Return what is left after one more failure."""
        until = time.monotonic() + self.patience_s if self.until is None else self.until
        return super().new(patience_s=self.patience_s, until=until, **changes)

    def is_exhausted(self) -> bool:
        """Tell whether this failure was the last."""
        return super().is_exhausted() or (self.until is not None and time.monotonic() >= self.until)

    def get_backoff_time(self) -> float:
        """Return the next pause in seconds: none, then doubling, never all threads at once, none past the end."""
        failures = len(self.history)
        if failures <= 1:  # most often a connection that the server had closed
            return 0.0
        longest = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** (failures - 2))
        left = (self.until or 0.0) - time.monotonic()
        return max(0.0, min(left, random.uniform(longest / 2, longest)))  # noqa: S311 - no secret


class Store:
    """One bucket of an S3 server; safe to share between threads.

    Every method raises ServiceError when the server cannot be reached or refuses; it names the endpoint, what was
    tried and the way out. Keys are full object keys without a leading slash.

    Args:
        settings: Where it is.
        patience_s: How long a request that fails is tried again, in seconds, before it counts as failed.
    """

    def __init__(self, settings: StoreSettings, *, patience_s: float = PATIENCE_S) -> None:
        self.settings = settings
        self.patience_s = patience_s
        self.bucket = settings.bucket
        self.endpoint = settings.endpoint
        pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=_CONNECT_S, read=_READ_S),
            maxsize=_CONNECTIONS,
            cert_reqs="CERT_REQUIRED",
            ca_certs=os.environ.get("SSL_CERT_FILE") or certifi.where(),
            retries=_Patience(
                patience_s=patience_s,
                total=None,
                redirect=3,
                status_forcelist=[429, 500, 502, 503, 504],
                allowed_methods=None,  # POST, too: it begins and ends the parts of a large file
                respect_retry_after_header=False,  # a proxy may ask for hours
            ),
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

    def of_bucket(self, bucket: str) -> Store:
        """Return the store of another bucket of the same server, with the same keys and patience."""
        if bucket == self.bucket:
            return self
        return Store(replace(self.settings, bucket=bucket), patience_s=self.patience_s)

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
            self._client.put_object(
                self.bucket, key, io.BytesIO(data), len(data), content_type=content_type, part_size=_ONE_PUT
            )

    def put_if_absent(self, key: str, data: bytes, *, content_type: str = OCTETS) -> bool:
        """Write an object unless it exists; return whether it was written. The server decides, so that one wins.

        When the answer is lost on the way and the request is sent again, the object is there and False is returned.
        """
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

    def get_bytes(self, key: str, *, max_bytes: int | None = None) -> bytes:
        """Read an object.

        Raises:
            MissingObjectError: There is no such object.
            TooLargeObjectError: It has more than `max_bytes`; no more than that was read.
        """
        found = self.get_changed(key, etag="", max_bytes=max_bytes)
        assert found is not None
        return found[0]

    def get_changed(self, key: str, *, etag: str, max_bytes: int | None = None) -> tuple[bytes, str] | None:
        """Read an object and its ETag, or return None when it still has the one that the caller knows.

        Args:
            key: The object.
            etag: The known ETag without quotes; empty: none is known, the object is read.
            max_bytes: How much is read at most.

        Raises:
            MissingObjectError: There is no such object.
            TooLargeObjectError: It has more than `max_bytes`; no more than that was read.
        """
        buffer = io.BytesIO()
        with self._speaking("read", key):
            try:
                new_etag = self._read(key, buffer, max_bytes=max_bytes, etag=etag)
            except (ServerError, InvalidResponseError) as error:
                if etag and _status(error) == 304:
                    return None
                raise
        return buffer.getvalue(), new_etag

    def get_file(self, key: str, path: Path) -> None:
        """Read an object into a file; `path` appears when it is complete, with its folders.

        Raises:
            MissingObjectError: There is no such object.
        """
        partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
        try:
            with self._speaking("read", key, path):
                path.parent.mkdir(parents=True, exist_ok=True)
                with partial.open("wb") as file:
                    self._read(key, file)
                partial.replace(path)
        finally:
            with suppress(OSError):  # what went wrong has been said above
                partial.unlink()

    def get_range(self, key: str, *, start: int, size_bytes: int) -> bytes:
        """Read `size_bytes` of an object from byte `start` on; fewer at its end, not one of an empty range.

        Raises:
            MissingObjectError: There is no such object.
        """
        if size_bytes <= 0:
            return b""
        with self._speaking("read", key):
            response = self._client.get_object(self.bucket, key, offset=start, length=size_bytes)
            try:
                return bytes(response.read())
            finally:
                response.close()
                response.release_conn()

    def exists(self, key: str) -> bool:
        """Tell whether there is such an object."""
        return self.size(key) is not None

    def size(self, key: str) -> int | None:
        """Return the object's size in bytes, or None when there is none."""
        found = self.find(key)
        return found.size_bytes if found else None

    def find(self, key: str) -> StoredObject | None:
        """Return an object's size and ETag without reading it, or None when there is none."""
        try:
            with self._speaking("look at", key):
                found = self._client.stat_object(self.bucket, key)
                return StoredObject(key=key, size_bytes=int(found.size or 0), etag=str(found.etag or "").strip('"'))
        except InputError:
            return None

    def remove(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        with self._speaking("remove", key):
            self._client.remove_object(self.bucket, key)

    # ---- many objects

    def list_objects(self, prefix: str) -> Iterator[StoredObject]:
        """Yield the objects whose keys start with `prefix`, sorted by key; a page of the listing is held at a time.

        Empty objects that stand for folders (their keys end with a slash) are left out.
        """
        with self._speaking("list", prefix):
            for item in self._client.list_objects(self.bucket, prefix=prefix, recursive=True):
                if not item.is_dir:
                    yield StoredObject(key=str(item.object_name), size_bytes=int(item.size or 0), etag=item.etag or "")

    def list_folders(self, prefix: str) -> Iterator[str]:
        """Yield what stands between `prefix` (empty, or ending with a slash) and the next slash, sorted.

        Objects right below `prefix` are passed over; they cost time, no memory.
        """
        with self._speaking("list", prefix):
            for item in self._client.list_objects(self.bucket, prefix=prefix, recursive=False):
                if item.is_dir and item.object_name != prefix:
                    yield str(item.object_name)[len(prefix) : -1]

    def list_keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys that start with `prefix`, sorted."""
        return (item.key for item in self.list_objects(prefix))

    def tree_digest(self, prefix: str) -> str:
        """Return the SHA-256 over names, sizes and ETags of all objects below `prefix`: equal means unchanged."""
        digest = hashlib.sha256()
        for item in self.list_objects(prefix):
            digest.update(f"{item.key.removeprefix(prefix)}\0{item.size_bytes} {item.etag}\n".encode())
        return digest.hexdigest()

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

    def _read(self, key: str, file: IO[bytes], *, max_bytes: int | None = None, etag: str = "") -> str:
        """Read an object into `file` and return its ETag; an answer that breaks off is asked for again."""
        headers = {"If-None-Match": f'"{etag}"'} if etag else None
        for left in reversed(range(_BODY_ATTEMPTS)):
            response = self._client.get_object(self.bucket, key, request_headers=headers)
            try:
                self._copy(response, file, key, max_bytes)
                return str(response.headers.get("ETag", "")).strip('"')
            except (ProtocolError, ReadTimeoutError):
                if not left:
                    raise
                file.seek(0)
                file.truncate()
            finally:
                response.close()
                response.release_conn()
        raise AssertionError("neither read nor raised")

    def _copy(self, response: Any, file: IO[bytes], key: str, max_bytes: int | None) -> None:
        declared = str(response.headers.get("Content-Length", ""))
        size_bytes = int(declared) if declared.isdigit() else None
        most = float("inf") if max_bytes is None else max_bytes
        rule = f"at most {max_bytes} bytes of {self.bucket}/{key} are read"
        if size_bytes is not None and size_bytes > most:
            raise TooLargeObjectError(f"{rule}, it has {size_bytes}", size_bytes)
        read = 0
        for chunk in response.stream(1 << 20):
            read += len(chunk)
            if read > most:
                raise TooLargeObjectError(f"{rule}, the server sends more", None)
            file.write(chunk)

    @contextmanager
    def _speaking(self, verb: str, key: str = "", path: Path | None = None) -> Iterator[None]:
        """Turn whatever the client raises into one line that names the endpoint, the deed and the way out."""
        shown = key if key.isprintable() else ascii(key)
        what = f"{verb} {self.bucket}/{shown}" if key else f"{verb} {self.bucket}"
        try:
            yield
        except S3Error as error:
            raise self._translate(error, what) from error
        except (MinioException, HTTPError, ParseError) as error:
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
            return MissingObjectError(
                f"the store must hold the object, asked to {what} it found none; run the step that makes it"
            )
        if code == "PreconditionFailed":
            return _PreconditionFailedError()
        if code in _KEYS_REFUSED:
            way_out = "correct SILHOUETTE_S3_ACCESS_KEY and SILHOUETTE_S3_SECRET_KEY"
        elif code == "NoSuchBucket":
            way_out = "run from the start (`make run`): its first step makes the bucket"
        else:
            way_out = "see the log of the server (is its disk full?), then run again"
        return StoreRefusedError(
            f"the store at {self.endpoint} refused to {what}: {code}, {error.message}; {way_out}", code
        )


def _cause(error: BaseException) -> str:
    reason = getattr(error, "reason", None) or error
    return str(reason) if isinstance(reason, ResponseError) else type(reason).__name__


def _status(error: MinioException) -> int | None:
    """Return the HTTP status of an answer without S3's XML."""
    return getattr(error, "_status_code", None) or getattr(error, "_code", None)


def in_parallel(function: Callable[[A], B], items: Iterable[A], *, workers: int) -> Generator[B, None, None]:
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


def as_they_end(function: Callable[[A], B], items: Iterable[A], *, workers: int) -> Generator[B, None, None]:
    """Yield ``function(item)`` as each ends, so that a slow one holds up nobody; else as `in_parallel`."""
    ended: SimpleQueue[Future[B]] = SimpleQueue()
    running = 0
    pool = ThreadPoolExecutor(max_workers=workers)
    try:
        for item in items:
            pool.submit(function, item).add_done_callback(ended.put)
            running += 1
            if running >= 2 * workers:
                yield ended.get().result()
                running -= 1
        for _ in range(running):
            yield ended.get().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def open_store(settings: StoreSettings | None = None, *, patience_s: float = PATIENCE_S) -> Store:
    """Open the store; nothing is asked of the server yet.

    Args:
        settings: Where it is; None: what the environment says.
        patience_s: How long a request that fails is tried again, in seconds; a long job gives it a minute.

    Raises:
        SettingError: The environment does not say where it is.
    """
    return Store(settings or store_settings(), patience_s=patience_s)
