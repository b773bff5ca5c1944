"""A snapshot keeps its rows, and its digest says exactly what is in it."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from silhouette.contracts import snapshot
from silhouette.contracts.snapshot import SnapshotHead, SnapshotRow
from silhouette.errors import InputError

HEAD = SnapshotHead(
    model_digest="m", installations=("store", "database"), badlisted=("bad 1", "ю/2"), rejected=("f" * 64,)
)


def row(name: str, person_index: int = 0) -> SnapshotRow:
    return SnapshotRow(
        sha256=name * 64,
        width=640,
        height=480,
        person_index=person_index,
        box_xyxy=(1.5, 2.0, 30.25, 40.0),
        score=0.5,
        status="unchecked",
        contours=b"\x01abc",
    )


NOBODY = replace(row("c"), person_index=snapshot.NOBODY, box_xyxy=(0.0, 0.0, 0.0, 0.0), score=0.0, contours=b"")
ROWS = [row("a"), row("a", 1), row("b"), NOBODY]


def test_rows_and_head_come_back(tmp_path: Path) -> None:
    path = tmp_path / "s.arrow"
    digest = snapshot.write(path, reversed(ROWS), head=HEAD)
    assert snapshot.read(path) == ROWS
    assert snapshot.read_head(path) == HEAD
    assert snapshot.digest_of(HEAD, snapshot.read(path)) == digest


def test_digest_does_not_depend_on_the_order_of_rows(tmp_path: Path) -> None:
    digest = snapshot.write(tmp_path / "a.arrow", ROWS, head=HEAD)
    shuffled = random.Random(1).sample(ROWS, len(ROWS))
    assert snapshot.write(tmp_path / "b.arrow", shuffled, head=HEAD) == digest
    assert (tmp_path / "a.arrow").read_bytes() == (tmp_path / "b.arrow").read_bytes()


def test_digest_changes_with_everything_that_matters() -> None:
    changed = [
        replace(ROWS[0], status="approved"),
        replace(ROWS[0], contours=b"\x01abd"),
        replace(ROWS[0], box_xyxy=(1.5, 2.0, 30.25, 41.0)),
        replace(ROWS[0], person_index=2),
        replace(ROWS[0], score=0.25),
        replace(ROWS[0], width=641),
    ]
    digests = {snapshot.digest_of(HEAD, [other, *ROWS[1:]]) for other in changed}
    digests |= {snapshot.digest_of(HEAD, ROWS), snapshot.digest_of(HEAD, ROWS[1:])}
    for field, value in (
        ("badlisted", ("bad 1",)),
        ("installations", ("x", "y")),
        ("model_digest", "n"),
        ("rejected", ()),
    ):
        digests.add(snapshot.digest_of(HEAD.model_copy(update={field: value}), ROWS))
    assert len(digests) == len(changed) + 2 + 4


def test_a_snapshot_without_rows_is_one(tmp_path: Path) -> None:
    snapshot.write(tmp_path / "s.arrow", [], head=HEAD)
    assert snapshot.read(tmp_path / "s.arrow") == []


def test_a_file_that_is_no_snapshot_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.arrow"
    with pytest.raises(InputError, match="must be a snapshot of contours"):
        snapshot.read(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match="must be a snapshot of contours"):
        snapshot.read(path)
