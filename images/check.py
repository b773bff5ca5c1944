"""Hold the Dockerfiles to our rules: `python -m images.check`, part of `make lint`; hadolint holds them to its own.

Reads images/*/Dockerfile and images/bases.env. Prints one line a breach and exits with 1 if there is one.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from images.build import ROOT, read_bases
from silhouette.errors import InputError

LABELS = ("title", "description", "version", "licenses")
_COMPILER = re.compile(r"\b(gcc|g\+\+|clang|build-essential|make|cmake|rustc|[\w.+-]+-dev)\b")
_SECRET = re.compile(r"PASSWORD|TOKEN|SECRET|CREDENTIAL|_KEY\b", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """One instruction of a Dockerfile: its word in capitals, and the rest with line ends as spaces."""

    word: str
    rest: str


def read_instructions(text: str) -> list[Instruction]:
    """Split a Dockerfile into its instructions; comments are left out."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [
        Instruction(word=line.split()[0].upper(), rest=line.partition(" ")[2].strip()) for line in joined.split("\n")
    ]


def breaches(text: str) -> Iterator[str]:
    """Yield the rules that a Dockerfile breaks, each with what was found and what to do."""
    instructions = read_instructions(text)
    yield from _bases(instructions)
    starts = [number for number, item in enumerate(instructions) if item.word == "FROM"]
    last = instructions[starts[-1] :] if starts else instructions
    yield from _user(last)
    yield from _packages(instructions, last)
    yield from _labels(last)
    if any(item.word == "EXPOSE" for item in last) and not any(item.word == "HEALTHCHECK" for item in last):
        yield "a server must have a health check, EXPOSE stands without HEALTHCHECK; add one"
    for item in instructions:
        if item.word in ("ENV", "ARG") and _SECRET.search(item.rest):
            yield f"an image must hold no secret, got {item.word} {item.rest}; give it to the pod by a Secret"
        if item.word == "ADD":
            yield f"files must come by COPY, got ADD {item.rest}; ADD unpacks archives and fetches addresses"


def _bases(instructions: list[Instruction]) -> Iterator[str]:
    stages: set[str] = set()
    for item in instructions:
        if item.word != "FROM":
            continue
        base, *alias = item.rest.split()
        if base not in stages and not re.fullmatch(r"\$\{(PYTHON_BASE|TRITON_BASE|PARENT)\}", base):
            yield f"a base image must be a build argument, got FROM {base}; name it in images/bases.env"
        stages.update(alias[1:])


def _user(last: list[Instruction]) -> Iterator[str]:
    users = [item.rest for item in last if item.word == "USER"]
    if not users or not re.fullmatch(r"[1-9]\d*(:\d+)?", users[-1]):
        found = f"USER {users[-1]}" if users else "no USER"
        yield f"the last USER must be a number above 0, got {found}; Kubernetes cannot tell that a name is not root"


def _packages(instructions: list[Instruction], last: list[Instruction]) -> Iterator[str]:
    for item in instructions:
        if item.word != "RUN":
            continue
        for command in re.split(r"&&|;", item.rest):
            if re.search(r"\bpip3?\b.* install\b", command):
                wanted = ["--no-cache-dir", "--no-deps"]
                wanted += [] if "--no-index" in command else ["--require-hashes", "--only-binary=:all:"]
                for flag in wanted:
                    if flag not in command:
                        yield f"pip install must have {flag}, got {command.strip()!r}; install from the hashed lock"
        if "apt-get install" in item.rest and "rm -rf /var/lib/apt/lists" not in item.rest:
            yield f"apt's lists must go in the RUN that fetched them, got {item.rest!r}; rm -rf /var/lib/apt/lists/*"
    for item in last:
        if item.word == "RUN" and "apt-get install" in item.rest and (found := _COMPILER.search(item.rest)):
            yield f"the last stage must have no compiler, it installs {found[0]}; build in an earlier stage"


def _labels(last: list[Instruction]) -> Iterator[str]:
    labels = " ".join(item.rest for item in last if item.word == "LABEL")
    for name in LABELS:
        if f"org.opencontainers.image.{name}=" not in labels:
            yield f"an image must have the label org.opencontainers.image.{name}, it has none; add it"


def main() -> None:
    """Check every Dockerfile of the checkout."""
    found = []
    try:
        read_bases()
    except InputError as error:
        found.append(f"images/bases.env: {error}")
    for path in sorted((ROOT / "images").glob("*/Dockerfile")):
        found += [f"{path.relative_to(ROOT)}: {breach}" for breach in breaches(path.read_text(encoding="utf-8"))]
    print(*found, sep="\n", file=sys.stderr, end="\n" if found else "")
    raise SystemExit(bool(found))


if __name__ == "__main__":
    main()
