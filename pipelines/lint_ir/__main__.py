"""Lint the compiled pipelines that the command line names."""

from __future__ import annotations

import sys
from pathlib import Path

from pipelines.lint_ir import lint


def main(paths: list[str]) -> int:
    """Print what is wrong in the files; return 1 when something is, 2 when no file was named."""
    if not paths:
        print("usage: python -m pipelines.lint_ir pipelines/compiled/*.yaml", file=sys.stderr)
        return 2
    found = 0
    for path in paths:
        for finding in lint(Path(path).read_text(encoding="utf-8")):
            found += 1
            print(f"{path}: {finding}")
    if not found:
        print(f"{len(paths)} compiled pipeline(s): nothing to say")
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
