"""Reference pages from the code itself: commands, configuration, pipelines, environment, contracts.

Reads typer's commands, config/default.yaml, pipelines/compiled/*.yaml, `silhouette.settings` and the modules of
`silhouette.contracts`; writes Markdown into the folder that it is given. conf.py calls `write` on every build.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import pkgutil
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import typer
import yaml
from markdown_text import code, docstring, prose, table
from pydantic import BaseModel

from silhouette import contracts, settings
from silhouette.cli import app

KEYS = ("key", "default", "what")
CHECKOUT = Path(__file__).resolve().parents[1]
_KEY = re.compile(r"(?P<indent> *)(?P<key>[\w ]+?):(?: +(?P<value>[^#\s][^#]*?|\"[^\"]*\"))?(?: +# (?P<comment>.*))?$")


def commands() -> Iterator[tuple[str, click.Command]]:
    """Yield every command of `silhouette` with its whole name, in the order of the help."""
    waiting = [("silhouette", typer.main.get_command(app))]
    while waiting:
        name, command = waiting.pop(0)
        inner = getattr(command, "commands", None)
        if inner is None:
            yield name, command
        else:
            waiting[:0] = [(f"{name} {one}", inner[one]) for one in inner]


def command_page() -> list[str]:
    """Return the page of every command with its arguments and options."""
    lines = [
        "# Commands", "", "`silhouette --json COMMAND` prints a report for machines, `silhouette --debug COMMAND`",
        "shows the traceback of an error. Every command exits with 0, or with 1 and one line that says why.", "",
    ]  # fmt: skip
    for name, command in commands():
        lines += [f"## {name}", ""]
        for paragraph in (command.help or "").split("\n\n"):
            lines += [prose(paragraph), ""]
        rows = []
        for option in command.params:
            spelled = ", ".join(code(one) for one in (*option.opts, *option.secondary_opts) if option.name != "help")
            if spelled:
                argument = option.param_type_name == "argument"
                needed = "needed" if option.required else code("" if option.default is None else option.default)
                spelled = code((option.name or "").upper()) if argument else spelled
                rows.append((spelled, needed, prose(getattr(option, "help", None) or "")))
        lines += table(("option", "default", "what"), rows)
    return lines


def configured() -> Iterator[tuple[str, str, str]]:
    """Yield every entry of config/default.yaml as (path, default, comment); a section has no default."""
    path: list[str] = []
    above: list[str] = []
    for line in (CHECKOUT / "config" / "default.yaml").read_text(encoding="utf-8").splitlines():
        if found := _KEY.match(line):
            depth = len(found["indent"]) // 2
            path = [*path[:depth], found["key"]]
            yield ".".join(path), (found["value"] or "").strip(), " ".join([*above, found["comment"] or ""]).strip()
            above = []
        elif line.lstrip().startswith("#"):
            above.append(line.lstrip(" #"))
        else:
            above = []


def configuration_page() -> list[str]:
    """Return the page of the configuration: a table a section."""
    lines = [
        "# Configuration keys", "", "What is in `config/default.yaml`. An overlay names only what differs, and one",
        "value can be said by a variable: `SILHOUETTE_CONFIG__TRAINING__EPOCHS=20`. See",
        "[how it is laid out](../configuration.md).", "",
    ]  # fmt: skip
    rows: list[tuple[str, ...]] = []
    for path, value, comment in configured():
        if "." not in path:
            lines += [*table(KEYS, rows), f"## {path}", "", prose(comment), ""]
            rows = [(code(path), code(value), "")] if value else []
        else:
            rows.append((code(path), code(value), prose(comment)))
    return lines + table(KEYS, rows)


def environment_page() -> list[str]:
    """Return the page of the environment's variables, with what docs/configuration.md says of each."""
    told = (CHECKOUT / "docs" / "configuration.md").read_text(encoding="utf-8").splitlines()
    lines = ["# Environment", "", "Every variable that is read; `silhouette config show` prints their values.", ""]
    rows = []
    for name in settings.VARIABLES:
        about = next((line.split("|")[2].strip() for line in told if line.startswith("|") and f"`{name}`" in line), "")
        rows.append((code(name), "secret" if name in settings.SECRETS else "", about))
    return lines + table(("variable", "", "what"), rows)


