"""Compile every pipeline into compiled/<name>.yaml, which is committed; `--check` says whether they are fresh.

python -m pipelines.compile [--check]
"""

import argparse
import difflib
import importlib
import inspect
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from unittest.mock import patch

from pipelines.amend import add_literals, hand_down
from pipelines.load import dump, read_documents
from silhouette.errors import InputError

COMPILED = Path(__file__).parent / "compiled"
PIPELINES = ("training", "segmentation", "inference", "metadata", "markup", "search")  # each is in pipelines/<name>.py
STALE = "the compiled pipelines must be what the code says, {names} differ; run `make compile` and commit the result"
HEADER = "# Made by `make compile` from pipelines/{name}.py: do not edit.\n"


def compiled_file(name: str) -> Path:
    """Return the committed YAML of a pipeline.

    Raises:
        InputError: There is no such pipeline.
    """
    if name not in PIPELINES:
        near = difflib.get_close_matches(name, PIPELINES, n=3) or PIPELINES
        raise InputError(f"PIPELINE must be one of {', '.join(PIPELINES)}, got {name!r}; did you mean {near[0]}?")
    return COMPILED / f"{name}.yaml"


def compile_pipelines(folder: Path, names: Sequence[str] = PIPELINES) -> list[Path]:
    """Write pipelines into `folder`, all unless some are named, and return the files."""
    from kfp import compiler

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in names:
        # kfp looks at the whole stack, source lines included, whenever something is set on a task: only names matter
        with patch.object(inspect, "stack", partial(inspect.stack, 0)):
            pipeline = getattr(importlib.import_module(f"pipelines.{name}"), name)
        path = folder / f"{name}.yaml"
        compiler.Compiler().compile(pipeline, str(path))
        documents = read_documents(path)
        hand_down(documents[0])
        add_literals(documents[0])
        path.write_text(HEADER.format(name=name) + dump(documents), encoding="utf-8")
        written.append(path)
    return written


def stale_pipelines(names: Sequence[str] = PIPELINES) -> list[str]:
    """Return the names of committed files that differ from what the code compiles to, of all or of some pipelines."""
    with tempfile.TemporaryDirectory() as scratch:
        fresh = {path.name: path.read_bytes() for path in compile_pipelines(Path(scratch), names)}
    every = names == PIPELINES
    committed = {path.name: path.read_bytes() for path in COMPILED.glob("*.yaml") if every or path.stem in names}
    return sorted(name for name in fresh.keys() | committed.keys() if fresh.get(name) != committed.get(name))


def main() -> int:
    """Compile, or check."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.compile", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file is stale")
    if parser.parse_args().check:
        if stale := stale_pipelines():
            print(f"error: {STALE.format(names=', '.join(stale))}", file=sys.stderr)
            return 1
        return 0
    for path in compile_pipelines(COMPILED):
        print(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
