"""Deploy a group's picture model, a picture's bytes in and a label out, together with its classifier.

Reads a segmenter's file in the store; writes ``triton/<group key>_picture/`` and ``triton/segmenter--<digest>/`` there,
and changes what Triton serves. In this order, so that a kill at any point leaves what answered before:

    1. the segmenter, under a name that its bytes give it     it changes nothing that is served
    2. code and settings under a passing name in Triton's memory answer as the same code here   else nothing changes
    3. a new version folder, its card last; then config.pbtxt
    4. load beside the old version, then alone, and the proof once more   else the old version is put back
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from silhouette import __version__, served_segmenter
from silhouette.config import ServingConfig
from silhouette.contracts import model_bundle
from silhouette.contracts.deployment import repository_key
from silhouette.contracts.model_bundle import JSON_NAME, ONNX_NAME, ModelCard
from silhouette.contracts.segmenter import SegmenterCard
from silhouette.deploy_model import model_config, picture_config
from silhouette.deploy_model.golden import Golden
from silhouette.deploy_model.loading import is_loaded, load, put_back
from silhouette.deploy_model.picture_files import CODE_NAME, ENTRY, MODEL_NAME, pack_code
from silhouette.deploy_model.picture_proof import Proof, check_proof, make_proof
from silhouette.deploy_model.repository import ModelRepository
from silhouette.detector_onnx import OnnxDetector
from silhouette.errors import InputError, ParityError, ServiceError
from silhouette.imaging import DEFAULT_MAX_MEGAPIXELS
from silhouette.names import safe_key
from silhouette.picture_answer import SETTINGS_NAME, SUFFIX, Part, PictureSettings
from silhouette.store import Store
from silhouette.triton_client import Triton

_LOG = logging.getLogger(__name__)
_OVERLAP_S = 1.0  # a request that meant the version before is under way by then
_MAX_MEGABYTES = 60.0  # as at the door of download_pictures


@dataclass(frozen=True, kw_only=True)
class ServedPicture:
    """A picture model that is served: Triton's names of it and of its segmenter, and its version."""

    model: str
    version: int
    segmenter: str


def require_free_name(group: str, store: Store) -> None:
    """Refuse a group whose key is the name of another group's picture model, or the other way round.

    Raises:
        InputError: It is.
    """
    for name, picture in ((safe_key(group), False), (f"{safe_key(group)}{SUFFIX}", True)):
        config = ModelRepository(store, name).config()
        if config is not None and picture_config.is_picture_model(config) != picture:
            raise InputError(
                f"a group's key with {SUFFIX} must not be another group's key, {name} is served as"
                f" {'a classifier' if picture else 'a picture model'}; rename the group {group!r} or that one"
            )


def serve_picture(
    *, card: ModelCard, version: int, onnx: Path, golden: Golden, segmenter: str, store: Store, triton: Triton,
    serving: ServingConfig,
) -> ServedPicture | None:  # fmt: skip
    """Make Triton answer pictures with a classifier that it serves already, and prove it.

    Args:
        card: Of the classifier.
        version: Of it in Triton.
        onnx: Its file.
        golden: Its golden crops; the proof's pictures are made of them.
        segmenter: Digest of the segmenter; empty: there is no picture model.
        store: Holds the model repository, and the segmenter.
        triton: The server.
        serving: On what kind of device the segmenter works, and how many crops the classifier takes.

    Returns:
        What is served; None without a segmenter, or with one that was never exported.

    Raises:
        InputError: The segmenter's file is gone or damaged.
        ParityError: Triton answers otherwise than the same code does here; what was served before is.
        ServiceError: The store or Triton failed; what was served before is.
    """
    known = served_segmenter.find(segmenter, store=store) if segmenter else None
    if known is None:
        if segmenter:
            _LOG.warning(
                "no picture model is served: the store has no export of the segmenter %s; run segment_people with"
                " segmentation.runtime auto or onnxruntime, then deploy again", segmenter[:12],
            )  # fmt: skip
        return None
    with tempfile.TemporaryDirectory(prefix="silhouette-segmenter-") as folder:
        path = Path(folder) / ONNX_NAME
        served_segmenter.fetch(known, path, store=store)
        detector = served_segmenter.open_segmenter(known, path, cores=1)
        settings = settings_of(card, version, known, detector, serving)
        proof = make_proof(golden, settings, detector=detector, onnx=onnx)
        is_new = _serve_segmenter(path, settings, store, triton, serving)
    repository = ModelRepository(store, f"{safe_key(card.group)}{SUFFIX}")
    try:
        served = _serve(repository, settings, proof, store, triton)
    except (ServiceError, InputError, ParityError):
        if is_new:
            _remove_segmenter(settings.segmenter.model, store, triton)
        raise
    _LOG.info("%s version %d answers pictures; %d people on its proof", repository.model, served, proof.people)
    return ServedPicture(model=repository.model, version=served, segmenter=settings.segmenter.model)


def settings_of(
    card: ModelCard, version: int, segmenter: SegmenterCard, detector: OnnxDetector, serving: ServingConfig
) -> PictureSettings:
    """Put together all that a picture model is made of."""
    sha256 = segmenter.onnx_sha256
    return PictureSettings(
        group=card.group, classes=tuple(card.classes),
        crop_size=card.crop_size, crop_margin=card.crop_margin, background=card.background,
        classifier=Part(model=safe_key(card.group), version=str(version), onnx_sha256=card.onnx_sha256),
        classifier_input=model_bundle.INPUT_NAME, classifier_output=model_bundle.OUTPUT_NAME,
        most_crops=serving.max_batch_size,
        # no group's key ends in two hyphens and a digest of anything but its own name
        segmenter=Part(model=f"segmenter--{sha256[:16]}", version="1", onnx_sha256=sha256),
        segmenter_digest=segmenter.model_digest, segmenter_metadata=detector.metadata(),
        segmenter_inputs=detector.inputs(), segmenter_outputs=detector.outputs(),
        person_class=segmenter.person_class, image_size=segmenter.image_size, min_score=segmenter.min_score,
        max_megapixels=DEFAULT_MAX_MEGAPIXELS, max_megabytes=_MAX_MEGABYTES, code_version=__version__,
    )  # fmt: skip


