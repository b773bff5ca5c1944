"""Go back to a version that was served before, say what is served, and bring back what a server forgot.

Reads the events and the model repository in the store; writes configurations there and changes what Triton serves.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from silhouette.contracts.deployment import CONFIG_NAME, REPOSITORY, repository_key
from silhouette.contracts.model_bundle import GOLDEN_NAME
from silhouette.deploy_model import events, lock, model_config, picture_config, standby
from silhouette.deploy_model.events import Event
from silhouette.deploy_model.golden import Golden, check_golden, read_golden
from silhouette.deploy_model.loading import is_loaded, load
from silhouette.deploy_model.model_config import ModelConfig
from silhouette.deploy_model.repository import ModelRepository
from silhouette.errors import InputError, ParityError, ServiceError, SilhouetteError
from silhouette.names import safe_key
from silhouette.picture_answer import SUFFIX
from silhouette.store import Store
from silhouette.triton_client import Triton

_DEPLOY = "deploy the model with `silhouette deploy`"


@dataclass(frozen=True, kw_only=True)
class RollbackReport:
    """Which version is served again, and which was before; `max_difference` is that of its golden crops."""

    model: str
    version: str
    instead_of: str
    experiment: str
    max_difference: float


@dataclass(frozen=True, kw_only=True)
class ServingStatus:
    """What one server makes of one model.

    Attributes:
        model: Triton's name of it.
        url: The server.
        wanted: Versions that the repository says, the last one answers by default.
        served: Versions that answer.
        experiment: That trained the last wanted one.
        as_wanted: The server has taken up this very configuration.
        problem: Why it does not serve what is wanted, or empty.
    """

    model: str
    url: str
    wanted: tuple[str, ...]
    served: tuple[str, ...]
    experiment: str
    as_wanted: bool
    problem: str


@dataclass(frozen=True, kw_only=True)
class ReconcileReport:
    """What a server was brought to serve.

    Attributes:
        url: The server.
        loaded: Models that it did not serve as the repository says, and does now.
        as_wanted: Models that it did.
        failed: Reasons by the model that it does not.
    """

    url: str
    loaded: tuple[str, ...]
    as_wanted: tuple[str, ...]
    failed: dict[str, str]


def rollback(
    *, group: str, store: Store, triton: Triton, by: str, to: str = "", replicas: Sequence[Triton] = ()
) -> RollbackReport:
    """Serve a version again that was served before: the last one below the present one, or `to`.

    Its configuration, and that of its picture model, are those of then; it proves itself on its golden crops. When it
    does not, what is served stays.

    Raises:
        InputError: The group serves nothing, there is no such version to go back to, or its files are damaged.
        ParityError: It answers otherwise than it did; what was served before is.
        ServiceError: The store or Triton failed, and what was served before is; or somebody else changes what this
            group serves, and nothing was touched.
    """
    repository = ModelRepository(store, safe_key(group))
    with lock.hold(store, repository.model, by=by) as turn:
        current = repository.config()
        if current is None:
            raise InputError(f"a group must be served to go back, {group!r} is not; {_DEPLOY}")
        latest = str(model_config.versions_of(current)[-1])
        past = [event for event in events.history(store, repository.model) if event.kind != "failed"]
        known = sorted({int(event.version) for event in past})
        target = to or str(max((version for version in known if version < int(latest)), default=""))
        event = next((event for event in reversed(past) if event.version == target), None)
        if event is None or target == latest:
            raise InputError(
                f"a version to go back to must have been served before {latest}, got {to or 'none'}; there are:"
                f" {', '.join(str(version) for version in known if str(version) != latest) or 'none'}"
            )
        configs = _whole(event, store)
        before = {name: ModelRepository(store, name).config() for name in configs}
        done = {"model": repository.model, "previous": latest, "by": by, "experiment": event.experiment,
                "version": target, "onnx_sha256": event.onnx_sha256}  # fmt: skip
        turn.require()
        with standby.kept(store, triton, repository.model, configs[repository.model]):
            try:
                for name, config in configs.items():
                    load(ModelRepository(store, name), triton, config)
                difference = prove(store, triton, repository, target)
                for replica in replicas:
                    with standby.kept(store, replica, repository.model, configs[repository.model]):
                        for name in configs:
                            take_up(ModelRepository(store, name), replica)
                    prove(store, replica, repository, target)
            except (ServiceError, InputError, ParityError) as error:
                events.record(store, Event(kind="failed", detail=str(error), **done))
                raise type(error)(f"{error}; {restore(before, store, [triton, *replicas])}") from error
        texts = {name: model_config.to_text(config).decode() for name, config in configs.items()}
        detail = f"golden crops differ by {difference:.1e}"
        events.record(store, Event(kind="rolled_back", detail=detail, configs=texts, **done))
        return RollbackReport(
            model=repository.model, version=target, instead_of=latest, experiment=event.experiment,
            max_difference=difference,
        )  # fmt: skip


def _whole(event: Event, store: Store) -> dict[str, ModelConfig]:
    """Return an event's configurations when the versions that they name are still as they were."""
    configs = {
        name: model_config.from_text(text.encode(), source=f"the event of {event.at:%Y-%m-%d %H:%M}")
        for name, text in event.configs.items()
    }
    if event.model not in configs:
        raise InputError(f"the event of version {event.version} must say its configuration, it does not; {_DEPLOY}")
    if not ModelRepository(store, event.model).holds(int(event.version), event.onnx_sha256):
        raise InputError(
            f"version {event.version} of {event.model} must be whole in the store, it is missing or damaged; {_DEPLOY}"
        )
    return configs


