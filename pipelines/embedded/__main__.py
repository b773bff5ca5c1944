"""``python -m pipelines.embedded up|down|status``: the program behind `make up`, `make down` and `make status`.

Prints addresses, never a secret. An expected error is one line on standard error and exit code 1; `status` exits
with 1 when a service that was up is not serving.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from pipelines.embedded.services import ALL, ServiceStatus, down, status, up
from silhouette.errors import SilhouetteError

DEFAULT_STATE_DIR = ".silhouette"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.embedded", description="The embedded services.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="up|down|status")
    for name, text in (
        ("up", "start what does not run, and print where everything listens"),
        ("down", "stop everything; data, ports and passwords stay"),
        ("status", "say what runs"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument(
            "--state-dir",
            type=Path,
            default=Path(os.environ.get("SILHOUETTE_STATE_DIR") or DEFAULT_STATE_DIR),
            help="state folder; default: SILHOUETTE_STATE_DIR, else %(default)s",
        )
        command.add_argument("--json", action="store_true", help="print a list of objects for machines")
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
        command.add_argument("services", nargs="*", metavar="SERVICE", help=f"default: all of {', '.join(ALL)}")
    options = parser.parse_args(arguments)
    try:
        return _run(options.command, options.state_dir, tuple(options.services) or ALL, as_json=options.json)
    except KeyboardInterrupt:
        print("interrupted; what was started runs on until `make down`", file=sys.stderr)
        return 130
    except SilhouetteError as error:
        if options.debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1


def _run(command: str, state_dir: Path, services: Sequence[str], *, as_json: bool) -> int:
    if command == "down":
        stopped = down(state_dir, services=services)
        print(json.dumps(stopped) if as_json else f"stopped {', '.join(stopped)}" if stopped else "nothing was running")
        return 0
    if command == "up":
        statuses = up(state_dir, services=services, say=lambda line: print(line, file=sys.stderr)).statuses
    else:
        statuses = tuple(status(state_dir, services=services))
    if as_json:
        print(json.dumps([asdict(row) for row in statuses], indent=1, ensure_ascii=False))
    else:
        _print_table(statuses)
    return int(any(row.state == "failing" for row in statuses))


def _print_table(statuses: Sequence[ServiceStatus]) -> None:
    for row in statuses:
        process = f"process {row.pid}" if row.pid else ""
        print(f"{row.name:16} {row.state:9} {row.address:24} {process:16} {row.detail}".rstrip())


if __name__ == "__main__":
    sys.exit(main())
