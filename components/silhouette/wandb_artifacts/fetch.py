"""Fetch one file of an artifact, as an address names it, or all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from silhouette.errors import InputError
from silhouette.file_digest import md5_of, sha256_of
from silhouette.wandb_artifacts.artifact import FORM, Artifact, Entry

_SHOWN = 10  # names of files in a message


@dataclass(frozen=True, kw_only=True)
class FetchedArtifact:
    """An artifact that is in a folder.

    Attributes:
        artifact: ``ENTITY/PROJECT/ARTIFACT:v3``, the version and not the alias.
        digest: Of the artifact, as W&B has it.
        folder: Where its files are.
        files: The SHA-256 of each.
    """

    artifact: str
    digest: str
    folder: str
    files: Mapping[str, str]


def fetch_file(address: str, *, what: str, folder: Path) -> Path:
    """Fetch the one file that an address names.

    Args:
        address: `FORM`.
        what: What it is, for messages.
        folder: Where the file goes, under its own name.

    Raises:
        InputError: There is no such file, or the address does not say which of several.
        SettingError: As in `Artifact`.
        ServiceError: As in `Artifact.fetch`.
    """
    artifact = Artifact(address)
    names = sorted(artifact.entries)
    path = artifact.path or (names[0] if len(names) == 1 else "")
    if path not in artifact.entries:
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        raise InputError(
            f"{what} must be one file of {artifact.name}, got {artifact.path or 'none'}; it has"
            f" {', '.join(names[:_SHOWN]) or 'no files'}{more}: say which, as {FORM}"
        )
    to = folder / PurePosixPath(path).name
    artifact.fetch(path, to)
    return to


def fetch_artifact(name: str, *, to: Path | None) -> FetchedArtifact:
    """Fetch all files of an artifact, or the one that its name ends with, into a folder.

    What is there already is not fetched again.

    Args:
        name: As `Artifact` reads it.
        to: The folder; None: one with the artifact's name, here.

    Raises:
        InputError: There is no such artifact or file, one of its names leads out of the folder, or a file of other
            content is there already.
        SettingError: As in `Artifact`.
        ServiceError: As in `Artifact.fetch`.
    """
    artifact = Artifact(name)
    to = Path(artifact.collection) if to is None else to
    wanted = [artifact.path] if artifact.path else sorted(artifact.entries)
    if missing := set(wanted) - artifact.entries.keys():
        raise InputError(f"{artifact.name} must have {missing.pop()!r}, it has {', '.join(sorted(artifact.entries))}")
    digests = {}
    for path in wanted:
        parts = PurePosixPath(path)
        if parts.is_absolute() or ".." in parts.parts or not parts.name:
            raise InputError(
                f"a file of {artifact.name} must stay inside its folder, {path!r} would not; leave it there"
            )
        local = to / parts
        if not _is_there(local, artifact.entries[path]):
            artifact.fetch(path, local)
        digests[path] = sha256_of(local)
    return FetchedArtifact(artifact=artifact.name, digest=artifact.digest, folder=str(to), files=digests)


def _is_there(path: Path, entry: Entry) -> bool:
    if not path.exists():
        return False
    if path.is_file() and md5_of(path) == entry.md5:
        return True
    raise InputError(
        f"{path} must not be there, or be the artifact's own, it is another; move it away or say --to FOLDER"
    )
