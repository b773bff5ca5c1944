"""Make Triton take up a configuration of the repository, and put an older one back.

Reads and writes a model's `config.pbtxt` in the store; changes what Triton serves.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from silhouette.deploy_model import model_config
from silhouette.deploy_model.model_config import ModelConfig
from silhouette.deploy_model.repository import ModelRepository
from silhouette.errors import InputError, ServiceError, SilhouetteError
from silhouette.triton_client import Triton

_LOADS = 4
_NEXT_SECOND_S = 1.1


def is_loaded(triton: Triton, config: ModelConfig) -> bool:
    """Tell whether Triton serves a model as this configuration says."""
    try:
        return triton.fingerprint(config.name) == model_config.fingerprint(config)
    except InputError:  # it serves no such model
        return False


def load(repository: ModelRepository, triton: Triton, config: ModelConfig) -> None:
    """Write the configuration and make Triton take it up.

    Triton compares the times of objects, which S3 gives in whole seconds: one written twice within a second looks
    unchanged, and the load says that all is well. So the configuration carries a fingerprint, and is written again.
    """
    for attempt in range(_LOADS):
        if attempt:
            time.sleep(_NEXT_SECOND_S)
        repository.put_config(config)
        triton.load(repository.model)
        if is_loaded(triton, config):
            return
    raise ServiceError(
        f"Triton at {triton.url} must serve {repository.model} as its new configuration says, after {_LOADS} loads it"
        " does not; does it read the repository of this store? See its log, then deploy again"
    )


def put_back(
    repository: ModelRepository, triton: Triton, old: ModelConfig | None, version: int, *, wait: Callable[[str], None]
) -> str:
    """Serve what was served before, remove `version`, and say how that went; `wait` returns when one answers."""
    try:
        if old is None:
            repository.remove_config()
            with suppress(ServiceError):  # it may have nothing to unload
                triton.unload(repository.model)
            outcome = f"nothing is served as {repository.model}"
        else:
            load(repository, triton, old)
            latest = str(model_config.versions_of(old)[-1])
            wait(latest)
            outcome = f"version {latest} is served as before"
        repository.remove_version(version)
    except SilhouetteError as error:
        return f"putting the old version back failed as well: {error}"
    return outcome
