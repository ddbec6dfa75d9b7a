"""`make test`: each stage in turn, with its time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

REPOSITORY = Path(__file__).parents[1]
_PYTHON = (sys.executable, "-m")
_POOLBUDGET = (str(Path(sys.executable).parent / "poolbudget"),)


@dataclass(frozen=True)
class Stage:
    """A command that has to succeed; a slow one is left out of `make test-fast`."""

    name: str
    command: tuple[str, ...]
    is_slow: bool = False


def _pytest(name: str, folder: str, *arguments: str, is_slow: bool = True) -> Stage:
    command = (*_PYTHON, "coverage", "run", "-m", "pytest", f"tests/{folder}", *arguments)
    return Stage(name, command, is_slow)


STAGES = (
    Stage("format", (*_PYTHON, "ruff", "format", "--check", "--quiet", ".")),
    Stage("lint", (*_PYTHON, "ruff", "check", "--quiet", ".")),
    Stage("types", (*_PYTHON, "mypy")),
    Stage("import contracts", (str(Path(sys.executable).parent / "lint-imports"), "--no-cache", "--no-logo")),
    _pytest("unit tests", "unit", is_slow=False),
    _pytest("simulation tests", "simulation"),
    Stage(
        "1,000 schedules", (*_POOLBUDGET, "simulate", "--suite", "-n", "46", "--policy", "poolbudget"), True
    ),
    _pytest("integration tests", "integration"),
    _pytest("end-to-end tests", "end_to_end"),
    Stage("coverage data", (*_PYTHON, "coverage", "combine", "--quiet"), is_slow=True),
    Stage("coverage", (*_PYTHON, "coverage", "report", "--fail-under=90"), is_slow=True),
)


@click.command()
@click.option("--fast", is_flag=True, help="Without a cluster.")
def main(fast: bool) -> None:
    """Run the stages; the first one that fails ends the run."""
    console = Console(width=100)
    table = Table(title="Stages")
    table.add_column("stage")
    table.add_column("seconds", justify="right")
    table.add_column("result")
    failed = False
    for old in REPOSITORY.glob(".coverage*"):
        old.unlink()
    for stage in STAGES:
        if fast and stage.is_slow:
            continue
        console.rule(stage.name)
        started = time.monotonic()
        failed = (
            subprocess.run(stage.command, cwd=REPOSITORY, env=_environment(), check=False).returncode != 0
        )
        table.add_row(stage.name, f"{time.monotonic() - started:.1f}", "failed" if failed else "passed")
        if failed:
            break
    console.print(table)
    sys.exit(1 if failed else 0)


def _environment() -> dict[str, str]:
    # The tests' own packages are imported by name; the repository's root must not hide the standard
    # library's `operator`, which a test checks.
    return {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY / "tests"),
        "COVERAGE_FILE": str(REPOSITORY / ".coverage"),
    }


if __name__ == "__main__":
    main()
