"""Each Dockerfile keeps our rules and hadolint's; each rule is shown by a breach that is caught."""

import subprocess
import sys
from pathlib import Path

import pytest

from images.check import ROOT, breaches
from silhouette.containers import PARENTS

GOOD = """\
ARG PYTHON_BASE
FROM ${PYTHON_BASE} AS build
RUN pip install --no-cache-dir --require-hashes --no-deps \\
    --only-binary=:all: -r a.lock
FROM ${PYTHON_BASE}
LABEL org.opencontainers.image.title="a" org.opencontainers.image.description="b" \\
      org.opencontainers.image.version="1" org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt /opt
USER 1000:1000
"""


def dockerfile(image: str) -> str:
    return (ROOT / "images" / image / "Dockerfile").read_text(encoding="utf-8")


@pytest.mark.parametrize("image", PARENTS)
def test_dockerfile_keeps_our_rules(image: str) -> None:
    assert list(breaches(dockerfile(image))) == []


def test_dockerfiles_keep_the_rules_of_hadolint() -> None:
    paths = [str(ROOT / "images" / image / "Dockerfile") for image in PARENTS]
    done = subprocess.run([Path(sys.executable).parent / "hadolint", *paths], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_good_example_breaks_no_rule() -> None:
    assert list(breaches(GOOD)) == []


@pytest.mark.parametrize(
    ("old", "new", "breach"),
    [
        ("FROM ${PYTHON_BASE}\n", "FROM python:3.11\n", "a base image must be a build argument"),
        ("USER 1000:1000", "USER 0", "the last USER must be a number above 0, got USER 0"),
        ("USER 1000:1000", "USER somebody", "the last USER must be a number above 0, got USER somebody"),
        ("USER 1000:1000\n", "", "got no USER"),
        (" --no-cache-dir", "", "pip install must have --no-cache-dir"),
        (" --require-hashes", "", "pip install must have --require-hashes"),
        (" --no-deps", "", "pip install must have --no-deps"),
        ("--only-binary=:all:", "", "pip install must have --only-binary=:all:"),
        ("USER", "RUN apt-get install -y curl\nUSER", "apt's lists must go"),
        ("USER", "RUN apt-get install -y gcc && rm -rf /var/lib/apt/lists/*\nUSER", "must have no compiler"),
        ("org.opencontainers.image.version=", "version=", "must have the label org.opencontainers.image.version"),
        ("USER", "EXPOSE 80\nUSER", "a server must have a health check"),
        ("USER", "ENV API_TOKEN=x\nUSER", "an image must hold no secret"),
        ("COPY", "ADD", "files must come by COPY"),
    ],
)  # fmt: skip
def test_breach_is_caught(old: str, new: str, breach: str) -> None:
    text = GOOD.replace(old, new, 1) if old != "FROM ${PYTHON_BASE}\n" else GOOD.replace(old, new)
    assert text != GOOD
    assert any(breach in found for found in breaches(text)), list(breaches(text))


def test_image_with_ultralytics_says_that_it_is_agpl() -> None:
    assert "AGPL-3.0" in dockerfile("yolo")
    assert "COPY images/yolo/NOTICE" in dockerfile("yolo")
    assert "AGPL" not in dockerfile("torch") + dockerfile("cpu")


def test_what_a_build_sees_is_listed_so_that_no_secret_file_is_in_it() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
