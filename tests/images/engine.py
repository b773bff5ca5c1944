"""A container engine for tests, and an image to build from, without a registry.

An engine that answers is used as it is; else, as root, a daemon of our own is started with its data in a folder of
the test, without a bridge and without firewall rules, and ended by its process id. The base image is pulled; where
no registry is reached it is made with debootstrap: Debian with Python, as python:3.11-slim is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from images.build import read_bases

LOCAL_BASE = "silhouette-test-base:bookworm"
_MIRROR = "http://deb.debian.org/debian"


def docker(*words: str, host: str, timeout_s: float = 60, check: bool = True) -> str:
    """Run the client against one daemon and return what it prints."""
    done = subprocess.run(
        ["docker", *words], env={**os.environ, "DOCKER_HOST": host}, capture_output=True, text=True, timeout=timeout_s
    )
    if check and done.returncode:
        pytest.fail(f"docker {' '.join(words[:3])} failed: {done.stderr.strip()[-2000:]}")
    return done.stdout if done.returncode == 0 else ""


@contextmanager
def daemon(folder: Path) -> Iterator[str]:
    """Yield the address of an engine that answers, or skip the test."""
    given = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    if shutil.which("docker") and docker("info", "--format={{.ID}}", host=given, check=False):
        yield given
        return
    if os.geteuid() != 0 or not (shutil.which("dockerd") and shutil.which("docker")):
        pytest.skip("needs a container engine: none answers, and none can be started (as root: docker.io of Debian)")
    host = f"unix://{folder}/docker.sock"
    with (folder / "dockerd.log").open("w") as log:
        process = subprocess.Popen(
            [
                "dockerd", "--bridge=none", "--iptables=false", "--ip6tables=false", f"--host={host}",
                f"--data-root={folder}/data", f"--exec-root={folder}/exec", f"--pidfile={folder}/docker.pid",
            ],
            stdout=log, stderr=log,
        )  # fmt: skip
        try:
            for _ in range(60):
                if docker("info", "--format={{.ID}}", host=host, check=False):
                    break
                if process.poll() is not None:
                    reason = (folder / "dockerd.log").read_text()[-300:]
                    pytest.skip(f"needs a container engine: dockerd does not start here: {reason}")
                time.sleep(0.5)
            yield host
        finally:
            process.terminate()
            process.wait(60)
            for mounted in folder.glob("exec/netns/*"):  # what dockerd leaves, and what no folder can be removed with
                subprocess.run(["umount", str(mounted)], check=False, capture_output=True)


def base(host: str, folder: Path) -> str:
    """Return the name of a Python image that the engine has, or skip the test."""
    wanted = read_bases()["PYTHON_BASE"]
    for name in (wanted, LOCAL_BASE):
        if docker("image", "inspect", name, host=host, check=False):
            return name
    with suppress(subprocess.TimeoutExpired):
        docker("pull", "--quiet", wanted, host=host, timeout_s=120, check=False)
    if docker("image", "inspect", wanted, host=host, check=False):
        return wanted
    if os.geteuid() != 0 or not shutil.which("debootstrap"):
        pytest.skip(f"needs {wanted}: no registry is reached, and without root and debootstrap none can be made")
    _bootstrap(folder / "rootfs")
    archive = folder / "base.tar"
    subprocess.run(["tar", "-C", folder / "rootfs", "-cf", archive, "."], check=True, timeout=300)
    docker("import", str(archive), LOCAL_BASE, host=host, timeout_s=300)
    return LOCAL_BASE


def _bootstrap(root: Path) -> None:
    command = ["debootstrap", "--variant=minbase", "--include=python3,python3-venv,ca-certificates", "bookworm"]
    done = subprocess.run([*command, root, _MIRROR], capture_output=True, text=True, timeout=900)
    if done.returncode:
        pytest.skip(f"needs a base image: debootstrap finds no Debian mirror: {done.stdout.strip()[-200:]}")
    # what this machine trusts, and where it takes packages from
    bundle = Path("/etc/ssl/certs/ca-certificates.crt")
    if bundle.is_file():
        shutil.copyfile(bundle, root / bundle.relative_to("/"))
    if Path("/etc/pip.conf").is_file():
        lines = Path("/etc/pip.conf").read_text().splitlines()
        (root / "etc/pip.conf").write_text("\n".join(line for line in lines if "file://" not in line) + "\n")
    subprocess.run(["chroot", root, "python3", "-m", "venv", "/usr/local"], check=True, timeout=120)
