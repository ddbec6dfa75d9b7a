"""README and docs: every command runs, every manifest is accepted, every link leads somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml

from cluster.control_plane import Cluster
from cluster.operator_process import REPOSITORY, OperatorProcess

DOCUMENTS = sorted([REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")])
_COMMAND = re.compile(r"^    (?:\$ )?((?:make|helm|kubectl|docker|poolbudget|pip) [^#\n]*)", re.MULTILINE)
_LINK = re.compile(r"\]\((?!https?:)([^)#]+)\)")

# Where else each of these is run; `make` targets are checked below.
RUN_ELSEWHERE = {
    "helm install poolbudget charts/poolbudget --namespace poolbudget-system --create-namespace": (
        "tests/integration/test_install.py",
        '"install", "trial", CHART',
    ),
    "kubectl apply -k deploy/": (
        "tests/cluster/operator_process.py",
        '"kustomize", str(REPOSITORY / "deploy")',
    ),
    "pip install 'poolbudget[operator]'": ("pyproject.toml", "operator = ["),
    "pip install 'poolbudget[simulate]'": ("pyproject.toml", "simulate = ["),
    "pip install 'poolbudget[metrics]'": ("pyproject.toml", "metrics = ["),
    "pip install poolbudget": ("pyproject.toml", 'dependencies = ["sqlalchemy[asyncio]'),
    "kubectl apply -k deploy/in-place": (
        "tests/cluster/operator_process.py",
        '"apply", "-k", str(REPOSITORY / "deploy" / "in-place")',
    ),
    "poolbudget simulate --list": ("tests/unit/test_simulate_command.py", 'simulate("--list")'),
    "poolbudget simulate -f my.yaml": ("tests/unit/test_simulate_command.py", 'simulate("-f", mine'),
    "poolbudget check postgresql://monitor@orders.example.internal/orders": (
        "tests/integration/test_commands.py",
        'run("poolbudget", "check", postgres.url())',
    ),
    "poolbudget plan --live": ("tests/integration/test_commands.py", '"plan", "--live"'),
    "kubectl poolbudget plan --live --scale orders-api=12": (
        "tests/integration/test_commands.py",
        '"kubectl-poolbudget", "plan", "--live"',
    ),
    "kubectl exec deploy/orders-api -- python exhaustion.py": (
        "tests/integration/test_exhaustion.py",
        '"exhaustion.py"',
    ),
    "kubectl get poolbudgets --namespace shop": ("tests/demo/__main__.py", '"get", "poolbudgets"'),
}


def commands() -> list[str]:
    found = [command for document in DOCUMENTS for command in _COMMAND.findall(document.read_text())]
    return sorted({command.strip() for command in found})


@pytest.mark.parametrize("command", commands())
def test_every_command_is_one_that_runs(command: str) -> None:
    if command.startswith("make "):
        done = subprocess.run(
            ["make", "--dry-run", *command.split()[1:]],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return
    if command.startswith("poolbudget plan ") and command not in RUN_ELSEWHERE:
        program = Path(sys.executable).parent / "poolbudget"
        done = subprocess.run(
            [program, *command.split()[1:]], cwd=REPOSITORY, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return
    if command.startswith("poolbudget ") and command not in RUN_ELSEWHERE:
        _runs(command)
        return
    file, words = RUN_ELSEWHERE[command]
    assert words in (REPOSITORY / file).read_text()


def _runs(command: str) -> None:
    """A command of our own, with few schedules: how many there are changes nothing."""
    program = Path(sys.executable).parent / "poolbudget"
    arguments = re.sub(r"-n \d+", "", command).split()[1:]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [program, *arguments, "-n", "1"], cwd=folder, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr


def blocks(language: str) -> list[str]:
    pattern = re.compile(rf"^```{language}\n(.*?)^```", re.MULTILINE | re.DOTALL)
    return [block for document in DOCUMENTS for block in pattern.findall(document.read_text())]


# Parts of manifests, in docs/checks.md, are for tests/unit/test_checks.py.
@pytest.mark.parametrize("block", [block for block in blocks("yaml") if "\nkind: " in block])
def test_every_manifest_is_accepted(
    cluster: Cluster, operator: OperatorProcess, namespace: str, block: str
) -> None:
    manifest = yaml.safe_load(block)
    manifest["metadata"]["namespace"] = namespace
    assert "created" in cluster.apply(manifest)


@pytest.mark.parametrize("block", blocks("python"))
def test_every_snippet_runs(block: str) -> None:
    environment = {**os.environ, "POOL_SIZE": "7", "MAX_OVERFLOW": "3"}
    done = subprocess.run(
        [sys.executable, "-c", f"{block}\nassert engine.pool.size() == 7"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    for target in _LINK.findall(document.read_text()):
        assert (document.parent / target).exists(), target


def test_the_benchmark_runs(operator: OperatorProcess) -> None:
    """With a few scalings only: its figures belong to `make bench`."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--scalings=5"],
        cwd=REPOSITORY / "tests",
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "tests")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"poolbudget +│ +5 │", done.stdout)
    assert re.search(r"ratio +│", done.stdout)
