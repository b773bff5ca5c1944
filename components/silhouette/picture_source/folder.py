"""A folder of pictures of the user's own, laid out as `tree.py` says.

Reads the local disk. Links are followed, never in a circle. A picture is known by the SHA-256 of its content: a
changed byte under the same path is noticed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from silhouette.contracts.dataset import RefusedPicture
from silhouette.errors import InputError, PictureError
from silhouette.file_digest import sha256_of
from silhouette.picture_source import tree
from silhouette.picture_source.fetcher import Fetched
from silhouette.picture_source.listing import SourcePicture
from silhouette.store import in_parallel

_READERS = 4


class FolderSource:
    """Pictures below a folder.

    Args:
        root: SOURCE.

    Attributes:
        where: The folder, for messages.
        kind: What it is, in words that say no path.
        origin: Whose names the pictures' ids are: nobody's, a picture is known by its content.
        by_content: That is so, `SourcePicture.sha256` is always there.

    Raises:
        InputError: It is not a folder.
    """

    kind = "a folder"
    origin = "content"
    by_content = True

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            state = "a file" if root.exists() else "missing"
            raise InputError(f"SOURCE must be a folder, {root} is {state}; {tree.WAY_OUT}")
        self.root = root
        self.where = str(root)
        self._resolved = root.resolve()

    def labels(self) -> list[str]:
        """Return the classes when nobody else names their order: sorted.

        Raises:
            InputError: There are no sub-folders, or a manifest is malformed.
        """
        manifest = self._manifest()
        if manifest:
            return sorted({row.label for row in self._rows(manifest) if row.label})
        return sorted({folder.label for folder in self._class_folders()})

    def find(self) -> Iterator[SourcePicture | RefusedPicture]:
        """Yield all pictures with their labels, in no particular order, and what cannot even be named or read.

        Raises:
            InputError: There are no sub-folders, or a manifest is malformed.
        """
        manifest = self._manifest()
        yield from in_parallel(_stamped, self._listed(manifest) if manifest else self._walked(), workers=_READERS)

    def fetch(self, picture: SourcePicture, *, max_bytes: int, etag: str = "") -> Fetched:  # noqa: ARG002  all have it
        """Read a picture; a folder knows no ETags, so that `etag` says nothing to it.

        Raises:
            PictureError: It is larger than `max_bytes` (``too_many_bytes``) or cannot be read (``unreadable``).
        """
        path = Path(picture.locator)
        try:
            if (size := path.stat().st_size) > max_bytes:
                raise PictureError("too_many_bytes", f"at most {max_bytes} bytes are read, the file has {size}")
            with path.open("rb") as file:
                data = file.read(max_bytes + 1)
        except OSError as error:
            raise PictureError("unreadable", error.strerror or str(error)) from None
        if len(data) > max_bytes:
            raise PictureError("too_many_bytes", f"at most {max_bytes} bytes are read, the file has more")
        return Fetched(data=data)

    def close(self) -> None:
        """Nothing is held open."""

    # ---- inside

    def _manifest(self) -> Path | None:
        return next((self.root / name for name in tree.MANIFESTS if (self.root / name).is_file()), None)

    def _class_folders(self) -> list[tree.ClassFolder]:
        folders = tree.class_folders(_folders(self.root), lambda name: _folders(self.root / name))
        if not folders:
            raise tree.no_folders(self.where)
        return folders

    def _walked(self) -> Iterator[SourcePicture]:
        for folder in self._class_folders():
            for path in _files(self.root / folder.path):
                name = path.relative_to(self.root).as_posix()
                yield SourcePicture(
                    picture_id=name, label=folder.label, split=folder.split, stamp="", locator=str(path)
                )

    def _rows(self, manifest: Path) -> Iterator[tree.ManifestRow]:
        try:
            with manifest.open("rb") as file:
                yield from tree.read_manifest(file, manifest=str(manifest), where=self.where, is_below=self._is_below)
        except OSError as error:
            raise _unreadable(manifest, error) from None

    def _listed(self, manifest: Path) -> Iterator[SourcePicture]:
        for row in self._rows(manifest):
            yield SourcePicture(
                picture_id=row.picture_id,
                label=row.label,
                pixset_id=row.pixset_id,
                split=row.split,
                stamp="",
                locator=str(self.root / row.file),
            )

    def _is_below(self, file: str) -> bool:
        try:
            return (self.root / file).resolve().is_relative_to(self._resolved)
        except (ValueError, OSError, RuntimeError):  # a NUL, a name too long, links in a circle
            return False


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yield what is in a folder and not hidden, as the disk has it: sorting would hold all of it in memory."""
    try:
        with os.scandir(folder) as entries:
            yield from (entry for entry in entries if not tree.is_hidden(entry.name))
    except OSError as error:
        raise _unreadable(folder, error) from None


def _folders(folder: Path) -> list[str]:
    return [entry.name for entry in _entries(folder) if _is_folder(entry)]


def _files(folder: Path) -> Iterator[Path]:
    """Yield what is below, following links but never in a circle."""
    waiting: list[tuple[Path, frozenset[Path]]] = [(folder, frozenset())]
    while waiting:
        folder, above = waiting.pop()
        here = folder.resolve()
        if here in above:
            continue
        above |= {here}
        for entry in _entries(folder):
            if _is_folder(entry):
                waiting.append((folder / entry.name, above))
            else:
                yield folder / entry.name


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(f"all of SOURCE must be readable, {path} is not ({error.strerror or error}); correct its rights")


def _stamped(picture: SourcePicture) -> SourcePicture | RefusedPicture:
    """Hash the content: a changed byte under the same path must be noticed."""
    try:
        picture.picture_id.encode()
    except UnicodeEncodeError:
        name = picture.picture_id.encode("utf-8", "backslashreplace").decode()
        return RefusedPicture(picture_id=name, reason="bad_name", detail="the file's name is not UTF-8; rename it")
    path = Path(picture.locator)
    if not path.is_file():  # a dangling link, a pipe, a device, a manifest's missing file
        reason = "not_a_file" if os.path.lexists(path) and path.exists() else "missing"
        return RefusedPicture(
            picture_id=picture.picture_id, reason=reason, detail=f"{path} is no file that can be read"
        )
    try:
        digest = sha256_of(path)
    except OSError as error:
        return RefusedPicture(
            picture_id=picture.picture_id, reason="unreadable", detail=error.strerror or type(error).__name__
        )
    return replace(picture, stamp=digest, sha256=digest)
