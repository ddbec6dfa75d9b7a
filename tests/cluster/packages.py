"""Debian packages that the rig needs, installed where that is possible."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from cluster.cache import cache_folder, locked


class MissingPackages(Exception):
    """Programs are missing and cannot be installed; the message says what to do."""


def ensure(programs: dict[str, str]) -> None:
    """See to it that programs exist; `programs` maps each to the Debian package that brings it.

    As root on a machine with apt-get, missing ones are installed, saying so. Raises MissingPackages.
    """
    with locked(cache_folder() / "packages"):
        missing = sorted({package for program, package in programs.items() if find(program) is None})
        if not missing:
            return
        command = f"apt-get install --no-install-recommends {' '.join(missing)}"
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            raise MissingPackages(f"this needs Debian packages; as root: {command}")
        print(f"installing Debian packages: {' '.join(missing)}", file=sys.stderr)
        _apt("update", "--quiet=2")
        _apt("install", "--yes", "--quiet=2", "--no-install-recommends", *missing)


def find(program: str) -> str | None:
    """A program's path, also where an ordinary user's PATH does not lead."""
    if os.path.isabs(program):
        return program if os.path.exists(program) else None
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _apt(*arguments: str) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        ["apt-get", *arguments], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise MissingPackages(f"apt-get {' '.join(arguments)} failed: {done.stderr[-2000:]}")
