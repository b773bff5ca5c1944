"""Deploy a judged model: upload under a new version, load, prove it over HTTP, or put the old one back.

Reads a model bundle and its evaluation. Writes the model repository in the store and `out`; changes what Triton
serves. The order (DESIGN.md, "nothing is lost, nothing is done twice"):

    1. the gate passed, and the evaluation is of this very file              else nothing happens
    2. the store's latest version is this file, and Triton answers as golden  done: already served
    3. the file under a passing name in Triton's memory answers as golden, and beside the served version it is about
       as fast and says about the same (`replay`)                             else nothing happens
    4. a new version folder, read back and compared; then config.pbtxt        the old version serves till here
    5. load, and the golden crops once more                                   else the old version is put back
    6. the group's picture model, in the same order (`picture`)               else both old versions are put back
    7. the event is kept, and with it what `rollback` needs
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from silhouette.config import ServingConfig
from silhouette.contracts import deployment, evaluation, model_bundle, scores, traffic
from silhouette.contracts.deployment import REQUEST_NAME, Deployment
from silhouette.contracts.model_bundle import ONNX_NAME, ModelCard
from silhouette.deploy_model import events, lock, model_config, rollout, standby
from silhouette.deploy_model.events import Event
from silhouette.deploy_model.golden import Golden, check_golden, read_golden
from silhouette.deploy_model.loading import is_loaded, load, put_back
from silhouette.deploy_model.lock import Lock
from silhouette.deploy_model.picture import ServedPicture, require_free_name, serve_picture
from silhouette.deploy_model.replay import Replay, replay, require
from silhouette.deploy_model.repository import ModelRepository
from silhouette.errors import GateRefusedError, InputError, ParityError, ServiceError
from silhouette.names import safe_key
from silhouette.picture_answer import SUFFIX
from silhouette.store import Store
from silhouette.triton_client import Triton, request_file

_LOG = logging.getLogger(__name__)


def deploy_model(
    *,
    bundle: Path,
    evaluation: Path,
    store: Store,
    triton: Triton,
    out: Path,
    serving: ServingConfig | None = None,
    segmenter: str = "",
    replicas: Sequence[Triton] = (),
    by: str = "",
) -> Deployment:
    """Make Triton serve a judged model, and prove that it answers as it did when it was judged.

    With a segmenter the group's picture model goes with it: both are served, or what was served before.

    Args:
        bundle: Folder of the model bundle.
        evaluation: Folder of its evaluation.
        store: Holds the model repository that Triton reads.
        triton: The server.
        out: Folder that gets `deployment.json` and `request.bin`, a request made of a real crop.
        serving: How it is served; None: one instance on a CPU.
        segmenter: Digest of the segmenter that finds people for the picture model; empty: none is deployed.
        replicas: Further servers of the same repository; each takes up what the first one proved.
        by: Who deploys, for the record of events.

    Raises:
        GateRefusedError: The gate did not pass; nothing was touched.
        InputError: The bundle is malformed, or the evaluation is of another file; nothing was touched.
        ParityError: Triton answers differently; the old version is served.
        ServiceError: The store or Triton failed, and the old version is served; or somebody else changes what this
            group serves, and nothing was touched.
    """
    card = read_judged(bundle, evaluation)
    golden = read_golden(bundle, card)
    repository = ModelRepository(store, safe_key(card.group))
    serving = serving or ServingConfig()
    with lock.hold(store, repository.model, by=by) as turn:
        require_free_name(card.group, store)

        def beside(version: int) -> ServedPicture | None:
            return serve_picture(
                card=card, version=version, onnx=bundle / ONNX_NAME, golden=golden, segmenter=segmenter,
                store=store, triton=triton, serving=serving,
            )  # fmt: skip

        names = (repository.model, f"{repository.model}{SUFFIX}")
        kept = {name: ModelRepository(store, name).config() for name in names}
        before = kept[repository.model]
        done: dict[str, Any] = {
            "model": repository.model, "experiment": card.experiment, "onnx_sha256": card.onnx_sha256, "by": by,
            "previous": str(model_config.versions_of(before)[-1]) if before else "",
        }  # fmt: skip
        try:
            version, difference, already, picture, measured = _serve(
                bundle / ONNX_NAME, card, golden, repository, store, triton, serving, beside, turn
            )
            served = [repository.model, *((picture.model, picture.segmenter) if picture else ())]
            try:
                rollout.spread(served, version=str(version), store=store, replicas=replicas, golden=golden)
            except (ServiceError, InputError, ParityError) as error:
                raise type(error)(f"{error}; {rollout.restore(kept, store, [triton, *replicas])}") from error
        except (ServiceError, InputError, ParityError) as error:
            events.record(store, Event(kind="failed", version="", detail=str(error), **done))
            raise
        events.keep_golden(store, repository.model, str(version), bundle)
        if repository.config() != before or not events.history(store, repository.model):
            changed = [repository.model, *([picture.model] if picture else [])]
            configs = {
                name: config for name in changed if (config := ModelRepository(store, name).config()) is not None
            }
            texts = {name: model_config.to_text(config).decode() for name, config in configs.items()}
            detail = f"golden crops differ by {difference:.1e}{_told(measured)}"
            events.record(store, Event(kind="deployed", version=str(version), detail=detail, configs=texts, **done))
    request = request_file(golden.crops[:1])
    out.mkdir(parents=True, exist_ok=True)
    (out / REQUEST_NAME).write_bytes(request.body)
    store.put_bytes(f"inference/{repository.model}/{REQUEST_NAME}", request.body)
    spread, key = evaluation / scores.FILE_NAME, scores.store_key(repository.model, str(version))
    if spread.is_file() and not store.exists(key):  # for those who look for drift
        store.put_file(key, spread)
    deployed = Deployment(
        group=card.group,
        experiment=card.experiment,
        model=repository.model,
        version=str(version),
        onnx_sha256=card.onnx_sha256,
        already_served=already,
        max_difference=difference,
        header_length=request.header_length,
        class_name=triton.class_name(repository.model, golden.crops[0]),
        request_path=out / REQUEST_NAME,
        url=triton.url,
        picture_model=picture.model if picture else "",
        picture_version=str(picture.version) if picture else "",
        segmenter=picture.segmenter if picture else "",
    )
    deployment.write(out, deployed)
    _LOG.info(
        "%s version %d %s; golden crops differ by %.1e at most",
        repository.model, version, "was served already" if already else "is served", difference,
    )  # fmt: skip
    return deployed


def read_judged(bundle: Path, evaluation_folder: Path) -> ModelCard:
    """Read a bundle's card when its very model file passed the gate.

    Raises:
        GateRefusedError: It did not pass.
        InputError: The evaluation is of another file, group or list of classes.
    """
    card, judged = model_bundle.read(bundle), evaluation.read(evaluation_folder)
    if not judged.rules or not judged.passed:
        raise GateRefusedError(
            f"the gate refused the model of {card.group!r}: {judged.refusal() or 'it was held against no rule'};"
            " nothing was deployed, what was served goes on; train longer, look at the labels, or lower the gate"
        )
    sha256 = hashlib.sha256((bundle / ONNX_NAME).read_bytes()).hexdigest()
    for what, ours, theirs in (
        ("the model file", sha256, judged.onnx_sha256),
        ("the model card", card.onnx_sha256, sha256),
        ("the group", card.group, judged.group),
        ("the classes", card.classes, judged.classes),
    ):
        if ours != theirs:
            raise InputError(
                f"what is served must be what was judged: {what} must be {theirs}, got {ours} in {bundle};"
                " evaluate this model, then deploy it"
            )
    return card


def _serve(
    onnx: Path,
    card: ModelCard,
    golden: Golden,
    repository: ModelRepository,
    store: Store,
    triton: Triton,
    serving: ServingConfig,
    beside: Callable[[int], ServedPicture | None],
    turn: Lock,
) -> tuple[int, float, bool, ServedPicture | None, Replay | None]:
    """Make Triton serve the file, and what `beside` deploys for its version.

    Returns:
        The version, the largest difference, whether it was served already, what `beside` returned, and how it
        compares with what was served.
    """
    current = repository.config()
    named = model_config.versions_of(current) if current else []
    is_new, measured = not named or not repository.holds(named[-1], card.onnx_sha256), None
    if is_new:
        served_before = str(named[-1]) if named else ""
        measured = _try_out(onnx, card, golden, repository.model, store, triton, serving, served_before)
        served = [int(version) for version in triton.versions(repository.model)]
        version, older = repository.add_version(onnx, card, above=max([0, *named, *served])), named[-1:]
    else:
        version, older = named[-1], named[:-1]
    versions = [*(old for old in older if repository.fits_beside(old, card)), version]
    wanted = model_config.build(card, model=repository.model, versions=versions, serving=serving)
    turn.require()
    with standby.kept(store, triton, repository.model, wanted):
        if current == wanted and is_loaded(triton, wanted):
            try:
                difference = check_golden(triton, repository.model, golden, version=version)
            except (ServiceError, ParityError):  # it lost its process, or its memory: only this and a load heal
                triton.unload(repository.model, wait=False)
            else:
                return version, difference, True, beside(version), measured
        try:
            load(repository, triton, wanted)
            difference = check_golden(triton, repository.model, golden, version=version)
            return version, difference, False, beside(version), measured
        except (ServiceError, InputError, ParityError) as error:
            if not is_new:
                raise
            outcome = put_back(
                repository, triton, current, version,
                wait=lambda latest: triton.wait_ready(repository.model, version=latest),
            )  # fmt: skip
            raise type(error)(f"{error}; {outcome}") from error


def _try_out(
    onnx: Path, card: ModelCard, golden: Golden, model: str, store: Store, triton: Triton, serving: ServingConfig,
    served: str,
) -> Replay | None:  # fmt: skip
    """Load the file from memory under a passing name; hold it against the golden answers and the `served` version."""
    name = f"{model}--candidate"  # no group's key ends so
    config = model_config.build(card, model=name, versions=[1], serving=serving, labels=False)
    try:
        triton.load(name, config_json=model_config.to_json(config), files={f"1/{ONNX_NAME}": onnx.read_bytes()})
        try:
            check_golden(triton, name, golden, version=1, names=False)
            return _beside_served(store, triton, model, served, name, golden, serving)
        finally:
            triton.unload(name)
    except (ServiceError, InputError, ParityError) as error:
        raise type(error)(f"{error}; nothing was changed, what was served goes on") from error


def _beside_served(
    store: Store, triton: Triton, model: str, served: str, candidate: str, golden: Golden, serving: ServingConfig
) -> Replay | None:
    """Compare a candidate with the served version; None where nothing comparable answers."""
    if served not in triton.versions(model):
        return None
    old, new = triton.config(model, version=served), triton.config(candidate, version="1")
    if (old.crop_size, old.classes) != (new.crop_size, new.classes):
        return None
    found = replay(
        triton, old=(model, served), new=(candidate, "1"), golden=golden.crops,
        recent=traffic.recent(store, model, crop_size=old.crop_size),
    )  # fmt: skip
    require(found, max_slowdown=serving.max_slowdown, max_disagreement=serving.max_disagreement)
    return found


def _told(measured: Replay | None) -> str:
    if measured is None:
        return ""
    return (
        f"; {measured.slowdown:.2f} times the time of the version before ({measured.new_ms:.1f} ms for"
        f" {measured.batch} crops), another class for {measured.disagreement:.0%} of {measured.crops} crops,"
        f" {measured.recent} of them of recent requests"
    )
