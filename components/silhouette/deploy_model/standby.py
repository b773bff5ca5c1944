"""The classifier that a picture model asks for, kept answering while its group's model is switched to other classes.

One model of Triton has one shape, so a version with other classes or crops takes the place of the one before it; the
picture model follows a moment later, and in between it would have nobody to ask. So the old version's file is loaded
from memory under a name that its bytes give it (`picture_answer.standby_name`), where the picture model's code looks
when the version that it names does not answer; it goes when the old picture model has given its last answer.

Reads the model repository in the store; changes what Triton serves, nothing in the store.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from silhouette.config import ServingConfig
from silhouette.contracts.deployment import repository_key
from silhouette.contracts.model_bundle import ONNX_NAME
from silhouette.deploy_model import model_config
from silhouette.deploy_model.model_config import ModelConfig
from silhouette.deploy_model.repository import ModelRepository
from silhouette.errors import InputError, ServiceError, SilhouetteError
from silhouette.picture_answer import SETTINGS_NAME, SUFFIX, PictureSettings, standby_name
from silhouette.store import Store
from silhouette.triton_client import Triton

_LOG = logging.getLogger(__name__)
_LAST_ANSWERS_S, _POLL_S = 60.0, 0.05
_LOOKED_AT = 3  # a killed deployment leaves a stand-by of the last version or of the one before


@contextmanager
def kept(store: Store, triton: Triton, model: str, config: ModelConfig | None) -> Iterator[None]:
    """Keep the version that a picture model asks for while `model` and its picture model are switched inside.

    Args:
        store: Holds the model repository.
        triton: The server.
        model: Triton's name of the classifier.
        config: What it is switched to; None: nothing.

    Raises:
        ServiceError: The store or Triton failed, before anything was switched.
    """
    picture = f"{model}{SUFFIX}"
    served = triton.versions(picture)
    settings = _settings(store, picture, served[-1]) if served else None
    if config is not None and settings and int(settings.classifier.version) not in model_config.versions_of(config):
        _load(store, triton, settings)
    try:
        yield
    except BaseException:
        with suppress(SilhouetteError):  # what went wrong inside is what is told
            _remove(store, triton, picture)
        raise
    _remove(store, triton, picture)


def _load(store: Store, triton: Triton, settings: PictureSettings) -> None:
    part = settings.classifier
    name, key = standby_name(part), repository_key(part.model, part.version, ONNX_NAME)
    card = ModelRepository(store, part.model).card(int(part.version))
    data = store.get_bytes(key) if store.exists(key) else b""
    if card is None or hashlib.sha256(data).hexdigest() != part.onnx_sha256:
        _LOG.warning("%s is gone or damaged: the picture model may not answer during the switch", key)
        return
    serving = ServingConfig(max_batch_size=settings.most_crops)
    config = model_config.build(card, model=name, versions=[1], serving=serving, labels=False)
    triton.load(name, config_json=model_config.to_json(config), files={f"1/{ONNX_NAME}": data})


def _remove(store: Store, triton: Triton, picture: str) -> None:
    """Take stand-bys away, when no version of the picture model but the served one has answers to give."""
    repository = ModelRepository(store, picture)
    settings = [_settings(store, picture, str(version)) for version in repository.versions()[-_LOOKED_AT:]]
    loaded = {name for found in settings if found and triton.versions(name := standby_name(found.classifier))}
    if not loaded:
        return
    config, deadline = repository.config(), time.monotonic() + _LAST_ANSWERS_S
    wanted = {str(version) for version in model_config.versions_of(config)} if config is not None else set()
    while any(
        item.version not in wanted for item in triton.index(picture) if item.state in ("READY", "UNLOADING")
    ) and time.monotonic() < deadline:  # fmt: skip
        time.sleep(_POLL_S)
    for name in loaded:
        try:
            triton.unload(name)
        except ServiceError as error:  # the switch is made; the next one looks for it
            _LOG.warning("%s could not be unloaded: %s", name, error)


def _settings(store: Store, picture: str, version: str) -> PictureSettings | None:
    """Return a picture version's settings; None: it was not written to its end, or is gone."""
    try:
        return PictureSettings.from_json(store.get_bytes(repository_key(picture, version, SETTINGS_NAME)))
    except (InputError, KeyError, TypeError, ValueError):
        return None
