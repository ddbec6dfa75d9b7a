"""`make demo`, as a new user runs it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from cluster.node import Node


def start(repository: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "demo", *arguments],
        cwd=repository / "tests",
        env={**os.environ, "PYTHONPATH": str(repository / "tests"), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def read_until(run: subprocess.Popen[str], words: str) -> str:
    """The output up to the line with these words."""
    assert run.stdout is not None
    lines: list[str] = []
    for line in run.stdout:
        lines.append(line)
        if words in line:
            return "".join(lines)
    raise AssertionError(f"{words!r} never came:\n{''.join(lines)}")


def left_over() -> list[str]:
    """Processes of the demonstration, and folders."""
    found = [
        " ".join(process.info["cmdline"] or [])
        for process in psutil.process_iter(["cmdline"])
        if "poolbudget-demo-" in " ".join(process.info["cmdline"] or [])
    ]
    return found + [str(path) for path in Path("/tmp").glob("poolbudget-demo-*")]


def wait_until_nothing_is_left() -> None:
    deadline = time.monotonic() + 30
    while left := left_over():
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def test_the_whole_demonstration(node: Node, repository: Path, tmp_path: Path) -> None:
    picture = repository / "build" / f"{tmp_path.name}.svg"
    run = start(repository, f"--picture={picture}")
    output, _ = run.communicate(timeout=400)
    assert run.returncode == 0, output
    # The pods of the other way are gone by then.
    assert re.search(r"shop-in-place +orders-primary +True +170 +155 +\d+ +3 +Balanced", output)
    assert "POOL_SIZE" in output
    rows = re.findall(r"│ ([^│]+?) +│ +(\d+) │ +(\d+) │ +(\d+)% │ +(\d+)% │", output)
    found = {name: [int(value) for value in values] for name, *values in rows}
    worst, refused, three, nine = found["updateMode: Initial"]
    # Pods held every slot that they were given: the database must have seen that.
    assert 20 < worst <= 155
    assert refused == 0
    worst, refused, three, nine = found["updateMode: InPlace"]
    assert worst <= 155
    assert refused == 0
    assert three >= 90
    assert nine >= 90
    assert found["plain formula: usable / replicas"][1] > 0
    assert "backends counted" in picture.read_text()
    picture.unlink()
    wait_until_nothing_is_left()


def test_ctrl_c_leaves_nothing_behind(node: Node, repository: Path) -> None:
    run = start(repository)
    read_until(run, "database")
    run.send_signal(signal.SIGINT)
    output, _ = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "nothing is left running" in output
    wait_until_nothing_is_left()


def test_keep_leaves_it_up_until_ctrl_c(node: Node, repository: Path) -> None:
    run = start(repository, "--keep")
    output = read_until(run, "export KUBECONFIG=")
    kubeconfig = output.strip().splitlines()[-1].removeprefix("export KUBECONFIG=")
    done = subprocess.run(
        [node.control_plane.kubectl_program, "get", "poolbudgets", "--all-namespaces"],
        env={**os.environ, "KUBECONFIG": kubeconfig},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "orders-primary" in done.stdout
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=60)
    wait_until_nothing_is_left()
