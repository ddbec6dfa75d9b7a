"""Starts programs in a temporary folder and ends all of them, whatever happens to the run."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

_GRACE = 10.0
"""Seconds between asking a program to end and ending it."""


class DidNotStart(Exception):
    """A program ended early or did not answer; the message carries the end of its log."""


def free_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Workspace:
    """A temporary folder, the programs started in it, and a guard that outlives us.

    The guard is a small process that waits for the end of a pipe: when this process ends in any way,
    even by SIGKILL, the pipe closes and the guard cleans up.
    """

    def __init__(self, name: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"poolbudget-{name}-"))
        self.folder.chmod(0o755)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._ends_by: dict[str, signal.Signals] = {}
        self._guard = subprocess.Popen(
            [sys.executable, __file__, str(self.folder)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        environment: Mapping[str, str] | None = None,
        user: str | None = None,
        ends_by: signal.Signals = signal.SIGTERM,
    ) -> subprocess.Popen[bytes]:
        """Start a program; its output goes to `<name>.log` in the folder.

        It gets a session of its own, so that Ctrl-C reaches this process only and the end is orderly.
        """
        with self.log(name).open("ab") as log:
            process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                cwd=self.folder,
                user=user,
                group=user,
                extra_groups=[] if user else None,
                start_new_session=True,
            )
        self._processes[name] = process
        self._ends_by[name] = ends_by
        with (self.folder / "processes").open("a") as registry:
            registry.write(f"{process.pid} {psutil.Process(process.pid).create_time()}\n")
        return process

    def log(self, name: str) -> Path:
        """Where a program's output goes."""
        return self.folder / f"{name}.log"

    def stop(self, name: str, how: signal.Signals | None = None) -> None:
        """End one program now, by its own signal or another, and wait for it."""
        process = self._processes.pop(name)
        process.send_signal(how or self._ends_by[name])
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def wait_until(self, name: str, ready: Callable[[], bool], timeout: float = 60.0) -> None:
        """Wait until a started program answers. Raises DidNotStart with the end of its log."""
        process = self._processes[name]
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise DidNotStart(f"{name} ended with code {process.returncode}:\n{self.tail(name)}")
            if ready():
                return
            time.sleep(0.05)
        raise DidNotStart(f"{name} did not answer within {timeout:.0f} s:\n{self.tail(name)}")

    def tail(self, name: str, characters: int = 3000) -> str:
        """The end of a program's output."""
        log = self.log(name)
        return log.read_text(errors="replace")[-characters:] if log.exists() else "(no output)"

    def close(self) -> None:
        """End everything in reverse order and remove the folder."""
        for name in reversed(list(self._processes)):
            self.stop(name)
        clean_up(self.folder)
        with contextlib.suppress(BrokenPipeError):
            self._guard.communicate(timeout=30)

    def __enter__(self) -> Workspace:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def clean_up(folder: Path) -> None:
    """End what was started in the folder, empty its control groups, unmount, remove it.

    Works from what stands in the folder and in /proc alone, so that it can be done by anybody at any
    time, and twice.
    """
    if not folder.exists():
        return
    _end(list(reversed(_registered(folder))))
    # Containers first: a shim whose container has ended goes by itself.
    for group in control_groups(folder):
        _empty(group)
    _end(_mentioning(folder), grace=1.0)
    _unmount(folder)
    shutil.rmtree(folder, ignore_errors=True)


def _registered(folder: Path) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    registry = folder / "processes"
    for line in registry.read_text().splitlines() if registry.exists() else []:
        pid, created = line.split()
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(int(pid))
            if process.create_time() == float(created):
                found.append(process)
    return found


def _mentioning(folder: Path) -> list[psutil.Process]:
    """Programs that daemonized (containerd's shims): their command line names the folder."""
    found: list[psutil.Process] = []
    mine = {os.getpid(), os.getppid()}
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        is_guard = len(words) > 1 and words[1] == __file__
        if process.pid not in mine and not is_guard and any(str(folder) in word for word in words):
            found.append(process)
    return found


def _end(processes: list[psutil.Process], grace: float = _GRACE) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, alive = psutil.wait_procs(processes, grace)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, _GRACE)


def control_groups(folder: Path) -> list[Path]:
    """The node's control groups carry the folder's name, in each hierarchy of version 1, or in 2."""
    root = Path("/sys/fs/cgroup")
    return [path for path in (root / folder.name, *root.glob(f"*/{folder.name}")) if path.is_dir()]


def pids_below(group: Path) -> list[int]:
    """Of every process in a control group and those below it.

    By os.walk, which passes over what is gone between being listed and being read; Path.glob raises.
    """
    return [pid for folder, _, _ in os.walk(group) for pid in _pids(Path(folder))]


def _pids(group: Path) -> list[int]:
    try:
        return [int(pid) for pid in (group / "cgroup.procs").read_text().split()]
    except OSError:
        return []


def _empty(group: Path) -> None:
    deadline = time.monotonic() + _GRACE
    while time.monotonic() < deadline:
        pids = pids_below(group)
        if not pids:
            break
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    for path in sorted(group.rglob("*"), key=lambda path: -len(path.parts)):
        if path.is_dir():
            with contextlib.suppress(OSError):
                path.rmdir()
    with contextlib.suppress(OSError):
        group.rmdir()


def _unmount(folder: Path) -> None:
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for mount in sorted(mounts, key=len, reverse=True):
        if mount.startswith(f"{folder}/"):
            subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdin.read()
    clean_up(Path(sys.argv[1]))
