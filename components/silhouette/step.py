"""What every step does around its work: log lines to standard output, and errors as one clear line.

A component's body is `with step():` around a call of the room's work function; the command line uses the same
door. A `SilhouetteError` becomes ``error: <rule, value, way out>`` and exit code 1; SILHOUETTE_DEBUG=1 shows
the traceback as well.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from silhouette.errors import SilhouetteError


def configure_logging() -> None:
    """Send log lines of the project to standard error; libraries speak from warnings on."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr, force=True)
    logging.getLogger("silhouette").setLevel(logging.INFO)
    for retrying in ("stamina", "urllib3"):  # a retry that helps is no news; one that does not raises
        logging.getLogger(retrying).setLevel(logging.ERROR)


def one_line(error: BaseException) -> str:
    """Return the message of an error on one line."""
    return " ".join(str(error).split())


def scalars(report: Any) -> dict[str, str | int | float]:
    """Return the fields of a report that an artifact of KFP can carry as metadata: texts and numbers."""
    fields = dataclasses.asdict(report)
    return {name: value for name, value in fields.items() if isinstance(value, str | int | float)}


def keep_metadata(*artifacts: Any) -> None:
    """Write the metadata of artifacts that have no content of their own, such as Metrics, into their files.

    kfp.local takes a result from its cache only when the file of every artifact exists.
    """
    for artifact in artifacts:
        Path(artifact.path).write_text(json.dumps(artifact.metadata) + "\n", encoding="utf-8")


@contextmanager
def step() -> Iterator[None]:
    """Run a step's work; turn expected errors into one line and exit code 1.

    Raises:
        SystemExit: With code 1, when the work raised a `SilhouetteError` or the disk is full.
    """
    configure_logging()
    try:
        yield
    except SilhouetteError as error:
        _refuse(error, one_line(error))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _refuse(error, f"the disk must have room to write, {error.filename or 'it'} is full; free some and run again")


def _refuse(error: BaseException, line: str) -> None:
    if os.environ.get("SILHOUETTE_DEBUG") == "1":
        raise error
    print(f"error: {line}", file=sys.stderr, flush=True)  # noqa: T201 - the one line that the user must see
    raise SystemExit(1) from None