def _tasks(dag: dict[str, Any], components: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield the tasks of a graph and of those within it as (name, task, label of its executor), in an order to run."""
    after = {name: task.get("dependentTasks", []) for name, task in dag["tasks"].items()}
    for key in TopologicalSorter(after).static_order():
        task = dag["tasks"][key]
        component = components[task["componentRef"]["name"]]
        if "dag" in component:
            yield from _tasks(component["dag"], components)
        else:
            yield task["taskInfo"]["name"], task, component["executorLabel"]


def _given(parameter: dict[str, Any]) -> str:
    """Return a parameter's default; the compiled form writes whole numbers as 32.0."""
    if "defaultValue" not in parameter:
        return "needed"
    value = parameter["defaultValue"]
    return code(int(value) if parameter["parameterType"] == "NUMBER_INTEGER" else json.dumps(value))


def pipeline_page() -> list[str]:
    """Return the page of the compiled pipelines: parameters, and steps with image and caching."""
    lines = ["# Pipelines", "", "The compiled pipelines, as `make run` and `make submit` run them.", ""]
    for path in sorted((CHECKOUT / "pipelines" / "compiled").glob("*.yaml")):
        spec = next(yaml.safe_load_all(path.read_text(encoding="utf-8")))
        lines += [f"## {spec['pipelineInfo']['name']}", "", *docstring(spec["pipelineInfo"]["description"])[0]]
        parameters = spec["root"].get("inputDefinitions", {}).get("parameters", {})
        rows = [
            (code(name), one["parameterType"].removeprefix("NUMBER_").lower(), _given(one), prose(one["description"]))
            for name, one in parameters.items()
        ]
        head = ("parameter", "type", "default", "what")
        lines += ["### Parameters of " + path.stem, "", *table(head, rows)]
        executors = spec["deploymentSpec"]["executors"]
        rows = []
        for name, task, label in _tasks(spec["root"]["dag"], spec["components"]):
            image = executors[label]["container"]["image"].rpartition("/")[2].partition(":")[0]
            cached = task.get("cachingOptions", {}).get("enableCache", False)
            rows.append((code(label.removeprefix("exec-")), prose(name), prose(image), "yes" if cached else "no"))
        lines += ["### Steps of " + path.stem, "", *table(("step", "shown as", "image", "cached"), rows)]
    return lines


def _public(module: ModuleType) -> Iterator[type]:
    for value in vars(module).values():
        if (
            inspect.isclass(value) and value.__module__ == module.__name__ and not value.__name__.startswith("_")
            and (issubclass(value, BaseModel) or dataclasses.is_dataclass(value))
        ):  # fmt: skip
            yield value


def _named(annotation: object) -> str:
    """Return a type without the modules that its parts are from."""
    return re.sub(r"\b(?:[a-z_]\w*\.)+(?=[A-Za-z_])", "", inspect.formatannotation(annotation))


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return code(repr(field.default))
    return "needed" if field.default_factory is dataclasses.MISSING else code(repr(field.default_factory()))


def _fields(model: type, attributes: dict[str, str]) -> list[tuple[str, ...]]:
    if issubclass(model, BaseModel):
        return [
            (code(field.alias or name), code(_named(field.annotation)),
             "needed" if field.is_required() else code(repr(field.get_default(call_default_factory=True))),
             prose(field.description or attributes.get(name, "")))
            for name, field in model.model_fields.items()
        ]  # fmt: skip
    return [
        (code(field.name), code(field.type), _default(field), prose(attributes.get(field.name, "")))
        for field in dataclasses.fields(model)
    ]


def contracts_page() -> list[str]:
    """Return the page of what crosses rooms: every module of `silhouette.contracts` with its models and fields."""
    lines = ["# Contracts", "", *docstring(contracts.__doc__)[0]]
    for found in sorted(pkgutil.iter_modules(contracts.__path__), key=lambda one: one.name):
        module = importlib.import_module(f"{contracts.__name__}.{found.name}")
        lines += [f"## contracts.{found.name}", ""]
        lines += docstring(module.__doc__)[0]
        for model in _public(module):
            lines += [f"### {found.name}.{model.__name__}", ""]
            about, attributes = docstring(model.__doc__)
            lines += about + table(("field", "type", "default", "what"), _fields(model, attributes))
    return lines


PAGES = {
    "commands": command_page,
    "configuration": configuration_page,
    "environment": environment_page,
    "pipelines": pipeline_page,
    "contracts": contracts_page,
}


def write(folder: Path) -> None:
    """Write every page; one that did not change keeps its time, so that Sphinx does not read it again."""
    folder.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        path, text = folder / f"{name}.md", "\n".join(page())
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
