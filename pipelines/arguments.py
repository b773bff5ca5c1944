"""The parameters of a run: from ``name=value`` texts to typed arguments of a compiled pipeline, checked first.

Used by `make run` and `make submit` alike: what one refuses the other refuses, in the same words.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import shlex
from collections.abc import Mapping
from typing import Any

from silhouette.config import load_config
from silhouette.errors import InputError

PATHS = ("source", "background_pixsets", "model_path")  # parameters that may name a file or folder of this machine
PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "NUMBER_INTEGER": (int,),
    "NUMBER_DOUBLE": (int, float),
    "BOOLEAN": (bool,),
    "STRUCT": (dict,),
    "LIST": (list,),
}

Parameters = Mapping[str, Mapping[str, Any]]


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Give a program the options that name a run: what `make` passes on, each empty when the user said nothing."""
    parser.add_argument("--pipeline", default="", help="training (default) or another one of pipelines/")
    parser.add_argument("--group", default="", help="name of the group")
    parser.add_argument("--source", default="", help="a folder with one sub-folder per class; default: the service")
    parser.add_argument("--model", default="", help="a YOLO segmentation model; default: as in the configuration")
    parser.add_argument("--args", default="", help="more parameters, 'epochs=3 seed=1'")


def given_pairs(options: argparse.Namespace) -> dict[str, str]:
    """Return what the options of `add_run_options` say, as texts by parameter.

    Raises:
        InputError: ARGS is not made of ``name=value``.
    """
    pairs = {"group": options.group, "source": options.source, "model_path": options.model}
    pairs = {name: value for name, value in pairs.items() if value}
    try:
        words = shlex.split(options.args)
    except ValueError as error:
        raise InputError(f"ARGS must be name=value pairs with closed quotes, got {options.args!r} ({error})") from None
    for pair in words:
        name, equals, value = pair.partition("=")
        if not equals:
            raise InputError(f"ARGS must be name=value pairs separated by spaces, got {pair!r}")
        pairs[name] = value
    return pairs


def parse_arguments(pairs: Mapping[str, str], known: Parameters) -> dict[str, Any]:
    """Turn ``name=value`` texts into the pipeline's typed arguments.

    Raises:
        InputError: A name is unknown (the nearest are listed), a value is not of the parameter's type, or is none of
            those that the parameter knows.
    """
    return {name: _typed(name, text, _definition(name, known)) for name, text in pairs.items()}


def require_all(arguments: Mapping[str, Any], known: Parameters) -> None:
    """Refuse a run that lacks a parameter without a default.

    Raises:
        InputError: One is missing.
    """
    if missing := [name for name, spec in known.items() if not spec.get("isOptional") and name not in arguments]:
        way_out = "GROUP=..." if missing[0] == "group" else f"ARGS='{missing[0]}=...'"
        raise InputError(
            f"every parameter without a default must be given, {', '.join(missing)} is not; write {way_out}"
        )


def _definition(name: str, known: Parameters) -> Mapping[str, Any]:
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3) or sorted(known)
        raise InputError(f"a parameter must be one of the pipeline's, got {name!r}; did you mean {', '.join(near)}?")
    return known[name]


def _typed(name: str, text: str, definition: Mapping[str, Any]) -> Any:
    kind = definition["parameterType"]
    value: Any = text
    if kind != "STRING":
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = None
        if not isinstance(value, PYTHON_TYPES[kind]) or (isinstance(value, bool) and kind != "BOOLEAN"):
            raise InputError(f"{name} must be a {kind.lower()}, got {text!r}; write ARGS='{name}=...'")
        if isinstance(value, int) and kind == "NUMBER_DOUBLE":
            value = float(value)  # kfp takes no 0 for 0.0
    literals = definition.get("literals")
    if literals and value not in literals:
        near = difflib.get_close_matches(text, map(str, literals), n=3) or map(str, literals[:3])
        raise InputError(
            f"{name} must be one of {' | '.join(map(str, literals))}, got {text!r}; did you mean {' or '.join(near)}?"
        )
    return value


def overlay_arguments(known: Parameters) -> dict[str, Any]:
    """Return what a configuration file of the user's sets of a pipeline's parameters.

    The defaults in the compiled YAML are the shipped ones.
    """
    if not os.environ.get("SILHOUETTE_CONFIG"):
        return {}
    config = load_config()
    recipe = config.training
    found = {
        "model_path": config.segmentation.model_path,
        "backbone": recipe.backbone,
        "epochs": recipe.epochs,
        "batch_size": recipe.batch_size,
        "learning_rate": recipe.learning_rate,
        "seed": recipe.seed,
        "min_macro_f1": config.gate.min_macro_f1 or 0.0,  # a parameter cannot be null; 0 refuses nobody
    }
    return {name: value for name, value in found.items() if name in known}
