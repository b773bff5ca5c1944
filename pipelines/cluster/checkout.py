"""A submitted run is made of what is committed, so that its commit says what it was. Asks git; changes nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path

from silhouette.errors import InputError

CHECKOUT = Path(__file__).resolve().parents[2]
ENTERS_A_RUN = ("components", "config", "images", "pipelines", "pyproject.toml", "requirements.lock")
_SHOWN = 3


def committed(checkout: Path = CHECKOUT) -> str:
    """Return the commit that the run is made of.

    Raises:
        InputError: Something that enters a run is changed or not under version control, or there is no git.
    """
    changed = _git(checkout, "status", "--porcelain", "--untracked-files=normal", "--", *ENTERS_A_RUN).splitlines()
    if changed:
        files = ", ".join(line[3:] for line in changed[:_SHOWN]) + (", ..." if len(changed) > _SHOWN else "")
        raise InputError(
            f"what is submitted must be committed, {len(changed)} changed: {files}; commit them (and build the images)"
        )
    return _git(checkout, "rev-parse", "HEAD").strip()


def _git(checkout: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(checkout), *arguments], capture_output=True, text=True, timeout=60, check=False
        )
    except FileNotFoundError:
        raise InputError("git must be installed to say what is submitted, it is not; install it") from None
    if done.returncode:
        told = " ".join(done.stderr.split())[:200]
        raise InputError(f"what is submitted must be a git checkout, {checkout} is not ({told}); clone it")
    return done.stdout
