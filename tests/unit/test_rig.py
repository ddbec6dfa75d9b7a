"""The test rig's own promises: the right programs, nothing left behind, nothing skipped in CI."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from cluster import binaries, kind, packages
from cluster.postgres import server_programs
from cluster.processes import DidNotStart, Workspace, free_port

TESTS = Path(__file__).parents[1]


def executable(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 20
    while not gone(pid):
        assert time.monotonic() < deadline, f"process {pid} still runs"
        time.sleep(0.05)


def test_everything_started_is_ended_and_removed() -> None:
    with Workspace("rig") as workspace:
        polite = workspace.start("polite", ["sleep", "1000"])
        stubborn = workspace.start("stubborn", ["sh", "-c", "trap '' TERM; sleep 1000 & wait; wait"])
        folder = workspace.folder
        workspace.stop("stubborn", signal.SIGKILL)
        assert folder.exists()
    assert gone(polite.pid)
    assert gone(stubborn.pid)
    assert not folder.exists()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_nothing_outlives_a_killed_run(how: signal.Signals, tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import signal, sys
        from cluster.processes import Workspace
        # A shell may have started the tests in the background, with SIGINT ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with Workspace("rig") as workspace:
            print(workspace.start("sleeper", ["sleep", "1000"]).pid, workspace.folder, flush=True)
            signal.pause()
        """
    )
    run = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )
    assert run.stdout is not None
    pid, folder = run.stdout.readline().split()
    assert psutil.pid_exists(int(pid))
    run.send_signal(how)
    run.wait(20)
    run.stdout.close()
    wait_until_gone(int(pid))
    deadline = time.monotonic() + 20
    while Path(folder).exists():
        assert time.monotonic() < deadline, f"{folder} is still there"
        time.sleep(0.05)


def test_a_program_that_ends_early_is_reported_with_its_words() -> None:
    with Workspace("rig") as workspace:
        workspace.start("broken", ["sh", "-c", "echo no such option; exit 3"])
        with pytest.raises(DidNotStart, match=r"broken ended with code 3:\nno such option"):
            workspace.wait_until("broken", lambda: False)


def test_two_workspaces_are_apart() -> None:
    with Workspace("rig") as one, Workspace("rig") as two:
        assert one.folder != two.folder
        survivor = two.start("sleeper", ["sleep", "1000"])
        one.start("sleeper", ["sleep", "1000"])
        one.close()
        assert not gone(survivor.pid)


def test_free_ports_can_be_bound() -> None:
    assert 1024 < free_port() < 65536


def test_users_own_binaries_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = executable(tmp_path / "etcd", "exit 0")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    assert binaries.program("etcd") == mine


def test_then_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.setenv("POOLBUDGET_CACHE", str(tmp_path))
    cached = executable(binaries._cached(binaries.TOOLS["kwok"]), "exit 0")
    monkeypatch.setenv("PATH", "/nowhere")
    assert binaries.program("kwok") == cached


def test_then_a_build_with_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.setenv("POOLBUDGET_CACHE", str(tmp_path / "cache"))
    go = 'while [ "$1" != -o ]; do shift; done; echo built > "$2"'
    executable(tmp_path / "bin" / "go", go)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    built = binaries.program("kwok")
    assert built.read_text() == "built\n"
    said = capsys.readouterr().err
    assert "Building kwok from Go modules, once: about 1 min 30 s" in said


def test_a_failed_build_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.setenv("POOLBUDGET_CACHE", str(tmp_path / "cache"))
    executable(tmp_path / "bin" / "go", "echo no network >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    with pytest.raises(binaries.CannotBuild, match=r"building kwok failed:\nno network"):
        binaries.program("kwok")


def test_the_version_comes_from_the_module() -> None:
    assert binaries.kubernetes_version().startswith("v1.")


def test_missing_packages_without_root_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(packages.MissingPackages, match=r"as root: apt-get install .* nonsense"):
        packages.ensure({"/no/such/program": "nonsense"})


def test_a_postgres_server_is_found() -> None:
    assert (server_programs() / "initdb").exists()


class TestKind:
    """The adapter for kind, with stand-ins: no Docker engine answers where this was written."""

    @pytest.fixture
    def calls(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        log = tmp_path / "calls"
        executable(tmp_path / "bin" / "kind", f'echo "$@" >> {log}; test ! -e {tmp_path}/fail || exit 1')
        executable(tmp_path / "bin" / "kubectl", f'echo kubectl "$@" >> {log}; echo "{{}}"')
        executable(tmp_path / "bin" / "docker", "exit 0")
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
        return log

    def test_only_where_an_engine_answers(self, calls: Path, tmp_path: Path) -> None:
        assert kind.docker_answers()
        executable(tmp_path / "bin" / "docker", "exit 1")
        assert not kind.docker_answers()

    def test_not_without_kind(self, calls: Path, tmp_path: Path) -> None:
        (tmp_path / "bin" / "kind").unlink()
        assert not kind.docker_answers()

    def test_a_cluster_of_its_own_name_from_start_to_end(self, calls: Path, tmp_path: Path) -> None:
        cluster = kind.KindCluster(tmp_path)
        cluster.load_image(tmp_path / "image.tar")
        assert cluster.get("pods") == {}
        cluster.close()
        create, load, get, delete = calls.read_text().splitlines()
        assert create == (
            f"create cluster --config={kind.CONFIG} --wait=120s --kubeconfig={cluster.kubeconfig} "
            f"--name={cluster.name}"
        )
        assert load == f"load image-archive {tmp_path / 'image.tar'} --name={cluster.name}"
        assert get == f"kubectl --kubeconfig={cluster.kubeconfig} get pods -o json"
        assert delete == f"delete cluster --kubeconfig={cluster.kubeconfig} --name={cluster.name}"
        assert cluster.name != kind.KindCluster(tmp_path).name

    def test_a_failure_carries_kinds_words(self, calls: Path, tmp_path: Path) -> None:
        (tmp_path / "fail").touch()
        with pytest.raises(kind.KindFailed, match="kind create cluster"):
            kind.KindCluster(tmp_path)

    def test_the_config_is_valid_yaml(self) -> None:
        import yaml

        assert yaml.safe_load(kind.CONFIG.read_text())["kind"] == "Cluster"


@pytest.mark.parametrize(
    ("ci", "outcome", "last_line"),
    [("true", "1 failed", None), ("", "1 skipped", "1 tests skipped: no cluster here")],
)
def test_what_is_missing_fails_in_ci_and_is_counted_elsewhere(
    ci: str, outcome: str, last_line: str | None, tmp_path: Path
) -> None:
    (tmp_path / "conftest.py").write_text((TESTS / "conftest.py").read_text())
    (tmp_path / "test_it.py").write_text(
        "from conftest import unavailable\ndef test_it():\n    unavailable('no cluster here')\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "CI": ci, "PYTHONPATH": f"{tmp_path}:{TESTS}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome in done.stdout
    if last_line:
        assert done.stdout.strip().splitlines()[-1] == last_line
