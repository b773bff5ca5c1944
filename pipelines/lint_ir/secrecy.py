"""Rules about where things are: that is the cluster's ConfigMap and Secret, never the pipeline.

Judged by name (a parameter called `s3_endpoint`) and by value (`http://...`, `host:9000`, a token's shape).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from google.protobuf import json_format

from pipelines.lint_ir.ir import Ir

_PLACES = {"endpoint", "host", "hostname", "port", "url", "uri", "bucket"}
_SECRETS = {"dsn", "password", "passwd", "secret", "token", "credentials"}
_SECRET_KEYS = re.compile(r"(access|api|private|secret)_key")
_OPTIONAL_SECRETS = "WANDB_"  # the run works without W&B
_PLACE_VALUES = {
    "a URL": re.compile(r"\b[a-z][a-z0-9+.-]*://", re.IGNORECASE),
    "a host and port": re.compile(r"(?<![\w.-])[a-z][\w.-]*:\d{2,5}(?![\w.])", re.IGNORECASE),
    "an address": re.compile(r"(?<![\w.])\d{1,3}(\.\d{1,3}){3}(?![\w.])"),
    "a host": re.compile(r"\blocalhost\b|\.svc\b|\.cluster\.local\b", re.IGNORECASE),
    "a secret": re.compile(
        r"\bAKIA[0-9A-Z]{16}\b|-----BEGIN |\beyJ[\w-]{10,}\.[\w-]{10,}|\bgh[opsu]_\w{20,}|:[^\s/:@]+@", re.IGNORECASE
    ),
}
_WAY_OUT = "it belongs into the ConfigMap or the Secret, as a SILHOUETTE_ variable"


def _names_a_secret(name: str) -> bool:
    lower = name.lower()
    return bool(_SECRETS & set(re.split(r"[_\W]+", lower)) or _SECRET_KEYS.search(lower))


def _names_a_place(name: str) -> bool:
    return bool(_PLACES & set(re.split(r"[_\W]+", name.lower())))


def _texts(value: Any) -> Iterator[str]:
    """Yield every text inside a value of JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from (key, *_texts(inner))
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def _kinds(value: Any) -> Iterator[str]:
    for text in _texts(value):
        for kind, pattern in _PLACE_VALUES.items():
            if pattern.search(text):
                yield kind


def parameters_do_not_name_places(ir: Ir) -> Iterator[str]:
    """No endpoint, bucket, port or secret is a parameter of a pipeline or a component."""
    for owner, component in ir.components.items():
        for name in component.input_definitions.parameters:
            if _names_a_place(name) or _names_a_secret(name):
                yield f"{owner}: parameter {name!r} names a place or a secret; {_WAY_OUT}"


def defaults_hold_no_places(ir: Ir) -> Iterator[str]:
    """No default holds an endpoint, a bucket's address or a secret."""
    for owner, component in ir.components.items():
        for name, definition in component.input_definitions.parameters.items():
            for kind in _kinds(json_format.MessageToDict(definition.default_value)):
                yield f"{owner}: the default of {name!r} holds {kind}; {_WAY_OUT}"


def constants_hold_no_places(ir: Ir) -> Iterator[str]:
    """No constant that a task is given holds an endpoint, a bucket's address or a secret."""
    for at, task, _ in ir.tasks():
        for name, given in task.inputs.parameters.items():
            for kind in _kinds(json_format.MessageToDict(given.runtime_value.constant)):
                yield f"{at}: the constant for {name!r} holds {kind}; {_WAY_OUT}"


def environment_is_not_written_in(ir: Ir) -> Iterator[str]:
    """An environment literal of a container says what, never where; the value is not repeated here."""
    for label, container in ir.containers():
        for variable in container.env:
            if _names_a_place(variable.name) or _names_a_secret(variable.name):
                yield f"{label}: environment literal {variable.name!r} names a place or a secret; {_WAY_OUT}"
            for kind in _kinds(variable.value):
                yield f"{label}: environment literal {variable.name!r} holds {kind}; {_WAY_OUT}"


def secrets_come_from_secrets(ir: Ir) -> Iterator[str]:
    """Anyone who may read a ConfigMap would read the secret in it."""
    for label, config in ir.platform.items():
        for source in config.config_map_as_env:
            for pair in source.key_to_env:
                if _names_a_secret(pair.env_var):
                    yield f"{label}: {pair.env_var} is a secret from a ConfigMap; use kfp.kubernetes.use_secret_as_env"


def optional_secrets_are_optional(ir: Ir) -> Iterator[str]:
    """A pod waits for ever for a Secret that is not optional and not there."""
    for label, config in ir.platform.items():
        for source in config.secret_as_env:
            for pair in source.key_to_env:
                if pair.env_var.startswith(_OPTIONAL_SECRETS) and not source.optional:
                    yield f"{label}: {pair.env_var} comes from a Secret that must be optional; pass optional=True"


RULES = (
    parameters_do_not_name_places,
    defaults_hold_no_places,
    constants_hold_no_places,
    environment_is_not_written_in,
    secrets_come_from_secrets,
    optional_secrets_are_optional,
)
