"""The configuration's layers: files of YAML and variables of the environment, each value with the place it stands at.

Reads the files that it is given; `add_group` writes one. What the values mean is `silhouette.config`'s business.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from silhouette.errors import InputError, SettingError

PREFIX = "SILHOUETTE_CONFIG__"  # SILHOUETTE_CONFIG__TRAINING__EPOCHS=20 is training.epochs
KeyPath = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """Some of the configuration.

    Attributes:
        name: The file's path, or the variable's name.
        content: Nested mappings.
        lines: Line numbers, from 1, of every key and list item; empty for a variable.
    """

    name: str
    content: dict[str, Any]
    lines: Mapping[KeyPath, int] = field(default_factory=dict)

    def place(self, path: KeyPath) -> str:
        """Say where a key stands, or the nearest mapping around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return f"{self.name}, line {self.lines[path]}" if path else self.name


def read_layer(path: Path) -> Layer:
    """Read a file.

    Raises:
        SettingError: It is missing, unreadable, no mapping in YAML, or has a key twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content, node = yaml.safe_load(text), yaml.compose(text, Loader=yaml.SafeLoader)
    except FileNotFoundError:
        raise SettingError(f"the configuration file must exist, got {path}; correct SILHOUETTE_CONFIG") from None
    except OSError as error:
        raise SettingError(
            f"the configuration file must be readable, got {error.strerror} for {path}; correct SILHOUETTE_CONFIG"
        ) from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: not UTF-8, or a date that is none
        raise SettingError(
            f"the configuration must be YAML in UTF-8, got {' '.join(str(error).split())} in {path}; correct that file"
        ) from None
    if not isinstance(content, dict):
        raise SettingError(
            f"the configuration must be a mapping, got {type(content).__name__} in {path}; correct that file"
        )
    lines: dict[KeyPath, int] = {}
    _number(node, (), lines, path)
    return Layer(name=str(path), content=content, lines=lines)


def _number(node: Any, at: KeyPath, lines: dict[KeyPath, int], path: Path) -> None:
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            lines[*at, str(number)] = item.start_mark.line + 1
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*at, str(key.value))
            if inner in lines and key.tag != "tag:yaml.org,2002:merge":
                raise SettingError(
                    f"{'.'.join(inner)} in the configuration must stand there once, got it again in line"
                    f" {key.start_mark.line + 1} after line {lines[inner]}; correct it in {path}"
                )
            lines[inner] = key.start_mark.line + 1
            _number(value, inner, lines, path)


def environment_layers(environ: Mapping[str, str]) -> list[Layer]:
    """Read the variables that set single values, sorted by name.

    Raises:
        SettingError: A value is no YAML.
    """
    layers = []
    for name in sorted(key for key in environ if key.startswith(PREFIX)):
        try:
            content: Any = yaml.safe_load(environ[name])
        except (yaml.YAMLError, ValueError) as error:
            raise SettingError(
                f"{name} must be a value in YAML, got {' '.join(str(error).split())[:160]}; correct that variable"
            ) from None
        for key in reversed(name.removeprefix(PREFIX).lower().split("__")):
            content = {key: content}
        layers.append(Layer(name=name, content=content))
    return layers


def merge(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one mapping over another; lists and values are replaced."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return merged


def holder(layers: Sequence[Layer], path: KeyPath) -> Layer:
    """Return the layer that says the value at `path`: the last that reaches deepest towards it."""

    def depth(layer: Layer) -> int:
        content: Any = layer.content
        for reached, key in enumerate(path):
            if not isinstance(content, Mapping) or key not in content:
                return reached
            content = content[key]
        return len(path)

    return max(enumerate(layers), key=lambda item: (depth(item[1]), item[0]))[1]


def add_group(path: Path, *, name: str, classes: Sequence[str]) -> None:
    """Write a group into a file, below the ones that are there; everything else in it stays as it is.

    Raises:
        InputError: The file has this group, or is laid out so that nothing can be added.
        SettingError: As `read_layer`.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    before = read_layer(path).content if text.strip() else {}
    if name in (before.get("groups") or {}):
        raise InputError(f"a group to add must be new, {name!r} is in {path}; edit it there")
    entry = _dump({name: {"classes": list(classes)}})
    node: Any = yaml.compose(text, Loader=yaml.SafeLoader) if text.strip() else None
    groups = next((value for key, value in node.value if key.value == "groups"), None) if node is not None else None
    if groups is None:
        new = text + ("\n" if text and not text.endswith("\n") else "") + "groups:\n" + _indented(entry, 2)
    elif isinstance(groups, yaml.MappingNode) and not groups.flow_style and groups.value:
        last = groups.value[-1][1]
        lines = text.splitlines(keepends=True)
        end = last.end_mark.line + (last.end_mark.column > 0)
        while end > 0 and not lines[end - 1].strip():
            end -= 1
        head = "".join(lines[:end])
        head += "" if head.endswith("\n") else "\n"
        new = head + _indented(entry, groups.value[0][0].start_mark.column) + "".join(lines[end:])
    else:
        raise InputError(f"the groups must stand one a line in {path}, they do not; add {name!r} there by hand")
    if yaml.safe_load(new) != merge(before, {"groups": {name: {"classes": list(classes)}}}):
        raise InputError(f"{path} is laid out so that nothing can be added safely; add {name!r} there by hand")
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(new, encoding="utf-8")
    partial.replace(path)


def _dump(content: Any) -> str:
    text = io.StringIO()
    yaml.safe_dump(content, text, allow_unicode=True, sort_keys=False, width=100_000)
    return text.getvalue()


def _indented(text: str, columns: int) -> str:
    return "".join(" " * columns + line for line in text.splitlines(keepends=True))
