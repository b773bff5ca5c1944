"""A model is a file, an object or an address; what it is not is said in one line."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from silhouette.errors import InputError
from silhouette.input_file import pin_file
from silhouette.model_source import resolve_model
from silhouette.store import Store

BYTES = b"weights"
SHA256 = hashlib.sha256(BYTES).hexdigest()


def test_a_file_is_itself(tmp_path: Path, store: Store) -> None:
    path = tmp_path / "m.pt"
    path.write_bytes(BYTES)
    assert resolve_model(str(path), folder=tmp_path / "unused", store=store) == path


@pytest.mark.parametrize("prefix", ["", "s3://{bucket}/"])
def test_an_object_is_fetched_by_key_or_address(prefix: str, tmp_path: Path, store: Store) -> None:
    key = f"inputs/{SHA256}/people seg.pt"
    store.put_bytes(key, BYTES)
    path = resolve_model(prefix.format(bucket=store.bucket) + key, folder=tmp_path / "new", store=store)
    assert path == tmp_path / "new" / "people seg.pt"
    assert path.read_bytes() == BYTES


def test_bytes_that_are_not_those_of_the_name_are_refused(tmp_path: Path, store: Store) -> None:
    key = f"inputs/{'0' * 64}/m.pt"
    store.put_bytes(key, BYTES)
    with pytest.raises(InputError, match=f"must have the SHA-256 that its name carries, it has {SHA256}"):
        resolve_model(key, folder=tmp_path, store=store)


def test_another_bucket_of_the_same_server_is_reached(
    tmp_path: Path, store: Store, fresh_store: Store, environ: dict[str, str]
) -> None:
    fresh_store.put_bytes("m.pt", BYTES)
    path = resolve_model(f"s3://{fresh_store.bucket}/m.pt", folder=tmp_path, store=store)
    assert path.read_bytes() == BYTES


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "must be named"),
        ("wandb:team/model", "must be wandb:ENTITY/PROJECT/ARTIFACT:ALIAS, with /path of one file"),
        ("s3://bucket-only", "must be s3://bucket/key"),
        ("no/such/model.pt", "neither a file nor an object 'no/such/model.pt'"),
        ("/no/such/model.pt", "a local path means nothing on a cluster"),
        ("../model.pt", "neither a file nor an object"),
        (".", "neither a file nor an object"),
    ],
)
def test_what_is_no_model_is_refused(source: str, message: str, tmp_path: Path, store: Store) -> None:
    with pytest.raises(InputError, match=message):
        resolve_model(source, folder=tmp_path, store=store)


def test_a_pinned_file_keeps_its_bytes_whatever_becomes_of_the_path(tmp_path: Path, store: Store) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(BYTES)
    key = pin_file(str(path), what="the weights", store=store)
    assert key == f"inputs/{SHA256}/w.pt"
    path.write_bytes(b"others")
    assert store.get_bytes(key) == BYTES
    assert pin_file(key, what="the weights", store=store) == key
    assert pin_file(str(path), what="the weights", store=store) != key
    with pytest.raises(InputError, match="the weights must exist"):
        pin_file("no/such.pt", what="the weights", store=store)
