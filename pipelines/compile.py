"""Compile every pipeline into compiled/<name>.yaml, which is committed; `--check` says whether they are fresh.

python -m pipelines.compile [--check]
"""

import argparse
import importlib
import sys
import tempfile
from pathlib import Path

COMPILED = Path(__file__).parent / "compiled"
PIPELINES = ("training", "markup", "metadata")  # pipelines/<name>.py defines the pipeline <name>
STALE = "the compiled pipelines must be what the code says, {names} differ; run `make compile` and commit the result"
HEADER = "# Made by `make compile` from pipelines/{name}.py: do not edit.\n"


def _without_comments(text: str) -> str:
    """Leave out KFP's header, which prints mappings in another order each time."""
    lines = text.splitlines(keepends=True)
    return "".join(lines[next(number for number, line in enumerate(lines) if not line.startswith("#")) :])


def compile_pipelines(folder: Path) -> list[Path]:
    """Write every pipeline into `folder` and return the files."""
    from kfp import compiler

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in PIPELINES:
        pipeline = getattr(importlib.import_module(f"pipelines.{name}"), name)
        path = folder / f"{name}.yaml"
        compiler.Compiler().compile(pipeline, str(path))
        path.write_text(
            HEADER.format(name=name) + _without_comments(path.read_text(encoding="utf-8")), encoding="utf-8"
        )
        written.append(path)
    return written


def stale_pipelines() -> list[str]:
    """Return the names of committed files that differ from what the code compiles to."""
    with tempfile.TemporaryDirectory() as scratch:
        fresh = {path.name: path.read_bytes() for path in compile_pipelines(Path(scratch))}
    committed = {path.name: path.read_bytes() for path in COMPILED.glob("*.yaml")}
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
