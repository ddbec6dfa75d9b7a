"""The client library with each minor version of SQLAlchemy that it supports."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.versions import sqlalchemy_folder


@pytest.mark.parametrize("minor", ["2.0", "2.1"])
def test_pools_and_engines(minor: str, repository: Path) -> None:
    folder = sqlalchemy_folder(minor)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *("unit/test_pool.py", "unit/test_pool_contract.py", "integration/test_following.py"),
        ],
        env={**os.environ, "PYTHONPATH": str(folder)},
        cwd=repository / "tests",
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    version = subprocess.run(
        [sys.executable, "-c", "import sqlalchemy; print(sqlalchemy.__version__)"],
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert version.stdout.startswith(f"{minor}.")