def prove(store: Store, triton: Triton, repository: ModelRepository, version: str) -> float:
    """Hold a served version against the golden crops that were kept for it; return the largest difference."""
    card = repository.card(int(version))
    if card is None:
        raise InputError(
            f"version {version} of {repository.model} must have a card in the store, it has none; {_DEPLOY}"
        )
    with tempfile.TemporaryDirectory() as folder:
        store.get_file(events.golden_key(repository.model, version), Path(folder) / GOLDEN_NAME)
        return check_golden(triton, repository.model, read_golden(Path(folder), card), version=int(version))


def take_up(repository: ModelRepository, triton: Triton) -> None:
    """Make a server serve what the repository says of a model, when it does not."""
    config = repository.config()
    if config is not None and not is_loaded(triton, config):
        load(repository, triton, config)


def spread(names: Sequence[str], *, version: str, store: Store, replicas: Sequence[Triton], golden: Golden) -> None:
    """Make replicas serve what the first server proved; each proves it on its own.

    Args:
        names: The classifier, and where there is one its picture model and then that one's segmenter.
        version: Of the classifier.
        store: Holds the model repository.
        replicas: All servers but the first.
        golden: Of the classifier.

    Raises:
        ParityError: One answers otherwise.
        ServiceError: One failed.
    """
    for replica in replicas:
        try:
            with standby.kept(store, replica, names[0], ModelRepository(store, names[0]).config()):
                for name in (*names[2:], *names[:2]):  # what the picture model asks for is there before it
                    take_up(ModelRepository(store, name), replica)
            check_golden(replica, names[0], golden, version=int(version))
        except (ServiceError, InputError, ParityError) as error:
            raise type(error)(f"the replica {replica.url}: {error}") from error


def restore(before: dict[str, ModelConfig | None], store: Store, servers: Sequence[Triton]) -> str:
    """Make every server serve models as they were configured before, and say how that went.

    Args:
        before: Configurations by Triton's name, the classifier's first; None: the model was not there.
        store: Holds the repository.
        servers: All that may have taken up something else; one that fails keeps none of the others from it.
    """
    failed = []
    for server in servers:
        try:
            with standby.kept(store, server, *next(iter(before.items()))):
                for name, config in before.items():
                    repository = ModelRepository(store, name)
                    if config is not None:
                        load(repository, server, config)
                        continue
                    repository.remove_config()
                    if server.versions(name):
                        server.unload(name)
        except SilhouetteError as error:
            failed.append(str(error))
    if failed:
        return f"putting what was served back failed as well: {'; '.join(failed)}"
    return "what was served before is served"


def models(store: Store) -> list[str]:
    """Return every model that the repository has a configuration of, sorted."""
    names = store.list_folders(f"{REPOSITORY}/")
    return [name for name in names if store.exists(repository_key(name, CONFIG_NAME))]


def status(*, store: Store, servers: Sequence[Triton], model: str = "") -> list[ServingStatus]:
    """Say what each server makes of each model of the repository, or of one.

    Raises:
        InputError: The repository has no such model.
        ServiceError: The store or a server cannot be reached.
    """
    known = models(store)
    if model and model not in known:
        raise InputError(f"a model must be in the repository, got {model}; there are: {', '.join(known) or 'none'}")
    found = []
    for name in [model] if model else known:
        repository = ModelRepository(store, name)
        config = repository.config()
        wanted = model_config.versions_of(config) if config is not None else []
        card = repository.card(wanted[-1]) if wanted else None
        for server in servers:
            served = server.versions(name)
            states = {item.version: item for item in server.index(name)}
            missing = [str(version) for version in wanted if str(version) not in served]
            reasons = [states[version].reason for version in missing if version in states]
            as_wanted = config is not None and bool(served) and is_loaded(server, config)
            problem = "; ".join(filter(None, reasons)) if missing else ""
            found.append(
                ServingStatus(
                    model=name, url=server.url, wanted=tuple(map(str, wanted)), served=tuple(served),
                    experiment=card.experiment if card else "", as_wanted=as_wanted,
                    problem=problem or ("" if as_wanted else "it serves another state: run `silhouette reconcile`"),
                )
            )  # fmt: skip
    return found


def reconcile(*, store: Store, triton: Triton, by: str = "") -> ReconcileReport:
    """Make a server serve what the repository says: after its restart, or on a new replica.

    Explicit control remembers nothing, and a configuration that was put back is taken up by a load only. Models that
    are served and not in the repository are left alone: they may be somebody's passing ones. So is a group that is
    being deployed: it is told as failed.

    Raises:
        ServiceError: The store or the server cannot be reached.
    """
    loaded, right, failed = [], [], {}
    for name in models(store):
        repository = ModelRepository(store, name)
        try:
            if _serves(triton, repository.config()):
                right.append(name)
            else:
                with lock.hold(store, _group_of(repository), by=by):
                    if (config := repository.config()) is not None:  # as it is now that nobody else writes it
                        load(repository, triton, config)
                        loaded.append(name)
        except (ServiceError, InputError) as error:
            if not triton.is_ready():
                raise
            failed[name] = str(error)
    return ReconcileReport(url=triton.url, loaded=tuple(loaded), as_wanted=tuple(right), failed=failed)


def _serves(triton: Triton, config: ModelConfig | None) -> bool:
    if config is None:  # it was withdrawn in this moment
        return True
    wanted = {str(version) for version in model_config.versions_of(config)}
    return is_loaded(triton, config) and wanted <= set(triton.versions(config.name))


def _group_of(repository: ModelRepository) -> str:
    """Return the classifier's name, by which a picture model is locked as well."""
    config = repository.config()
    is_picture = config is not None and picture_config.is_picture_model(config)
    return repository.model.removesuffix(SUFFIX) if is_picture else repository.model
