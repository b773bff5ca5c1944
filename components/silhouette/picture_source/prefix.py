"""A prefix of an S3 bucket, ``s3://bucket/prefix``, laid out as `tree.py` says of a folder.

Reads any bucket of the store's server, with the store's keys; writes nothing but a temporary copy of a manifest. Keys
are text and never become local paths. A picture is known by its ETag and size, as the listing has them: nothing is
read to list it. Objects whose keys end with a slash stand for folders.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from silhouette.contracts.dataset import RefusedPicture
from silhouette.errors import InputError, PictureError, ServiceError
from silhouette.names import is_text
from silhouette.picture_source import tree
from silhouette.picture_source.fetcher import Fetched
from silhouette.picture_source.listing import SourcePicture
from silhouette.store import (
    MissingObjectError,
    Store,
    StoredObject,
    StoreRefusedError,
    TooLargeObjectError,
    in_parallel,
)

SCHEME = "s3://"
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")
_READERS = 8
_FOLDERS_ONLY = {".", ".."}  # parts that a client resolves before it asks, and so can never ask for
_FORBIDDEN = "the store's keys may not read the object"


class PrefixSource:
    """Pictures below a prefix.

    Args:
        address: SOURCE: ``s3://bucket/prefix``, or ``s3://bucket`` for all of it.
        store: Gives server, keys and patience; its bucket may be another one.

    Attributes:
        where: The address, for messages.
        kind: What it is, in words that say no address.
        origin: Whose names the pictures' ids are: the address, a picture is known by its path below it.
        by_content: That is not so of its content.

    Raises:
        InputError: The address is malformed.
    """

    kind = "an S3 prefix"
    by_content = False

    def __init__(self, address: str, store: Store) -> None:
        bucket, _, prefix = address.removeprefix(SCHEME).partition("/")
        prefix = prefix.removesuffix("/")
        sayable = is_text(prefix) and not _FOLDERS_ONLY.intersection(prefix.split("/"))
        if not address.startswith(SCHEME) or not _BUCKET.fullmatch(bucket) or not sayable:
            raise InputError(f"SOURCE must be a folder or s3://bucket/prefix, got {address!r}; correct it")
        self._store = store.of_bucket(bucket)
        self._root = f"{prefix}/" if prefix else ""
        self._prefix = prefix
        self._base = f"{SCHEME}{bucket}/"
        self.where = self.origin = f"{self._base}{prefix}".removesuffix("/")
        self._copies: TemporaryDirectory[str] | None = None
        self._copied: tuple[str, Path] | None = None

    def labels(self) -> list[str]:
        """Return the classes when nobody else names their order: sorted.

        Raises:
            InputError: The bucket does not exist, there are no sub-folders, or a manifest is malformed.
        """
        with self._asking():
            manifest = self._manifest()
            if manifest:
                return sorted({row.label for row in self._rows(*manifest) if row.label})
            return sorted({folder.label for folder in self._class_folders()} - {""})

    def find(self) -> Iterator[SourcePicture | RefusedPicture]:
        """Yield all pictures with their labels, and what cannot be asked for.

        Raises:
            InputError: The bucket does not exist, there are no sub-folders, or a manifest is malformed.
        """
        with self._asking():
            manifest = self._manifest()
            if manifest:
                yield from in_parallel(self._stamped, self._rows(*manifest), workers=_READERS)
            else:
                yield from self._walked()

    def fetch(self, picture: SourcePicture, *, max_bytes: int, etag: str = "") -> Fetched:
        """Read a picture.

        Args:
            picture: As `find` yielded it.
            max_bytes: How much is read at most.
            etag: What an earlier `Fetched` had; a picture that still has it is not read.

        Raises:
            PictureError: It is not there any more (``missing``), is denied to us (``forbidden``), is larger than
                `max_bytes` (``too_many_bytes``) or has a key that no client can ask for (``bad_name``).
            ServiceError: The store does not answer.
        """
        rule = f"at most {max_bytes} bytes are read, the object has"
        listed = picture.stamp.rpartition(" ")[2]
        if listed.isdigit() and int(listed) > max_bytes:
            raise PictureError("too_many_bytes", f"{rule} {listed}")
        try:
            found = self._store.get_changed(picture.locator.removeprefix(self._base), etag=etag, max_bytes=max_bytes)
        except MissingObjectError:
            raise PictureError("missing", "the object is gone since it was listed") from None
        except TooLargeObjectError as error:
            raise PictureError("too_many_bytes", f"{rule} {error.size_bytes or 'more'}") from None
        except InputError as error:
            raise PictureError("bad_name", str(error)) from None
        except StoreRefusedError as error:
            if error.code != "AccessDenied":
                raise
            raise PictureError("forbidden", _FORBIDDEN) from None
        return Fetched(data=None, etag=etag) if found is None else Fetched(data=found[0], etag=found[1])

    def close(self) -> None:
        """Remove the copy of a manifest."""
        if self._copies is not None:
            self._copies.cleanup()
        self._copies = self._copied = None

    # ---- inside

    def _manifest(self) -> tuple[str, Path] | None:
        """Return name and copy of the manifest: a listing may take hours, and no connection stays open so long."""
        if self._copied is None:
            for name in tree.MANIFESTS:
                # listed, not looked at: S3 says why it refuses a listing, but not why it refuses a HEAD
                first = next(self._store.list_objects(self._root + name), None)
                if first is not None and first.key == self._root + name:
                    self._copies = TemporaryDirectory(prefix="silhouette-manifest-")
                    copy = Path(self._copies.name) / name
                    self._store.get_file(self._root + name, copy)
                    self._copied = name, copy
                    break
        return self._copied

    def _class_folders(self) -> list[tree.ClassFolder]:
        folders = tree.class_folders(
            self._store.list_folders(self._root), lambda name: self._store.list_folders(f"{self._root}{name}/")
        )
        if not folders:
            raise self._nothing()
        return folders

    def _walked(self) -> Iterator[SourcePicture | RefusedPicture]:
        for folder in self._class_folders():
            for item in self._store.list_objects(f"{self._root}{folder.path}/"):
                name = item.key.removeprefix(self._root)
                parts = name.removeprefix(f"{folder.path}/").split("/")
                if _FOLDERS_ONLY.intersection(parts):
                    detail = "no client can ask for a key with '.' or '..' between slashes; rename the object"
                    yield RefusedPicture(picture_id=name, reason="bad_name", detail=detail)
                elif not any(map(tree.is_hidden, parts)):
                    yield SourcePicture(
                        picture_id=name,
                        label=folder.label,
                        split=folder.split,
                        stamp=_stamp(item),
                        locator=self._base + item.key,
                    )

    def _nothing(self) -> InputError:
        if next(self._store.list_objects(self._root), None) is not None:
            return tree.no_folders(self.where)
        has = "is an object" if self._prefix and self._store.exists(self._prefix) else "has none"
        return InputError(f"SOURCE must be a prefix with objects below it, {self.where} {has}; correct it")

    def _rows(self, name: str, copy: Path) -> Iterator[tree.ManifestRow]:
        with copy.open("rb") as file:
            yield from tree.read_manifest(
                file, manifest=f"{self._base}{self._root}{name}", where=self.where, is_below=_is_below
            )

    def _stamped(self, row: tree.ManifestRow) -> SourcePicture | RefusedPicture:
        key = self._root + "/".join(part for part in row.file.split("/") if part != ".")
        try:
            item = self._store.find(key)
        except StoreRefusedError as error:
            if error.code != "AccessDenied":
                raise
            return RefusedPicture(picture_id=row.picture_id, reason="forbidden", detail=_FORBIDDEN)
        if item is None:
            detail = f"{self._base}{key} is no object that can be read"
            return RefusedPicture(picture_id=row.picture_id, reason="missing", detail=detail)
        return SourcePicture(
            picture_id=row.picture_id,
            label=row.label,
            pixset_id=row.pixset_id,
            split=row.split,
            stamp=_stamp(item),
            locator=self._base + key,
        )

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Say of SOURCE what the store says of a bucket."""
        try:
            yield
        except StoreRefusedError as error:
            if error.code == "NoSuchBucket":
                raise InputError(
                    f"SOURCE must be in a bucket that exists, the store at {self._store.endpoint} has no bucket"
                    f" {self._store.bucket!r}; correct SOURCE, or make the bucket and put the pictures in"
                ) from error
            if error.code == "AccessDenied":
                raise ServiceError(
                    f"SOURCE must be open to the store's keys, the store at {self._store.endpoint} denies {self.where};"
                    " let the owner of SILHOUETTE_S3_ACCESS_KEY list and read it"
                ) from error
            raise


def _stamp(item: StoredObject) -> str:
    return f"{item.etag} {item.size_bytes}"


def _is_below(file: str) -> bool:
    return not file.startswith("/") and ".." not in file.split("/")
