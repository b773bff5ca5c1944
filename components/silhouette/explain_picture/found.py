"""What the store knows of one picture: why it did not come in, splits, predictions, the ret_meta document."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection
from dataclasses import dataclass

from silhouette.contracts import crops, predictions, ret_meta
from silhouette.contracts import training as training_contract
from silhouette.contracts.dataset import SPLITS
from silhouette.errors import InputError
from silhouette.explain_picture.lookup import arrow_rows, parquet_rows
from silhouette.names import safe_key
from silhouette.store import DEFAULT_WORKERS, MissingObjectError, Store, TooLargeObjectError, in_parallel

MOST_EXPERIMENTS = 200  # that are looked at
_MOST_BYTES = 64 << 20  # of a table or a head that is read as a whole
_CROP_COLUMNS = ("picture_id", "person_index", "label", "split")


@dataclass(frozen=True, kw_only=True)
class Quarantined:
    """Why a group does not have it."""

    group: str
    reason: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What an experiment did with it: in a split with so many people, or skipped for a reason."""

    group: str
    experiment: str
    split: str
    people: int
    skipped: str


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """What a model's version said of a person, or that nobody was found (`person_index` -1)."""

    source: str
    model: str
    version: str
    person_index: int
    is_main: bool
    label: str
    predicted: str
    probability: float


@dataclass(frozen=True, kw_only=True)
class Document:
    """The ret_meta document as it is in the store; predictions are those of the main person, by group."""

    content_digest: str
    made_at: str
    people: int
    predictions: dict[str, str]


class Found:
    """What the store has.

    Args:
        store: The store.
        picture_id: Raw.

    Raises:
        ServiceError: The store failed.
    """

    def __init__(self, store: Store, picture_id: str) -> None:
        self._store, self._id = store, picture_id
        self.not_looked_at: list[str] = []
        """What was too large, or too much, and why."""

    def quarantined(self, groups: Collection[str]) -> list[Quarantined]:
        """Return why groups do not have it, by their tables of what did not come in."""

        def look(group: str) -> list[Quarantined]:
            data = self._small(f"quarantine/{safe_key(group)}.csv")
            if self._id.splitlines()[:1] and self._id.splitlines()[0].replace('"', '""').encode() not in data:
                return []
            rows = csv.DictReader(io.StringIO(data.decode(), newline=""))
            return [
                Quarantined(group=group, reason=row["reason"], detail=row["detail"])
                for row in rows if row["picture_id"] == self._id
            ]  # fmt: skip

        return [item for found in in_parallel(look, sorted(groups), workers=DEFAULT_WORKERS) for item in found]

    def trained(self, groups: Collection[str]) -> list[Trained]:
        """Return in which split of which finished experiment it was."""
        found: list[Trained] = []
        of_crops: dict[str, tuple[str, int, str]] = {}
        for group in sorted(groups):
            for number, key in enumerate(self._store.list_folders(f"models/{safe_key(group)}/")):
                if number >= MOST_EXPERIMENTS:
                    self.not_looked_at.append(f"more than {MOST_EXPERIMENTS} experiments of {group!r}")
                    break
                try:
                    record = json.loads(
                        self._small(f"models/{safe_key(group)}/{key}/{training_contract.FILE_NAME}") or b"{}"
                    )
                except ValueError:
                    continue
                digest = str(record.get("crops_digest", ""))
                if not digest:
                    continue
                if digest not in of_crops:
                    of_crops[digest] = self._split(digest)
                split, people, skipped = of_crops[digest]
                if split or skipped:
                    found.append(
                        Trained(
                            group=group, experiment=str(record["experiment"]), split=split, people=people,
                            skipped=skipped,
                        )
                    )  # fmt: skip
        return found

    def predicted(self) -> list[Predicted]:
        """Return what every run of `classify_pictures` whose results are kept says of it."""

        def look(source: str) -> list[Predicted]:
            item = self._store.find(f"inference/{source}/{predictions.PARQUET_NAME}")
            if item is None:
                return []
            names = ("model", "version", "person_index", "is_main", "label", "predicted", "probability")
            rows = parquet_rows(self._store, item, picture_id=self._id)
            return [Predicted(source=source, **{name: row[name] for name in names}) for row in rows]

        sources = [name for name in self._store.list_folders("inference/") if not name.startswith(".")]
        return [item for found in in_parallel(look, sources, workers=DEFAULT_WORKERS) for item in found]

    def document(self) -> Document | None:
        """Return what is in the store to be sent back."""
        key = ret_meta.store_key(self._id)
        data = self._small(key)
        if not data:
            return None
        try:
            document = ret_meta.read(data, where=f"{self._store.bucket}/{key}")
        except InputError as error:
            self.not_looked_at.append(str(error))
            return None
        said = [
            (group, prediction)
            for person in document.people if person.main for group, prediction in person.predictions.items()
        ]  # fmt: skip
        return Document(
            content_digest=document.content_digest,
            made_at=document.made.at,
            people=len(document.people),
            predictions={group: f"{one.label or 'abstains'} {one.probability:.3f}" for group, one in said},
        )

    def _split(self, digest: str) -> tuple[str, int, str]:
        """Return split, people and why it was skipped, in the crops of this digest."""
        prefix = crops.store_prefix(digest)
        data = self._small(f"{prefix}/{crops.JSON_NAME}")
        if not data:
            return "", 0, ""
        for reason, ids in json.loads(data)["skipped"].items():
            if self._id in ids:
                return "", 0, str(reason)
        for split in SPLITS:
            rows = arrow_rows(
                self._store, list(self._store.list_objects(f"{prefix}/crops-{split}-")), picture_id=self._id,
                columns=_CROP_COLUMNS,
            )  # fmt: skip
            if rows:
                return split, len(rows), ""
        return "", 0, ""

    def _small(self, key: str) -> bytes:
        """Read an object as a whole; one that is missing is empty, and so is one that is too large, which is told."""
        try:
            return self._store.get_bytes(key, max_bytes=_MOST_BYTES)
        except MissingObjectError:
            return b""
        except TooLargeObjectError as error:
            self.not_looked_at.append(str(error))
            return b""