def _serve_segmenter(
    onnx: Path, settings: PictureSettings, store: Store, triton: Triton, serving: ServingConfig
) -> bool:
    """Make Triton serve the segmenter; return whether it did not before."""
    part = settings.segmenter
    repository = ModelRepository(store, part.model)
    wanted = picture_config.build_segmenter(
        part.model, sha256=part.onnx_sha256, inputs=settings.segmenter_inputs, outputs=settings.segmenter_outputs,
        serving=serving,
    )  # fmt: skip
    key, old = repository_key(part.model, part.version, ONNX_NAME), repository.config()
    if old == wanted and store.exists(key) and is_loaded(triton, wanted):
        return False
    store.put_file(key, onnx)
    if hashlib.sha256(store.get_bytes(key)).hexdigest() != part.onnx_sha256:
        raise ServiceError(f"the store must give back what it was given, {key} differs; look after the store's disk")
    try:
        load(repository, triton, wanted)
    except ServiceError:
        if old is None:
            _remove_segmenter(part.model, store, triton)
        raise
    return old is None


def _remove_segmenter(model: str, store: Store, triton: Triton) -> None:
    ModelRepository(store, model).remove_config()
    with suppress(ServiceError):  # it may have nothing to unload
        triton.unload(model)
    for key in list(store.list_keys(repository_key(model, ""))):
        store.remove(key)


def _serve(repository: ModelRepository, settings: PictureSettings, proof: Proof, store: Store, triton: Triton) -> int:
    """Make Triton serve code and settings; return the version."""
    files = {MODEL_NAME: ENTRY, CODE_NAME: pack_code(), SETTINGS_NAME: settings.to_json()}
    digest = _digest_of(files)
    current = repository.config()
    named = model_config.versions_of(current) if current else []
    version = named[-1] if named and _holds(store, repository.model, named[-1], files) else 0
    is_new = not version
    if is_new:
        _try_out(repository.model, files, digest, proof, triton)
        served = [int(number) for number in triton.versions(repository.model)]
        version = _add_version(store, repository, files, above=max([0, *named, *served]))
    wanted = picture_config.build_picture(repository.model, versions=[version], digest=digest)
    if current == wanted and is_loaded(triton, wanted):
        try:
            check_proof(triton, repository.model, proof, version=version)
        except (ServiceError, ParityError):
            triton.unload(repository.model, wait=False)  # it lost a process: only this and a load heal that
        else:
            return version
    try:
        if is_new and str(before := max(named, default=0)) in triton.versions(repository.model):
            both = picture_config.build_picture(repository.model, versions=[before, version], digest=digest)
            load(repository, triton, both)
            time.sleep(_OVERLAP_S)
        load(repository, triton, wanted)
        check_proof(triton, repository.model, proof, version=version)
    except (ServiceError, InputError, ParityError) as error:
        if not is_new:
            raise
        outcome = put_back(repository, triton, current, version, wait=lambda _: None)
        raise type(error)(f"{error}; {outcome}") from error
    return version


def _try_out(model: str, files: Mapping[str, bytes], digest: str, proof: Proof, triton: Triton) -> None:
    """Load code and settings from memory under a passing name and hold it against the proof."""
    name = f"{model}--candidate"  # no group's key ends so
    config = picture_config.build_picture(name, versions=[1], digest=digest)
    content = {f"1/{file}": data for file, data in files.items()}
    try:
        triton.load(name, config_json=model_config.to_json(config), files=content)
        try:
            check_proof(triton, name, proof, version=1)
        finally:
            triton.unload(name)
    except (ServiceError, InputError, ParityError) as error:
        raise type(error)(f"{error}; the picture model was not changed") from error


def _digest_of(files: Mapping[str, bytes]) -> str:
    return hashlib.sha256(b"".join(hashlib.sha256(files[name]).digest() for name in sorted(files))).hexdigest()


def _holds(store: Store, model: str, version: int, files: Mapping[str, bytes]) -> bool:
    """Tell whether a version is complete and has these very files."""
    try:
        card = store.get_bytes(repository_key(model, str(version), JSON_NAME))
        same = all(store.get_bytes(repository_key(model, str(version), name)) == files[name] for name in files)
    except InputError:  # something of it is not there
        return False
    return same and card == _card(files)


def _card(files: Mapping[str, bytes]) -> bytes:
    return json.dumps({"digest": _digest_of(files)}).encode()


def _add_version(store: Store, repository: ModelRepository, files: Mapping[str, bytes], *, above: int) -> int:
    """Write a new version and return its number, or that of the same version that a killed run had completed."""
    there = repository.versions()
    for version in there:
        if version > above and _holds(store, repository.model, version, files):
            return version

    def key(name: str) -> str:
        return repository_key(repository.model, str(version), name)

    version = max([above, *there]) + 1
    while not store.put_if_absent(key(MODEL_NAME), files[MODEL_NAME]):
        version += 1  # another run took this number in this moment
    for name, data in files.items():
        store.put_bytes(key(name), data)
    store.put_bytes(key(JSON_NAME), _card(files))
    if not _holds(store, repository.model, version, files):
        raise ServiceError(
            f"the store must give back what it was given, {key('')} differs; look after the store's disk,"
            " then deploy again"
        )
    return version
