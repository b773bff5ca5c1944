"""Rules about pods and about what people read in the UI."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipelines.lint_ir.ir import Ir

_CONTENT_TAG = re.compile(r"[^@]+(:[\w.-]*[0-9a-f]{12,64}|@sha256:[0-9a-f]{64})")
_UNNAMEABLE = re.compile(r"condition-branches-\d+")  # what the SDK puts around If and Else, and gives no name
_MAX_COMMAND_BYTES = 100_000  # one argument of a process holds 128 KiB
_MAX_IR_BYTES = 1_000_000  # etcd holds a workflow of 1.5 MB, and the backend adds to it


def nothing_is_installed_at_start(ir: Ir) -> Iterator[str]:
    """A pod that calls pip needs the internet, and gets other releases than the tests had."""
    for label, container in ir.containers():
        if "pip install" in " ".join([*container.command, *container.args]):
            yield f"{label}: installs with pip at start-up; use the step decorators of silhouette.containers"


def images_are_pinned_to_content(ir: Ir) -> Iterator[str]:
    """Both caches know a step by its image's name: new code must mean a new tag."""
    for label, container in ir.containers():
        if not _CONTENT_TAG.fullmatch(container.image):
            yield (
                f"{label}: an image must end in a tag with a content hash, got {container.image!r};"
                " use silhouette.containers.image_reference"
            )


def commands_fit(ir: Ir) -> Iterator[str]:
    """A component's source travels in its pod's command line."""
    for label, container in ir.containers():
        size = max((len(part.encode()) for part in [*container.command, *container.args]), default=0)
        if size > _MAX_COMMAND_BYTES:
            yield f"{label}: an argument must be at most {_MAX_COMMAND_BYTES} bytes, got {size}; move code to a room"


def memory_is_limited(ir: Ir) -> Iterator[str]:
    """Without a limit one greedy pod takes the node with it."""
    for label, container in ir.containers():
        if not (container.resources.resource_memory_limit or container.resources.memory_limit):
            yield f"{label}: has no memory limit; call .set_memory_limit on the task"


def time_is_limited(ir: Ir) -> Iterator[str]:
    """A pod that hangs holds its GPU until somebody looks."""
    for label, _ in ir.containers():
        if label not in ir.platform or ir.platform[label].active_deadline_seconds <= 0:
            yield f"{label}: has no timeout; call kfp.kubernetes.set_timeout on the task"


def nobody_is_root(ir: Ir) -> Iterator[str]:
    """A namespace with restricted pod security refuses root."""
    for label, _ in ir.containers():
        context = ir.platform[label].security_context if label in ir.platform else None
        root = context is not None and context.HasField("run_as_user") and context.run_as_user == 0
        if context is None or not context.run_as_non_root or root:
            yield f"{label}: must run as a user that is not root; call kfp.kubernetes.set_security_context on the task"


def tasks_have_display_names(ir: Ir) -> Iterator[str]:
    """The graph in the UI is read by people; KFP's own name is the task's key."""
    for at, task, _ in ir.tasks():
        key = at.rpartition("/")[2]
        if task.task_info.name in ("", key) and not _UNNAMEABLE.fullmatch(key):
            yield f"{at}: has no display name; call .set_display_name (dsl.If and dsl.ParallelFor take name=)"


def parameters_are_described(ir: Ir) -> Iterator[str]:
    """A run's parameters are explained where they are declared."""
    for name, definition in ir.spec.root.input_definitions.parameters.items():
        if not definition.description.strip():
            yield f"root: parameter {name!r} has no description; add it to Args: of the pipeline's docstring"


def file_is_small(ir: Ir) -> Iterator[str]:
    """A workflow that does not fit into etcd is refused at submission."""
    size = len(ir.text.encode())
    if size > _MAX_IR_BYTES:
        yield f"the compiled pipeline must be at most {_MAX_IR_BYTES} bytes, got {size}; split it"


RULES = (
    nothing_is_installed_at_start,
    images_are_pinned_to_content,
    commands_fit,
    memory_is_limited,
    time_is_limited,
    nobody_is_root,
    tasks_have_display_names,
    parameters_are_described,
    file_is_small,
)
